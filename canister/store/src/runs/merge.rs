//! Merges changes that follow each other into one. A put and the spend of the same coin are gone
//! afterwards; what is left of a spend goes on to the next merge.
//!
//! The oldest change of all has no spends, and neither has a merge that takes it in: a spend left
//! over there names a coin that nobody put, which is damage. So no tombstone outlives its coin,
//! and none needs to be looked for at the bottom.

use ic_stable_structures::Memory;

use super::change::{ChangePlan, ChangeRuns};
use super::coin_cursor::CoinCursor;
use super::coin_entry::{CoinChange, CoinEntry};
use super::coin_writer::CoinWriter;
use super::extent::Extent;
use super::script_merge::ScriptMerge;
use crate::StoreError;
use crate::coins::Progress;

/// Most changes merged at once; each holds a leaf on the heap.
pub const MAX_MERGE_INPUTS: usize = 16;

/// Whether the oldest change of all takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// There is an older change.
    Above,
    /// There is none.
    Bottom,
}

/// A merge under way; it is started again when it is lost.
#[derive(Clone, Debug)]
pub struct ChangeMerge {
    coins: CoinMerge,
    scripts: ScriptMerge,
    are_coins_done: bool,
    done: Option<ChangeRuns>,
}

impl ChangeMerge {
    /// Starts to merge changes, oldest first, into extents of the lengths that
    /// [`ChangePlan::of`] them says.
    ///
    /// # Errors
    /// [`StoreError::BeyondEnd`] for more than [`MAX_MERGE_INPUTS`] changes or too small extents.
    pub fn new(
        inputs: &[ChangeRuns],
        coins: Extent,
        scripts: Extent,
        depth: Depth,
    ) -> Result<Self, StoreError> {
        if inputs.len() > MAX_MERGE_INPUTS {
            return Err(StoreError::BeyondEnd {
                offset: 0,
                end: inputs.len() as u64,
                length: MAX_MERGE_INPUTS as u64,
            });
        }
        let plan = ChangePlan::of(inputs);
        let starts = inputs.iter().map(|input| CoinCursor::start(&input.coins));
        Ok(Self {
            coins: CoinMerge {
                inputs: starts.collect(),
                out: CoinWriter::new(coins, &plan.coins)?,
                depth,
            },
            scripts: ScriptMerge::new(inputs, scripts, &plan.scripts, depth)?,
            are_coins_done: false,
            done: None,
        })
    }

    /// Merges up to `budget` further keys (at least one): outpoints, then places in scripts' lists.
    ///
    /// # Errors
    /// [`StoreError`] when an input is damaged; the inputs stay as they are.
    pub fn step<M: Memory>(&mut self, memory: &M, budget: usize) -> Result<Progress, StoreError> {
        for _ in 0..budget.max(1) {
            if !self.are_coins_done {
                self.are_coins_done = !self.coins.next(memory)?;
            } else if !self.scripts.next(memory)? {
                self.done = Some(ChangeRuns {
                    coins: self.coins.out.finish(memory)?,
                    scripts: self.scripts.finish(memory)?,
                });
                return Ok(Progress::Done);
            }
        }
        Ok(Progress::More)
    }

    /// Returns the finished runs.
    pub const fn runs(&self) -> Option<ChangeRuns> {
        self.done
    }
}

#[derive(Clone, Debug)]
struct CoinMerge {
    inputs: Vec<CoinCursor>,
    out: CoinWriter,
    depth: Depth,
}

impl CoinMerge {
    /// Merges what the inputs do to the next outpoint; returns whether there was one.
    fn next<M: Memory>(&mut self, memory: &M) -> Result<bool, StoreError> {
        let mut smallest = None;
        for input in &mut self.inputs {
            if let Some(entry) = input.peek(memory)?
                && smallest.is_none_or(|smallest| entry.outpoint < smallest)
            {
                smallest = Some(entry.outpoint);
            }
        }
        let Some(outpoint) = smallest else {
            return Ok(false);
        };
        // Nothing yet; or the changes so far, of which nothing may be left.
        let mut sum: Option<Option<CoinChange>> = None;
        for input in &mut self.inputs {
            let is_it = input.peek(memory)?.is_some_and(|e| e.outpoint == outpoint);
            if let Some(entry) = is_it.then(|| input.next(memory)).transpose()?.flatten() {
                sum = Some(add(sum, entry.change)?);
            }
        }
        let Some(change) = sum.flatten() else {
            return Ok(true);
        };
        if self.depth == Depth::Bottom && change.is_spend() {
            let detail = format!("{outpoint:?} is spent and was never put");
            return Err(StoreError::damaged("oldest change", detail));
        }
        self.out.push(memory, CoinEntry { outpoint, change })?;
        Ok(true)
    }
}

fn add(
    older: Option<Option<CoinChange>>,
    newer: CoinChange,
) -> Result<Option<CoinChange>, StoreError> {
    match older {
        None => Ok(Some(newer)),
        Some(Some(older)) => older.then(newer),
        Some(None) if newer.is_spend() => {
            Err(StoreError::damaged("changes", "a coin is spent twice"))
        }
        Some(None) => Ok(Some(newer)),
    }
}
