//! Writes a block's change.

use bitcoin::BlockHash;
use ic_stable_structures::Memory;
use millrace_core::Height;
use millrace_core::connect::BlockChange;
use millrace_core::scan::BlockBytes;

use super::compact::Merging;
use super::{Coins, Progress};
use crate::StoreError;
use crate::runs::change::{ChangePlan, ChangeRuns, ChangeWriter};
use crate::runs::extent::Extent;
use crate::runs::manifest::{ChangeRecord, State};

/// A block's change being written. No record names its ranges yet.
#[derive(Clone, Debug)]
pub(super) struct BlockWriting {
    block: BlockHash,
    parent: BlockHash,
    height: Height,
    ranges: (Extent, Extent),
    writer: ChangeWriter,
}

impl BlockWriting {
    pub(super) const fn block(&self) -> BlockHash {
        self.block
    }

    pub(super) const fn ranges(&self) -> (Extent, Extent) {
        self.ranges
    }

    fn record(&self, runs: &ChangeRuns, state: State) -> ChangeRecord {
        let header = runs.coins.header();
        ChangeRecord {
            state,
            level: 0,
            first: self.height,
            last: self.height,
            block: self.block,
            parent: self.parent,
            coins: runs.coins.extent(),
            scripts: runs.scripts.extent(),
            puts: header.puts,
            spends: header.spends,
        }
    }
}

impl<M: Memory> Coins<M> {
    /// Begins to write the change of a block whose parent's set can be read. Costs a look at each of
    /// its coins. What was being written of another block is given up.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when the parent's set cannot be read, [`StoreError::OutOfMemory`];
    /// nothing is changed but that.
    pub fn begin_connect(
        &mut self,
        parent: BlockHash,
        change: BlockChange,
    ) -> Result<(), StoreError> {
        self.abandon_block();
        if self.is_complete(&change.hash()) {
            return Ok(());
        }
        if self.index.walk(&parent).is_none() {
            return Err(StoreError::missing("change of parent", parent));
        }
        self.begin(parent, change)
    }

    fn begin(&mut self, parent: BlockHash, change: BlockChange) -> Result<(), StoreError> {
        let (block, height) = (change.hash(), change.height());
        let plan = ChangePlan::of_block(&change);
        let ranges = self.take_for_block(plan.lengths())?;
        match ChangeWriter::new(change, &plan, ranges.0, ranges.1) {
            Ok(writer) => {
                self.writing = Some(BlockWriting {
                    block,
                    parent,
                    height,
                    ranges,
                    writer,
                });
                Ok(())
            }
            Err(error) => {
                self.give_back(ranges);
                Err(error)
            }
        }
    }

    /// Takes ranges for a block's change, if need be those of merges made ahead: what they are made of is
    /// still there, and no block can become stable, which would free something, without another on top.
    fn take_for_block(&mut self, lengths: (u64, u64)) -> Result<(Extent, Extent), StoreError> {
        loop {
            match self.take(lengths) {
                Err(StoreError::OutOfMemory { .. }) if self.give_up_merge_ahead() => {}
                taken => return taken,
            }
        }
    }

    /// Writes up to `budget` further entries (at least one) of a block's change; `bytes` are the
    /// block's. After
    /// [`Progress::Done`] chains through the block can be read. A block whose change is complete is
    /// done.
    ///
    /// Each entry is 40 to 70 bytes, written in whole pages.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when the block was not begun, or another one since; other errors
    /// give it up.
    pub fn connect_step<B: BlockBytes + ?Sized>(
        &mut self,
        block: &BlockHash,
        bytes: &B,
        budget: usize,
    ) -> Result<Progress, StoreError>
    where
        StoreError: From<B::Error>,
    {
        if self.is_complete(block) {
            return Ok(Progress::Done);
        }
        let Some(runs) = self.write_step(block, bytes, budget)? else {
            return Ok(Progress::More);
        };
        if let Some(writing) = self.writing.take() {
            let record = self.trim(&writing, &runs, State::Unstable);
            let id = self.manifest.new_id();
            self.manifest.set(id, record);
            self.index.push_unstable(id, &record, runs);
            self.waiting.set(None);
            if self.merging == Merging::NoSpace {
                self.merging = Merging::Possible;
            }
        }
        Ok(Progress::Done)
    }

    /// Puts the coins of the first block into the empty stable set.
    pub(crate) fn seed(
        &mut self,
        parent: BlockHash,
        change: BlockChange,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let block = change.hash();
        self.begin(parent, change)?;
        if let Some(runs) = self.write_step(&block, bytes, usize::MAX)?
            && let Some(writing) = self.writing.take()
        {
            let record = self.trim(&writing, &runs, State::Stable);
            let id = self.manifest.new_id();
            self.manifest.set(id, record);
            self.index.push_stable(id, &record, runs);
        }
        Ok(())
    }

    fn write_step<B: BlockBytes + ?Sized>(
        &mut self,
        block: &BlockHash,
        bytes: &B,
        budget: usize,
    ) -> Result<Option<ChangeRuns>, StoreError>
    where
        StoreError: From<B::Error>,
    {
        let writing = self.writing.as_mut().filter(|it| it.block == *block);
        let writing = writing.ok_or_else(|| StoreError::missing("begun change of", block))?;
        match writing.writer.step(&self.region, bytes, budget) {
            Ok(Progress::More) => Ok(None),
            Ok(Progress::Done) => Ok(writing.writer.runs()),
            Err(error) => {
                self.abandon_block();
                Err(error)
            }
        }
    }

    fn trim(&mut self, writing: &BlockWriting, runs: &ChangeRuns, state: State) -> ChangeRecord {
        let (coins, scripts) = writing.ranges;
        self.allocator.trim(coins, runs.coins.extent());
        self.allocator.trim(scripts, runs.scripts.extent());
        writing.record(runs, state)
    }

    /// Gives up what is being written.
    pub(super) fn abandon_block(&mut self) {
        if let Some(writing) = self.writing.take() {
            self.give_back(writing.ranges);
        }
    }
}
