//! Floods of headers and forks at the canister: memory stays within its bounds, refusals are counted
//! by reason, the chain with more work connects, and afterwards nothing is left.

use super::regtest::*;
use super::setup::*;
use bitcoin::block::Header;
use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;
use bitcoin::{Block, TxMerkleNode};
use millrace_candid::{InitConfig, PartOutcome, RejectionKind};
use millrace_core::tree::{BlockStatus, MAX_TREE_NODES};
use millrace_store::cells::Counter;
use millrace_store::queue::{MAX_PENDING_BLOCKS, MAX_PENDING_BYTES};

use crate::Env;
use crate::tick::Work;

pub const THRESHOLD: u32 = 12;

pub fn canister() -> Canister {
    Canister::new(InitConfig {
        stability_threshold: Some(THRESHOLD.into()),
        ..regtest()
    })
}

/// A header on `parent` with a proof of work, unlike every other one.
fn header(parent: &Header, salt: u64) -> Header {
    let mut header = *parent;
    header.prev_blockhash = parent.block_hash();
    header.time += 600;
    let mut root = [7; 32];
    root[..8].copy_from_slice(&salt.to_le_bytes());
    header.merkle_root = TxMerkleNode::from_byte_array(root);
    header.nonce = 0;
    while !header.target().is_met_by(header.block_hash()) {
        header.nonce += 1;
    }
    header
}

/// Makes up to `count` headers known, in branches of `length` from each of `parents` in turn.
/// Returns how many were taken.
pub fn flood(
    canister: &mut Canister,
    parents: &[Block],
    length: usize,
    count: usize,
    salt: &mut u64,
) -> usize {
    let now = canister.world.now();
    let mut taken = 0;
    for branch in 0..count / length {
        let mut parent = parents[branch % parents.len()].header;
        for _ in 0..length {
            *salt += 1;
            let next = header(&parent, *salt);
            let tree = &mut canister.app.store.tree;
            if tree.insert_header(&next, now).is_err() {
                break;
            }
            taken += 1;
            parent = next;
        }
    }
    canister.app.store.flush_tree();
    taken
}

fn assert_bounded(canister: &Canister) {
    let store = canister.app.store();
    assert!(store.tree.len() <= MAX_TREE_NODES);
    let (blocks, bytes) = store.held();
    assert!(blocks <= MAX_PENDING_BLOCKS && bytes <= MAX_PENDING_BYTES);
}

pub fn count(canister: &Canister, counter: Counter) -> u64 {
    canister.app.store().counters.get(counter)
}

/// Blocks, pages and changes kept.
pub fn kept(canister: &Canister) -> (usize, u32, usize, usize) {
    let store = canister.app.store();
    let indexed = store
        .tree
        .hashes()
        .filter(|hash| store.transaction_indexes.count(hash).is_some());
    (
        store.tree.len(),
        store.blobs.usage().0,
        store.coins.unstable_len(),
        indexed.count(),
    )
}

#[test]
fn a_full_tree_of_headers_at_several_depths_takes_the_next_blocks_and_empties_again() {
    let mut canister = canister();
    let mut quiet = self::canister();
    let mut blocks = chain(8);
    canister.feed_blocks(&blocks);
    quiet.feed_blocks(&blocks);
    let mut salt = 0;
    for length in [1, 3, 10] {
        let taken = flood(
            &mut canister,
            &blocks,
            length,
            MAX_TREE_NODES / 2,
            &mut salt,
        );
        assert!(taken > 0);
        assert_bounded(&canister);
    }
    assert_eq!(canister.app.store().tree.len(), MAX_TREE_NODES);

    // Blocks of less work than all that is there are refused, counted, and may come again.
    let refused_before = count(&canister, Counter::RejectedTreeFull);
    let late: Vec<Block> = (1..=5)
        .map(|salt| block(&genesis(), 1, salt, &[1], &[]))
        .collect();
    for block in &late {
        let outcome = canister.push_bytes(&serialize(block));
        assert_eq!(outcome, PartOutcome::Queued);
        canister.heartbeat();
    }
    let refused = count(&canister, Counter::RejectedTreeFull) - refused_before;
    assert_eq!(refused, 5);
    let recent = canister.feed_state(vec![]).recent_rejections;
    assert_eq!(recent[0].kind, Some(RejectionKind::TreeFull));
    assert_eq!(canister.app.store().rejections.refused_len(), 0);

    // The next blocks come one by one, with more of the flood between them.
    for height in 9..9 + 3 * THRESHOLD {
        let next = block(&blocks[blocks.len() - 1], height, 0, &[1], &[]);
        canister.feed_blocks(std::slice::from_ref(&next));
        quiet.feed_blocks(std::slice::from_ref(&next));
        assert_eq!(canister.tip(), (next.block_hash(), height));
        blocks.push(next);
        if height < 9 + THRESHOLD {
            let newest = &blocks[blocks.len() - 3..];
            flood(&mut canister, newest, 2, 200, &mut salt);
            assert_bounded(&canister);
        }
    }
    canister.audit();
    assert_eq!(kept(&canister), kept(&quiet));
    canister.upgrade();
    canister.audit();
    assert_eq!(kept(&canister), kept(&quiet));
}

#[test]
fn forks_with_blocks_at_every_depth_connect_lose_and_leave_nothing() {
    let mut canister = canister();
    let mut quiet = self::canister();
    let mut best = chain(6);
    canister.feed_blocks(&best);
    quiet.feed_blocks(&best);
    // 20 forks of two blocks from each block, delivered together.
    let mut forks = Vec::new();
    for (height, parent) in (2..).zip(&best) {
        for salt in 1..=20 {
            let first = block(parent, height, salt, &[5], &[]);
            let second = block(&first, height + 1, salt, &[5], &[]);
            forks.extend([first, second]);
        }
    }
    canister.feed_blocks(&forks);
    canister.audit();
    assert_bounded(&canister);
    assert_eq!(canister.app.store().tree.connected_count(), 7 + forks.len());
    assert_eq!(canister.status().unstable_blocks as usize, 6 + forks.len());
    for height in 7..7 + 3 * THRESHOLD {
        let next = block(&best[best.len() - 1], height, 0, &[1], &[]);
        canister.feed_blocks(std::slice::from_ref(&next));
        quiet.feed_blocks(std::slice::from_ref(&next));
        best.push(next);
    }
    assert_eq!(canister.tip(), quiet.tip());
    canister.audit();
    assert_eq!(kept(&canister), kept(&quiet));
    assert!(count(&canister, Counter::BlocksDropped) >= forks.len() as u64);
}

#[test]
fn connected_forks_of_least_work_make_room_in_a_full_tree_and_their_data_goes() {
    let mut canister = Canister::new(regtest());
    let mut quiet = Canister::new(regtest());
    let mut best = chain(6);
    canister.feed_blocks(&best);
    quiet.feed_blocks(&best);
    let forks: Vec<Block> = (1..=10)
        .map(|salt| block(&best[0], 2, salt, &[5], &[]))
        .collect();
    canister.feed_blocks(&forks);
    assert_eq!(canister.app.store().coins.unstable_len(), 16);
    let mut salt = 0;
    flood(&mut canister, &best[5..], 1, MAX_TREE_NODES, &mut salt);
    assert_bounded(&canister);
    let tree = &canister.app.store().tree;
    assert!(
        forks
            .iter()
            .all(|fork| tree.get(&fork.block_hash()).is_none())
    );
    canister.settle();
    canister.audit();
    let (_, pages, runs, indexes) = kept(&canister);
    let (_, quiet_pages, quiet_runs, quiet_indexes) = kept(&quiet);
    assert_eq!(
        (pages, runs, indexes),
        (quiet_pages, quiet_runs, quiet_indexes)
    );
    let next = block(&best[5], 7, 0, &[1], &[]);
    canister.feed_blocks(std::slice::from_ref(&next));
    best.push(next);
    assert_eq!(canister.tip(), (best[6].block_hash(), 7));
    canister.audit();
}

#[test]
fn a_block_that_is_shed_and_announced_again_at_once_keeps_nothing_and_can_come_back() {
    for is_delivered in [false, true] {
        let mut canister = Canister::new(regtest());
        let siblings: Vec<Block> = (1..=3)
            .map(|salt| block(&genesis(), 1, salt, &[5], &[]))
            .collect();
        canister.feed_blocks(&siblings);
        // One branch of headers that fills the tree.
        let now = canister.world.now();
        let mut last = genesis().header;
        while canister.app.store().tree.len() < MAX_TREE_NODES {
            last = header(&last, 0);
            let tree = &mut canister.app.store.tree;
            tree.insert_header(&last, now).unwrap();
        }
        canister.app.store.flush_tree();
        // The first sibling is the best block; the second one goes, and is announced again. Or it is
        // among the blocks delivered with the one that it makes room for.
        let newcomer = block(&genesis(), 1, 9, &[5], &[]);
        let shed = &siblings[1];
        if is_delivered {
            canister.announce(std::slice::from_ref(&newcomer));
            assert!(canister.app.store().tree.get(&shed.block_hash()).is_none());
            canister.announce(std::slice::from_ref(shed));
            let other = block(&genesis(), 1, 10, &[5], &[]);
            canister.push_parts(vec![whole(&serialize(&other)), whole(&serialize(shed))]);
        } else {
            canister.announce(&[newcomer, shed.clone()]);
            canister.audit();
            assert_eq!(canister.push_bytes(&serialize(shed)), PartOutcome::Queued);
        }
        canister.settle();
        canister.audit();
        let node = canister.app.store().tree.get(&shed.block_hash());
        assert!(node.is_some_and(|node| node.status() == BlockStatus::Connected));
    }
}

#[test]
fn a_flood_of_bad_blocks_is_refused_by_reason_and_its_siblings_connect() {
    let mut canister = canister();
    let blocks = chain(2);
    canister.feed_blocks(&blocks[..1]);
    let parent = &blocks[0];
    let missing = |number: u8| bitcoin::OutPoint {
        txid: bitcoin::Txid::from_byte_array([number; 32]),
        vout: 0,
    };
    for number in 1..=40 {
        // Spends what is not there.
        let spends = payment(&[missing(number)], &[1]);
        let coins = serialize(&block(parent, 2, number, &[1], &[spends]));
        // Begins with no coinbase.
        let mut headless = block(parent, 2, number, &[2], &[]);
        headless.txdata = vec![payment(&[missing(number)], &[1])];
        let headless = remined(headless);
        // Comes before its parent, which never comes.
        let early = block(&block(parent, 2, number, &[9], &[]), 3, 0, &[1], &[]);
        // Bits that regtest does not allow here.
        let mut bits = block(parent, 2, number, &[3], &[]);
        bits.header.bits = bitcoin::CompactTarget::from_consensus(0x207f_fffe);
        let bits = remined(bits);
        for bytes in [coins, headless, serialize(&early), bits] {
            canister.push_bytes(&bytes);
        }
        canister.settle();
    }
    for (counter, expected) in [
        (Counter::RejectedCoins, 40),
        (Counter::RejectedStructure, 40),
        (Counter::RejectedUnknownParent, 40),
        (Counter::RejectedHeader, 40),
        (Counter::RejectedTreeFull, 0),
    ] {
        assert_eq!(count(&canister, counter), expected, "{}", counter.name());
    }
    assert_eq!(canister.app.store().rejections.refused_len(), 120);
    assert_eq!(canister.tip().1, 1);
    canister.feed_blocks(&blocks[1..]);
    assert_eq!(canister.tip(), (blocks[1].block_hash(), 2));
    canister.audit();
    // The root, two blocks; bad ones have no bytes and no change.
    assert_eq!(canister.app.store().coins.unstable_len(), 2);
    assert_eq!(canister.app.store().held().0, 0);
}

#[test]
fn draining_a_header_reads_as_few_pages_ten_thousand_blocks_deep() {
    let mut canister = Canister::new(regtest());
    let mut parent = genesis();
    let mut height = 0;
    let mut read = Vec::new();
    for depth in [10, 1_000, MAX_TREE_NODES as u32 - 20] {
        let now = canister.world.now();
        while height < depth {
            height += 1;
            parent.header = header(&parent.header, 0);
            let tree = &mut canister.app.store.tree;
            tree.insert_header(&parent.header, now).unwrap();
        }
        canister.app.store.flush_tree();
        let next = block(&parent, height + 1, 1, &[1], &[]);
        canister.push_bytes(&serialize(&next));
        canister.heartbeat();
        assert!(canister.app.store.tree.get(&next.block_hash()).is_some());
        read.push(canister.app.last_beat.pages_read.get());
    }
    // The tree's records lie in a B-tree: a level more where there are a thousand times as many.
    assert!(read.iter().all(|pages| *pages <= read[0] + 6), "{read:?}");
    assert!(read.iter().all(|pages| *pages <= 40), "{read:?}");
}

#[test]
fn a_surge_is_connected_before_its_blocks_are_merged_until_many_wait() {
    let (mut canister, real) = (Canister::new(pushed()), real_blocks());
    for block in &real[..46] {
        canister.push_bytes(block);
    }
    canister.app.drain(&canister.world, 46);
    let mut connected = Vec::new();
    while let Some(work) = canister.app.plan() {
        if work == Work::Compact {
            connected.push(canister.app.store().coins.unstable_len());
        }
        canister.app.step(&canister.world, work).unwrap();
    }
    // Blocks 8 to 39 are four groups when block 40 is on top of them.
    assert_eq!(connected.first(), Some(&40));
    assert_eq!(connected.last(), Some(&46));
    assert!(connected.iter().all(|unstable| [40, 46].contains(unstable)));
    assert!(!canister.app.store().coins.wants_compaction());
    canister.assert_equals(&Model::mainnet(&real[..46]), None);
    canister.audit();
}
