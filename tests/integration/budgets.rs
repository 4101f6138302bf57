//! Heartbeats keep the instruction and page budgets they are configured with, measured from outside
//! by the replica.

use millrace_candid::{Budgets, InitConfig, InitNetwork};
use millrace_tests::coins::CoinSet;
use millrace_tests::mining::{BlockPlan, Miner, output_of, pay, script, spend};
use millrace_tests::setup::{Setup, pushed};
use serde::Deserialize;

use crate::chains::{last_hash, mainnet};

const BUDGETS: Budgets = Budgets {
    instructions_per_heartbeat: 100_000_000,
    stable_pages_per_heartbeat: 500,
};

/// What a heartbeat may go beyond its budgets: the drain of the queue, which is bounded by admission,
/// and the one step that was under way when the budget ended.
const BEYOND: Budgets = Budgets {
    instructions_per_heartbeat: 100_000_000,
    stable_pages_per_heartbeat: 250,
};

/// One executed message, as the replica reports it.
#[derive(Debug, Deserialize)]
struct Usage {
    sequence: u64,
    kind: String,
    instructions: u64,
    stable_pages_dirtied: u64,
    succeeded: bool,
}

#[derive(Deserialize)]
struct UsageAnswer {
    next_sequence: u64,
    records: Vec<Usage>,
}

/// The largest heartbeat seen in each respect.
#[derive(Debug, Default)]
struct Largest {
    heartbeats: u64,
    instructions: u64,
    pages: u64,
}

/// Reads what heartbeats consumed, message by message, before the replica forgets.
struct Meter<'a> {
    setup: &'a Setup,
    client: reqwest::blocking::Client,
    next: u64,
    largest: Largest,
}

impl<'a> Meter<'a> {
    /// Nothing if the server is the real PocketIC, which reports no usage.
    fn new(setup: &'a Setup) -> Option<Self> {
        let mut meter = Self {
            setup,
            client: reqwest::blocking::Client::new(),
            next: 0,
            largest: Largest::default(),
        };
        match meter.read() {
            Some(()) => Some(meter),
            None => {
                eprintln!(
                    "SKIPPED: the server {} reports no usage; heartbeat budgets are not checked",
                    millrace_tests::artifacts::pocket_ic_server().display()
                );
                None
            }
        }
    }

    fn read(&mut self) -> Option<()> {
        let url = format!(
            "{}instances/{}/millrace/usage/{}?since={}",
            self.setup.pic.get_server_url(),
            self.setup.pic.instance_id(),
            self.setup.canister,
            self.next
        );
        let response = self.client.get(&url).send().expect("the server answers");
        if response.status() == reqwest::StatusCode::NOT_FOUND {
            return None;
        }
        assert!(
            response.status().is_success(),
            "{url}: {}",
            response.status()
        );
        let answer: UsageAnswer = response.json().expect("the server's own format");
        for record in answer.records {
            assert_eq!(record.sequence, self.next, "no message is missed");
            self.next += 1;
            if record.kind == "heartbeat" {
                assert!(record.succeeded, "{record:?}");
                let largest = &mut self.largest;
                largest.heartbeats += 1;
                largest.instructions = largest.instructions.max(record.instructions);
                largest.pages = largest.pages.max(record.stable_pages_dirtied);
            }
        }
        assert_eq!(answer.next_sequence, self.next);
        Some(())
    }

    fn tick_until_settled(&mut self) {
        for _ in 0..5_000 {
            self.setup.pic.tick();
            self.read().expect("it reported usage before");
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
        } = self.largest;
        let instructions_max =
            BUDGETS.instructions_per_heartbeat + BEYOND.instructions_per_heartbeat;
        let pages_max =
            u64::from(BUDGETS.stable_pages_per_heartbeat + BEYOND.stable_pages_per_heartbeat);
        assert!(
            instructions <= instructions_max && pages <= pages_max,
            "of {heartbeats} heartbeats the largest took {instructions} instructions (at most \
             {instructions_max}) and {pages} pages (at most {pages_max})"
        );
    }
}

fn budgeted(network: InitNetwork) -> Setup {
    Setup::new(InitConfig {
        budgets: Some(BUDGETS),
        ..pushed(network)
    })
}

#[test]
fn many_small_blocks_are_connected_within_the_budgets() {
    let blocks = &mainnet()[..=800];
    let setup = budgeted(InitNetwork::Mainnet);
    let meter = Meter::new(&setup);
    setup.push(&blocks[1..]);
    if let Some(mut meter) = meter {
        meter.tick_until_settled();
        meter.check();
    }
    setup.tick_until_tip(last_hash(blocks));
    setup.assert_equals(&CoinSet::of_chain(blocks).expect("a valid chain"), None);
}

#[test]
fn a_block_of_more_work_than_one_heartbeats_budget_is_connected_in_several() {
    let mut miner = Miner::new();
    let mut plan = BlockPlan::paying(&script(1));
    plan.coinbase = (0..6_000).map(|tag| pay(&script(tag), 1_000)).collect();
    let made = miner.mine(miner.tree.genesis(), plan);
    let inputs: Vec<_> = (0..6_000)
        .map(|vout| output_of(miner.tree.block(made), 0, vout))
        .collect();
    let outputs = (0..6_000)
        .map(|tag| pay(&script(tag + 3_000), 900))
        .collect();
    let plan = BlockPlan::paying(&script(2)).with(spend(&inputs, outputs));
    let tip = miner.mine(made, plan);

    let setup = budgeted(InitNetwork::Regtest);
    let meter = Meter::new(&setup);
    setup.push(miner.chain(tip));
    if let Some(mut meter) = meter {
        meter.tick_until_settled();
        meter.check();
        let least = 12_000 * 2 / u64::from(BUDGETS.stable_pages_per_heartbeat);
        assert!(
            meter.largest.heartbeats > least / 10,
            "{:?}: too few to have been budgeted",
            meter.largest
        );
    }
    setup.tick_until_tip(tip);
    setup.assert_equals(&miner.tree.coins_at(tip), None);
}
