//! The same full blocks on sets of different size: what a set's size adds to each block, and to reads.
//!
//! Each base is one chain, taken in natively by the canister's own code (`native`): 110 blocks of
//! coinbases, 1,330 by which the set grows, and 16 full ones. Bases differ in the outputs of coinbases and
//! the transactions of growing blocks alone, so heights, levels and merges are the same. The module goes
//! on from there with full blocks; the first of those that become stable begin a merge's eight, so
//! each merge of level 0 in what is measured has full blocks only.

use anyhow::{Context, Result, bail};
use bitcoin::Block;
use millrace_candid::BlockValidation;
use millrace_tests::chain::{Body, Growth, MainnetLike, Named, Plan};

use crate::bundle::{self, About, Bundle};
use crate::canister::Canister;
use crate::counts::{Counts, row};
use crate::mark::{config, memory};
use crate::native::Native;
use crate::phase::Phase;
use crate::reads::{self, Rows};
use crate::sample::Sample;
use crate::workload::Bench;

/// Depth of stability, the block itself counted: nine blocks are unstable.
const THRESHOLD: u32 = 10;

/// Full blocks taken in natively: after them, what becomes stable next is a full block, and the first
/// of eight.
const NATIVE_FULL_BLOCKS: u32 = 16;

/// Coins kept to spend, at most: all there are, so that the oldest are spent too. 56 bytes each.
const SPENDABLE_MAX: usize = 25_000_000;

/// Heights of blocks that become stable while full blocks are measured begin with a multiple of this.
const FAN_OUT: u32 = 8;

/// A base, and what is pushed on it.
#[derive(Clone, Debug)]
pub struct Base {
    /// Begins the names of its rows.
    pub name: &'static str,
    /// The chain, with the blocks that the module takes in.
    pub plan: Plan,
    /// Full blocks that the module takes in.
    blocks: u32,
}

/// About 200,000 coins.
pub fn small() -> Base {
    base("base_200_k", 20, 30, 16)
}

/// About 2 million coins.
pub fn medium() -> Base {
    base("base_2_m", 200, 300, 16)
}

/// About 20 million coins.
pub fn large() -> Base {
    base("base_20_m", 2_000, 3_000, 16)
}

fn base(name: &'static str, funding_outputs: u32, transactions: u32, blocks: u32) -> Base {
    let plan = Plan {
        seed: 20,
        funding_blocks: 110,
        funding_outputs,
        growth: Some(Growth {
            blocks: 1_330,
            body: Body::splitting(transactions),
        }),
        blocks: NATIVE_FULL_BLOCKS + blocks,
        body: Body::MAINNET,
        named: vec![Named { utxos: 1 }, Named { utxos: 6_246 }],
        spendable_max: SPENDABLE_MAX,
    };
    Base { name, plan, blocks }
}

impl Base {
    /// Makes the base natively, or reads it back.
    ///
    /// # Errors
    /// A block is refused, or the cache cannot be used.
    fn prepare(&self, bench: &Bench) -> Result<Bundle> {
        let source = format!("{:?}", (&self.plan, self.blocks, THRESHOLD));
        Bundle::prepare(bench, self.name, &source, || self.make(bench))
    }

    /// Pushes the first full blocks to a canister on the base.
    fn push(&self, bench: &Bench, bundle: &Bundle, blocks: u32) -> Result<(Canister, Phase)> {
        let settings = config(THRESHOLD, BlockValidation::Consensus);
        let mut canister = bundle.canister(bench, settings)?;
        canister.settle()?;
        expect_whole_merges(&mut canister)?;
        let mut steady = Phase::default();
        for (count, block) in (1..=blocks).zip(&bundle.blocks) {
            let counts = canister.take_in(block).with_context(|| {
                let name = self.name;
                format!("{name}: full block {count}; are module and program of the same sources?")
            })?;
            steady.add(ios(block), &counts);
            bench.progress(self.name, count, blocks);
        }
        Ok((canister, steady))
    }

    fn make(&self, bench: &Bench) -> Result<Bundle> {
        let length = self.plan.length();
        let native_length = length - self.blocks;
        let chain = MainnetLike::new(self.plan.clone());
        let mut sample = Sample::of(&chain);
        let mut native = Native::install(config(THRESHOLD, BlockValidation::Consensus))?;
        let (mut blocks, mut utxos) = (Vec::new(), 0);
        for made in chain {
            sample.note(&made, length);
            utxos = made.facts.utxos;
            let height = made.facts.height;
            if height <= native_length {
                native
                    .take_in(&made.block)
                    .with_context(|| format!("{}: block {height}, natively", self.name))?;
                bench.progress(self.name, height, native_length);
            } else {
                blocks.push(made.block);
            }
        }
        Ok(Bundle {
            image: native.into_image()?,
            blocks,
            about: About {
                sample,
                utxos,
                keys: 0,
            },
        })
    }
}

/// Inputs and outputs of a block, the coinbase's input left out.
pub fn ios(block: &Block) -> u64 {
    let inputs = block.txdata.iter().skip(1).map(|made| made.input.len());
    let outputs = block.txdata.iter().map(|made| made.output.len());
    inputs.chain(outputs).sum::<usize>() as u64
}

/// Measures eight full blocks on the two smaller bases, and how many pages of what a native canister
/// leaves differ from what the module does: what every run of the tests can.
///
/// # Errors
/// A block is refused.
pub fn measure_quick(bench: &Bench) -> Result<Rows> {
    let differing = row(&[("differing_pages", bundle::differing_pages(bench)?)]);
    let mut rows = vec![("base_quick.native".to_owned(), differing)];
    for (base, name) in [(small(), "200_k"), (medium(), "2_m")] {
        let bundle = base.prepare(bench)?;
        let (_, steady) = base.push(bench, &bundle, FAN_OUT)?;
        rows.push((format!("base_quick.{name}"), steady.row()));
    }
    Ok(rows)
}

/// Measures full blocks on a base, then reads.
///
/// # Errors
/// A block is refused, a call fails, or an answer is wrong.
pub fn measure(bench: &Bench, base: &Base) -> Result<Rows> {
    let bundle = base.prepare(bench)?;
    let (mut canister, steady) = base.push(bench, &bundle, base.blocks)?;
    let counted = reads::metric(&mut canister, "utxos_length")?;
    if counted != bundle.about.utxos {
        let utxos = bundle.about.utxos;
        bail!(
            "{}: {utxos} coins are unspent, the canister has {counted}",
            base.name
        );
    }
    let mut rows = vec![
        (format!("{}.taking_in.steady", base.name), steady.row()),
        (format!("{}.coins", base.name), row(&[("utxos", counted)])),
        (format!("{}.memory", base.name), memory(&mut canister)?),
    ];
    let (upgrade, first) = canister.upgrade()?;
    for (name, record) in [("upgrade", upgrade), ("upgrade.first_heartbeat", first)] {
        rows.push((format!("{}.{name}", base.name), Counts::of(&record).row()));
    }
    let read = reads::measure_coins(&mut canister, &bundle.about.sample)?;
    rows.extend(
        read.into_iter()
            .map(|(read, row)| (format!("{}.read.{read}", base.name), row)),
    );
    Ok(rows)
}

/// Checks that the next block to become stable begins a merge's eight.
fn expect_whole_merges(canister: &mut Canister) -> Result<()> {
    let next = canister.feed_state()?.anchor.height + 1;
    if !next.is_multiple_of(FAN_OUT) {
        bail!("the next block to become stable has height {next}, no multiple of {FAN_OUT}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bases_differ_in_size_only() {
        let [small, medium, large] = [small(), medium(), large()];
        let rest = |base: &Base| Plan {
            funding_outputs: 0,
            growth: None,
            ..base.plan.clone()
        };
        assert_eq!(rest(&small), rest(&large));
        let before = small.plan.before();
        for base in [&small, &medium, &large] {
            assert_eq!(base.plan.before(), before, "{}", base.name);
        }
        // Of what the module makes stable, the first block begins eight, and all are full.
        let first = before + NATIVE_FULL_BLOCKS + 2 - THRESHOLD;
        assert!(first.is_multiple_of(FAN_OUT) && first > before, "{first}");
    }
}
