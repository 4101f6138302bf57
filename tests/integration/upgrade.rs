//! Upgrades in the middle of things, and reinstalling: nothing is lost, nothing is made up.

use millrace_candid::{
    Budgets, CanisterArg, InitConfig, InitNetwork, PartOutcome, SetConfigRequest,
};
use millrace_tests::coins::CoinSet;
use millrace_tests::mining::{BlockPlan, Miner, script};
use millrace_tests::setup::{Setup, encode, hash_of, parts_of, pushed};

use crate::chains::{last_hash, mainnet};

/// Budgets so small that a few blocks take many heartbeats.
const TINY: Budgets = Budgets {
    instructions_per_heartbeat: 1_000_000,
    stable_pages_per_heartbeat: 16,
};

/// The spellings of "no argument" that an upgrade accepts.
fn empty_arguments() -> [Vec<u8>; 3] {
    [
        encode(CanisterArg::Upgrade(None)),
        encode(None::<CanisterArg>),
        candid::encode_args(()).expect("nothing encodes"),
    ]
}

#[test]
fn upgrades_in_the_middle_of_ingestion_lose_nothing() {
    let blocks = &mainnet()[..=600];
    let setup = Setup::new(InitConfig {
        budgets: Some(TINY),
        ..pushed(InitNetwork::Mainnet)
    });
    let mut arguments = empty_arguments().into_iter().cycle();
    for blocks in blocks[1..].chunks(100) {
        setup.push(blocks);
        for _ in 0..3 {
            setup.pic.tick();
            let before = setup.snapshot(&[]);
            let argument = arguments.next().expect("they repeat");
            setup.upgrade(argument).expect("the same module upgrades");
            let after = setup.snapshot(&[]);
            assert_ne!(
                setup.feed_state().expect("the adapter asks").free_blocks,
                0,
                "the queue survives, it does not fill"
            );
            // A heartbeat may run with the upgrade: heights only rise.
            assert!(height(&setup) <= 600, "{before:?} {after:?}");
        }
    }
    setup.tick_until_tip(last_hash(blocks));
    setup.assert_equals(&CoinSet::of_chain(blocks).expect("a valid chain"), None);
    assert_eq!(setup.config().budgets, TINY, "the configuration survives");
}

#[test]
fn a_half_pushed_block_survives_an_upgrade() {
    let mut miner = Miner::new();
    let tip = miner.mine(miner.tree.genesis(), BlockPlan::paying(&script(1)));
    let block = miner.tree.block(tip);
    let mut parts = parts_of(block, 60).into_iter();
    let setup = Setup::regtest();
    let first = parts.next().expect("a block has more than 60 bytes");
    assert_eq!(
        setup.push_part(first),
        PartOutcome::Incomplete { received: 60 }
    );

    setup
        .upgrade(encode(CanisterArg::Upgrade(None)))
        .expect("the same module upgrades");

    let half = setup.feed_state().expect("the adapter asks").half_received;
    assert_eq!(half.len(), 1);
    assert_eq!((hash_of(&half[0].hash), half[0].received), (tip, 60));
    let outcomes: Vec<_> = parts.map(|part| setup.push_part(part)).collect();
    assert_eq!(outcomes.last(), Some(&PartOutcome::Queued));
    setup.tick_until_tip(tip);
}

#[test]
fn an_upgrade_can_change_the_configuration() {
    let setup = Setup::regtest();
    let change = SetConfigRequest {
        budgets: Some(TINY),
        ..SetConfigRequest::default()
    };
    setup
        .upgrade(encode(CanisterArg::Upgrade(Some(change))))
        .expect("a good argument");
    assert_eq!(setup.config().budgets, TINY);
}

#[test]
fn the_wrong_argument_variant_is_refused_and_changes_nothing() {
    let setup = Setup::regtest();
    let before = setup.snapshot(&[]);
    let reject = setup
        .upgrade(encode(CanisterArg::Init(pushed(InitNetwork::Regtest))))
        .expect_err("init arguments upgrade nothing");
    assert!(
        reject
            .reject_message
            .contains("expected Upgrade arguments got Init arguments"),
        "{reject}"
    );
    assert_eq!(setup.snapshot(&[]), before);
    let reject = setup
        .reinstall(encode(CanisterArg::Upgrade(None)))
        .expect_err("upgrade arguments install nothing");
    assert!(
        reject
            .reject_message
            .contains("expected Init arguments got Upgrade arguments"),
        "{reject}"
    );
    assert_eq!(setup.snapshot(&[]), before);
}

#[test]
fn a_reinstalled_canister_starts_from_genesis_and_ingests_again() {
    let blocks = &mainnet()[..=300];
    let setup = Setup::mainnet();
    setup.feed(&blocks[1..]);
    assert_eq!(height(&setup), 300);
    setup
        .reinstall(encode(CanisterArg::Init(pushed(InitNetwork::Mainnet))))
        .expect("the module installs");
    assert_eq!(height(&setup), 0);
    assert_eq!(setup.tip(), blocks[0].block_hash());
    setup.feed(&blocks[1..]);
    setup.assert_equals(&CoinSet::of_chain(blocks).expect("a valid chain"), None);
}

fn height(setup: &Setup) -> u32 {
    setup.info().height
}
