//! The chain the table asks about, and what its names stand for.
//!
//! | height | coinbase | transactions |
//! |---|---|---|
//! | 1 | a: 10,000, b: 20,000 | |
//! | 2 | a: 3,000 | |
//! | 3 | c: 1 | |
//! | 4 | a: 4,000; the newest stable block | |
//! | 5 | b: 5,000 | `pay`: from a's 10,000 b: 9,000, a: 400, fee 600 for 113 bytes |
//! | 6 | c: 6 | `pay2`: from a's 400 c: 100, fee 300 for 82 bytes; `large`: from c's 1 c: 1, no fee |
//! | 7 | a: 7,000 | |
//! | 8 | a: 8,000; beside it `fork` with b: 80 | |
//!
//! At the tip a has 8,000, 7,000, 4,000 and 3,000, b has 5,000, 9,000 and 20,000, c has 6, 100 and 1.

use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;
use bitcoin::merkle_tree::MerkleBlock;
use bitcoin::{Address, Block, BlockHash, Network, ScriptBuf, Transaction};
use millrace_candid::{InitConfig, InitNetwork};
use millrace_tests::mining::{BlockPlan, Miner, output_of, pay, script, spend, spend_with_witness};
use millrace_tests::setup::{Setup, adapter_principal, pushed};

use super::question::{Names, blob};

/// Blocks above a stable one.
const STABILITY_THRESHOLD: u8 = 5;

/// More than one response holds.
const LARGE_BYTES: usize = 1_950_000;

/// Deploys a canister with the chain, and says what the table's names stand for.
pub fn deploy() -> (Setup, Names) {
    let (miner, tip, fork) = mine();
    let setup = Setup::new(InitConfig {
        stability_threshold: Some(STABILITY_THRESHOLD.into()),
        ..pushed(InitNetwork::Regtest)
    });
    setup.feed(miner.chain(tip));
    setup.feed([miner.tree.block(fork)]);
    let blocks = miner.tree.branch(tip);
    (setup, names(&blocks, miner.tree.block(fork)))
}

fn owner(name: &str) -> ScriptBuf {
    script(u64::from(name.as_bytes()[0]))
}

fn mine() -> (Miner, BlockHash, BlockHash) {
    let mut miner = Miner::new();
    let paying = |outputs: &[(&str, u64)]| BlockPlan {
        coinbase: outputs
            .iter()
            .map(|(name, value)| pay(&owner(name), *value))
            .collect(),
        ..BlockPlan::default()
    };
    let first = miner.mine(
        miner.tree.genesis(),
        paying(&[("a", 10_000), ("b", 20_000)]),
    );
    let second = miner.mine(first, paying(&[("a", 3_000)]));
    let third = miner.mine(second, paying(&[("c", 1)]));
    let fourth = miner.mine(third, paying(&[("a", 4_000)]));
    let payment = spend(
        &[output_of(miner.tree.block(first), 0, 0)],
        vec![pay(&owner("b"), 9_000), pay(&owner("a"), 400)],
    );
    let fifth = miner.mine(fourth, paying(&[("b", 5_000)]).with(payment));
    let second_payment = spend(
        &[output_of(miner.tree.block(fifth), 1, 1)],
        vec![pay(&owner("c"), 100)],
    );
    let large = spend_with_witness(
        &[output_of(miner.tree.block(third), 0, 0)],
        vec![pay(&owner("c"), 1)],
        &vec![0x4d; LARGE_BYTES],
    );
    let sixth = miner.mine(fifth, paying(&[("c", 6)]).with(second_payment).with(large));
    let seventh = miner.mine(sixth, paying(&[("a", 7_000)]));
    let tip = miner.mine(seventh, paying(&[("a", 8_000)]));
    let fork = miner.mine(seventh, paying(&[("b", 80)]));
    (miner, tip, fork)
}

fn names(blocks: &[&Block], fork: &Block) -> Names {
    let mut names = Names::default();
    for owner_name in ["a", "b", "c"] {
        let script = owner(owner_name);
        let address = Address::from_script(&script, Network::Regtest).expect("it has an address");
        names.set(owner_name, address.to_string());
        names.set_blob(&format!("script_{owner_name}"), script.as_bytes());
    }
    names.set("mainnet_address", "12higDjoCCNXSA95xZMWUdPvXNmkAduhWv");
    for (height, block) in blocks.iter().enumerate() {
        let hash = block.block_hash();
        names.set_blob(&format!("block{height}"), hash.as_byte_array());
        let id = format!(
            "record {{ hash = {}; height = {height} }}",
            blob(hash.as_byte_array())
        );
        names.set(&format!("id{height}"), id);
        names.set_blob(&format!("header{height}"), &serialize(&block.header));
        name_transaction(&mut names, &format!("coinbase{height}"), &block.txdata[0]);
    }
    names.set("tip_hex", blocks[8].block_hash().to_string());
    names.set("time8", blocks[8].header.time.to_string());
    names.set_blob("fork", fork.block_hash().as_byte_array());
    names.set_blob("fork_header", &serialize(&fork.header));
    name_transaction(&mut names, "fork_coinbase", &fork.txdata[0]);
    name_transaction(&mut names, "pay", &blocks[5].txdata[1]);
    let large = &blocks[6].txdata[2];
    names.set_blob("large", large.compute_txid().as_byte_array());
    names.set("large_size", serialize(large).len().to_string());
    let raw = serialize(blocks[5]);
    names.set_blob("block5_bytes", &raw);
    names.set_blob("block5_some_bytes", &raw[100..150]);
    names.set("block5_size", raw.len().to_string());
    name_proofs(&mut names, blocks);
    name_odds(&mut names, blocks);
    names
}

fn name_transaction(names: &mut Names, name: &str, transaction: &Transaction) {
    names.set_blob(name, transaction.compute_txid().as_byte_array());
    names.set_blob(&format!("{name}_bytes"), &serialize(transaction));
}

/// A merkle block for `pay`, and one that is too long by a byte.
fn name_proofs(names: &mut Names, blocks: &[&Block]) {
    let pay = blocks[5].txdata[1].compute_txid();
    let proof = serialize(&MerkleBlock::from_block_with_predicate(blocks[5], |txid| {
        *txid == pay
    }));
    names.set_blob("proof", &proof);
    names.set("proof_size", proof.len().to_string());
    names.set_blob("longer_proof", &[proof.as_slice(), &[0]].concat());
    names.set_blob("too_long_proof", &vec![0; 600_001]);
}

/// What is not on the chain, and lists too long to write down.
fn name_odds(names: &mut Names, blocks: &[&Block]) {
    names.set_blob("nowhere", &[7; 32]);
    names.set_blob("short", &[7; 31]);
    names.set_blob("short_page", &[7; 71]);
    names.set_blob("foreign_page", &[7; 72]);
    names.set_blob("long_script", &vec![1; 10_001]);
    let fourth = blocks[4].txdata[0].compute_txid();
    // The reference's layout: tip, height inverted and big-endian, txid, index.
    let page = [
        blocks[8].block_hash().as_byte_array().as_slice(),
        &(!4_u32).to_be_bytes(),
        fourth.as_byte_array(),
        &[0; 4],
    ]
    .concat();
    names.set_blob("page", &page);
    let many = |item: &str| format!("vec {{ {} }}", format!("{item}; ").repeat(101));
    names.set("many_owners", many("variant { script = blob \"\\51\" }"));
    let outpoint = format!("record {{ txid = {}; vout = 0 }}", blob(&[7; 32]));
    names.set("many_outpoints", many(&outpoint));
    names.set(
        "many_siblings",
        format!("vec {{ {} }}", format!("{}; ", blob(&[7; 32])).repeat(16)),
    );
    let rates = |rates: &[(usize, u64)]| {
        let list = rates
            .iter()
            .map(|(count, rate)| format!("{rate}; ").repeat(*count));
        format!("vec {{ {} }}", list.collect::<String>())
    };
    // Nearest rank: the n-th percentile of m values is the one of rank n * m / 100, rounded up.
    let (first, second) = (600_000 / 113, 300_000 / 82);
    names.set("percentiles", rates(&[(34, 0), (33, second), (34, first)]));
    names.set("percentiles5", rates(&[(101, first)]));
    names.set("adapter", format!("principal \"{}\"", adapter_principal()));
    names.set("management", "principal \"aaaaa-aa\"");
    names.set("version", env!("CARGO_PKG_VERSION"));
    let health = names.fill(super::table::HEALTH);
    names.set("health_size", health.len().to_string());
    names.set_blob("health", health.as_bytes());
}
