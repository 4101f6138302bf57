//! Merging alone: canisters whose only work is one merge, of the changes of eight full blocks, of eight
//! such merges, and of eight parts of a base with all the coins below them.
//!
//! The chain is taken in natively up to the step after which the merge waits; the module merges. Each
//! merge runs twice: with the default budgets, and step by step for the longest one.

use anyhow::{Context, Result, bail};
use ic_stable_structures::VectorMemory;
use millrace_candid::BlockValidation;
use millrace_canister::App;
use millrace_tests::chain::{Body, Growth, MainnetLike, Plan};

use crate::bundle::{About, Bundle};
use crate::counts::{Counts, Row, per, row};
use crate::mark::config;
use crate::native::{Native, one_step};
use crate::reads::Rows;
use crate::sample::Sample;
use crate::workload::Bench;

/// Depth of stability, the block itself counted: one block is unstable.
const THRESHOLD: u32 = 2;

/// Which merge is to wait, and in which chain.
#[derive(Clone, Debug)]
struct Merge {
    name: &'static str,
    plan: Plan,
    /// Stable changes of single blocks when it waits, genesis' included.
    stable_blocks: u32,
    /// Merges that come before it at that height, because they are of lower levels.
    merges_before: u32,
}

/// Eight changes of full blocks.
fn level_0() -> Merge {
    Merge {
        name: "compaction.8_full_blocks",
        plan: full_blocks(26),
        // No multiple of 64, where a merge of the next level would follow.
        stable_blocks: 136,
        merges_before: 0,
    }
}

/// Eight changes of eight full blocks each.
fn level_1() -> Merge {
    Merge {
        name: "compaction.64_full_blocks",
        plan: full_blocks(84),
        stable_blocks: 192,
        merges_before: 1,
    }
}

/// The oldest 512 blocks of the base of 2 million coins: nothing is below.
fn bottom() -> Merge {
    Merge {
        name: "compaction.base",
        plan: Plan {
            growth: Some(Growth {
                blocks: 411,
                body: Body::splitting(300),
            }),
            funding_outputs: 200,
            blocks: 0,
            ..full_blocks(0)
        },
        stable_blocks: 512,
        merges_before: 2,
    }
}

fn full_blocks(blocks: u32) -> Plan {
    Plan {
        seed: 8,
        funding_blocks: 110,
        funding_outputs: 2_000,
        growth: None,
        blocks,
        body: Body::MAINNET,
        named: Vec::new(),
        spendable_max: 2_000_000,
    }
}

impl Merge {
    fn prepare(&self, bench: &Bench) -> Result<Bundle> {
        Bundle::prepare(bench, self.name, &format!("{self:?}"), || self.make(bench))
    }

    fn make(&self, bench: &Bench) -> Result<Bundle> {
        let mut native = Native::install(config(THRESHOLD, BlockValidation::Consensus))?;
        let last = self.stable_blocks - 1 + (THRESHOLD - 1);
        let chain = MainnetLike::new(self.plan.clone());
        for made in chain.take(last as usize) {
            let height = made.facts.height;
            let taken = if height < last {
                native.take_in(&made.block).map(|()| false)
            } else {
                let changes = native.app().store().coins.stable_len();
                // One change more by retiring; each merge takes eight away and brings one.
                let waiting = changes + 1 - 7 * self.merges_before as usize;
                native.take_in_until(&made.block, |app| is_waiting(app, waiting))
            };
            let is_waiting =
                taken.with_context(|| format!("{}: block {height}, natively", self.name))?;
            if is_waiting != (height == last) {
                bail!("{}: the merge does not wait at height {height}", self.name);
            }
            bench.progress(self.name, height, last);
        }
        let image = native.into_image()?;
        let about = About {
            sample: Sample::default(),
            utxos: 0,
            keys: Native::count_keys(&image)?,
        };
        Ok(Bundle {
            image,
            blocks: Vec::new(),
            about,
        })
    }

    fn measure(&self, bench: &Bench) -> Result<(String, Row)> {
        let bundle = self.prepare(bench)?;
        let keys = bundle.about.keys;
        let config = || config(THRESHOLD, BlockValidation::Consensus);
        // The first heartbeat comes with the start: it merges eight blocks at once, and counts.
        let mut canister = bundle.canister(bench, config())?;
        let counts = canister.settle()?;
        let mut slow = bundle.canister_with(bench, config(), one_step())?;
        let step = slow.settle()?.longest;
        Ok((self.name.to_owned(), merge_row(keys, &counts, step)))
    }
}

/// Whether merging is the only work left, with this many stable changes.
fn is_waiting(app: &App<VectorMemory>, changes: usize) -> bool {
    let coins = &app.store().coins;
    coins.stable_len() == changes && coins.wants_compaction()
}

fn merge_row(keys: u64, counts: &Counts, longest_step: u64) -> Row {
    row(&[
        ("keys", keys),
        (
            "instructions_per_key",
            counts.instructions.div_ceil(keys.max(1)),
        ),
        (
            "heap_pages_per_million_keys",
            per(counts.heap_dirtied * 1_000, keys),
        ),
        (
            "stable_pages_dirtied_per_million_keys",
            per(counts.stable_dirtied * 1_000, keys),
        ),
        (
            "stable_pages_read_per_million_keys",
            per(counts.stable_read * 1_000, keys),
        ),
        ("messages", counts.messages),
        ("longest_message", counts.longest),
        ("longest_step", longest_step),
    ])
}

/// Measures the merges.
///
/// # Errors
/// A block is refused, or a merge does not wait when it should.
pub fn measure(bench: &Bench) -> Result<Rows> {
    [level_0(), level_1(), bottom()]
        .iter()
        .map(|merge| merge.measure(bench))
        .collect()
}
