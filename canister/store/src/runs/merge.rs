//! Merges changes that follow each other into one. A put and the spend of the same coin are gone
//! afterwards; what is left of a spend goes on to the next merge.
//!
//! The oldest change of all has no spends, and neither has a merge that takes it in: a spend left
//! over there names a coin that nobody put, which is damage. So no tombstone outlives its coin,
//! and none needs to be looked for at the bottom.

use ic_stable_structures::Memory;

use super::change::{ChangePlan, ChangeRuns};
use super::checkpoint::{self, Saved};
use super::coin_cursor::{CoinCursor, Head};
use super::coin_entry::{CoinChange, CoinEntry, EntryKind};
use super::coin_writer::CoinWriter;
use super::extent::Extent;
use super::header::RunKind;
use super::key::OutpointKey;
use super::number::Input;
use super::run::Run;
use super::script_merge::ScriptMerge;
use crate::StoreError;
use crate::coins::Progress;

/// Most changes merged at once; each holds a leaf of each run on the heap, some 600 KiB in all.
pub const MAX_MERGE_INPUTS: usize = 128;

/// Whether the oldest change of all takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// There is an older change.
    Above,
    /// There is none.
    Bottom,
}

/// A merge under way. What it wrote outlives the heap from one [`ChangeMerge::save`] to the next.
#[derive(Clone, Debug)]
pub struct ChangeMerge {
    coins: CoinMerge,
    scripts: ScriptMerge,
    /// The coin run, once it is finished.
    coin_run: Option<Run>,
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
        check_count(inputs)?;
        let plan = ChangePlan::of(inputs);
        let starts = inputs.iter().map(|input| CoinCursor::start(&input.coins));
        Ok(Self {
            coins: CoinMerge {
                inputs: starts.collect(),
                prefixes: Vec::new(),
                last: None,
                out: CoinWriter::new(coins, &plan.coins)?,
                depth,
            },
            scripts: ScriptMerge::new(inputs, scripts, &plan.scripts, depth)?,
            coin_run: None,
            done: None,
        })
    }

    /// Writes what waits for whole pages, and returns what [`ChangeMerge::restore`] needs to go on
    /// from here: up to 6 KiB.
    ///
    /// # Errors
    /// [`StoreError::BeyondEnd`] when a run is full.
    pub fn save<M: Memory>(&mut self, memory: &M) -> Result<Vec<u8>, StoreError> {
        let mut out = Vec::new();
        self.coin_run.is_some().save(&mut out);
        match self.coin_run {
            None => self.coins.save(memory, &mut out)?,
            Some(_) => self.scripts.save(memory, &mut out)?,
        }
        Ok(out)
    }

    /// Goes on from a saved state, with the same inputs and extents. An empty state is a start.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when the state is not one of this merge.
    pub fn restore<M: Memory>(
        memory: &M,
        inputs: &[ChangeRuns],
        coins: Extent,
        scripts: Extent,
        depth: Depth,
        state: &[u8],
    ) -> Result<Self, StoreError> {
        let mut merge = Self::new(inputs, coins, scripts, depth)?;
        if state.is_empty() {
            return Ok(merge);
        }
        let plan = ChangePlan::of(inputs);
        let mut input = checkpoint::input(state);
        if bool::restore(&mut input)? {
            let run = Run::open(memory, coins, RunKind::Coins)?;
            let used = coins.part(0, run.header().length());
            merge.coin_run = Some(Run::open(memory, used, RunKind::Coins)?);
            let plan = &plan.scripts;
            merge.scripts = ScriptMerge::restore(memory, inputs, scripts, plan, depth, &mut input)?;
        } else {
            merge.coins = CoinMerge::restore(memory, inputs, coins, &plan, depth, &mut input)?;
        }
        if input.left() > 0 {
            return Err(input.damaged(format!("{} bytes after its end", input.left())));
        }
        Ok(merge)
    }

    /// Merges up to `budget` further keys (at least one): outpoints, then places in scripts' lists.
    ///
    /// # Errors
    /// [`StoreError`] when an input is damaged; the inputs stay as they are.
    pub fn step<M: Memory>(&mut self, memory: &M, budget: usize) -> Result<Progress, StoreError> {
        for _ in 0..budget.max(1) {
            let Some(coins) = self.coin_run else {
                if !self.coins.next(memory)? {
                    self.coin_run = Some(self.coins.out.finish(memory)?);
                }
                continue;
            };
            if !self.scripts.next(memory)? {
                let scripts = self.scripts.finish(memory)?;
                self.done = Some(ChangeRuns { coins, scripts });
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
    /// The first bytes of each input's next key, the largest number after the last one; none before
    /// the first step.
    prefixes: Vec<u64>,
    /// The last outpoint taken off the inputs.
    last: Option<OutpointKey>,
    out: CoinWriter,
    depth: Depth,
}

impl CoinMerge {
    fn save<M: Memory>(&mut self, memory: &M, out: &mut Vec<u8>) -> Result<(), StoreError> {
        self.out.save(memory, out)?;
        self.last.save(out);
        Ok(())
    }

    fn restore<M: Memory>(
        memory: &M,
        inputs: &[ChangeRuns],
        extent: Extent,
        plan: &ChangePlan,
        depth: Depth,
        state: &mut Input<'_>,
    ) -> Result<Self, StoreError> {
        let out = CoinWriter::restore(extent, &plan.coins, state)?;
        let last: Option<OutpointKey> = Option::restore(state)?;
        let seek = |input: &ChangeRuns| {
            let Some(last) = &last else {
                return Ok(CoinCursor::start(&input.coins));
            };
            let mut cursor = CoinCursor::seek(memory, &input.coins, last)?;
            if cursor.peek(memory)?.is_some_and(|e| e.outpoint == *last) {
                cursor.advance();
            }
            Ok::<_, StoreError>(cursor)
        };
        Ok(Self {
            inputs: inputs.iter().map(seek).collect::<Result<_, _>>()?,
            prefixes: Vec::new(),
            last,
            out,
            depth,
        })
    }

    /// Merges what the inputs do to the next outpoint; returns whether there was one.
    fn next<M: Memory>(&mut self, memory: &M) -> Result<bool, StoreError> {
        if self.prefixes.is_empty() {
            self.look_at_all(memory)?;
        }
        match self.only_smallest() {
            Some(index) if self.copy(memory, index)? => Ok(true),
            _ => {
                let merged = self.next_of_several(memory)?;
                self.look_at_all(memory)?;
                Ok(merged)
            }
        }
    }

    fn look_at_all<M: Memory>(&mut self, memory: &M) -> Result<(), StoreError> {
        self.prefixes.clear();
        for input in &mut self.inputs {
            let head = input.peek(memory)?;
            self.prefixes
                .push(head.map_or(u64::MAX, |head| head.prefix));
        }
        Ok(())
    }

    /// Returns the input whose next key is smaller than all others', if its first bytes say so.
    fn only_smallest(&self) -> Option<usize> {
        let (mut smallest, mut prefix) = (None, u64::MAX);
        for (index, other) in self.prefixes.iter().enumerate() {
            if *other < prefix {
                (smallest, prefix) = (Some(index), *other);
            } else if *other == prefix {
                smallest = None;
            }
        }
        smallest
    }

    /// Takes over the next entry of the only input that has its key; returns whether it could be
    /// copied.
    fn copy<M: Memory>(&mut self, memory: &M, index: usize) -> Result<bool, StoreError> {
        let inputs = self.inputs.get_mut(index).zip(self.prefixes.get_mut(index));
        let Some((input, prefix)) = inputs else {
            return Ok(false);
        };
        let Some(outpoint) = input.peek(memory)?.map(|head| head.outpoint) else {
            return Ok(false);
        };
        let raw = input.raw().ok_or_else(|| missing_entry(&outpoint))?;
        let (kind, is_overflow) = raw.kind();
        if is_overflow || (self.depth == Depth::Bottom && kind != EntryKind::Put) {
            return Ok(false);
        }
        self.out.push_raw(memory, &outpoint, kind, &raw)?;
        input.advance();
        *prefix = input.peek(memory)?.map_or(u64::MAX, |head| head.prefix);
        self.last = Some(outpoint);
        Ok(true)
    }

    fn next_of_several<M: Memory>(&mut self, memory: &M) -> Result<bool, StoreError> {
        let mut smallest: Option<Head> = None;
        for input in &mut self.inputs {
            if let Some(head) = input.peek(memory)?
                && smallest.is_none_or(|smallest| is_before(head, &smallest))
            {
                smallest = Some(*head);
            }
        }
        let Some(smallest) = smallest else {
            return Ok(false);
        };
        let outpoint = smallest.outpoint;
        self.last = Some(outpoint);
        // Nothing yet; or the changes so far, of which nothing may be left.
        let mut sum: Option<Option<EntryKind>> = None;
        let mut newest = None;
        for input in &mut self.inputs {
            if !is_at(input.peek(memory)?, &smallest) {
                continue;
            }
            let raw = input.raw();
            let (kind, _) = raw.ok_or_else(|| missing_entry(&outpoint))?.kind();
            sum = Some(add(sum, kind)?);
            // What was there before has no say in what is left.
            if let Some(older) = newest.replace(input) {
                older.advance();
            }
        }
        let newest = newest.ok_or_else(|| missing_entry(&outpoint))?;
        let Some(kind) = sum.flatten() else {
            newest.advance();
            return Ok(true);
        };
        if self.depth == Depth::Bottom && kind != EntryKind::Put {
            let detail = format!("{outpoint:?} is spent and was never put");
            return Err(StoreError::damaged("oldest change", detail));
        }
        write(memory, &mut self.out, &outpoint, kind, newest)?;
        Ok(true)
    }
}

fn is_before(head: &Head, other: &Head) -> bool {
    let order = head.prefix.cmp(&other.prefix);
    order
        .then_with(|| head.outpoint.cmp(&other.outpoint))
        .is_lt()
}

fn is_at(head: Option<&Head>, other: &Head) -> bool {
    head.is_some_and(|head| head.prefix == other.prefix && head.outpoint == other.outpoint)
}

/// Writes the coin of a cursor's entry, doing what `kind` says, and goes on.
fn write<M: Memory>(
    memory: &M,
    out: &mut CoinWriter,
    outpoint: &OutpointKey,
    kind: EntryKind,
    from: &mut CoinCursor,
) -> Result<(), StoreError> {
    let raw = from.raw().ok_or_else(|| missing_entry(outpoint))?;
    let (_, is_overflow) = raw.kind();
    if !is_overflow {
        out.push_raw(memory, outpoint, kind, &raw)?;
        from.advance();
        return Ok(());
    }
    let entry = from.next(memory)?.ok_or_else(|| missing_entry(outpoint))?;
    let change = match (kind, entry.change) {
        (EntryKind::Put, CoinChange::Put(coin) | CoinChange::Replace(coin)) => {
            CoinChange::Put(coin)
        }
        (EntryKind::Replace, CoinChange::Put(coin) | CoinChange::Replace(coin)) => {
            CoinChange::Replace(coin)
        }
        _ => CoinChange::Spend,
    };
    let outpoint = *outpoint;
    out.push(memory, CoinEntry { outpoint, change })
}

fn missing_entry(outpoint: &OutpointKey) -> StoreError {
    StoreError::damaged("coin run", format!("no entry of {outpoint:?}"))
}

fn check_count(inputs: &[ChangeRuns]) -> Result<(), StoreError> {
    if inputs.len() <= MAX_MERGE_INPUTS {
        return Ok(());
    }
    Err(StoreError::BeyondEnd {
        offset: 0,
        end: inputs.len() as u64,
        length: MAX_MERGE_INPUTS as u64,
    })
}

fn add(
    older: Option<Option<EntryKind>>,
    newer: EntryKind,
) -> Result<Option<EntryKind>, StoreError> {
    match older {
        None => Ok(Some(newer)),
        Some(Some(older)) => older.then(newer),
        Some(None) if newer != EntryKind::Put => {
            Err(StoreError::damaged("changes", "a coin is spent twice"))
        }
        Some(None) => Ok(Some(newer)),
    }
}
