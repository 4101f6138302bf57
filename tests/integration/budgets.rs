//! Heartbeats keep the instruction and page budgets they are configured with, measured from outside
//! by the replica.

use bitcoin::Block;
use millrace_candid::{Budgets, InitConfig, InitNetwork, PartOutcome};
use millrace_subnet::{Fault, FaultKind, MessageKind};
use millrace_tests::artifacts;
use millrace_tests::coins::CoinSet;
use millrace_tests::mining::{BlockPlan, Miner, output_of, pay, script, spend};
use millrace_tests::setup::{Control, Setup, part, pushed};

use crate::chains::{last_hash, mainnet};

const BUDGETS: Budgets = Budgets {
    instructions_per_heartbeat: 100_000_000,
    stable_pages_per_heartbeat: 500,
};

/// Budgets that a large block exceeds many times.
const TIGHT: Budgets = Budgets {
    instructions_per_heartbeat: 10_000_000,
    stable_pages_per_heartbeat: 8,
};

/// The longest step. Budgets are looked at after each, so the last one may begin just below a budget.
/// It writes 512 entries of runs, some two dozen pages, or ends the scan of a block: here of 6,000 inputs and
/// as many outputs, whose index and first pages are written then.
const STEP: Budgets = Budgets {
    instructions_per_heartbeat: 60_000_000,
    stable_pages_per_heartbeat: 48,
};

/// Blocks that one message brings, at most. Each message here is followed by a heartbeat, which drains
/// them all before it looks at the budgets.
const DRAINED_MAX: u64 = 500;

/// What draining a block takes, at most: its header is hashed, judged and stored.
const DRAIN_INSTRUCTIONS: u64 = 300_000;

/// Rounds without work, after which an idle heartbeat's pages are known.
const IDLE_ROUNDS: u32 = 5;

/// The largest heartbeat seen in each respect.
#[derive(Debug, Default)]
struct Largest {
    heartbeats: u64,
    /// Those that dirtied more pages than an idle one.
    working: u64,
    instructions: u64,
    pages: u64,
}

/// Reads what heartbeats consumed, message by message, before the replica forgets.
struct Meter<'a> {
    setup: &'a Setup,
    budgets: Budgets,
    next: u64,
    largest: Largest,
    /// Pages that a heartbeat without work dirties, at most.
    idle_pages: u64,
}

impl<'a> Meter<'a> {
    /// Nothing if the server is not this workspace's: the real PocketIC reports no usage, and what is
    /// left to check there is that the blocks are connected at all.
    fn new(setup: &'a Setup, budgets: Budgets) -> Option<Self> {
        let mut meter = Self {
            setup,
            budgets,
            next: 0,
            largest: Largest::default(),
            idle_pages: 0,
        };
        if !artifacts::is_own_server() {
            return None;
        }
        meter.read();
        assert!(
            meter.next > 0,
            "the server reports no message, not even the installation"
        );
        meter.largest = Largest::default();
        for _ in 0..IDLE_ROUNDS {
            setup.pic.tick();
        }
        meter.read();
        assert!(meter.largest.heartbeats > 0, "{:?}", meter.largest);
        meter.idle_pages = meter.largest.pages;
        meter.largest = Largest::default();
        Some(meter)
    }

    fn read(&mut self) {
        let records = self.setup.usage(self.next).unwrap_or_default();
        for record in records {
            assert_eq!(record.sequence, self.next, "no message is missed");
            self.next += 1;
            if record.kind == "heartbeat" {
                assert!(record.succeeded, "{record:?}");
                let largest = &mut self.largest;
                largest.heartbeats += 1;
                largest.working += u64::from(record.stable_pages_dirtied > self.idle_pages);
                largest.instructions = largest.instructions.max(record.instructions);
                largest.pages = largest.pages.max(record.stable_pages_dirtied);
            }
        }
    }

    fn tick_until_settled(&mut self) {
        for _ in 0..5_000 {
            self.setup.pic.tick();
            self.read();
            if self.setup.is_settled() {
                return;
            }
        }
        panic!("blocks still wait: {:?}", self.setup.feed_state());
    }

    fn check(&self) {
        let Largest {
            heartbeats,
            instructions,
            pages,
            ..
        } = self.largest;
        let drain = DRAINED_MAX * DRAIN_INSTRUCTIONS;
        let instructions_max =
            self.budgets.instructions_per_heartbeat.max(drain) + STEP.instructions_per_heartbeat;
        let pages_max =
            u64::from(self.budgets.stable_pages_per_heartbeat + STEP.stable_pages_per_heartbeat);
        assert!(
            instructions <= instructions_max && pages <= pages_max,
            "of {heartbeats} heartbeats the largest took {instructions} instructions (at most \
             {instructions_max}) and {pages} pages (at most {pages_max})"
        );
    }
}

fn budgeted(network: InitNetwork, budgets: Budgets) -> Setup {
    Setup::new(InitConfig {
        budgets: Some(budgets),
        ..pushed(network)
    })
}

#[test]
fn many_small_blocks_are_connected_within_the_budgets() {
    let blocks = &mainnet()[..=800];
    let setup = budgeted(InitNetwork::Mainnet, BUDGETS);
    let meter = Meter::new(&setup, BUDGETS);
    setup.push(&blocks[1..]);
    if let Some(mut meter) = meter {
        meter.tick_until_settled();
        meter.check();
    }
    setup.tick_until_tip(last_hash(blocks));
    setup.assert_equals(&CoinSet::of_chain(blocks).expect("a valid chain"), None);
}

/// Owners of the large block's coins: few, as each is asked for in the end.
const OWNERS: u64 = 200;

#[test]
fn a_block_of_more_work_than_one_heartbeats_budget_is_connected_in_several() {
    let mut miner = Miner::new();
    let mut plan = BlockPlan::paying(&script(1));
    plan.coinbase = (0..6_000)
        .map(|coin| pay(&script(coin % OWNERS), 1_000))
        .collect();
    let made = miner.mine(miner.tree.genesis(), plan);
    let inputs: Vec<_> = (0..6_000)
        .map(|vout| output_of(miner.tree.block(made), 0, vout))
        .collect();
    let outputs = (0..6_000)
        .map(|coin| pay(&script(coin % OWNERS + OWNERS / 2), 900))
        .collect();
    let plan = BlockPlan::paying(&script(2)).with(spend(&inputs, outputs));
    let tip = miner.mine(made, plan);

    let setup = budgeted(InitNetwork::Regtest, TIGHT);
    let meter = Meter::new(&setup, TIGHT);
    setup.push(miner.chain(tip));
    if let Some(mut meter) = meter {
        meter.tick_until_settled();
        meter.check();
        // Entries of two runs, of at least 40 bytes each.
        let pages = 18_000 * 2 * 40 / 4_096;
        let least =
            pages / u64::from(TIGHT.stable_pages_per_heartbeat + STEP.stable_pages_per_heartbeat);
        assert!(
            meter.largest.working > least,
            "{:?}: too few to have been budgeted",
            meter.largest
        );
    }
    setup.tick_until_tip(tip);
    setup.assert_equals(&miner.tree.coins_at(tip), None);
}

/// Blocks that may be queued at the same time, as `millrace_store::queue` has it.
const FULL_QUEUE: u32 = 2_000;

/// What draining them takes at most, as derived there, with the one step that follows.
const FULL_DRAIN: Budgets = Budgets {
    instructions_per_heartbeat: 4_000_000_000,
    stable_pages_per_heartbeat: 25_000,
};

/// Blocks of one message.
const PUSHED: usize = 500;

/// Fills the queue while heartbeats are held back, and returns what the one that drains it takes.
fn drained_at_once(blocks: &[&Block]) -> Largest {
    let setup = budgeted(InitNetwork::Regtest, TIGHT);
    let mut meter = Meter::new(&setup, TIGHT).expect("the server is this workspace's");
    let control = Control::of(&setup.pic);
    let held_back = Fault {
        message: Some(MessageKind::Heartbeat),
        times: u64::MAX,
        ..Fault::new(setup.canister, FaultKind::SkipTask)
    };
    control.inject(&[held_back]).expect("the fault is valid");
    for blocks in blocks.chunks(PUSHED) {
        let parts: Vec<_> = blocks.iter().map(|block| part(block)).collect();
        let receipt = setup.push_parts(setup.adapter, &parts);
        let outcomes = receipt.expect("the adapter may push").outcomes;
        assert!(
            outcomes.iter().all(|it| *it == PartOutcome::Queued),
            "{outcomes:?}"
        );
    }
    assert_eq!(setup.status().queued_blocks, FULL_QUEUE);
    control.clear_faults();
    setup.pic.tick();
    meter.read();
    assert_eq!(meter.largest.heartbeats, 1, "{:?}", meter.largest);
    assert_eq!(setup.status().queued_blocks, 0);
    meter.largest
}

#[test]
fn a_full_queue_is_drained_within_its_bound_in_the_worst_order_and_if_all_is_refused() {
    if !artifacts::is_own_server() {
        return;
    }
    let mut miner = Miner::new();
    let tip = miner.mine_many(miner.tree.genesis(), FULL_QUEUE + 1, &script(1));
    let chain = miner.chain(tip);
    let (_, orphans) = chain.split_first().expect("blocks were mined");
    let (_, all) = chain.split_last().expect("blocks were mined");
    // Each waits for the one after it in the queue, and is judged twice.
    let reversed: Vec<&Block> = all.iter().rev().copied().collect();
    for (name, blocks) in [("reversed", &reversed[..]), ("orphans", orphans)] {
        let drained = drained_at_once(blocks);
        let is_within = drained.instructions <= FULL_DRAIN.instructions_per_heartbeat
            && drained.pages <= u64::from(FULL_DRAIN.stable_pages_per_heartbeat);
        assert!(is_within, "{name}: {drained:?}");
        println!("{name}: {drained:?}");
    }
}
