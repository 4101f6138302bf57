//! Upgrades in the middle of things, and reinstalling: nothing is lost, nothing is made up.

use bitcoin::{Block, BlockHash};
use millrace_candid::{
    Balance, Budgets, CanisterArg, Config, InitConfig, InitNetwork, PartOutcome, SetConfigRequest,
    Utxo,
};
use millrace_tests::coins::CoinSet;
use millrace_tests::compare;
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

/// What an upgrade in the middle of ingestion must not change. Heartbeats run with it, so the height
/// rises and the queue shortens; their sum stays.
#[derive(Debug, PartialEq)]
struct Kept {
    config: Config,
    /// Blocks connected or waiting.
    blocks: u32,
    /// Coins and balance of the owners of a block's coinbase and of its parent's, at that block.
    answers: Vec<(Vec<Utxo>, Balance)>,
}

impl Kept {
    fn at(setup: &Setup, blocks: &[Block], height: u32, tip: BlockHash) -> Self {
        let feed = setup.feed_state().expect("the adapter asks");
        let parent = (height as usize).saturating_sub(1);
        let answers = blocks[parent..=height as usize]
            .iter()
            .map(|block| {
                let owner = compare::owner(&block.txdata[0].output[0].script_pubkey);
                let (utxos, _) = setup.all_utxos(&owner, Some(tip), None);
                (utxos, setup.balance(&owner, Some(tip)))
            })
            .collect();
        Self {
            config: setup.config(),
            blocks: feed.tip.height + setup.waiting_of(&feed),
            answers,
        }
    }
}

#[test]
fn upgrades_in_the_middle_of_ingestion_lose_nothing() {
    let blocks = &mainnet()[..=600];
    let setup = Setup::new(InitConfig {
        budgets: Some(TINY),
        ..pushed(InitNetwork::Mainnet)
    });
    let mut arguments = empty_arguments().into_iter().cycle();
    let mut upgrades_with_work_left = 0;
    for chunk in blocks[1..].chunks(100) {
        setup.push(chunk);
        for _ in 0..3 {
            setup.pic.tick();
            let (height, tip) = (height(&setup), setup.tip());
            let before = Kept::at(&setup, blocks, height, tip);
            let argument = arguments.next().expect("they repeat");
            setup.upgrade(argument).expect("the same module upgrades");
            assert_eq!(Kept::at(&setup, blocks, height, tip), before);
            upgrades_with_work_left += u32::from(!setup.is_settled());
        }
    }
    assert!(
        upgrades_with_work_left > 0,
        "nothing was in the middle of anything"
    );
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
