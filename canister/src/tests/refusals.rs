//! What drain and watchdog refuse: in which order blocks may come, what is remembered, and that
//! nothing is lost without a count.

use super::setup::*;
use crate::app::MAX_LOG_LINES;
use crate::tick::Work;
use crate::watchdog::DEAD_STRIKES;
use bitcoin::Block;
use millrace_candid::{InitConfig, InitNetwork, PartError, PartOutcome, RejectionKind};
use millrace_core::tree::{BlockStatus, InvalidReason};
use millrace_store::cells::{Counter, Watch};
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

#[test]
fn what_left_the_tree_is_deleted_although_retiring_and_merging_are_halted() {
    let (mut canister, real) = (Canister::new(pushed()), real_blocks());
    canister.feed(&real[..6]);
    canister.app.store.cells.set_watch(Watch {
        is_retiring_halted: true,
        is_compacting_halted: true,
        ..Watch::default()
    });
    let reason = InvalidReason::Quarantined;
    let hash = hash_of(&real[4]);
    canister
        .app
        .condemn(&canister.world, hash, reason, "an example");
    assert_eq!(canister.app.store().coins.unstable_len(), 4);
    canister.audit();
}

#[test]
fn merging_that_never_ends_is_halted_and_everything_else_goes_on() {
    let mut canister = Canister::new(InitConfig {
        stability_threshold: Some(2u8.into()),
        ..pushed()
    });
    let real = real_blocks();
    canister.feed(&real[..7]);
    // The eighth stable change: the next thing to do is to merge them.
    canister.push_bytes(&real[7]);
    canister.app.drain(&canister.world, 1);
    while canister.app.plan() != Some(Work::Compact) {
        let work = canister.app.plan().unwrap();
        canister.app.step(&canister.world, work).unwrap();
    }
    for _ in 0..PATIENCE {
        canister.watchdog();
    }
    assert!(canister.app.store().cells.watch().is_compacting_halted);
    canister.feed(&real[8..40]);
    let state = canister.feed_state(vec![]);
    assert_eq!((state.tip.height, state.anchor.height), (40, 39));
    assert_eq!(canister.app.store().coins.stable_len(), 40);
    canister.assert_equals(&Model::mainnet(&real[..40]), None);
    // The next version merges them.
    canister.upgrade();
    canister.settle();
    assert_eq!(canister.app.store().coins.stable_len(), 5);
    canister.assert_equals(&Model::mainnet(&real[..40]), None);
    canister.audit();
}

#[test]
fn a_watchdog_that_traps_is_found_dead_and_what_it_looked_for_given_up() {
    let (mut canister, real) = (Canister::new(pushed()), real_blocks());
    canister.push_bytes(&real[0]);
    for strike in 1..=DEAD_STRIKES {
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
