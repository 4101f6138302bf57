//! A set that Bitcoin Core dumped, taken in by the canister, whatever interrupts that; and the canister's own set, byte
//! for byte what Bitcoin Core dumps.

use std::collections::BTreeMap;

use bitcoin::hashes::Hash;
use bitcoin::{OutPoint, ScriptBuf, Txid};
use candid::Principal;
use millrace_candid::{
    BeginSnapshotImportArgs, CoinsPage, GetCoinsArgs, GetCoinsResult, GetOutpointsArgs,
    GetOutpointsResult, GetUtxosArgs, GetUtxosResult, InitNetwork, Owner, PushSnapshotCoinsArgs,
    PushSnapshotHeadersArgs, SnapshotError, SnapshotImport, SnapshotImportResult,
};
use millrace_core::snapshot::{
    CoinReader, METADATA_BYTES, Metadata, Position, SerializedHash, SnapshotCoin, write_group,
};
use millrace_core::{Height, Network};
use millrace_tests::artifacts;
use millrace_tests::mining::script;
use millrace_tests::setup::{Control, Setup};
use pocket_ic::{PocketIcBuilder, PocketIcState};
use serde_bytes::ByteBuf;
use serde_json::Value;

use super::random::RandomChain;
use super::{committing, complete, of_canister};
use millrace_tests::bitcoind::Node;

/// Bytes of a message with coins.
const PIECE_BYTES: usize = 1_900_000;

/// Blocks with a transaction of [`OUTPUTS`] outputs each: a million coins in all.
const FAN_OUTS: usize = 33;
const OUTPUTS: usize = 31_000;

/// Calls and rounds that an import may take.
const MAX_TURNS: usize = 20_000;

/// What Bitcoin Core wrote.
struct Dump {
    bytes: Vec<u8>,
    /// The same, the coins of each transaction in the order of their indexes: Bitcoin Core's order is another one from
    /// index 16,512 on.
    ascending: Vec<u8>,
    metadata: Metadata,
    /// As stored; as printed it is reversed.
    digest: Vec<u8>,
    coins: Vec<SnapshotCoin>,
    headers: Vec<Vec<u8>>,
}

impl Dump {
    fn of(node: &Node) -> Self {
        let (bytes, said) = node.dump();
        let metadata = Metadata::decode(&bytes, Network::Regtest).expect("Core's own metadata");
        assert_eq!(said["coins_written"], Value::from(metadata.coins));
        let digest = said["txoutset_hash"].as_str().expect("a hash");
        let mut reader = CoinReader::new(&bytes[METADATA_BYTES..], Position::start());
        let mut coins = Vec::new();
        while let Some(coin) = reader.next_coin().expect("Core's own coins") {
            coins.push(coin);
        }
        assert_eq!(coins.len() as u64, metadata.coins);
        coins.sort_by_key(|coin| (coin.outpoint.txid.to_byte_array(), coin.outpoint.vout));
        let mut ascending = metadata.encode().to_vec();
        let mut hash = SerializedHash::default();
        for group in coins.chunk_by(|one, other| one.outpoint.txid == other.outpoint.txid) {
            write_group(&mut ascending, group);
            for coin in group {
                coin.counted(|coin| hash.put(coin));
            }
        }
        assert_eq!(ascending.len(), bytes.len());
        assert_eq!(hash.finish().to_string(), digest);
        let mut digest = hex::decode(digest).expect("hexadecimal digits");
        digest.reverse();
        Self {
            metadata,
            digest,
            coins,
            headers: node.headers(),
            bytes,
            ascending,
        }
    }

    /// Returns the bytes of some whole coins, and where the next ones begin.
    fn piece(&self, offset: u64, position: Position) -> (&[u8], Position) {
        let rest = &self.ascending[usize::try_from(offset).expect("it is on the heap")..];
        let mut reader = CoinReader::new(&rest[..rest.len().min(PIECE_BYTES)], position);
        while reader.next_coin().expect("Core's own coins").is_some() {}
        (&rest[..reader.consumed()], reader.position())
    }
}

fn standing(setup: &Setup) -> SnapshotImport {
    setup
        .query(Principal::anonymous(), "get_snapshot_import", ())
        .expect("a query is answered")
}

/// What interrupts an import.
#[derive(Clone, Copy)]
enum Interruption {
    None,
    Upgrade,
    Restart,
}

/// Takes a dump in, interrupted now and then.
fn import(setup: &Setup, dump: &Dump, interruptions: &[Interruption]) {
    let control = Control::of(&setup.pic);
    let begin = BeginSnapshotImportArgs {
        metadata: ByteBuf::from(&dump.bytes[..METADATA_BYTES]),
        hash_serialized: Some(ByteBuf::from(dump.digest.clone())),
    };
    let begun: SnapshotImportResult = setup
        .update(setup.controller, "begin_snapshot_import", (begin,))
        .expect("a controller may");
    begun.expect("an empty canister");
    let mut positions = BTreeMap::from([(METADATA_BYTES as u64, Position::start())]);
    for turn in 0..MAX_TURNS {
        match interruptions[turn % interruptions.len()] {
            Interruption::None => {}
            Interruption::Upgrade => setup.upgrade(Vec::new()).expect("an upgrade"),
            Interruption::Restart => control.restart().expect("the state is kept"),
        }
        match standing(setup) {
            SnapshotImport::Headers { next_height, .. } => {
                let from = next_height as usize - 1;
                let headers = dump.headers[from..].iter().take(100).flatten();
                let args = PushSnapshotHeadersArgs {
                    first_height: next_height,
                    headers: ByteBuf::from(headers.copied().collect::<Vec<u8>>()),
                };
                let pushed: SnapshotImportResult = setup
                    .update(setup.controller, "push_snapshot_headers", (args,))
                    .expect("a controller may");
                pushed.expect("headers that follow");
            }
            SnapshotImport::Coins { next_offset, .. } => {
                let (bytes, next) = dump.piece(next_offset, positions[&next_offset]);
                positions.insert(next_offset + bytes.len() as u64, next);
                let args = PushSnapshotCoinsArgs {
                    offset: next_offset,
                    bytes: ByteBuf::from(bytes),
                };
                let pushed: SnapshotImportResult = setup
                    .update(setup.controller, "push_snapshot_coins", (args.clone(),))
                    .expect("a controller may");
                match pushed {
                    Ok(_) => {}
                    Err(SnapshotError::Busy { .. }) => setup.pic.tick(),
                    Err(error) => panic!("{error:?}"),
                }
                if turn % 5 == 0 {
                    // A message that is sent again changes nothing.
                    let again: SnapshotImportResult = setup
                        .update(setup.controller, "push_snapshot_coins", (args,))
                        .expect("a controller may");
                    assert!(
                        matches!(
                            again,
                            Err(SnapshotError::UnexpectedOffset { .. }
                                | SnapshotError::NotWanted { .. })
                        ),
                        "{again:?}"
                    );
                }
            }
            SnapshotImport::Merging { .. } => setup.pic.tick(),
            SnapshotImport::Complete { base } => {
                assert_eq!(base.hash.as_slice(), dump.metadata.base.as_byte_array());
                return;
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("it never ends");
}

/// Reads all coins but the genesis block's, and returns them as Bitcoin Core dumps them.
fn exported(setup: &Setup, metadata: &Metadata) -> Vec<u8> {
    let at_tip = Some(ByteBuf::from(metadata.base.to_byte_array()));
    let mut bytes = metadata.encode().to_vec();
    let (mut after, mut coins) = (None, Vec::new());
    loop {
        let args = GetCoinsArgs {
            after,
            at_tip: at_tip.clone(),
            limit: None,
        };
        let page: GetCoinsResult = setup
            .query(Principal::anonymous(), "get_coins_query", (args,))
            .expect("a query is answered");
        let CoinsPage {
            coins: found, next, ..
        } = page.expect("the tip is there");
        coins.extend(found.into_iter().filter(|coin| coin.height > 0));
        after = next;
        if after.is_none() {
            break;
        }
    }
    for group in coins.chunk_by(|one, other| one.outpoint.txid == other.outpoint.txid) {
        let txid = Txid::from_slice(&group[0].outpoint.txid).expect("32 bytes");
        let mut group: Vec<SnapshotCoin> = group
            .iter()
            .map(|coin| SnapshotCoin {
                outpoint: OutPoint {
                    txid,
                    vout: coin.outpoint.vout,
                },
                height: Height::new(coin.height),
                coinbase: coin.coinbase,
                satoshi: coin.value,
                script: ScriptBuf::from_bytes(coin.script.to_vec()),
            })
            .collect();
        // The order of Bitcoin Core's database.
        group.sort_by_key(|coin| millrace_core::snapshot::group_order(coin.outpoint.vout));
        write_group(&mut bytes, &group);
    }
    bytes
}

/// Compares the coins of scripts, and coins, with those of the dump.
fn compare_sample(setup: &Setup, dump: &Dump) {
    let mut of_script: BTreeMap<&ScriptBuf, Vec<&SnapshotCoin>> = BTreeMap::new();
    for coin in &dump.coins {
        of_script.entry(&coin.script).or_default().push(coin);
    }
    let step = of_script.len() / 500;
    for (script, mut expected) in of_script.into_iter().step_by(step.max(1)) {
        let args = GetUtxosArgs {
            owner: Owner::Script(ByteBuf::from(script.to_bytes())),
            filter: None,
            at_tip: None,
            limit: None,
        };
        let page: GetUtxosResult = setup
            .query(Principal::anonymous(), "get_utxos_query", (args,))
            .expect("a query is answered");
        let page = page.expect("a script");
        expected.sort_by_key(|coin| {
            let OutPoint { txid, vout } = coin.outpoint;
            (std::cmp::Reverse(coin.height), txid.to_byte_array(), vout)
        });
        expected.truncate(page.utxos.len());
        let found = page.utxos.iter().map(|utxo| {
            let txid = Txid::from_slice(&utxo.outpoint.txid).expect("32 bytes");
            (txid, utxo.outpoint.vout, utxo.value, utxo.height)
        });
        let expected = expected.iter().map(|coin| {
            let OutPoint { txid, vout } = coin.outpoint;
            (txid, vout, coin.satoshi, coin.height.get())
        });
        assert!(found.eq(expected), "{script}");
    }
    let sample: Vec<&SnapshotCoin> = dump.coins.iter().step_by(1_009).collect();
    for coins in sample.chunks(100) {
        let outpoints = coins.iter().map(|coin| millrace_candid::OutPoint {
            txid: ByteBuf::from(coin.outpoint.txid.to_byte_array()),
            vout: coin.outpoint.vout,
        });
        let args = GetOutpointsArgs {
            outpoints: outpoints.collect(),
            at_tip: None,
        };
        let found: GetOutpointsResult = setup
            .query(Principal::anonymous(), "get_outpoints_query", (args,))
            .expect("a query is answered");
        for (found, coin) in found.expect("good outpoints").outputs.iter().zip(coins) {
            let found = found.as_ref().unwrap_or_else(|| panic!("{coin:?}"));
            assert_eq!(found.script.as_slice(), coin.script.as_bytes());
            assert_eq!(found.value, coin.satoshi);
        }
    }
}

#[test]
#[ignore = "needs Bitcoin Core: `cargo xtask bitcoind`"]
fn core_node_s_snapshot_of_a_million_coins_is_taken_in_whatever_interrupts_it() {
    let node = Node::start("regtest");
    let mut chain = RandomChain::new(7);
    node.submit(&chain.grow(130));
    let mut tag = 0;
    for _ in 0..FAN_OUTS {
        // A third of the scripts have two coins.
        let block = chain.fan_out(OUTPUTS, || {
            tag += 1;
            script(tag % (OUTPUTS * FAN_OUTS * 3 / 4) as u64)
        });
        node.submit([&block]);
    }
    let dump = Dump::of(&node);
    assert!(dump.coins.len() > 1_000_000, "{}", dump.coins.len());

    let folder = tempfile::tempdir().expect("a temporary folder");
    let state = PocketIcState::new_from_path(folder.path().to_owned());
    let pic = PocketIcBuilder::new()
        .with_server_binary(artifacts::pocket_ic_server())
        .with_application_subnet()
        .with_state(state)
        .build();
    let setup = Setup::in_instance(pic, committing(InitNetwork::Regtest, 5));
    let mut interruptions = [Interruption::None; 11];
    interruptions[3] = Interruption::Upgrade;
    if artifacts::is_own_server() {
        interruptions[8] = Interruption::Restart;
    }
    import(&setup, &dump, &interruptions);

    let (_, base) = complete(&setup);
    assert_eq!(base as usize, dump.headers.len());
    for expected in node.sets([base]) {
        assert_eq!(of_canister(&setup, base), expected);
    }
    compare_sample(&setup, &dump);
    assert!(
        exported(&setup, &dump.metadata) == dump.bytes,
        "other bytes"
    );

    // The chain goes on from there, with its reorganizations, and spends what was imported.
    let blocks = chain.grow(30);
    node.submit(&blocks);
    setup.feed(&blocks);
    assert_eq!(setup.tip().to_string(), node.tip());
    let (first, anchor) = complete(&setup);
    assert!(first == base && anchor > base + 20, "{first} to {anchor}");
    for expected in node.sets(base..=anchor) {
        assert_eq!(of_canister(&setup, expected.height), expected);
    }
}
