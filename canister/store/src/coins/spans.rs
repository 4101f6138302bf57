//! Builds span filters: over the 8 blocks, and over the 64, that end where the height after them is
//! a multiple of that. A read passes over the blocks of a span whose filter says no, so that 500
//! unstable blocks cost it about as many looks as 20 do.

use ic_stable_structures::Memory;
use millrace_core::Height;

use super::index::Node;
use super::{Coins, Progress};
use crate::StoreError;
use crate::runs::extent::Extent;
use crate::runs::manifest::{ChangeId, ChangeRecord, Kind, State};
use crate::runs::run::Run;
use crate::runs::span::{MAX_SPAN_RUNS, SpanWriter, span_bytes};

/// Blocks that spans cover, the narrower first: a record's level is an index.
const WIDTHS: [usize; 2] = [8, MAX_SPAN_RUNS];

/// A span to be built: the change it ends with, and its width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    last: ChangeId,
    width: u8,
}

/// A span being built. No record names its ranges yet.
#[derive(Clone, Debug)]
pub(super) struct SpanWriting {
    wanted: Wanted,
    record: ChangeRecord,
    /// The changes it reads, newest first.
    covered: Vec<ChangeId>,
    coins: SpanWriter,
    scripts: SpanWriter,
    are_coins_done: bool,
}

impl SpanWriting {
    pub(super) const fn ranges(&self) -> (Extent, Extent) {
        (self.record.coins, self.record.scripts)
    }
}

impl<M: Memory> Coins<M> {
    /// Returns whether span filters are to be built.
    pub fn wants_index(&self) -> bool {
        self.span.is_some() || !self.spans_wanted.is_empty()
    }

    /// Inserts up to `budget` further keys (at least one) into the span filters being built.
    ///
    /// # Errors
    /// [`StoreError`]; that span is not built, which makes reads dearer and nothing else.
    pub fn index_step(&mut self, budget: usize) -> Result<Progress, StoreError> {
        if self.span.is_none() {
            self.begin_span()?;
        }
        let Some(span) = &mut self.span else {
            return Ok(self.index_progress());
        };
        let writer = if span.are_coins_done {
            &mut span.scripts
        } else {
            &mut span.coins
        };
        match writer.step(&self.region, budget) {
            Ok(Progress::More) => {}
            Ok(Progress::Done) if !span.are_coins_done => span.are_coins_done = true,
            Ok(Progress::Done) => self.finish_span(),
            Err(error) => {
                self.abandon_span();
                return Err(error);
            }
        }
        Ok(self.index_progress())
    }

    fn index_progress(&self) -> Progress {
        if self.wants_index() {
            Progress::More
        } else {
            Progress::Done
        }
    }

    /// Finds the spans that are missing: after an upgrade, they may be half-built.
    pub(super) fn find_wanted_spans(&mut self) {
        let singles = self.index.stable().iter().filter(|node| node.level == 0);
        let singles = singles.chain(self.index.unstable());
        let mut ids: Vec<(Height, ChangeId)> = singles.map(|node| (node.last, node.id)).collect();
        ids.sort_unstable();
        for (_, id) in ids {
            self.want_spans(id);
        }
    }

    /// Notes the spans that end with a new change.
    pub(super) fn want_spans(&mut self, last: ChangeId) {
        let Some(node) = self.index.single(last) else {
            return;
        };
        let height = u64::from(node.last.get());
        for (width, blocks) in (0..).zip(WIDTHS) {
            let is_there = node.spans.iter().any(|span| span.width == width);
            if (height + 1).is_multiple_of(blocks as u64) && !is_there {
                self.spans_wanted.push_back(Wanted { last, width });
            }
        }
    }

    /// Begins with the next span that is still of use: one that covers more than the narrower one
    /// does.
    fn begin_span(&mut self) -> Result<(), StoreError> {
        while let Some(wanted) = self.spans_wanted.pop_front() {
            let width = usize::from(wanted.width);
            let blocks = WIDTHS.get(width).copied().unwrap_or_default();
            let narrower = width.checked_sub(1).and_then(|width| WIDTHS.get(width));
            if self.index.single(wanted.last).is_none() {
                continue;
            }
            let down = self.index.down_from(wanted.last);
            let covered: Vec<&Node> = down
                .take(blocks)
                .take_while(|node| node.level == 0)
                .collect();
            let (Some(newest), Some(oldest)) = (covered.first(), covered.last()) else {
                continue;
            };
            if covered.len() <= narrower.copied().unwrap_or(1) {
                continue;
            }
            let coins: Vec<Run> = covered.iter().map(|node| node.runs.coins).collect();
            let scripts: Vec<Run> = covered.iter().map(|node| node.runs.scripts).collect();
            let mut record = self.manifest.get(newest.id)?;
            record.kind = Kind::Span;
            record.state = State::Unstable;
            record.level = wanted.width;
            record.first = oldest.first;
            let covered = covered.iter().map(|node| node.id).collect();
            let ranges = self.take((span_bytes(&coins), span_bytes(&scripts)))?;
            (record.coins, record.scripts) = ranges;
            self.span = Some(SpanWriting {
                wanted,
                record,
                covered,
                coins: SpanWriter::new(&coins, ranges.0)?,
                scripts: SpanWriter::new(&scripts, ranges.1)?,
                are_coins_done: false,
            });
            return Ok(());
        }
        Ok(())
    }

    fn finish_span(&mut self) {
        let Some(span) = self.span.take() else {
            return;
        };
        let id = self.manifest.new_id();
        self.manifest.set(id, span.record);
        self.index.add_span(id, &span.record);
    }

    /// Gives up the span being built if it reads a change that goes away; it is tried again with
    /// what is left.
    pub(super) fn stop_span_over(&mut self, change: ChangeId) {
        let is_read = |span: &SpanWriting| span.covered.contains(&change);
        if let Some(span) = self.span.as_ref().filter(|span| is_read(span)) {
            self.spans_wanted.push_front(span.wanted);
            self.abandon_span();
        }
    }

    fn abandon_span(&mut self) {
        if let Some(span) = self.span.take() {
            self.give_back(span.ranges());
        }
    }
}
