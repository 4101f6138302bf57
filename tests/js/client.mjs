// A signed update, a query and a read_state with @icp-sdk/core and its default verification.
//
// Run by tests/integration with one argument, a JSON object: url, canister, seed (hex of the
// adapter's Ed25519 key), hash and block (hex). Prints what the canister answered as JSON.

import { Actor, CanisterStatus, HttpAgent } from "@icp-sdk/core/agent";
import { IDL } from "@icp-sdk/core/candid";
import { Ed25519KeyIdentity } from "@icp-sdk/core/identity";

const { url, canister, seed, hash, block } = JSON.parse(process.argv[2]);
const bytes = (hex) => new Uint8Array(Buffer.from(hex, "hex"));
const hex = (data) => Buffer.from(data).toString("hex");

// The part of candid/btc.did that is used here.
const contract = () => {
  const Blob = IDL.Vec(IDL.Nat8);
  const BlockId = IDL.Record({ hash: Blob, height: IDL.Nat32 });
  const Part = IDL.Record({ hash: Blob, size: IDL.Nat32, offset: IDL.Nat32, bytes: Blob });
  const Outcome = IDL.Variant({
    queued: IDL.Null,
    incomplete: IDL.Record({ received: IDL.Nat32 }),
    known: IDL.Null,
    no_room: IDL.Null,
    rejected: IDL.Reserved,
  });
  const Receipt = IDL.Record({ outcomes: IDL.Vec(Outcome), tip: BlockId });
  const FeedError = IDL.Variant({
    not_an_adapter: IDL.Record({ caller: IDL.Principal }),
    syncing_disabled: IDL.Null,
    too_many_parts: IDL.Reserved,
    locator_too_long: IDL.Reserved,
    malformed_hash: IDL.Reserved,
    internal: IDL.Text,
  });
  const Info = IDL.Record({ height: IDL.Nat32, block_hash: Blob, utxos_length: IDL.Nat64 });
  return IDL.Service({
    push_blocks: IDL.Func([IDL.Vec(Part)], [IDL.Variant({ Ok: Receipt, Err: FeedError })], []),
    get_blockchain_info: IDL.Func([], [Info], ["query"]),
  });
};

const identity = Ed25519KeyIdentity.generate(bytes(seed));
const agent = await HttpAgent.create({ host: url, identity, shouldFetchRootKey: true });
const actor = Actor.createActor(contract, { agent, canisterId: canister });

const data = bytes(block);
const receipt = await actor.push_blocks([
  { hash: bytes(hash), size: data.length, offset: 0, bytes: data },
]);

// The next heartbeat connects the block; how soon is not asserted.
let info;
for (let attempt = 0; attempt < 600; attempt += 1) {
  info = await actor.get_blockchain_info();
  if (hex(info.block_hash) === hash) break;
  await new Promise((resolve) => setTimeout(resolve, 100));
}

const status = await CanisterStatus.request({
  agent,
  canisterId: canister,
  paths: ["module_hash", "controllers", "candid"],
});

console.log(
  JSON.stringify({
    caller: identity.getPrincipal().toText(),
    outcome: receipt.Ok ? Object.keys(receipt.Ok.outcomes[0])[0] : Object.keys(receipt.Err)[0],
    height: info.height,
    tip: hex(info.block_hash),
    controllers: status.get("controllers").map((principal) => principal.toText()),
    module_hash: status.get("module_hash"),
    candid: status.get("candid"),
  }),
);
