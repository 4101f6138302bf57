//! Arguments of importing a snapshot, and of reading the whole set.

use super::*;
use crate::argument;
use crate::snapshot::Caller;
use bitcoin::hashes::Hash;
use candid::Encode;
use millrace_candid::{
    BeginSnapshotImportArgs, GetCoinsArgs, OutPoint, PushSnapshotCoinsArgs, PushSnapshotHeadersArgs,
};
use millrace_core::snapshot::{
    METADATA_BYTES, Metadata, SnapshotCoin, write_coin, write_group_head,
};
use millrace_core::{Height, Network};

pub const METHODS: [&str; 5] = [
    "begin_snapshot_import",
    "push_snapshot_headers",
    "push_snapshot_coins",
    "discard_snapshot_import",
    "get_coins",
];

pub const CONTROLLER: Caller = Caller {
    principal: candid::Principal::management_canister(),
    is_controller: true,
};

/// Decodes and calls a method; returns whether there is such a one.
pub fn enter(canister: &mut Canister, method: &str, bytes: &[u8]) -> bool {
    let (app, world) = (&mut canister.app, &canister.world);
    match method {
        "begin_snapshot_import" => drop(
            argument::decode(bytes).map(|args| app.begin_snapshot_import(world, CONTROLLER, &args)),
        ),
        "push_snapshot_headers" => drop(
            argument::decode(bytes).map(|args| app.push_snapshot_headers(world, CONTROLLER, &args)),
        ),
        "push_snapshot_coins" => drop(
            argument::decode(bytes).map(|args| app.push_snapshot_coins(world, CONTROLLER, &args)),
        ),
        "discard_snapshot_import" => drop(app.discard_snapshot_import(CONTROLLER)),
        "get_coins" => drop(argument::decode(bytes).map(|args| app.get_coins(&args))),
        _ => return false,
    }
    true
}

/// A well-formed argument of some method with any values.
pub fn call() -> impl Strategy<Value = Call> {
    prop_oneof![begin(), headers(), coins(), Just(discard()), pages()]
}

fn discard() -> Call {
    ("discard_snapshot_import", Encode!().unwrap())
}

/// The first block above the genesis block that these tests know.
fn first_block() -> bitcoin::block::Header {
    let block = block_of(vec![coinbase(1)], 601, true);
    millrace_core::block::decode_header(&block).unwrap()
}

fn begin() -> impl Strategy<Value = Call> {
    let bases = [
        genesis_hash().to_vec(),
        first_block().block_hash().to_byte_array().to_vec(),
    ];
    let metadata = (prop::sample::select(bases.to_vec()), 0..4u64).prop_map(|(base, coins)| {
        let metadata = Metadata {
            network: Network::Regtest,
            base: bitcoin::BlockHash::from_slice(&base).unwrap(),
            coins,
        };
        ByteBuf::from(metadata.encode())
    });
    let metadata = prop_oneof![1 => blob(0..70), 4 => metadata];
    (metadata, prop::option::of(tip())).prop_map(|(metadata, hash_serialized)| {
        let args = BeginSnapshotImportArgs {
            metadata,
            hash_serialized,
        };
        ("begin_snapshot_import", Encode!(&args).unwrap())
    })
}

fn headers() -> impl Strategy<Value = Call> {
    let good = bitcoin::consensus::serialize(&first_block());
    let headers = prop_oneof![blob(0..170), blob(80..81), Just(ByteBuf::from(good))];
    (prop_oneof![0..3u32, any::<u32>()], headers).prop_map(|(first_height, headers)| {
        let args = PushSnapshotHeadersArgs {
            first_height,
            headers,
        };
        ("push_snapshot_headers", Encode!(&args).unwrap())
    })
}

fn coins() -> impl Strategy<Value = Call> {
    let group = (
        any::<[u8; 32]>(),
        0..3u32,
        0..3u32,
        any::<u64>(),
        blob(0..50),
    );
    let written = prop::collection::vec(group, 0..4).prop_map(|groups| {
        let mut bytes = Vec::new();
        for (txid, vout, height, satoshi, script) in groups {
            let txid = bitcoin::Txid::from_byte_array(txid);
            write_group_head(&mut bytes, &txid, 1);
            let coin = SnapshotCoin {
                outpoint: bitcoin::OutPoint { txid, vout },
                height: Height::new(height),
                coinbase: vout == 0,
                satoshi: satoshi >> 20,
                script: bitcoin::ScriptBuf::from_bytes(script.into_vec()),
            };
            write_coin(&mut bytes, &coin);
        }
        ByteBuf::from(bytes)
    });
    let offset = prop_oneof![4 => Just(METADATA_BYTES as u64), 1 => any::<u64>()];
    (offset, prop_oneof![blob(0..200), written]).prop_map(|(offset, bytes)| {
        let args = PushSnapshotCoinsArgs { offset, bytes };
        ("push_snapshot_coins", Encode!(&args).unwrap())
    })
}

fn pages() -> impl Strategy<Value = Call> {
    let after = prop::option::of((txid(), any::<u32>()));
    (after, prop::option::of(tip()), limit()).prop_map(|(after, at_tip, limit)| {
        let args = GetCoinsArgs {
            after: after.map(|(txid, vout)| OutPoint { txid, vout }),
            at_tip,
            limit,
        };
        ("get_coins", Encode!(&args).unwrap())
    })
}
