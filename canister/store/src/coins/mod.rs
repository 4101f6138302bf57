//! The UTXO set: what each block changes, as sorted runs; which of them make up the set at a tip;
//! and when they are merged. `DESIGN.md` has the terms, the invariants and the costs.
//!
//! What is above this boundary knows only these duties:
//! - [`Coins::begin_connect`] and [`Coins::connect_step`] write a block's change; from the last
//!   step on, [`Coins::view`] reads the set at that block;
//! - [`Coins::retire`] makes a change part of the stable set, [`Coins::drop_block`] forgets one:
//!   both change records, not coins;
//! - [`Coins::follow`] says which chain is the best: its blocks are merged before they are stable;
//! - [`Coins::compact_step`] keeps reads cheap: it may be late, and nothing is wrong then.
//!
//! Steps are of a given number of items. Between two of them the heap may be lost: a block's change
//! is written again then, a merge goes on from its last checkpoint. Readers see
//! what the manifest names, and each message changes that at once or not at all.

mod ahead;
mod audit;
mod compact;
mod connect;
mod import;
mod index;
mod resolve;
mod sweep;
#[cfg(test)]
mod tests;
mod view;

use std::cell::Cell;
use std::collections::BTreeMap;

use bitcoin::{Amount, BlockHash, OutPoint};
use ic_stable_structures::Memory;
use millrace_core::Height;

use crate::StoreError;
use crate::runs::allocator::Allocator;
use crate::runs::extent::Extent;
use crate::runs::manifest::{ChangeId, Manifest, State};
use crate::runs::superblock;
use ahead::Waiting;
use compact::{CHECKPOINT_KEYS, Merge, Merging};
use connect::BlockWriting;
use index::Index;

pub use ahead::MAX_WAITING_GROUPS;
pub use compact::{FAN_OUT, MAX_LEVEL_CHANGES};
pub use import::IMPORT_FAN_IN;
pub use resolve::{Kept, ResolvedCoins, Resolver};
pub use sweep::{ChangePage, StablePage};
pub use view::{Balance, CoinPage, MAX_SPENT_PASSED, View};

/// Whether a stepwise duty is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Call again.
    More,
    /// Done.
    Done,
}

/// A coin without its script: what lists show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedCoin {
    /// Where the coin is.
    pub outpoint: OutPoint,
    /// Its amount.
    pub value: Amount,
    /// Height of the block that made it.
    pub height: Height,
    /// Whether a coinbase transaction made it.
    pub coinbase: bool,
}

/// All coins; see the module's documentation. The heap holds a few hundred bytes for each change:
/// there are as many as unstable blocks, and some dozen stable ones whatever the chain's length.
pub struct Coins<M: Memory> {
    /// The region that holds runs.
    region: M,
    manifest: Manifest<M>,
    allocator: Allocator,
    index: Index,
    writing: Option<BlockWriting>,
    /// The best block, as far as is known.
    tip: Option<BlockHash>,
    /// What waits to be merged ahead; looked for once after each change of what there is.
    waiting: Cell<Option<Waiting>>,
    /// Merges under way, by the level of their inputs.
    merges: BTreeMap<u8, Merge>,
    /// The merge of imported pieces under way.
    importing: Option<Merge>,
    /// Pieces that are merged into one.
    import_fan_in: usize,
    /// Whether merging goes on.
    merging: Merging,
    /// Keys merged between two checkpoints.
    checkpoint_keys: usize,
}

/// The regions of [`Coins`].
pub(crate) struct CoinRegions<M> {
    pub runs: M,
    pub manifest: M,
}

impl<M: Memory> Coins<M> {
    /// Reads the manifest and the headers of the runs it names: O(changes).
    pub(crate) fn open(regions: CoinRegions<M>) -> Result<Self, StoreError> {
        superblock::open(&regions.runs)?;
        let manifest = Manifest::open(regions.manifest)?;
        let allocator = Allocator::of(manifest.extents())?;
        let (index, useless) = Index::open(&regions.runs, &manifest)?;
        let mut coins = Self {
            region: regions.runs,
            manifest,
            allocator,
            index,
            writing: None,
            tip: None,
            waiting: Cell::new(None),
            merges: BTreeMap::new(),
            importing: None,
            import_fan_in: IMPORT_FAN_IN,
            merging: Merging::Possible,
            checkpoint_keys: CHECKPOINT_KEYS,
        };
        for id in useless {
            coins.forget(id);
        }
        coins.find_merges();
        coins.find_import_merge();
        coins.settle()?;
        Ok(coins)
    }

    /// Returns the number of stable coins.
    pub fn stable_count(&self) -> u64 {
        self.index.stable_count()
    }

    /// Returns whether the block is unstable and its change complete, so that chains through it can
    /// be read.
    pub fn is_complete(&self, block: &BlockHash) -> bool {
        self.index.of_block(block).is_some()
    }

    /// Returns the number of unstable blocks with a complete change.
    pub fn unstable_len(&self) -> usize {
        self.index.unstable_len()
    }

    /// Returns the number of stable changes: what a read of an old coin meets at most, besides
    /// unstable ones. Each level has [`MAX_LEVEL_CHANGES`] at most, unless merging had to stand still.
    pub fn stable_len(&self) -> usize {
        self.index.stable().len()
    }

    /// Returns the number of stable changes of the level that has most.
    pub fn fullest_level(&self) -> usize {
        self.levels().map(|(_, count)| count).max().unwrap_or(0)
    }

    /// Returns the bytes of the region that runs take, and those between them.
    pub fn run_bytes(&self) -> (u64, u64) {
        let free = self.allocator.free_bytes();
        (self.allocator.end().saturating_sub(free), free)
    }

    /// Returns the bytes of runs of unstable blocks, merges made ahead that end with one of them included. Costs a
    /// look at each.
    pub fn unstable_run_bytes(&self) -> u64 {
        let ends = self.index.unstable();
        let nodes = ends.flat_map(|node| std::iter::once(node).chain(&node.aheads));
        nodes.map(index::Node::bytes).sum()
    }

    /// Makes the change of the newest stable block's child part of the stable set. One record is
    /// written, whatever the block's size; with the last block of a merge made ahead, that one takes
    /// the place of the changes it was made of, whose records go.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is no such change; nothing is changed.
    pub fn retire(&mut self, block: &BlockHash) -> Result<(), StoreError> {
        let missing = || StoreError::missing("change of a child of the newest stable block", block);
        let id = self.index.of_block(block).ok_or_else(missing)?;
        let mut record = self.manifest.get(id)?;
        if self.index.stable_tip() != Some(record.parent) {
            return Err(missing());
        }
        record.state = State::Stable;
        self.manifest.set(id, record);
        self.index.retire(id);
        self.waiting.set(None);
        self.settle()
    }

    /// Forgets an unstable block's change, complete or being written, if there is one: its record
    /// goes and its ranges are free, whatever its size, and so it is with merges it takes part in. Its
    /// descendants are forgotten in the same message, before it or after it.
    pub fn drop_block(&mut self, block: &BlockHash) {
        if self.writing.as_ref().is_some_and(|it| it.block() == *block) {
            self.abandon_block();
        }
        let Some(id) = self.index.of_block(block) else {
            return;
        };
        for ahead in self.index.remove_unstable(id) {
            self.give_up_merge_of(ahead);
            self.forget(ahead);
        }
        self.give_up_merge_of(id);
        self.forget(id);
        self.waiting.set(None);
    }

    /// Removes a record and frees its ranges.
    fn forget(&mut self, id: ChangeId) {
        if let Some(record) = self.manifest.remove(id) {
            self.give_back((record.coins, record.scripts));
        }
    }

    /// Takes two ranges, or none.
    fn take(&mut self, (coins, scripts): (u64, u64)) -> Result<(Extent, Extent), StoreError> {
        let coins = self.allocator.allocate(&self.region, coins)?;
        match self.allocator.allocate(&self.region, scripts) {
            Ok(scripts) => Ok((coins, scripts)),
            Err(error) => {
                self.allocator.free(coins);
                Err(error)
            }
        }
    }

    fn give_back(&mut self, (coins, scripts): (Extent, Extent)) {
        self.allocator.free(coins);
        self.allocator.free(scripts);
    }
}
