//! Pulling blocks from a source canister: whole chains, large blocks in pages, upgrades with a call in
//! flight, and a source that answers nonsense.

use bitcoin::BlockHash;
use millrace_candid::{CanisterArg, InitNetwork};
use millrace_source_canister::wire::{Fault, Options};
use millrace_tests::coins::CoinSet;
use millrace_tests::mining::{BlockPlan, Miner, output_of, pay, script, spend_with_witness};
use millrace_tests::setup::{Setup, Source, encode};

use crate::chains::{last_hash, mainnet};

/// Seconds after which a canister that backs off, or waits for a lost reply, asks again.
const PATIENCE_SECONDS: u64 = 1_200;

/// A regtest source with a chain of this many blocks.
fn regtest(blocks: u32) -> (Setup, Source, Miner, BlockHash) {
    let mut miner = Miner::new();
    let tip = miner.mine_many(miner.tree.genesis(), blocks, &script(1));
    let (setup, source) = Setup::pulling(InitNetwork::Regtest);
    source.load(&setup, miner.chain(tip));
    (setup, source, miner, tip)
}

/// Runs rounds, letting time pass as it does on the IC, until reads answer from `tip`.
fn reach(setup: &Setup, tip: BlockHash) {
    for _ in 0..2_000 {
        if setup.tip() == tip {
            return;
        }
        setup.pic.tick();
        setup.advance(1);
    }
    panic!("tip {tip} is not reached: {:#?}", setup.feed_state());
}

#[test]
fn pulled_mainnet_blocks_give_every_scripts_true_coins_and_balance() {
    let blocks = mainnet();
    let (setup, source) = Setup::pulling(InitNetwork::Mainnet);
    source.load(&setup, &blocks[1..]);
    reach(&setup, last_hash(blocks));
    setup.assert_equals(&CoinSet::of_chain(blocks).expect("a valid chain"), None);
    let calls = source.calls(&setup);
    assert_eq!(calls.at_once_max, 1, "one call in flight");
    assert_eq!(calls.follow_up, 0);
    assert!(
        calls.initial >= 4_521 / 100,
        "100 blocks a reply: {calls:?}"
    );
}

#[test]
fn a_large_block_comes_in_pages() {
    let mut miner = Miner::new();
    let funded = miner.mine(miner.tree.genesis(), BlockPlan::paying(&script(1)));
    let coin = output_of(miner.tree.block(funded), 0, 0);
    let outputs = vec![pay(&script(2), 7)];
    let large = spend_with_witness(&[coin], outputs, &vec![0xab; 1_000_000]);
    let middle = miner.mine(funded, BlockPlan::paying(&script(3)).with(large));
    let tip = miner.mine(middle, BlockPlan::paying(&script(4)));
    let (setup, source) = Setup::pulling(InitNetwork::Regtest);
    source.set_options(
        &setup,
        &Options {
            page_bytes: 150_000,
            ..Options::default()
        },
    );
    source.load(&setup, miner.chain(tip));
    reach(&setup, tip);
    setup.assert_equals(&miner.tree.coins_at(tip), None);
    assert_eq!(
        source.calls(&setup).follow_up,
        6,
        "1,000,000 bytes and more in 7 pages"
    );
}

#[test]
fn a_new_branch_with_more_work_is_pulled_and_wins() {
    let (setup, source, mut miner, tip) = regtest(20);
    reach(&setup, tip);
    let fork = miner.tree.ancestor(tip, 12);
    let other = miner.mine_many(fork, 9, &script(2));
    source.load(&setup, miner.chain(other));
    reach(&setup, other);
    setup.assert_equals(&miner.tree.coins_at(other), None);
    setup.assert_equals(&miner.tree.coins_at(tip), Some(tip));
}

#[test]
fn an_upgrade_while_a_call_is_in_flight_loses_nothing() {
    let (setup, source, miner, tip) = regtest(60);
    let slow = Options {
        reply_blocks: 10,
        delay_rounds: 5,
        ..Options::default()
    };
    source.set_options(&setup, &slow);
    let mut upgrades_in_flight = 0;
    for _ in 0..12 {
        setup.pic.tick();
        setup.pic.tick();
        if setup.metrics()["millrace_pull_in_flight"] == 1.0 {
            upgrades_in_flight += 1;
        }
        setup
            .upgrade(encode(CanisterArg::Upgrade(None)))
            .expect("a canister with open calls upgrades");
    }
    assert!(
        upgrades_in_flight > 0,
        "no call was in flight at any upgrade"
    );
    for _ in 0..200 {
        if setup.tip() == tip {
            break;
        }
        setup.pic.tick();
        // A reply that an upgrade lost is waited for, then asked for again.
        setup.advance(PATIENCE_SECONDS / 10);
    }
    reach(&setup, tip);
    setup.assert_equals(&miner.tree.coins_at(tip), None);
}

#[test]
fn a_source_that_answers_nonsense_is_asked_again_and_changes_nothing() {
    for fault in [
        Fault::Empty,
        Fault::GarbageBlocks,
        Fault::GarbageReply,
        Fault::Reject,
        Fault::UnaskedPage,
    ] {
        let mut miner = Miner::new();
        let tip = miner.mine_many(miner.tree.genesis(), 5, &script(1));
        let (setup, source) = Setup::pulling(InitNetwork::Regtest);
        let options = Options {
            fault: Some(fault),
            fault_calls: 3,
            ..Options::default()
        };
        source.set_options(&setup, &options);
        source.load(&setup, miner.chain(tip));
        let genesis = miner.tree.genesis();
        let mut rounds = 0;
        while source.calls(&setup).initial <= 3 {
            rounds += 1;
            assert!(rounds < 500, "{fault:?}: it asks no more");
            assert!([genesis, tip].contains(&setup.tip()), "{fault:?}");
            setup.pic.tick();
            setup.advance(PATIENCE_SECONDS / 10);
        }
        reach(&setup, tip);
        setup.assert_equals(&miner.tree.coins_at(tip), None);
        assert_eq!(source.calls(&setup).at_once_max, 1, "{fault:?}");
    }
}

#[test]
fn nothing_is_asked_while_pulling_or_syncing_is_switched_off() {
    use millrace_candid::{Flag, SetConfigRequest};
    let (setup, source, _, tip) = regtest(5);
    reach(&setup, tip);
    let switch = |request: SetConfigRequest| {
        setup
            .update::<()>(setup.controller, "set_config", (request,))
            .expect("a controller may");
    };
    for off in [
        SetConfigRequest {
            pull: Some(Flag::Disabled),
            ..SetConfigRequest::default()
        },
        SetConfigRequest {
            syncing: Some(Flag::Disabled),
            ..SetConfigRequest::default()
        },
    ] {
        switch(off);
        for _ in 0..3 {
            setup.pic.tick();
        }
        let before = source.calls(&setup);
        for _ in 0..10 {
            setup.advance(60);
            setup.pic.tick();
        }
        assert_eq!(source.calls(&setup), before);
        switch(SetConfigRequest {
            pull: Some(Flag::Enabled),
            syncing: Some(Flag::Enabled),
            ..SetConfigRequest::default()
        });
        for _ in 0..10 {
            setup.advance(60);
            setup.pic.tick();
        }
        assert_ne!(source.calls(&setup), before, "asked again");
    }
}
