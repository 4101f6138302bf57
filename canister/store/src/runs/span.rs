//! Span filters: one filter over the keys of several changes that follow each other.

use ic_stable_structures::Memory;

use super::coin_cursor::CoinCursor;
use super::extent::Extent;
use super::filter::{Filter, FilterPages, blocks_for};
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

/// A span filter being written. It holds a leaf of each run and a page of the filter, and is started
/// again when it is lost.
///
/// The runs are gone through page by page of the filter, one after the other: which of them a key
/// comes from makes no difference to the bits, so keys need not be brought into one order.
#[derive(Clone, Debug)]
pub struct SpanWriter {
    inputs: Vec<Source>,
    /// The run being read.
    at: usize,
    out: FilterPages,
    filter: Filter,
}

/// A run, and its next key; `None` before the first step and after the last key.
#[derive(Clone, Debug)]
struct Source {
    keys: Keys,
    next: Option<Digest>,
    is_begun: bool,
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
        let source = |run| Source {
            keys: Keys::of(run),
            next: None,
            is_begun: false,
        };
        Ok(Self {
            inputs: runs.iter().map(source).collect(),
            at: 0,
            out: FilterPages::new(extent, blocks),
            filter: Filter::new(extent, blocks),
        })
    }

    /// Inserts up to `budget` keys (at least one), or writes as many pages. The filter is complete
    /// after [`Progress::Done`].
    ///
    /// # Errors
    /// [`StoreError`] when a run is damaged.
    pub fn step<M: Memory>(&mut self, memory: &M, budget: usize) -> Result<Progress, StoreError> {
        for _ in 0..budget.max(1) {
            let Some(input) = self.inputs.get_mut(self.at) else {
                self.at = 0;
                if self.out.next_page(memory)? == Progress::Done {
                    return Ok(Progress::Done);
                }
                continue;
            };
            if !input.is_begun {
                input.next = input.keys.next(memory)?;
                input.is_begun = true;
            }
            match input.next {
                Some(digest) if self.out.insert(&digest) => input.next = input.keys.next(memory)?,
                _ => self.at += 1,
            }
        }
        Ok(Progress::More)
    }

    /// Returns the filter; it may be read once it is complete.
    pub const fn filter(&self) -> Filter {
        self.filter
    }
}
