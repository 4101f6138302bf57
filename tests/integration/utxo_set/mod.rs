//! What the canister says of its stable set, against Bitcoin Core's `gettxoutsetinfo muhash`: as it was
//! recorded for mainnet, and by a real node over chains made at random.
//!
//! Tests that need a node are ignored unless asked for; `cargo xtask test` runs them where one is there.

pub mod locks;
mod process;
pub mod random;
mod snapshot;

use bitcoin::Block;
use bitcoin::hashes::Hash;
use candid::{Nat, Principal};
use millrace_candid::{
    BlockValidation, Flag, GetStatusArgs, GetStatusResult, GetUtxoSetInfoArgs,
    GetUtxoSetInfoResult, InitConfig, InitNetwork, ReadError, SetConfigRequest, UtxoSetCommitment,
};
use millrace_tests::artifacts;
use millrace_tests::bitcoind::{Node, SetSummary};
use millrace_tests::block_file::read_mainnet;
use millrace_tests::setup::{Setup, pushed};

use random::RandomChain;

/// Reads a line of the recorded values.
fn of_line(line: &str) -> SetSummary {
    let fields: Vec<&str> = line.split(',').collect();
    let [height, block, outputs, satoshi, bogosize, muhash] = fields[..] else {
        panic!("{line}");
    };
    let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("{line}"));
    SetSummary {
        height: height.parse().unwrap_or_else(|_| panic!("{line}")),
        block: block.to_owned(),
        outputs: number(outputs),
        satoshi: number(satoshi),
        bogosize: number(bogosize),
        muhash: muhash.to_owned(),
    }
}

/// What Bitcoin Core said of mainnet.
fn recorded() -> Vec<SetSummary> {
    read(&artifacts::mainnet_sets())
}

fn read(path: &std::path::Path) -> Vec<SetSummary> {
    let text =
        std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().skip(1).map(of_line).collect()
}

fn mainnet_blocks() -> Vec<Block> {
    let file = read_mainnet(&artifacts::mainnet_blocks()).expect("the fixture is whole");
    file.blocks
}

fn asked(setup: &Setup, height: Option<u32>) -> GetUtxoSetInfoResult {
    let args = Some(GetUtxoSetInfoArgs { height });
    let asked = setup.query(Principal::anonymous(), "get_utxo_set_info_query", (args,));
    asked.expect("a query is answered")
}

fn of_canister(setup: &Setup, height: u32) -> SetSummary {
    let info = asked(setup, Some(height)).unwrap_or_else(|error| panic!("{height}: {error:?}"));
    let mut hash = info.block.hash.to_vec();
    hash.reverse();
    SetSummary {
        height: info.block.height,
        block: hex::encode(hash),
        outputs: info.outputs,
        satoshi: u64::try_from(info.total_amount.0).expect("no more than there is"),
        bogosize: info.bogosize,
        muhash: info.muhash,
    }
}

fn standing(setup: &Setup) -> UtxoSetCommitment {
    let args: Option<GetStatusArgs> = None;
    let status: GetStatusResult = setup
        .query(Principal::anonymous(), "get_status_query", (args,))
        .expect("a query is answered");
    status
        .expect("the best tip can be read")
        .utxo_set_commitment
}

/// Runs rounds until the heights in a range are known, and returns that range.
fn complete(setup: &Setup) -> (u32, u32) {
    setup.tick_until("a complete commitment", |setup| {
        matches!(standing(setup), UtxoSetCommitment::Complete { .. })
    });
    match standing(setup) {
        UtxoSetCommitment::Complete {
            min_height,
            max_height,
        } => (min_height, max_height),
        other => panic!("{other:?}"),
    }
}

fn committing(network: InitNetwork, threshold: u32) -> InitConfig {
    InitConfig {
        stability_threshold: Some(Nat::from(threshold)),
        utxo_set_commitment: Some(Flag::Enabled),
        block_validation: Some(BlockValidation::Consensus),
        ..pushed(network)
    }
}

#[test]
fn mainnet_heights_are_what_bitcoin_core_said_before_and_after_an_upgrade() {
    let setup = Setup::new(committing(InitNetwork::Mainnet, 10));
    let (blocks, recorded) = (mainnet_blocks(), recorded());
    let mut compared = Vec::new();
    for part in [&blocks[1..2_001], &blocks[2_001..]] {
        setup.feed(part);
        setup.upgrade(Vec::new()).expect("an upgrade");
        let (min_height, max_height) = complete(&setup);
        let heights = min_height..=max_height;
        for expected in recorded.iter().filter(|it| heights.contains(&it.height)) {
            assert_eq!(&of_canister(&setup, expected.height), expected);
            compared.push(expected.height);
        }
    }
    compared.dedup();
    assert!(compared.len() > 150, "{}", compared.len());
    assert!(compared.contains(&0) && compared.contains(&4_512));
}

#[test]
fn a_commitment_that_is_asked_for_late_catches_up_to_what_bitcoin_core_said() {
    let setup = Setup::new(InitConfig {
        utxo_set_commitment: None,
        ..committing(InitNetwork::Mainnet, 10)
    });
    let blocks = mainnet_blocks();
    setup.feed(&blocks[1..1_009]);
    assert_eq!(asked(&setup, None), Err(ReadError::CommitmentOff));
    let change = SetConfigRequest {
        utxo_set_commitment: Some(Flag::Enabled),
        ..SetConfigRequest::default()
    };
    let () = setup
        .update(setup.controller, "set_config", (change,))
        .expect("a controller may");
    let (first, _) = complete(&setup);
    setup.feed(&blocks[1_009..1_061]);
    assert_eq!(first, 999);
    assert_eq!(complete(&setup), (999, 1_051));
    for expected in recorded()
        .iter()
        .filter(|it| (999..=1_051).contains(&it.height))
    {
        assert_eq!(&of_canister(&setup, expected.height), expected);
    }
}

#[test]
#[ignore = "needs Bitcoin Core: `cargo xtask bitcoind`"]
fn core_node_says_of_mainnet_what_was_recorded() {
    let node = Node::start("main");
    node.submit(&mainnet_blocks()[1..]);
    compare_all(&node, "mainnet", &recorded());
}

/// Compares what is recorded of a chain with what a node says: some heights one by one, all of them by the hash of
/// their list.
fn compare_all(node: &Node, chain: &str, recorded: &[SetSummary]) {
    let path = artifacts::set_listings();
    let listings = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let of_chain = |line: &&str| line.starts_with(&format!("{chain},"));
    let line = listings
        .lines()
        .find(of_chain)
        .expect("a line of the chain");
    let fields: Vec<&str> = line.split(',').collect();
    let last: u32 = fields[1].parse().expect("a height");
    let said = node.sets(0..=last);
    let mut listing = String::new();
    for set in &said {
        let SetSummary {
            height,
            block,
            outputs,
            satoshi,
            bogosize,
            muhash,
        } = set;
        listing += &format!("{height},{block},{outputs},{satoshi},{bogosize},{muhash}\n");
    }
    let hash = bitcoin::hashes::sha256::Hash::hash(listing.as_bytes());
    assert_eq!(hash.to_string(), fields[2], "{chain}");
    for expected in recorded.iter().filter(|it| it.height <= last) {
        assert_eq!(&said[expected.height as usize], expected);
    }
}

#[test]
#[ignore = "needs Bitcoin Core: `cargo xtask bitcoind`"]
fn core_node_says_of_testnet3_what_was_recorded() {
    let node = Node::start("test");
    let bytes = std::fs::read(artifacts::testnet3_blocks()).expect("the fixture is there");
    let magic = bitcoin::p2p::Magic::TESTNET3.to_bytes();
    let file = millrace_tests::block_file::parse(&bytes, magic).expect("the fixture is whole");
    assert_eq!(file.blocks.len(), 4_000);
    node.submit(&file.blocks);
    compare_all(&node, "testnet3", &read(&artifacts::testnet3_sets()));
}

#[test]
#[ignore = "needs Bitcoin Core: `cargo xtask bitcoind`"]
fn core_node_agrees_at_every_height_of_random_chains_with_reorgs() {
    for seed in [1, 2] {
        let node = Node::start("regtest");
        let setup = Setup::new(committing(InitNetwork::Regtest, 5));
        let mut chain = RandomChain::new(seed);
        let mut next = 0;
        for batch in 0..12 {
            let blocks = chain.grow(if batch == 0 { 110 } else { 20 });
            node.submit(&blocks);
            setup.feed(&blocks);
            if batch % 4 == 3 {
                setup.upgrade(Vec::new()).expect("an upgrade");
            }
            assert_eq!(setup.tip().to_string(), node.tip(), "seed {seed}");
            let (_, anchor) = complete(&setup);
            for expected in node.sets(next..=anchor) {
                assert_eq!(
                    of_canister(&setup, expected.height),
                    expected,
                    "seed {seed}"
                );
            }
            next = anchor + 1;
        }
        assert!(next > 250, "{next}");
        chain.assert_covers_everything();
    }
}
