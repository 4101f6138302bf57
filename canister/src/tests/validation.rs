//! What `block_validation` decides: which blocks are refused, and what that changes for others.

use std::cell::Cell;

use bitcoin::consensus::{deserialize, serialize};
use bitcoin::script::Builder;
use bitcoin::transaction::Version;
use bitcoin::{Amount, Block, OutPoint, Sequence, Transaction, Witness};
use millrace_candid::{
    BlockValidation, InitConfig, InitNetwork, PartError, PartOutcome, RejectionKind,
    SetConfigRequest,
};
use millrace_core::Height;
use millrace_core::consensus::MedianTimes;
use millrace_core::tree::{BlockStatus, InvalidReason};
use millrace_store::cells::Counter;

use super::regtest::{coinbase_coin, payment};
use super::setup::*;

/// Blocks 1 to 206 that Bitcoin Core made and accepted under all of its rules.
pub fn core_blocks() -> Vec<Vec<u8>> {
    let path = format!(
        "{}/../tests/fixtures/bitcoin-core/regtest_blocks.hex.txt",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let blocks = text.lines().map(|line| {
        let block: Block = bitcoin::consensus::encode::deserialize_hex(line.trim()).unwrap();
        serialize(&block)
    });
    blocks.collect()
}

fn judging_by(validation: Option<BlockValidation>) -> Canister {
    let mut canister = Canister::new(InitConfig {
        network: Some(InitNetwork::Regtest),
        stability_threshold: Some(5u8.into()),
        block_validation: validation,
        ..pushed()
    });
    // Later than every block of Bitcoin Core's chain.
    canister.world.now = Cell::new(4_000_000_000);
    canister
}

fn status(canister: &Canister, block: &[u8]) -> BlockStatus {
    let tree = &canister.app.store().tree;
    tree.get(&hash_of(block)).unwrap().status()
}

fn count(canister: &Canister, counter: Counter) -> u64 {
    canister.app.store().counters.get(counter)
}

/// The block with a coinbase that takes a satoshi more than is due.
fn greedy(block: &[u8]) -> Vec<u8> {
    let mut block: Block = deserialize(block).unwrap();
    block.txdata[0].output[0].value += Amount::ONE_SAT;
    remined(block)
}

#[test]
fn a_block_that_takes_too_much_is_refused_under_consensus_and_its_siblings_go_on() {
    let mut canister = judging_by(Some(BlockValidation::Consensus));
    let blocks = core_blocks();
    canister.feed(&blocks[..10]);
    let bad = greedy(&blocks[10]);
    canister.push_bytes(&bad);
    canister.push_bytes(&blocks[10]);
    canister.settle();
    assert_eq!(canister.tip(), (hash_of(&blocks[10]), 11));
    let expected = BlockStatus::Invalid(InvalidReason::Consensus);
    assert_eq!(status(&canister, &bad), expected);
    assert_eq!(count(&canister, Counter::RejectedConsensus), 1);
    let refused = canister.feed_state(vec![]).recent_rejections;
    assert_eq!(refused[0].kind, Some(RejectionKind::InvalidBlock));
    assert_eq!(
        refused[0].reason,
        "coinbase takes 5000000001 satoshi, subsidy 5000000000 and fees 0 are due"
    );
    canister.upgrade();
    let again = canister.push_bytes(&bad);
    assert!(
        matches!(
            again,
            PartOutcome::Rejected(PartError::InvalidBlock {
                kind: Some(RejectionKind::InvalidBlock),
                ..
            })
        ),
        "{again:?}"
    );
    canister.feed(&blocks[11..]);
    assert_eq!(canister.tip(), (hash_of(&blocks[205]), 206));
    canister.audit();
}

#[test]
fn the_same_block_is_connected_under_proof_of_work_which_is_the_default_on_regtest() {
    let blocks = core_blocks();
    let bad = greedy(&blocks[10]);
    for validation in [None, Some(BlockValidation::ProofOfWork)] {
        let mut canister = judging_by(validation);
        canister.feed(&blocks[..10]);
        canister.feed(std::slice::from_ref(&bad));
        assert_eq!(canister.tip(), (hash_of(&bad), 11));
        assert_eq!(count(&canister, Counter::RejectedConsensus), 0);
        canister.audit();
    }
}

#[test]
fn a_change_of_validation_holds_for_the_next_block_connected() {
    let mut canister = judging_by(None);
    let blocks = core_blocks();
    canister.feed(&blocks[..10]);
    let bad = greedy(&blocks[10]);
    canister.push_bytes(&bad);
    let change = SetConfigRequest {
        block_validation: Some(BlockValidation::Consensus),
        ..SetConfigRequest::default()
    };
    canister.app.set_config(change).unwrap();
    canister.upgrade();
    let config = canister.app.get_config();
    assert_eq!(config.block_validation, BlockValidation::Consensus);
    canister.settle();
    assert_eq!(canister.tip(), (hash_of(&blocks[9]), 10));
    assert_eq!(count(&canister, Counter::RejectedConsensus), 1);
}

/// Witness data is not under the merkle root: whoever carries a block can damage it.
#[test]
fn damaged_witness_data_costs_the_copy_and_not_the_block() {
    let mut canister = judging_by(Some(BlockValidation::Consensus));
    let blocks = core_blocks();
    canister.feed(&blocks[..10]);
    let mut damaged: Block = deserialize(&blocks[10]).unwrap();
    damaged.txdata[0].input[0].witness = Witness::from_slice(&[[1; 32]]);
    let damaged = serialize(&damaged);
    assert_eq!(hash_of(&damaged), hash_of(&blocks[10]));
    canister.push_bytes(&damaged);
    // Its child waits, and is wanted again with it.
    canister.push_bytes(&blocks[11]);
    canister.settle();
    assert_eq!(canister.tip().1, 10);
    for block in &blocks[10..12] {
        assert_eq!(status(&canister, block), BlockStatus::HeaderOnly);
    }
    let refused = canister.feed_state(vec![]).recent_rejections;
    assert_eq!(refused[0].kind, Some(RejectionKind::DamagedBytes));
    assert_eq!(count(&canister, Counter::RejectedConsensus), 0);
    canister.feed(&blocks[10..12]);
    assert_eq!(canister.tip(), (hash_of(&blocks[11]), 12));
    canister.audit();
}

/// A block on `parent` at `height` with one more transaction; no script is ever executed.
fn with_transaction(parent: &[u8], height: i64, transaction: Transaction) -> Vec<u8> {
    let parent: Block = deserialize(parent).unwrap();
    let mut coinbase = payment(&[OutPoint::null()], &[1]);
    coinbase.input[0].script_sig = Builder::new().push_int(height).push_int(7).into_script();
    let mut block = Block {
        header: parent.header,
        txdata: vec![coinbase, transaction],
    };
    block.header.prev_blockhash = parent.block_hash();
    block.header.time += 1;
    remined(block)
}

/// The coin's time is that of a block below the newest stable one, of which only the header is left.
#[test]
fn relative_locks_in_time_count_from_stable_headers() {
    let mut canister = judging_by(Some(BlockValidation::Consensus));
    let blocks = core_blocks();
    canister.feed(&blocks[..130]);
    assert!(canister.feed_state(vec![]).anchor.height > 120);
    let coin = coinbase_coin(&deserialize(&blocks[19]).unwrap());
    let locked_for = |units: u16| {
        let mut transaction = payment(&[coin], &[1]);
        transaction.version = Version::TWO;
        transaction.input[0].sequence = Sequence::from_512_second_intervals(units);
        with_transaction(&blocks[129], 131, transaction)
    };
    let (locked, free) = (locked_for(u16::MAX), locked_for(0));
    canister.push_bytes(&locked);
    canister.settle();
    let expected = BlockStatus::Invalid(InvalidReason::Consensus);
    assert_eq!(status(&canister, &locked), expected);
    let refused = canister.feed_state(vec![]).recent_rejections;
    assert!(
        refused[0].reason.contains("from median time"),
        "{}",
        refused[0].reason
    );
    canister.push_bytes(&free);
    canister.settle();
    assert_eq!(canister.tip(), (hash_of(&free), 131));
    assert_eq!(count(&canister, Counter::StoreErrors), 0);
}

#[test]
fn median_times_are_known_at_every_height_of_the_chain_and_not_above() {
    let mut canister = Canister::new(InitConfig {
        stability_threshold: Some(20u8.into()),
        ..pushed()
    });
    let blocks = real_blocks();
    let blocks = &blocks[..60];
    canister.feed(blocks);
    assert_eq!(canister.feed_state(vec![]).anchor.height, 41);
    let genesis = bitcoin::constants::genesis_block(bitcoin::Network::Bitcoin);
    let mut times = vec![genesis.header.time];
    times.extend(blocks.iter().map(|block| {
        let header = millrace_core::block::decode_header(block).unwrap();
        header.time
    }));
    let found = canister.app.store().chain_times(hash_of(&blocks[59]));
    for height in 0..=60usize {
        let mut last = times[height.saturating_sub(10)..=height].to_vec();
        last.sort_unstable();
        let expected = Some(last[last.len() / 2]);
        let height = Height::new(height as u32);
        assert_eq!(found.median_time_past(height), Ok(expected), "{height}");
    }
    assert_eq!(found.median_time_past(Height::new(61)), Ok(None));
}
