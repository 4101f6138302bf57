//! The check of blocks, and what is left of one without witness data.

use std::sync::LazyLock;

use bitcoin::consensus::{deserialize, serialize};
use bitcoin::{Block, Transaction, Witness};
use millrace_core::Network;
use millrace_core::block::BlockError;
use millrace_core::scan::ScannedBlock;
use proptest::prelude::*;

use super::fixture;
use crate::message::{
    Message, PayloadError, RawTransaction, ReceivedBlock, check_block, decode, strip_witness,
};

static REAL: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let names = [
        "raito/mainnet_block_170.bin",
        "raito/mainnet_block_24835.bin",
        "raito/mainnet_block_150013.bin",
        "raito/mainnet_block_757739.bin",
        "clementine/testnet4_block_46698.bin",
    ];
    names.map(fixture).to_vec()
});

fn verdict_of_core(bytes: &[u8]) -> Result<(), BlockError> {
    ScannedBlock::of(bytes).map(|_| ())
}

/// Serialises a block again, its merkle root made to fit.
fn sealed(mut block: Block) -> Vec<u8> {
    if let Some(root) = block.compute_merkle_root() {
        block.header.merkle_root = root;
    }
    serialize(&block)
}

#[test]
fn real_blocks_hold_and_their_transactions_keep_their_names() {
    for bytes in REAL.iter() {
        let block: Block = deserialize(bytes).unwrap();
        let received = ReceivedBlock::of(bytes.clone()).unwrap();
        assert_eq!(received.verdict, Ok(()));
        assert_eq!(received.hash, block.block_hash());
        assert_eq!(received.header, block.header);
        assert_eq!(&received.bytes, bytes);
        for transaction in &block.txdata {
            let raw = RawTransaction::of(serialize(transaction)).unwrap();
            assert_eq!(raw.txid, transaction.compute_txid());
            assert_eq!(raw.wtxid, transaction.compute_wtxid());
        }
    }
}

#[test]
fn stripped_blocks_are_those_of_the_decoder() {
    let mut with_witness = 0;
    for bytes in REAL.iter() {
        let mut block: Block = deserialize(bytes).unwrap();
        for input in block.txdata.iter_mut().flat_map(|tx| &mut tx.input) {
            input.witness = Witness::new();
        }
        let stripped = strip_witness(bytes).unwrap();
        assert_eq!(stripped, serialize(&block));
        assert_eq!(check_block(&stripped), Ok(()));
        assert_eq!(strip_witness(&stripped).unwrap(), stripped);
        with_witness += usize::from(stripped.len() < bytes.len());
    }
    assert!(with_witness >= 2, "{with_witness}");
}

#[test]
fn broken_blocks_are_named_as_the_canister_names_them() {
    let real = &REAL[2];
    let block: Block = deserialize(real).unwrap();
    let with = |change: &dyn Fn(&mut Vec<Transaction>)| {
        let mut block = block.clone();
        change(&mut block.txdata);
        block
    };
    let mut doubled_tail = block.clone();
    if doubled_tail.txdata.len().is_multiple_of(2) {
        doubled_tail.txdata.pop();
        doubled_tail.header.merkle_root = doubled_tail.compute_merkle_root().unwrap();
    }
    let last = doubled_tail.txdata.last().unwrap().clone();
    doubled_tail.txdata.push(last);
    let mut huge = block.clone();
    let script = bitcoin::ScriptBuf::from_bytes(vec![0; 1_000_000]);
    huge.txdata[1].output[0].script_pubkey = script;
    let cases = [
        ("nothing", Vec::new()),
        ("a header alone", real[..80].to_vec()),
        ("no transactions", [&real[..80], &[0]].concat()),
        ("cut off", real[..real.len() - 1].to_vec()),
        ("trailing byte", [&real[..], &[0]].concat()),
        ("too long", vec![0; 4_000_001]),
        ("another root", serialize(&with(&|txs| txs.truncate(5)))),
        ("tail written twice", serialize(&doubled_tail)),
        ("no coinbase", sealed(with(&|txs| drop(txs.remove(0))))),
        ("one twice", sealed(with(&|txs| txs.push(txs[1].clone())))),
        ("too large", sealed(huge)),
        ("unknown flag", [&real[..81], &[1, 0, 0, 0, 0, 2]].concat()),
        ("no inputs", [&real[..81], &[1, 0, 0, 0, 0, 1, 0]].concat()),
        ("count of nine bytes", [&real[..80], &[0xff; 9]].concat()),
        ("long count", [&real[..80], &[0xfd, 1, 0]].concat()),
    ];
    for (name, bytes) in cases {
        let verdict = check_block(&bytes);
        assert!(verdict.is_err(), "{name}");
        assert_eq!(verdict, verdict_of_core(&bytes), "{name}");
    }
    let error = decode("block", vec![1; 79]);
    assert!(matches!(error, Err(PayloadError::Ends { length: 79, .. })));
    let genesis = serialize(&Network::Mainnet.genesis_block());
    assert_eq!(check_block(&genesis), Ok(()));
    let Ok(Message::Block(empty)) = decode("block", [&real[..80], &[0]].concat()) else {
        panic!("a header is enough to know the block by");
    };
    assert!(matches!(empty.verdict, Err(BlockError::Empty { .. })));
}

/// What happens to a block on its way.
#[derive(Clone, Debug)]
enum Damage {
    Flip(usize, u8),
    Cut(usize),
    Grow(Vec<u8>),
    Swap(usize, usize),
    Repeat(usize, usize),
    DropFirst,
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<prop::sample::Index>().prop_map(|index| index.index(1 << 20));
    let other = at.clone();
    prop_oneof![
        4 => (at.clone(), 1..=u8::MAX).prop_map(|(at, mask)| Damage::Flip(at, mask)),
        1 => at.clone().prop_map(Damage::Cut),
        1 => prop::collection::vec(any::<u8>(), 1..9).prop_map(Damage::Grow),
        2 => (at.clone(), other.clone()).prop_map(|(a, b)| Damage::Swap(a, b)),
        2 => (at, other).prop_map(|(a, b)| Damage::Repeat(a, b)),
        1 => Just(Damage::DropFirst),
    ]
}

/// Damages bytes, or the list of transactions; the root then fits again.
fn damaged(bytes: &[u8], damage: &Damage) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let mut block: Block = deserialize(&bytes).unwrap();
    let count = block.txdata.len();
    match damage {
        Damage::Flip(at, mask) => {
            let at = at % bytes.len();
            bytes[at] ^= mask;
            return bytes;
        }
        Damage::Cut(at) => {
            bytes.truncate(at % bytes.len());
            return bytes;
        }
        Damage::Grow(more) => {
            bytes.extend(more);
            return bytes;
        }
        Damage::Swap(a, b) => block.txdata.swap(a % count, b % count),
        Damage::Repeat(from, to) => {
            let again = block.txdata[from % count].clone();
            block.txdata.insert(to % (count + 1), again);
        }
        Damage::DropFirst => drop(block.txdata.remove(0)),
    }
    sealed(block)
}

proptest! {
    #[test]
    fn verdicts_are_the_canisters(which in 0..REAL.len(), damage in damage()) {
        let bytes = damaged(&REAL[which], &damage);
        prop_assert_eq!(check_block(&bytes), verdict_of_core(&bytes));
        if let Ok(stripped) = strip_witness(&bytes) {
            prop_assert!(stripped.len() <= bytes.len());
            prop_assert_eq!(&stripped[..80], &bytes[..80]);
        }
    }

    #[test]
    fn random_transactions_are_judged_as_the_canister_does(
        tail in prop::collection::vec(prop_oneof![Just(0u8), Just(1), any::<u8>()], 0..200),
        count in 0u8..4,
    ) {
        let bytes = [&REAL[0][..80], &[count], &tail[..]].concat();
        prop_assert_eq!(check_block(&bytes), verdict_of_core(&bytes));
    }
}
