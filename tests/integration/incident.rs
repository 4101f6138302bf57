//! The outage of 22 April 2024, on the real Wasm.
//!
//! Blocks reach the Bitcoin canister through its subnet's consensus queue, which must be empty after every
//! round. A surge on testnet wrote so much that the subnet reached its limit of dirty memory; the round ended
//! at that check, before the queue was drained, and the check that it is empty made every replica panic, again
//! after each restart. The canister, the blocks and the limits are the same in all tests here; what differs is
//! the order of the two steps, and in the last one a fault that breaks the invariant by force.

use bitcoin::BlockHash;
use millrace_candid::Budgets;
use millrace_tests::artifacts;
use millrace_tests::mining::{BlockPlan, Miner, pay, script};
use millrace_tests::setup::{BitcoinAdapter, Control, Setup};
use serde_json::json;

/// Blocks before the surge.
const STEADY_BLOCKS: u32 = 10;

/// Blocks of the surge, outputs in each, and scripts that have them.
const SURGE_BLOCKS: u32 = 40;
const SURGE_OUTPUTS: u32 = 1_500;
const SURGE_SCRIPTS: u32 = 30;

/// Rounds from one checkpoint to the next.
const CHECKPOINT_INTERVAL: u64 = 60;

/// Bytes that the subnet may still write when the surge begins, besides what it has written by then: less
/// than the surge takes.
const HEADROOM_BYTES: u64 = 6_000_000;

/// A few steps of work in each heartbeat, so that blocks are connected while the next answer is on its way.
const BUDGETS: Budgets = Budgets {
    instructions_per_heartbeat: 8_000_000,
    stable_pages_per_heartbeat: 2_000,
};

/// Rounds between a call for blocks and its answer, and blocks in one answer.
const LATENCY_ROUNDS: u64 = 3;
const REPLY_BLOCKS: usize = 4;

/// Rounds after which what has not happened never will.
const MAX_ROUNDS: u32 = 3_000;

/// A canister that has connected the blocks before the surge, under limits that the surge reaches.
struct Incident {
    setup: Setup,
    control: Control,
    adapter: BitcoinAdapter,
    miner: Miner,
    tip: BlockHash,
    /// Rounds with an answer in the consensus queue whose heap delta was at its limit.
    answers_at_limit: u64,
}

impl Incident {
    /// Nothing if the server is not this workspace's: a real PocketIC has no such limits and faults.
    fn new(order: &str) -> Option<Self> {
        if !artifacts::is_own_server() {
            return None;
        }
        let mut miner = Miner::new();
        let steady = miner.mine_many(miner.tree.genesis(), STEADY_BLOCKS, &script(1));
        let tip = (0..SURGE_BLOCKS).fold(steady, |parent, block| {
            let outputs = (0..SURGE_OUTPUTS)
                .map(|output| pay(&script(u64::from((block + output) % SURGE_SCRIPTS)), 1_000));
            let plan = BlockPlan {
                coinbase: outputs.collect(),
                ..BlockPlan::default()
            };
            miner.mine(parent, plan)
        });
        let setup = Setup::official(BUDGETS);
        let control = Control::of(&setup.pic);
        let named =
            json!({"round_order": order, "checkpoint_interval_rounds": CHECKPOINT_INTERVAL});
        control
            .change_limits(&json!({"system": named}))
            .expect("valid limits");
        let mut incident = Self {
            adapter: BitcoinAdapter::new(&setup, miner.chain(steady), LATENCY_ROUNDS, REPLY_BLOCKS),
            setup,
            control,
            miner,
            tip,
            answers_at_limit: 0,
        };
        incident
            .reach(steady)
            .unwrap_or_else(|report| panic!("before the surge: {report}"));
        let written = incident.figures().heap_delta_bytes;
        let capacity = written + HEADROOM_BYTES;
        let named =
            json!({"heap_delta_capacity": capacity, "heap_delta_initial_reserve": capacity});
        incident
            .control
            .change_limits(&json!({"system": named}))
            .expect("valid limits");
        let chain = incident.miner.chain(tip);
        incident.adapter =
            BitcoinAdapter::new(&incident.setup, chain, LATENCY_ROUNDS, REPLY_BLOCKS);
        Some(incident)
    }

    fn figures(&self) -> millrace_tests::setup::SubnetFigures {
        self.control.figures(self.setup.subnet())
    }

    /// Runs one round, letting a second pass.
    fn round(&mut self) -> Result<(), String> {
        let answers = self.adapter.work(&self.control);
        let skipped = self.figures().rounds_skipped_by_heap_delta;
        self.setup.advance(1);
        self.control.tick()?;
        if answers > 0 && self.figures().rounds_skipped_by_heap_delta > skipped {
            self.answers_at_limit += 1;
        }
        Ok(())
    }

    /// Runs rounds until reads answer from `tip`.
    fn reach(&mut self, tip: BlockHash) -> Result<(), String> {
        for _ in 0..MAX_ROUNDS {
            if self.setup.tip() == tip {
                return Ok(());
            }
            self.round()?;
        }
        panic!("tip {tip} is not reached: {:#?}", self.setup.feed_state());
    }

    fn assert_caught_up(&self) {
        self.setup
            .assert_equals(&self.miner.tree.coins_at(self.tip), None);
    }
}

#[test]
fn with_the_old_order_a_surge_at_the_limit_breaks_the_invariant_and_the_replica_reports_the_crash()
{
    let Some(mut incident) = Incident::new("before-april-2024") else {
        return;
    };
    let report = incident.reach(incident.tip).expect_err("it crashes");
    let round = incident.figures().rounds;
    let expected = format!("Consensus queue not empty at the end of round {round}.");
    assert!(report.contains(&expected), "{report}");
    let figures = incident.figures();
    assert_eq!(figures.consensus_queue_items, 1, "{figures:?}");
    assert!(figures.rounds_skipped_by_heap_delta > 0, "{figures:?}");
    // However often it is tried again.
    for _ in 0..3 {
        assert_eq!(incident.control.tick(), Err(report.clone()));
    }
    assert_eq!(incident.figures().rounds, round, "no round was executed");
    // The fix of April 2024: a program that drains first. What was delivered is still there.
    incident
        .control
        .change_limits(&json!({"system": {"round_order": "ic"}}))
        .expect("a valid limit");
    let repaired = incident.reach(incident.tip);
    repaired.expect("the right order goes on");
    incident.assert_caught_up();
}

#[test]
fn with_the_right_order_the_same_surge_passes_and_the_chain_catches_up() {
    let Some(mut incident) = Incident::new("ic") else {
        return;
    };
    incident
        .reach(incident.tip)
        .expect("the right order crashes no replica");
    assert!(
        incident.answers_at_limit > 0,
        "the schedule brings no answer while the heap delta is at its limit"
    );
    let figures = incident.figures();
    assert!(figures.rounds_skipped_by_heap_delta > 0, "{figures:?}");
    assert_eq!(figures.consensus_items_left_total, 0, "{figures:?}");
    incident.assert_caught_up();
}

#[test]
fn an_invariant_that_is_broken_by_force_stops_nothing() {
    let Some(mut incident) = Incident::new("ic") else {
        return;
    };
    let subnet = incident.setup.subnet();
    let mut broken = 0;
    for _ in 0..5 {
        // An answer is put into the queue, and the round does not drain it.
        while incident.adapter.work(&incident.control) == 0 {
            incident.setup.advance(1);
            incident.control.tick().expect("nothing crashes");
        }
        incident
            .control
            .keep_consensus_queue(subnet, 1)
            .expect("the subnet exists");
        incident.control.tick().expect("nothing crashes");
        broken += 1;
        let figures = incident.figures();
        assert_eq!(figures.consensus_queue_items, 1, "kept: {figures:?}");
        assert_eq!(figures.consensus_items_left_total, broken, "counted");
        incident.control.tick().expect("nothing crashes");
        let figures = incident.figures();
        assert_eq!(figures.consensus_queue_items, 0, "drained: {figures:?}");
    }
    incident
        .reach(incident.tip)
        .expect("the system does not stop");
    incident.assert_caught_up();
}
