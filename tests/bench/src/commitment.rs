//! What the commitment to the stable set costs: the same chain with it off and on, a walk over a stable set
//! when it is switched on late, and asking for it.

use anyhow::{Context, Result, bail};
use candid::encode_one;
use millrace_candid::{
    BlockValidation, Flag, GetUtxoSetInfoArgs, GetUtxoSetInfoResult, InitConfig, SetConfigRequest,
};
use millrace_tests::chain::{Body, MainnetLike, Plan};

use crate::base::ios;
use crate::canister::Canister;
use crate::counts::{Counts, Row, row};
use crate::mark::config;
use crate::phase::Phase;
use crate::reads::Rows;
use crate::workload::Bench;

/// Depth of stability: each block is stable once the next one is connected.
const THRESHOLD: u32 = 2;

/// Blocks that make coins to spend.
const FUNDING_BLOCKS: u32 = 110;

fn plan() -> Plan {
    Plan {
        seed: 11,
        funding_blocks: FUNDING_BLOCKS,
        funding_outputs: 100,
        growth: None,
        blocks: 10,
        body: Body::of(300),
        named: Vec::new(),
        spendable_max: 100_000,
    }
}

fn settings(commitment: Flag) -> InitConfig {
    InitConfig {
        utxo_set_commitment: Some(commitment),
        ..config(THRESHOLD, BlockValidation::Consensus)
    }
}

/// Takes the chain in, and returns what its last blocks cost.
fn take_in(bench: &Bench, commitment: Flag) -> Result<(Canister, Row)> {
    let mut canister = Canister::install(&bench.module, settings(commitment))?;
    let mut phase = Phase::default();
    for made in MainnetLike::new(plan()) {
        let height = made.facts.height;
        let counts = canister
            .take_in(&made.block)
            .with_context(|| format!("commitment: block {height}"))?;
        if height > FUNDING_BLOCKS {
            phase.add(ios(&made.block), &counts);
        }
    }
    Ok((canister, phase.row()))
}

/// Measures both chains, the walk and the question.
///
/// # Errors
/// A block is refused, or the commitments differ.
pub fn measure(bench: &Bench) -> Result<Rows> {
    let (mut late, off) = take_in(bench, Flag::Disabled)?;
    let (mut kept, on) = take_in(bench, Flag::Enabled)?;
    late.records()?;
    late.set_config(&SetConfigRequest {
        utxo_set_commitment: Some(Flag::Enabled),
        ..SetConfigRequest::default()
    })?;
    let walk = late.settle()?;
    let expected = ask(&mut kept)?;
    let found = ask(&mut late)?;
    if found != expected {
        bail!("a walk leads to {found:?}, following the chain to {expected:?}");
    }
    kept.records()?;
    ask(&mut kept)?;
    let records = kept.records()?;
    let question = records.last().context("a query leaves a record")?;
    Ok(vec![
        ("commitment.off".to_owned(), off),
        ("commitment.on".to_owned(), on),
        ("commitment.walk".to_owned(), walk_row(found.outputs, &walk)),
        ("commitment.query".to_owned(), Counts::of(question).row()),
    ])
}

fn walk_row(coins: u64, counts: &Counts) -> Row {
    row(&[
        ("coins", coins),
        (
            "instructions_per_coin",
            counts.instructions.div_ceil(coins.max(1)),
        ),
        ("messages", counts.messages),
        ("longest_message", counts.longest),
        ("stable_pages_dirtied", counts.stable_dirtied),
    ])
}

fn ask(canister: &mut Canister) -> Result<millrace_candid::UtxoSetInfo> {
    let args: Option<GetUtxoSetInfoArgs> = None;
    let reply = canister.query("get_utxo_set_info_query", encode_one(args)?)?;
    let answer: GetUtxoSetInfoResult = candid::decode_one(&reply)?;
    answer.map_err(|error| anyhow::anyhow!("get_utxo_set_info_query: {error:?}"))
}
