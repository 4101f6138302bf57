//! Merges changes: [`FAN_OUT`] of one level into one of the next, which ends where the next height is a
//! multiple of its blocks. What reads meet of the stable chain stays within [`MAX_LEVEL_CHANGES`] for
//! each level, and there is one more level each time the chain is eight times as long. A base that is
//! much larger than what follows goes on to the next level as it is. The newest blocks are merged
//! before they are stable (`ahead.rs`).
//!
//! One merge may be under way for each level, so that a long one of a high level never keeps the
//! short ones of lower levels waiting. A merge is named in the manifest from its first step on, and
//! its state saved each [`CHECKPOINT_KEYS`] keys: an upgrade loses no more of it than that.

use ic_stable_structures::Memory;
use millrace_core::Height;

use super::index::Node;
use super::{Coins, Progress};
use crate::StoreError;
use crate::runs::change::{ChangePlan, ChangeRuns};
use crate::runs::checkpoint::{self, SLOT_BYTES};
use crate::runs::extent::Extent;
use crate::runs::manifest::{ChangeId, ChangeRecord, State};
use crate::runs::merge::{ChangeMerge, Depth};

/// Changes of one level that are merged into one of the next.
pub const FAN_OUT: usize = 8;

/// Changes of one level, at most: what comes while eight of them are being merged. At that many,
/// merging goes before everything that would add to them. Only where merging cannot go on (memory
/// that cannot grow, a damaged input, the watchdog's word) more are added, since a chain that stands
/// still would take more memory yet: blocks that become stable give theirs back.
pub const MAX_LEVEL_CHANGES: usize = 12;

/// Keys merged between two checkpoints: about 3 MB of runs, for two pages of state.
pub(super) const CHECKPOINT_KEYS: usize = 50_000;

/// Whether changes can be merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Merging {
    /// As far as is known.
    Possible,
    /// Memory could not grow; it is tried again when the next block is connected.
    NoSpace,
    /// An input is damaged, and the next try would find that again.
    Broken,
}

/// A merge under way.
#[derive(Clone, Debug)]
pub(super) struct Merge {
    pub(super) output: ChangeId,
    /// As in the manifest.
    pub(super) record: ChangeRecord,
    /// Oldest first.
    pub(super) inputs: Vec<ChangeId>,
    /// Lost with the heap, and restored by the next step.
    state: Option<Box<ChangeMerge>>,
    /// Keys merged since the last checkpoint.
    unsaved: usize,
}

impl Merge {
    /// Names a merge that no step was done of since the heap was lost.
    pub(super) const fn new(output: ChangeId, record: ChangeRecord, inputs: Vec<ChangeId>) -> Self {
        Self {
            output,
            record,
            inputs,
            state: None,
            unsaved: 0,
        }
    }
}

impl<M: Memory> Coins<M> {
    /// Returns whether changes are to be merged.
    pub fn wants_compaction(&self) -> bool {
        self.next_merge().is_some()
    }

    /// Returns whether some level is full, so that nothing may add to it.
    pub fn must_compact(&self) -> bool {
        self.merging == Merging::Possible && self.full_level().is_some()
    }

    /// Merges up to `budget` further keys (at least one) of the next level to be merged: the
    /// highest one that is full, else the lowest with a complete group or a merge under way. A group of
    /// stable changes goes before one that is merged ahead.
    ///
    /// Each key is 40 to 70 bytes read and, unless its put and spend meet, written.
    ///
    /// # Errors
    /// [`StoreError::OutOfMemory`]: nothing is merged until the next block is connected. Another
    /// [`StoreError`] when an input is damaged: nothing is merged until the coins are opened again.
    /// Reads and connecting go on.
    pub fn compact_step(&mut self, budget: usize) -> Result<Progress, StoreError> {
        let Some(level) = self.next_merge() else {
            return Ok(Progress::Done);
        };
        if let Err(error) = self.merge_step(level, budget) {
            self.merging = match error {
                StoreError::OutOfMemory { .. } => Merging::NoSpace,
                _ => Merging::Broken,
            };
            return Err(error);
        }
        Ok(if self.wants_compaction() {
            Progress::More
        } else {
            Progress::Done
        })
    }

    fn next_merge(&self) -> Option<u8> {
        if self.merging != Merging::Possible {
            return None;
        }
        self.full_level().or_else(|| {
            let mut levels = self.levels().map(|(level, _)| level);
            let ready = levels.find(|level| self.index.ready_group(*level).is_some());
            let begun = self.merges.keys().next().copied();
            let found = [ready, begun, self.waiting().lowest()];
            found.into_iter().flatten().min()
        })
    }

    fn full_level(&self) -> Option<u8> {
        let full = self.levels().filter(|(_, n)| *n >= MAX_LEVEL_CHANGES);
        full.map(|(level, _)| level).max()
    }

    /// Returns each level that has stable changes and their number, lowest first.
    pub(super) fn levels(&self) -> impl Iterator<Item = (u8, usize)> {
        let stable = self.index.stable();
        let levels = stable.chunk_by(|a, b| a.level == b.level).rev();
        levels.filter_map(|nodes| Some((nodes.first()?.level, nodes.len())))
    }

    fn merge_step(&mut self, level: u8, budget: usize) -> Result<(), StoreError> {
        if self.next_swap().is_some() {
            // Made ahead, and kept waiting by a level above that was full.
            return self.settle();
        }
        if !self.merges.contains_key(&level) {
            let inputs = match self.index.ready_group(level) {
                Some([base, others @ ..]) if is_outsized(base, others) => {
                    let base = base.id;
                    return self.promote(base);
                }
                Some(group) => group.iter().map(|node| node.id).collect(),
                None => self.waiting().inputs(level),
            };
            self.begin_merge(level, inputs)?;
        }
        let Some(mut merge) = self.merges.remove(&level) else {
            return Err(StoreError::missing("merge of level", level));
        };
        let done = self.advance(&mut merge, budget);
        self.merges.insert(level, merge);
        match done? {
            Some(runs) => self.finish_merge(level, runs),
            None => Ok(()),
        }
    }

    /// Moves the oldest change of a level to the next level as it is.
    fn promote(&mut self, id: ChangeId) -> Result<(), StoreError> {
        let mut record = self.manifest.get(id)?;
        record.level = record.level.saturating_add(1);
        self.manifest.set(id, record);
        self.index.promote(id);
        self.settle()
    }

    /// Names the output of a new merge in the manifest.
    fn begin_merge(&mut self, level: u8, inputs: Vec<ChangeId>) -> Result<(), StoreError> {
        let (Some(oldest), Some(newest)) = (inputs.first(), inputs.last()) else {
            return Err(StoreError::missing("changes of level", level));
        };
        let (oldest, newest) = (self.manifest.get(*oldest)?, self.manifest.get(*newest)?);
        let runs = self.runs_of(&inputs)?;
        let (coins, scripts) = ChangePlan::of(&runs).lengths();
        let ranges = self.take((coins, scripts.saturating_add(SLOT_BYTES)))?;
        let record = ChangeRecord {
            state: State::Building,
            level: level.saturating_add(1),
            first: oldest.first,
            last: newest.last,
            block: newest.block,
            parent: oldest.parent,
            coins: ranges.0,
            scripts: ranges.1,
            puts: 0,
            spends: 0,
        };
        checkpoint::write(&self.region, slot(&record), &[])?;
        let output = self.manifest.new_id();
        self.manifest.set(output, record);
        self.merges
            .insert(level, Merge::new(output, record, inputs));
        self.waiting.set(None);
        Ok(())
    }

    pub(super) fn runs_of(&self, ids: &[ChangeId]) -> Result<Vec<ChangeRuns>, StoreError> {
        let runs = ids.iter().map(|id| {
            let node = self.index.find(*id);
            let node = node.ok_or_else(|| StoreError::missing("change to be merged", id.0))?;
            Ok(node.runs)
        });
        runs.collect()
    }

    /// Finds the merges that were under way; one whose inputs are not there is given up.
    pub(super) fn find_merges(&mut self) {
        let records = self.manifest.records();
        let building = records.filter(|(_, record)| record.state == State::Building);
        let building: Vec<(ChangeId, ChangeRecord)> = building.map(|(id, r)| (id, *r)).collect();
        for (output, record) in building {
            let Some(inputs) = self.index.inputs_of(&record) else {
                self.forget(output);
                continue;
            };
            let level = record.level.saturating_sub(1);
            self.merges
                .insert(level, Merge::new(output, record, inputs));
        }
    }

    /// Goes on with a merge. Returns the finished runs.
    pub(super) fn advance(
        &self,
        merge: &mut Merge,
        budget: usize,
    ) -> Result<Option<ChangeRuns>, StoreError> {
        let mut state = match merge.state.take() {
            Some(state) => state,
            None => Box::new(self.restore(merge)?),
        };
        let progress = state.step(&self.region, budget)?;
        merge.unsaved = merge.unsaved.saturating_add(budget.max(1));
        if progress == Progress::Done {
            return Ok(state.runs());
        }
        if merge.unsaved >= self.checkpoint_keys {
            let bytes = state.save(&self.region)?;
            checkpoint::write(&self.region, slot(&merge.record), &bytes)?;
            merge.unsaved = 0;
        }
        merge.state = Some(state);
        Ok(None)
    }

    fn restore(&self, merge: &Merge) -> Result<ChangeMerge, StoreError> {
        let record = &merge.record;
        let inputs = self.runs_of(&merge.inputs)?;
        let depth = if record.first.get() == 0 {
            Depth::Bottom
        } else {
            Depth::Above
        };
        let saved = checkpoint::read(&self.region, slot(record))?;
        let scripts = record
            .scripts
            .part(0, slot(record).start - record.scripts.start);
        ChangeMerge::restore(&self.region, &inputs, record.coins, scripts, depth, &saved)
    }

    /// Names a finished merge, and puts it in the place of its inputs if they are stable.
    fn finish_merge(&mut self, level: u8, runs: ChangeRuns) -> Result<(), StoreError> {
        let Some(merge) = self.merges.remove(&level) else {
            return Ok(());
        };
        let taken = (merge.record.coins, merge.record.scripts);
        let header = runs.coins.header();
        let record = ChangeRecord {
            state: State::Ahead,
            coins: runs.coins.extent(),
            scripts: runs.scripts.extent(),
            puts: header.puts,
            spends: header.spends,
            ..merge.record
        };
        self.waiting.set(None);
        if !self.index.add_ahead(merge.output, &record, runs) {
            self.forget(merge.output);
            return Err(StoreError::missing(
                "changes that were merged into",
                merge.output.0,
            ));
        }
        self.manifest.set(merge.output, record);
        self.allocator.trim(taken.0, runs.coins.extent());
        self.allocator.trim(taken.1, runs.scripts.extent());
        self.settle()
    }
}

/// Returns whether the oldest change of all is so much larger than the others to be merged with it that
/// they are no more than a [`FAN_OUT`]th of it: a base that came from elsewhere. Merging would rewrite
/// it for hardly anything.
fn is_outsized(oldest: &Node, others: &[Node]) -> bool {
    let others = others.iter().map(Node::bytes);
    let others = others.fold(0, u64::saturating_add);
    oldest.first == Height::ZERO && oldest.bytes() / FAN_OUT as u64 > others
}

/// Returns where a merge's state is saved.
pub(super) const fn slot(record: &ChangeRecord) -> Extent {
    let offset = record.scripts.length.saturating_sub(SLOT_BYTES);
    record.scripts.part(offset, SLOT_BYTES)
}
