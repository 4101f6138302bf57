//! Span filters: one filter over the keys of several changes that follow each other.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use ic_stable_structures::Memory;

use super::coin_cursor::CoinCursor;
use super::extent::Extent;
use super::filter::{Filter, FilterWriter, blocks_for};
use super::header::{FILTER_BLOCK_BYTES, RunKind};
use super::key::Digest;
use super::run::Run;
use super::script_cursor::ScriptCursor;
use crate::StoreError;
use crate::coins::Progress;

/// Most runs that one filter covers.
pub const MAX_SPAN_RUNS: usize = 64;

/// Reads the keys of a run of either kind in order.
#[derive(Clone, Debug)]
enum Keys {
    Coins(CoinCursor),
    Scripts(ScriptCursor),
}

impl Keys {
    fn of(run: &Run) -> Self {
        match run.header().kind {
            RunKind::Coins => Self::Coins(CoinCursor::start(run)),
            RunKind::Scripts => Self::Scripts(ScriptCursor::start(run)),
        }
    }

    fn next<M: Memory>(&mut self, memory: &M) -> Result<Option<Digest>, StoreError> {
        Ok(match self {
            Self::Coins(cursor) => {
                let digest = cursor.peek(memory)?.map(|head| head.outpoint.digest());
                cursor.advance();
                digest
            }
            Self::Scripts(cursor) => cursor
                .next_group(memory)?
                .map(|(key, _)| Digest::from(&key)),
        })
    }
}

/// Returns the bytes that a filter over runs takes.
pub fn span_bytes(runs: &[Run]) -> u64 {
    u64::from(blocks(runs)) * FILTER_BLOCK_BYTES as u64
}

fn blocks(runs: &[Run]) -> u32 {
    let keys = runs.iter().map(|run| run.header().keys);
    blocks_for(keys.fold(0, u64::saturating_add))
}

/// A span filter being written. It holds a leaf of each run, and is started again when it is lost.
#[derive(Clone, Debug)]
pub struct SpanWriter {
    inputs: Vec<Keys>,
    /// The next key of each run that has one; `None` before the first step.
    next: Option<BinaryHeap<Reverse<(Digest, usize)>>>,
    out: FilterWriter,
    filter: Filter,
}

impl SpanWriter {
    /// Starts a filter over runs of one kind, in an extent of at least [`span_bytes`].
    ///
    /// # Errors
    /// [`StoreError::BeyondEnd`] for more than [`MAX_SPAN_RUNS`] runs or too small an extent.
    pub fn new(runs: &[Run], extent: Extent) -> Result<Self, StoreError> {
        let (count, needed) = (runs.len() as u64, span_bytes(runs));
        for (end, length) in [(count, MAX_SPAN_RUNS as u64), (needed, extent.length)] {
            if end > length {
                return Err(StoreError::BeyondEnd {
                    offset: 0,
                    end,
                    length,
                });
            }
        }
        let blocks = blocks(runs);
        Ok(Self {
            inputs: runs.iter().map(Keys::of).collect(),
            next: None,
            out: FilterWriter::new(extent, blocks),
            filter: Filter::new(extent, blocks),
        })
    }

    /// Inserts up to `budget` keys (at least one). The filter is complete after
    /// [`Progress::Done`].
    ///
    /// # Errors
    /// [`StoreError`] when a run is damaged.
    pub fn step<M: Memory>(&mut self, memory: &M, budget: usize) -> Result<Progress, StoreError> {
        let mut next = match self.next.take() {
            Some(next) => next,
            None => self.first_keys(memory)?,
        };
        for _ in 0..budget.max(1) {
            let Some(Reverse((digest, index))) = next.pop() else {
                self.out.finish(memory)?;
                return Ok(Progress::Done);
            };
            self.out.insert(memory, &digest)?;
            let input = self.inputs.get_mut(index);
            let following = input.map_or(Ok(None), |input| input.next(memory))?;
            next.extend(following.map(|digest| Reverse((digest, index))));
        }
        self.next = Some(next);
        Ok(Progress::More)
    }

    fn first_keys<M: Memory>(
        &mut self,
        memory: &M,
    ) -> Result<BinaryHeap<Reverse<(Digest, usize)>>, StoreError> {
        let mut keys = BinaryHeap::new();
        for (index, input) in self.inputs.iter_mut().enumerate() {
            let first = input.next(memory)?;
            keys.extend(first.map(|digest| Reverse((digest, index))));
        }
        Ok(keys)
    }

    /// Returns the filter; it may be read once it is complete.
    pub const fn filter(&self) -> Filter {
        self.filter
    }
}
