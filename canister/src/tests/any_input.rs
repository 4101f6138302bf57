//! Whatever bytes come in, by whatever entry point: an answer or a typed refusal, a store that is
//! whole, and a canister that goes on. Panics, which would be traps, fail these tests.

mod blocks;
mod reads;
mod snapshots;
mod writes;

use super::setup::*;
use bitcoin::hashes::Hash;
use blocks::{block_of, coinbase};
use millrace_candid::{BlockValidation, Flag, InitConfig, InitNetwork, Owner, SetConfigRequest};
use millrace_core::sync::CallId;
use proptest::prelude::*;
use serde_bytes::ByteBuf;

/// A method and an argument of it, encoded.
type Call = (&'static str, Vec<u8>);

/// A change of a byte string.
#[derive(Clone, Debug)]
enum Mutation {
    Set(usize, u8),
    Insert(usize, Vec<u8>),
    Cut(usize, usize),
    Truncate(usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = any::<usize>();
    prop_oneof![
        4 => (at, any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        2 => (at, prop::collection::vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        1 => (at, 1..9usize).prop_map(|(at, length)| Mutation::Cut(at, length)),
        1 => at.prop_map(Mutation::Truncate),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutations: &[Mutation]) {
    for mutation in mutations {
        let length = bytes.len();
        let place = |at: usize| at % (length + 1);
        match mutation {
            Mutation::Set(at, byte) if length > 0 => bytes[at % length] = *byte,
            Mutation::Set(..) => {}
            Mutation::Insert(at, new) => {
                bytes.splice(place(*at)..place(*at), new.iter().copied());
            }
            Mutation::Cut(at, count) => {
                let start = place(*at);
                bytes.drain(start..(start + count).min(length));
            }
            Mutation::Truncate(at) => bytes.truncate(place(*at)),
        }
    }
}

fn blob(sizes: std::ops::Range<usize>) -> impl Strategy<Value = ByteBuf> {
    prop::collection::vec(any::<u8>(), sizes).prop_map(ByteBuf::from)
}

fn owner() -> impl Strategy<Value = Owner> {
    prop_oneof![
        any::<String>().prop_map(Owner::Address),
        "[a-zA-Z0-9]{20,90}".prop_map(Owner::Address),
        Just(Owner::Address(
            "bcrt1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqdku202".to_owned()
        )),
        blob(0..40).prop_map(Owner::Script),
        Just(Owner::Script(ByteBuf::from(vec![0x51]))),
        Just(Owner::Script(ByteBuf::from(vec![1; 10_001]))),
    ]
}

/// Hashes of every length, and page tokens of a known tip.
fn tip() -> impl Strategy<Value = ByteBuf> {
    prop_oneof![blob(0..80), blob(32..33), Just(genesis_hash())]
}

fn genesis_hash() -> ByteBuf {
    let genesis = bitcoin::constants::genesis_block(bitcoin::Network::Regtest);
    crate::convert::hash(genesis.block_hash())
}

fn page() -> impl Strategy<Value = ByteBuf> {
    let known = blob(40..41).prop_map(|rest| {
        let bytes = [genesis_hash().as_slice(), rest.as_slice()].concat();
        ByteBuf::from(bytes)
    });
    prop_oneof![blob(0..100), known]
}

/// Ids of every length, and that of a transaction that is there.
fn txid() -> impl Strategy<Value = ByteBuf> {
    let genesis = bitcoin::constants::genesis_block(bitcoin::Network::Regtest);
    let known = genesis.txdata[0].compute_txid().to_byte_array();
    prop_oneof![blob(0..40), blob(32..33), Just(ByteBuf::from(known))]
}

fn limit() -> impl Strategy<Value = Option<u32>> {
    prop::option::of(prop_oneof![any::<u32>(), 0..3u32])
}

fn regtest() -> Canister {
    Canister::new(InitConfig {
        network: Some(InitNetwork::Regtest),
        pull: Some(Flag::Enabled),
        ..pushed()
    })
}

/// Passes bytes to an entry point, as the Wasm module does: decode, then the method. Whether it
/// succeeds does not matter.
fn enter(canister: &mut Canister, in_flight: &mut Option<CallId>, method: &str, bytes: &[u8]) {
    let is_known = reads::enter(canister, method, bytes)
        || snapshots::enter(canister, method, bytes)
        || writes::enter(canister, *in_flight, method, bytes);
    assert!(is_known, "no entry point {method}");
    // A call of an earlier heartbeat stays the one in flight until it is answered.
    *in_flight = canister.heartbeat().map(|ask| ask.id).or(*in_flight);
    canister.watchdog();
    canister.audit();
}

fn assert_goes_on(canister: &mut Canister) {
    let enabled = SetConfigRequest {
        syncing: Some(Flag::Enabled),
        block_validation: Some(BlockValidation::Consensus),
        ..SetConfigRequest::default()
    };
    canister.app.set_config(enabled).unwrap();
    // Whatever was imported is no set that anybody vouched for.
    drop(canister.app.discard_snapshot_import(snapshots::CONTROLLER));
    let good = block_of(vec![coinbase(u8::MAX)], 601, true);
    canister.push_bytes(&good);
    canister.settle();
    let node = canister.app.store().tree.get(&hash_of(&good));
    assert!(node.is_some_and(|node| node.status() == millrace_core::tree::BlockStatus::Connected));
    canister.upgrade();
    canister.settle();
    canister.audit();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_argument_and_any_change_of_one_is_answered(
        calls in prop::collection::vec(
            (prop_oneof![reads::call(), writes::call(), snapshots::call()], prop::collection::vec(mutation(), 0..4)),
            1..12,
        ),
    ) {
        let (mut canister, mut in_flight) = (regtest(), None);
        for ((method, mut bytes), mutations) in calls {
            mutate(&mut bytes, &mutations);
            enter(&mut canister, &mut in_flight, method, &bytes);
        }
        assert_goes_on(&mut canister);
    }

    #[test]
    fn any_bytes_are_answered_by_every_entry_point(
        bytes in prop::collection::vec(any::<u8>(), 0..64),
        with_magic in any::<bool>(),
    ) {
        let (mut canister, mut in_flight) = (regtest(), None);
        let bytes = if with_magic { [b"DIDL", bytes.as_slice()].concat() } else { bytes };
        let methods = reads::METHODS.iter().chain(&writes::METHODS);
        for method in methods.chain(&snapshots::METHODS) {
            enter(&mut canister, &mut in_flight, method, &bytes);
        }
        assert_goes_on(&mut canister);
    }
}
