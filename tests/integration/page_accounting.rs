//! The canister's own account of the stable pages it writes is what the system measures: over the
//! installation, pushes, each phase of connecting, merges and replies, in each version. What an upgrade
//! itself writes is left out: the heap that held the account of the message before is gone then.

use millrace_candid::{Budgets, CanisterArg, InitConfig, InitNetwork, SetConfigRequest};
use millrace_tests::artifacts;
use millrace_tests::mining::{BlockPlan, Miner, pay, script};
use millrace_tests::setup::{BitcoinAdapter, Control, Setup, encode, pushed};

/// The canister's account: pages by message, added up.
const ACCOUNT: &str = "millrace_stable_pages_written_total";

/// Budgets that cut the work into pieces of all sizes.
const BUDGETS: Budgets = Budgets {
    instructions_per_heartbeat: 15_000_000,
    stable_pages_per_heartbeat: 200,
};

/// Compares the account with the replica's measurements, epoch by epoch.
struct Ledger<'a> {
    setup: &'a Setup,
    next: u64,
    measured: u64,
    account_before: u64,
    messages: u64,
}

impl<'a> Ledger<'a> {
    fn new(setup: &'a Setup) -> Self {
        Self {
            setup,
            next: 0,
            measured: 0,
            account_before: 0,
            messages: 0,
        }
    }

    fn account(&self) -> u64 {
        self.setup.metrics()[ACCOUNT] as u64
    }

    /// Reads what messages wrote since the last time, before the replica forgets.
    fn read(&mut self) {
        for record in self.setup.usage(self.next).unwrap_or_default() {
            assert_eq!(record.sequence, self.next, "no message is missed");
            self.next += 1;
            // What a query writes is undone, and so is what a failed message wrote.
            if record.succeeded
                && !record.kind.contains("query")
                && record.kind != "inspect_message"
            {
                self.measured += record.stable_pages_dirtied;
                self.messages += u64::from(record.stable_pages_dirtied > 0);
            }
        }
    }

    fn check(&mut self, after: &str) {
        self.read();
        let account = self.account() - self.account_before;
        assert_eq!(account, self.measured, "pages after {after}");
    }

    /// Begins anew after an upgrade: what the message before it wrote was not booked yet.
    fn begin_epoch(&mut self) {
        self.read();
        self.account_before = self.account();
        self.measured = 0;
    }
}

fn mined(blocks: u32) -> (Miner, bitcoin::BlockHash) {
    let mut miner = Miner::new();
    let tip = (0..blocks).fold(miner.tree.genesis(), |parent, block| {
        let outputs = (0..700).map(|output| pay(&script(u64::from(block * 700 + output)), 5));
        let plan = BlockPlan {
            coinbase: outputs.collect(),
            ..BlockPlan::default()
        };
        miner.mine(parent, plan)
    });
    (miner, tip)
}

#[test]
fn pushes_heartbeats_and_merges_write_the_pages_that_each_version_counts() {
    if !artifacts::is_own_server() {
        return;
    }
    let setup = Setup::new(InitConfig {
        budgets: Some(BUDGETS),
        // So that blocks become stable and are merged.
        stability_threshold: Some(3u8.into()),
        ..pushed(InitNetwork::Regtest)
    });
    let (miner, tip) = mined(40);
    let blocks = miner.chain(tip);
    let mut ledger = Ledger::new(&setup);
    ledger.check("the installation");
    setup.push(blocks[..10].iter().copied());
    ledger.check("pushes");
    while !setup.is_settled() {
        setup.pic.tick();
        ledger.check("a heartbeat");
    }
    setup.feed(blocks[10..30].iter().copied());
    for _ in 0..50 {
        setup.pic.tick();
    }
    ledger.check("merges");
    assert!(setup.metrics()["millrace_blocks_retired_total"] > 20.0);
    for change in [None, Some(SetConfigRequest::default())] {
        setup
            .upgrade(encode(CanisterArg::Upgrade(change)))
            .expect("it upgrades");
        ledger.begin_epoch();
        setup.pic.tick();
        ledger.check("the first heartbeat of a version");
        setup.push(blocks[30..].iter().copied());
        ledger.check("pushes after an upgrade");
        setup.settle();
        ledger.check("all blocks");
    }
    assert_eq!(setup.tip(), tip);
    assert!(ledger.messages > 30, "{} messages wrote", ledger.messages);
}

#[test]
fn replies_write_the_pages_that_the_canister_counts() {
    if !artifacts::is_own_server() {
        return;
    }
    let (miner, tip) = mined(12);
    let setup = Setup::official(BUDGETS);
    let control = Control::of(&setup.pic);
    let mut adapter = BitcoinAdapter::new(&setup, miner.chain(tip), 1, 4);
    let mut ledger = Ledger::new(&setup);
    for _ in 0..500 {
        if setup.tip() == tip {
            break;
        }
        adapter.work(&control);
        setup.advance(1);
        control.tick().expect("no replica crashes");
        ledger.check("a round");
    }
    assert_eq!(setup.tip(), tip);
}
