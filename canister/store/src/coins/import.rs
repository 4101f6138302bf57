//! Takes a whole set in at once: pieces of sorted coins become changes of their own, which are merged, many at a time,
//! until one is left; that one takes the place of the stable set.
//!
//! Until then nobody reads them. What is there, and a merge under way, is named in the manifest like any other
//! change, so that a pause loses nothing but what a merge did since its last checkpoint.

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use ic_stable_structures::Memory;
use millrace_core::Height;

use super::compact::Merge;
use super::index::Index;
use super::{Coins, Progress};
use crate::StoreError;
use crate::runs::change::ChangePlan;
use crate::runs::checkpoint::{self, SLOT_BYTES};
use crate::runs::coin_entry::PutCoin;
use crate::runs::key::OutpointKey;
use crate::runs::manifest::{ChangeId, ChangeRecord, State};
use crate::runs::merge::MAX_MERGE_INPUTS;
use crate::runs::piece::Piece;

/// Pieces that are merged into one, at most. A merge holds some KiB on the heap for each.
pub const IMPORT_FAN_IN: usize = MAX_MERGE_INPUTS;

impl<M: Memory> Coins<M> {
    /// Returns whether so many pieces wait to be merged that no more are taken.
    pub(crate) fn is_import_behind(&self) -> bool {
        self.imported_len() >= 2 * self.import_fan_in
    }

    /// Returns how many changes the imported set is in.
    pub fn imported_len(&self) -> usize {
        self.index.imported().len()
    }

    #[cfg(test)]
    pub(crate) fn set_import_fan_in(&mut self, pieces: usize) {
        self.import_fan_in = pieces;
    }

    /// Writes coins that ascend by outpoint, and come after all those written before.
    ///
    /// # Errors
    /// [`StoreError::OutOfMemory`] and [`StoreError::Damaged`]; nothing is changed.
    pub(crate) fn import_piece(
        &mut self,
        coins: Vec<(OutpointKey, PutCoin)>,
    ) -> Result<(), StoreError> {
        let puts = coins.len() as u64;
        let piece = Piece::new(coins)?;
        let plan = piece.plan();
        let ranges = self.take(plan.lengths())?;
        let runs = match piece.write(&self.region, &plan, ranges.0, ranges.1) {
            Ok(runs) => runs,
            Err(error) => {
                self.give_back(ranges);
                return Err(error);
            }
        };
        self.allocator.trim(ranges.0, runs.coins.extent());
        self.allocator.trim(ranges.1, runs.scripts.extent());
        let newest = self.index.imported().last();
        let number = newest.map_or(Height::ZERO, |node| node.last.next());
        let record = ChangeRecord {
            state: State::Imported,
            level: 0,
            first: number,
            last: number,
            block: BlockHash::all_zeros(),
            parent: BlockHash::all_zeros(),
            coins: runs.coins.extent(),
            scripts: runs.scripts.extent(),
            puts,
            spends: 0,
        };
        let id = self.manifest.new_id();
        self.manifest.set(id, record);
        self.index.add_imported(id, &record, runs);
        Ok(())
    }

    /// Returns whether pieces are to be merged; `is_all` says that no more will come.
    pub(crate) fn wants_import_merge(&self, is_all: bool) -> bool {
        self.importing.is_some() || !self.import_inputs(is_all).is_empty()
    }

    /// Returns the pieces to merge next, oldest first: of a level as many as are merged into one; at
    /// the end the newest, which are the smallest.
    fn import_inputs(&self, is_all: bool) -> Vec<ChangeId> {
        let imported = self.index.imported();
        let levels = imported.chunk_by(|one, other| one.level == other.level);
        let full = levels.filter_map(|nodes| nodes.get(..self.import_fan_in));
        let inputs = match full.last() {
            Some(nodes) => nodes,
            // Small pieces could fill several levels without completing one.
            None if (is_all || imported.len() >= 2 * self.import_fan_in) && imported.len() > 1 => {
                let from = imported.len().saturating_sub(self.import_fan_in);
                imported.get(from..).unwrap_or_default()
            }
            None => &[],
        };
        inputs.iter().map(|node| node.id).collect()
    }

    /// Merges up to `budget` further keys (at least one) of pieces.
    ///
    /// # Errors
    /// [`StoreError::OutOfMemory`]: it may be tried again. Another [`StoreError`] when a piece is damaged.
    pub(crate) fn import_merge_step(
        &mut self,
        is_all: bool,
        budget: usize,
    ) -> Result<Progress, StoreError> {
        let mut merge = match self.importing.take() {
            Some(merge) => merge,
            None => match self.begin_import_merge(is_all)? {
                Some(merge) => merge,
                None => return Ok(Progress::Done),
            },
        };
        let done = self.advance(&mut merge, budget);
        match done {
            Ok(Some(runs)) => {
                let header = runs.coins.header();
                let taken = (merge.record.coins, merge.record.scripts);
                let record = ChangeRecord {
                    state: State::Imported,
                    coins: runs.coins.extent(),
                    scripts: runs.scripts.extent(),
                    puts: header.puts,
                    spends: header.spends,
                    ..merge.record
                };
                let freed = self.manifest.swap(&merge.inputs, merge.output, record)?;
                self.index
                    .swap_imported(&merge.inputs, merge.output, &record, runs);
                self.allocator.trim(taken.0, runs.coins.extent());
                self.allocator.trim(taken.1, runs.scripts.extent());
                freed
                    .into_iter()
                    .for_each(|extent| self.allocator.free(extent));
            }
            Ok(None) => self.importing = Some(merge),
            Err(error) => {
                self.importing = Some(merge);
                return Err(error);
            }
        }
        Ok(if self.wants_import_merge(is_all) {
            Progress::More
        } else {
            Progress::Done
        })
    }

    fn begin_import_merge(&mut self, is_all: bool) -> Result<Option<Merge>, StoreError> {
        let inputs = self.import_inputs(is_all);
        let (Some(oldest), Some(newest)) = (inputs.first(), inputs.last()) else {
            return Ok(None);
        };
        let (oldest, newest) = (self.manifest.get(*oldest)?, self.manifest.get(*newest)?);
        let runs = self.runs_of(&inputs)?;
        let (coins, scripts) = ChangePlan::of(&runs).lengths();
        let ranges = self.take((coins, scripts.saturating_add(SLOT_BYTES)))?;
        let record = ChangeRecord {
            state: State::Importing,
            level: oldest.level.saturating_add(1),
            first: oldest.first,
            last: newest.last,
            coins: ranges.0,
            scripts: ranges.1,
            puts: 0,
            spends: 0,
            ..oldest
        };
        checkpoint::write(&self.region, super::compact::slot(&record), &[])?;
        let output = self.manifest.new_id();
        self.manifest.set(output, record);
        Ok(Some(Merge::new(output, record, inputs)))
    }

    /// Finds the merge of pieces that was under way; one whose inputs are not there is given up.
    pub(super) fn find_import_merge(&mut self) {
        let records = self.manifest.records();
        let begun = records.filter(|(_, record)| record.state == State::Importing);
        let begun: Vec<(ChangeId, ChangeRecord)> = begun.map(|(id, r)| (id, *r)).collect();
        for (output, record) in begun {
            let inputs = self.index.imported_between(record.first, record.last);
            if inputs.is_empty() || self.importing.is_some() {
                self.forget(output);
            } else {
                self.importing = Some(Merge::new(output, record, inputs));
            }
        }
    }

    /// Puts the imported set in the place of the stable one: all changes there are go. The set must be in one
    /// change.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when it is not; nothing is changed then.
    pub(crate) fn install_import(
        &mut self,
        block: BlockHash,
        height: Height,
    ) -> Result<(), StoreError> {
        let missing = || StoreError::missing("imported set that ends at block", block);
        let ([only], None) = (self.index.imported(), &self.importing) else {
            return Err(missing());
        };
        let (id, runs) = (only.id, only.runs);
        self.abandon_block();
        let others = self.manifest.records().filter(|(other, _)| *other != id);
        let others: Vec<ChangeId> = others.map(|(other, _)| other).collect();
        for other in others {
            self.forget(other);
        }
        let record = ChangeRecord {
            state: State::Stable,
            level: 0,
            first: Height::ZERO,
            last: height,
            block,
            ..self.manifest.get(id)?
        };
        self.manifest.set(id, record);
        self.merges.clear();
        self.index = Index::default();
        self.index.push_stable(id, &record, runs);
        self.waiting.set(None);
        self.settle()
    }

    /// Forgets everything that was imported.
    pub(crate) fn discard_import(&mut self) {
        self.importing = None;
        let records = self.manifest.records();
        let imported = records
            .filter(|(_, record)| matches!(record.state, State::Imported | State::Importing));
        let imported: Vec<ChangeId> = imported.map(|(id, _)| id).collect();
        for id in imported {
            self.forget(id);
        }
        self.index.clear_imported();
    }
}
