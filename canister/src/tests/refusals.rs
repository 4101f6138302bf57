//! What drain and watchdog refuse: in which order blocks may come, what is remembered, and that
//! nothing is lost without a count.

use super::setup::*;
use crate::app::MAX_LOG_LINES;
use crate::watchdog::BLAME_STRIKES;
use bitcoin::Block;
use millrace_candid::{InitConfig, InitNetwork, PartError, PartOutcome, RejectionKind};
use millrace_core::Height;
use millrace_core::block::CheckedBlock;
use millrace_core::delta::{DeltaBuilder, DeltaStep};
use millrace_core::tree::{BlockStatus, InvalidReason};
use millrace_store::cells::{Counter, Watch};
use millrace_store::coins::{PreparedDelta, Progress};
use proptest::prelude::*;

fn regtest() -> Canister {
    Canister::new(InitConfig {
        network: Some(InitNetwork::Regtest),
        ..pushed()
    })
}

/// A regtest block on the genesis block with this time.
fn block_at(time: u64) -> Vec<u8> {
    let mut block: Block = bitcoin::constants::genesis_block(bitcoin::Network::Regtest);
    block.header.prev_blockhash = block.block_hash();
    block.header.time = u32::try_from(time).unwrap();
    // The genesis block's coinbase is unspent, and would condemn a block that repeats it.
    block.txdata[0].input[0].script_sig = bitcoin::ScriptBuf::from_bytes(vec![2, 1, 1]);
    remined(block)
}

fn newest_kind(canister: &Canister) -> Option<RejectionKind> {
    canister.feed_state(vec![]).recent_rejections[0].kind
}

fn count(canister: &Canister, counter: Counter) -> u64 {
    canister.app.store().counters.get(counter)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn blocks_of_one_drain_come_in_any_order_and_only_those_without_parents_are_refused(
        order in Just((0..12usize).collect::<Vec<_>>()).prop_shuffle(),
        missing in prop::option::of(0..12usize),
    ) {
        let (mut canister, real) = (Canister::new(pushed()), real_blocks());
        let pushed: Vec<usize> = order.into_iter().filter(|at| Some(*at) != missing).collect();
        for at in &pushed {
            prop_assert_eq!(canister.push_bytes(&real[*at]), PartOutcome::Queued);
        }
        canister.settle();
        let reached = missing.unwrap_or(12);
        prop_assert_eq!(canister.tip().1 as usize, reached);
        let refused = count(&canister, Counter::RejectedUnknownParent) as usize;
        prop_assert_eq!(refused, pushed.len() - reached, "each block is taken or refused");
        let listed = canister.feed_state(vec![]).recent_rejections;
        prop_assert_eq!(listed.len(), refused);
        prop_assert!(listed.iter().all(|one| one.kind == Some(RejectionKind::UnknownParent)));
        canister.audit();
        // Nothing is remembered against those that came too early.
        canister.feed(&real[reached..12]);
        prop_assert_eq!(canister.tip().1, 12);
        canister.audit();
    }
}

#[test]
fn a_block_whose_parents_header_came_first_waits_for_the_parent_within_the_drain() {
    let (mut canister, real) = (Canister::new(pushed()), real_blocks());
    // This drain leaves headers without bodies.
    canister.push_bytes(&real[0]);
    canister.settle();
    let mut cut = real[1].clone();
    cut.truncate(150);
    canister.push_bytes(&cut);
    canister.settle();
    let status = |canister: &Canister, at: usize| {
        let node = canister.app.store().tree.get(&hash_of(&real[at]));
        node.map(|node| node.status())
    };
    assert_eq!(status(&canister, 1), Some(BlockStatus::HeaderOnly));
    assert_eq!(newest_kind(&canister), Some(RejectionKind::DamagedBytes));
    for at in [2, 1] {
        assert_eq!(canister.push_bytes(&real[at]), PartOutcome::Queued);
    }
    canister.settle();
    assert_eq!(canister.tip().1, 3);
    canister.audit();
}

#[test]
fn a_block_with_a_bad_header_is_queued_once() {
    let mut canister = regtest();
    let genesis = bitcoin::constants::genesis_block(bitcoin::Network::Regtest);
    let bad = block_at(u64::from(genesis.header.time));
    assert_eq!(canister.push_bytes(&bad), PartOutcome::Queued);
    canister.settle();
    assert_eq!(newest_kind(&canister), Some(RejectionKind::InvalidHeader));
    for _ in 0..2 {
        let PartOutcome::Rejected(PartError::InvalidBlock { kind, reason }) =
            canister.push_bytes(&bad)
        else {
            panic!("the block is queued again");
        };
        assert_eq!(kind, Some(RejectionKind::InvalidHeader));
        assert!(
            reason.contains("it must be later than the median"),
            "{reason}"
        );
        canister.upgrade();
    }
    assert_eq!(canister.app.store().rejections.refused_len(), 1);
    canister.audit();
}

#[test]
fn a_block_of_the_future_is_not_remembered() {
    let mut canister = regtest();
    let early = block_at(NOW + 3 * 3_600);
    canister.push_bytes(&early);
    canister.settle();
    assert_eq!(newest_kind(&canister), Some(RejectionKind::TooNew));
    assert_eq!(canister.app.store().rejections.refused_len(), 0);
    canister.world.now.set(NOW + 2 * 3_600);
    assert_eq!(canister.push_bytes(&early), PartOutcome::Queued);
    canister.settle();
    assert_eq!(canister.tip().1, 1);
}

#[test]
fn thousands_of_refusals_write_a_few_lines_and_are_all_counted() {
    let (mut canister, real) = (Canister::new(pushed()), real_blocks());
    let orphans = &real[100..600];
    for chunk in orphans.chunks(250) {
        canister.push_parts(chunk.iter().map(|block| whole(block)).collect());
    }
    canister.heartbeat();
    let lines = canister.world.log.borrow().clone();
    assert_eq!(lines.len(), MAX_LOG_LINES as usize + 1);
    assert_eq!(
        lines.last().unwrap(),
        "484 more refused blocks or faults; see /metrics"
    );
    assert_eq!(count(&canister, Counter::RejectedUnknownParent), 500);
    canister.heartbeat();
    assert_eq!(canister.world.log.borrow().len(), lines.len());
}

/// A canister of five blocks that stored half of the sixth one's change.
fn half_stored() -> Canister {
    let (mut canister, real) = (Canister::new(pushed()), real_blocks());
    canister.feed(&real[..5]);
    canister.push_bytes(&real[5]);
    canister.app.drain(&canister.world, 1);
    let store = &mut canister.app.store;
    let block = CheckedBlock::decode(&real[5]).unwrap();
    let builder = DeltaBuilder::new(&block, Height::new(6), store.network());
    let view = store.view(&hash_of(&real[4])).unwrap();
    let Ok(DeltaStep::Done(delta)) = builder.step(&block, &view, 100) else {
        panic!("the change is small");
    };
    let delta = PreparedDelta::from(delta);
    let progress = store.coins.connect_step(&mut store.blobs, &delta, 1);
    assert_eq!(progress, Ok(Progress::More));
    canister
}

#[test]
fn what_left_the_tree_is_deleted_although_retiring_is_halted() {
    let mut canister = half_stored();
    let real = real_blocks();
    canister.app.store.cells.set_watch(Watch {
        is_retiring_halted: true,
        ..Watch::default()
    });
    let reason = InvalidReason::Quarantined;
    let hash = hash_of(&real[5]);
    canister
        .app
        .condemn(&canister.world, hash, reason, "an example");
    assert!(canister.app.store().has_garbage());
    canister.settle();
    assert!(!canister.app.store().has_garbage());
    canister.audit();
}

#[test]
fn a_block_whose_earlier_copy_cannot_be_deleted_is_quarantined_and_others_go_on() {
    let mut canister = half_stored();
    let (real, other) = (real_blocks(), other_blocks());
    // Its body goes, its half stored change is to be deleted, and that never ends.
    let hash = hash_of(&real[5]);
    canister.app.store.tree.drop_body(&hash).unwrap();
    canister.app.store.discard(hash);
    for _ in 0..BLAME_STRIKES {
        canister.app.watchdog(&canister.world);
    }
    assert!(canister.app.store().cells.watch().is_collecting_halted);
    canister.push_parts(vec![whole(&real[5]), whole(&other[0])]);
    canister.settle();
    let status = |canister: &Canister, hash| {
        let node = canister.app.store().tree.get(&hash);
        node.map(|node| node.status())
    };
    let quarantined = BlockStatus::Invalid(InvalidReason::Quarantined);
    assert_eq!(status(&canister, hash), Some(quarantined));
    let sibling = status(&canister, hash_of(&other[0]));
    assert_eq!(sibling, Some(BlockStatus::Connected));
    assert_eq!(count(&canister, Counter::StoreErrors), 0);
    // The next version deletes it and takes the block.
    canister.upgrade();
    canister.feed(&real[5..7]);
    assert_eq!(canister.tip().1, 7);
    canister.audit();
}

#[test]
fn a_watchdog_that_traps_is_found_dead_and_what_it_looked_for_given_up() {
    let (mut canister, real) = (Canister::new(pushed()), real_blocks());
    canister.push_bytes(&real[0]);
    for strike in 1..=BLAME_STRIKES {
        assert!(!canister.app.store().cells.watch().is_retiring_halted);
        assert_eq!(canister.app.store().cells.watch().strikes, strike - 1);
        canister.app.note_dead_watchdog(&canister.world);
    }
    assert!(canister.app.store().cells.watch().is_retiring_halted);
    canister.feed(&real[1..200]);
    assert_eq!(canister.tip().1, 200, "connecting goes on");
    canister.upgrade();
    canister.settle();
    assert_eq!(canister.feed_state(vec![]).anchor.height, 57);
}
