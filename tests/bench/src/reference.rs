//! The workloads of the official canister's published benchmarks, on the same chain shapes.
//!
//! Theirs are functions called inside the canister; ours are whole messages, with decoding, encoding
//! and everything a heartbeat does besides. Where a chain has more than 500 blocks, regtest's limit of
//! depth makes the older ones stable here.

use anyhow::{Context, Result};
use bitcoin::Block;
use bitcoin::block::Header;
use bitcoin::consensus::serialize;
use candid::encode_one;
use millrace_candid::official::{
    GetBalanceRequest, GetBlockHeadersRequest, GetUtxosRequest, NetworkInRequest,
    UtxosFilterInRequest,
};
use millrace_candid::{BlockValidation, Flag, InitConfig, InitNetwork, official};
use millrace_source_canister::wire::GetSuccessorsResponse;
use millrace_subnet::MessageKind;
use millrace_tests::chain::reference::{Shape, address_script, forks};
use millrace_tests::{artifacts, block_file};
use serde_bytes::ByteBuf;

use crate::canister::{Canister, adapter};
use crate::counts::{Counts, Row};
use crate::mark::config;
use crate::reads::Rows;
use crate::sample;
use crate::workload::Bench;

/// Blocks fed at once: their serialised bytes stay far below what memory has.
const BATCH: usize = 20;

/// A canister of the default threshold, or another one.
fn installed(bench: &Bench, threshold: u32) -> Result<Canister> {
    let config = config(threshold, BlockValidation::ProofOfWork);
    Canister::install(&bench.module, config)
}

fn feed(
    bench: &Bench,
    name: &str,
    canister: &mut Canister,
    chain: impl Iterator<Item = Block>,
) -> Result<Counts> {
    let mut counts = Counts::default();
    let mut batch = Vec::with_capacity(BATCH);
    let mut fed = 0;
    for block in chain {
        batch.push(block);
        if batch.len() == BATCH {
            counts.join(&canister.take_in_all(&batch)?);
            fed += batch.len();
            batch.clear();
            if bench.talks && fed.is_multiple_of(100) {
                eprintln!("  {name}: {fed} blocks");
            }
        }
    }
    counts.join(&canister.take_in_all(&batch)?);
    Ok(counts)
}

fn one(name: &str, row: Row) -> Rows {
    vec![(format!("reference.{name}"), row)]
}

/// Makes a query and returns its counts and its reply.
fn asked(canister: &mut Canister, method: &str, payload: Vec<u8>) -> Result<(Counts, Vec<u8>)> {
    canister.records()?;
    let reply = canister.query(method, payload)?;
    let records = canister.records()?;
    let record = records.last().context("the query left no usage record")?;
    Ok((Counts::of(record), reply))
}

/// Makes an update call and returns its counts.
fn told(canister: &mut Canister, method: &str, payload: Vec<u8>) -> Result<Counts> {
    canister.records()?;
    canister.update(method, payload)?;
    let records = canister.records()?;
    let record = records
        .iter()
        .find(|record| record.kind == MessageKind::Update && record.method == method);
    Ok(Counts::of(record.context("the call left no usage record")?))
}

pub fn address_baseline(bench: &Bench) -> Result<Rows> {
    address(bench, "baseline", 3)
}

pub fn address_stress(bench: &Bench) -> Result<Rows> {
    address(bench, "stress", 100)
}

/// Chain(100, 3000, 3, A): the address's balance and all pages of its coins.
fn address(bench: &Bench, name: &str, to_address: u32) -> Result<Rows> {
    let mut canister = installed(bench, 144)?;
    let chain = Shape::new(100, 3_000, 3, to_address).chain();
    feed(bench, name, &mut canister, chain)?;
    let address = sample::address(&address_script())?;
    let network = NetworkInRequest::Regtest;
    let balance = encode_one(GetBalanceRequest {
        address: address.clone(),
        network,
        min_confirmations: None,
    })?;
    let (balance, _) = asked(&mut canister, "bitcoin_get_balance_query", balance)?;
    let mut pages = Counts::default();
    let mut filter = None;
    let mut utxos = 0;
    loop {
        let request = GetUtxosRequest {
            address: address.clone(),
            network,
            filter: filter.take(),
        };
        let (counts, reply) = asked(
            &mut canister,
            "bitcoin_get_utxos_query",
            encode_one(request)?,
        )?;
        pages.join(&counts);
        let reply: official::GetUtxosResponse = candid::decode_one(&reply)?;
        utxos += reply.utxos.len();
        match reply.next_page {
            Some(page) => filter = Some(UtxosFilterInRequest::Page(page)),
            None => break,
        }
    }
    anyhow::ensure!(
        utxos == to_address as usize * 100,
        "the address has {utxos} coins"
    );
    Ok([
        one(&format!("get_balance_{name}"), balance.row()),
        one(&format!("get_utxos_{name}"), pages.row()),
    ]
    .concat())
}

pub fn headers_baseline(bench: &Bench) -> Result<Rows> {
    headers(bench, "headers_baseline", 100)
}

pub fn headers_stress(bench: &Bench) -> Result<Rows> {
    headers(bench, "headers_stress", 5_000)
}

/// Chain(B, 1, 1, 0): the last 100 headers.
fn headers(bench: &Bench, name: &str, blocks: u32) -> Result<Rows> {
    let mut canister = installed(bench, 5_000)?;
    feed(
        bench,
        name,
        &mut canister,
        Shape::new(blocks, 1, 1, 0).chain(),
    )?;
    let request = GetBlockHeadersRequest {
        start_height: blocks - 99,
        end_height: Some(blocks),
        network: NetworkInRequest::Regtest,
    };
    let counts = told(
        &mut canister,
        "bitcoin_get_block_headers",
        encode_one(request)?,
    )?;
    Ok(one(name, counts.row()))
}

/// Chain(1000, 300, 3, 0), then 99 forks of one block.
pub fn blockchain_info(bench: &Bench) -> Result<Rows> {
    let mut canister = installed(bench, 5_000)?;
    let mut headers: Vec<(Header, u32)> = Vec::new();
    let chain = (1..).zip(Shape::new(1_000, 300, 3, 0).chain());
    let chain = chain.map(|(height, block)| {
        headers.push((block.header, height));
        block
    });
    feed(bench, "blockchain_info", &mut canister, chain)?;
    let nothing = candid::encode_args(())?;
    let (single, _) = asked(&mut canister, "get_blockchain_info", nothing.clone())?;
    let parents = headers.into_iter().rev().skip(1).take(99);
    canister.take_in_forks(&forks(parents))?;
    let (many, _) = asked(&mut canister, "get_blockchain_info", nothing)?;
    Ok([
        one("blockchain_info_single_branch", single.row()),
        one("blockchain_info_many_branches", many.row()),
    ]
    .concat())
}

/// Chain(100, 300, 3, 0), threshold 200: a heartbeat with nothing to do.
pub fn heartbeat_synced(bench: &Bench) -> Result<Rows> {
    let mut canister = installed(bench, 200)?;
    let chain = Shape::new(100, 300, 3, 0).chain();
    feed(bench, "heartbeat_synced", &mut canister, chain)?;
    let record = canister.idle_heartbeat()?;
    Ok(one("heartbeat_synced", Counts::of(&record).row()))
}

pub fn insert_block_1k(bench: &Bench) -> Result<Rows> {
    insert_block(bench, "insert_block_1k", 1_000)
}

pub fn insert_block_10k(bench: &Bench) -> Result<Rows> {
    insert_block(bench, "insert_block_10k", 10_000)
}

/// A block of one transaction that spends `count` outputs of the previous coinbase and makes as many.
fn insert_block(bench: &Bench, name: &str, count: u32) -> Result<Rows> {
    let mut canister = installed(bench, 144)?;
    let [parent, block] = Shape::new(0, 1, 1, 0).chain().spend_at_once(count);
    canister.take_in(&parent)?;
    let counts = canister.take_in(&block)?;
    Ok(one(name, counts.row()))
}

/// The first 300 real blocks, threshold 144. Testnet4's are not recorded here; mainnet's stand in, as
/// empty as those.
pub fn insert_300_blocks(bench: &Bench) -> Result<Rows> {
    let config = InitConfig {
        network: Some(InitNetwork::Mainnet),
        adapters: Some(vec![adapter()]),
        ..InitConfig::default()
    };
    let mut canister = Canister::install(&bench.module, config)?;
    let file = block_file::read_mainnet(&artifacts::mainnet_blocks())?;
    let blocks = file
        .blocks
        .get(1..=300)
        .context("the fixture has 4,522 blocks")?;
    let counts = canister.take_in_all(blocks)?;
    Ok(one("insert_300_blocks", counts.row()))
}

/// 1,000 blocks, then the headers of the 100 that follow, as a source of blocks announces them.
pub fn insert_100_headers(bench: &Bench) -> Result<Rows> {
    let config = InitConfig {
        pull: Some(Flag::Enabled),
        ..config(5_000, BlockValidation::ProofOfWork)
    };
    let mut canister = Canister::install_privileged(&bench.module, config)?;
    let mut chain = Shape::new(1_100, 1, 1, 0).chain();
    let blocks = chain.by_ref().take(1_000);
    feed(bench, "insert_100_headers", &mut canister, blocks)?;
    let next = chain.map(|block| ByteBuf::from(serialize(&block.header)));
    let reply = GetSuccessorsResponse::Complete {
        blocks: Vec::new(),
        next: next.collect(),
    };
    canister.records()?;
    canister.answer_pull(&reply)?;
    let counts = canister.until_headers(1_100)?;
    Ok(one("insert_100_headers", counts.row()))
}

/// 3,000 blocks of 100 transactions with one output, threshold 144, then an upgrade.
pub fn upgrade_3000(bench: &Bench) -> Result<Rows> {
    let mut canister = installed(bench, 144)?;
    let chain = Shape::new(3_000, 101, 1, 0).chain();
    feed(bench, "upgrade_3000_blocks", &mut canister, chain)?;
    let (record, _) = canister.upgrade()?;
    Ok(one("upgrade_3000_blocks", Counts::of(&record).row()))
}
