//! Which blocks are wanted, at hand, on their way and next, and the bytes they take.
//!
//! The *base* is the lowest height of the best chain that was not handed over yet. Blocks of the
//! [`WINDOW`] from there on are fetched before they are wanted, within a budget of bytes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bitcoin::BlockHash;
use millrace_core::Height;
use millrace_core::block::MAX_BLOCK_BYTES;

use super::api::PeerId;
use crate::headers::HeaderTree;

/// Heights from the base on whose blocks are fetched (Bitcoin Core's `BLOCK_DOWNLOAD_WINDOW`).
pub(super) const WINDOW: u32 = 1_024;
/// Blocks on their way from one peer, at most (`MAX_BLOCKS_IN_TRANSIT_PER_PEER`).
pub(super) const MAX_IN_FLIGHT: usize = 16;
/// Blocks wanted and not handed over, at most.
pub(super) const MAX_WANTED: usize = 4_096;
/// How long a peer may hold up the window before it has to go
/// (`BLOCK_STALLING_TIMEOUT_DEFAULT`).
pub(super) const STALL_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest such time, after several peers had to go (`BLOCK_STALLING_TIMEOUT_MAX`).
pub(super) const STALL_TIMEOUT_MAX: Duration = Duration::from_secs(64);

/// Why nothing more is asked for although a peer could serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// The window is full.
    Window,
    /// The budget is.
    Budget,
    /// The best chain ends.
    ChainEnd,
}

/// A peer that holds up everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stall {
    pub peer: PeerId,
    /// The block it owes.
    pub block: BlockHash,
    pub since: Duration,
}

/// The state of block download; see the module's documentation.
#[derive(Debug)]
pub(super) struct Download {
    budget: u64,
    /// Whether something changed that may let more be asked for.
    pub is_dirty: bool,
    base: Option<Height>,
    /// From the base up to here every block is at hand, on its way, or handed over.
    cursor: Height,
    wanted: VecDeque<BlockHash>,
    wanted_set: BTreeSet<BlockHash>,
    held: BTreeMap<(Height, BlockHash), Vec<u8>>,
    pub bytes_held: u64,
    pub bytes_asked: u64,
    /// Blocks on their way, and from how many peers.
    owners: BTreeMap<BlockHash, u32>,
    /// Blocks from the base on that were handed over already.
    done: BTreeMap<Height, BlockHash>,
    /// Bytes that the next block may have: never less than the last ones had by far, so that the
    /// budget holds.
    estimate: u64,
    pub stall_timeout: Duration,
    pub stall: Option<Stall>,
    pub obstacle: Option<Obstacle>,
    /// When asking is next worth another try without an event.
    pub retry_at: Option<Duration>,
    /// Blocks that nobody asked for.
    pub unsolicited: u64,
}

impl Download {
    pub fn new(budget: u64) -> Self {
        Self {
            budget,
            is_dirty: false,
            base: None,
            cursor: Height::ZERO,
            wanted: VecDeque::new(),
            wanted_set: BTreeSet::new(),
            held: BTreeMap::new(),
            bytes_held: 0,
            bytes_asked: 0,
            owners: BTreeMap::new(),
            done: BTreeMap::new(),
            estimate: MAX_BLOCK_BYTES as u64,
            stall_timeout: STALL_TIMEOUT,
            stall: None,
            obstacle: None,
            retry_at: None,
            unsolicited: 0,
        }
    }

    pub fn wanted(&self) -> impl Iterator<Item = BlockHash> + '_ {
        self.wanted.iter().copied()
    }

    pub fn first_wanted(&self) -> Option<BlockHash> {
        self.wanted.front().copied()
    }

    pub fn is_wanted(&self, hash: BlockHash) -> bool {
        self.wanted_set.contains(&hash)
    }

    pub fn wanted_count(&self) -> usize {
        self.wanted.len()
    }

    pub fn held_count(&self) -> usize {
        self.held.len()
    }

    pub fn owners(&self, hash: BlockHash) -> u32 {
        self.owners.get(&hash).copied().unwrap_or(0)
    }

    /// Notes that a block is wanted. The caller has made sure that it is known and not at hand.
    pub fn want(&mut self, hash: BlockHash, height: Height) {
        if self.wanted_set.insert(hash) {
            self.wanted.push_back(hash);
        }
        if self.done.get(&height) == Some(&hash) {
            self.done.remove(&height);
        }
        self.is_dirty = true;
    }

    /// Notes that a wanted block was handed over.
    pub fn deliver(&mut self, hash: BlockHash, height: Height) {
        self.forget_wanted(hash);
        if self.base.is_some_and(|base| height >= base) {
            self.done.insert(height, hash);
        }
        self.is_dirty = true;
    }

    /// Notes that a block is wanted no more.
    pub fn forget_wanted(&mut self, hash: BlockHash) {
        if self.wanted_set.remove(&hash) {
            if self.wanted.front() == Some(&hash) {
                self.wanted.pop_front();
            } else {
                self.wanted.retain(|other| *other != hash);
            }
        }
    }

    /// Moves the base to the first wanted block, or to `start` if none is, and past what was
    /// handed over.
    pub fn rebase(&mut self, start: Option<Height>, tree: &HeaderTree) {
        let first = self
            .first_wanted()
            .filter(|hash| tree.is_on_best_chain(*hash))
            .and_then(|hash| tree.height_of(hash));
        if let Some(base) = first.or(start) {
            if self.base.is_none_or(|old| base < old) {
                self.done.clear();
                self.cursor = base;
            }
            self.base = Some(base);
        }
        let Some(mut base) = self.base else {
            return;
        };
        while let Some(done) = self.done.get(&base) {
            if tree.hash_at(base) != Some(*done) {
                break;
            }
            self.done.remove(&base);
            base = base.next();
        }
        self.base = Some(base);
        self.cursor = self.cursor.max(base);
        self.done = self.done.split_off(&base);
        self.drop_outside(base);
    }

    fn drop_outside(&mut self, base: Height) {
        while let Some(entry) = self.held.first_entry().filter(|entry| entry.key().0 < base) {
            let bytes = entry.remove();
            self.bytes_held = self.bytes_held.saturating_sub(bytes.len() as u64);
        }
        let end = base.saturating_add(Height::new(WINDOW));
        while let Some(entry) = self.held.last_entry().filter(|entry| entry.key().0 >= end) {
            let bytes = entry.remove();
            self.bytes_held = self.bytes_held.saturating_sub(bytes.len() as u64);
        }
    }

    /// Reacts to a change of the best chain.
    pub fn chain_changed(&mut self, from: Height, tree: &HeaderTree) {
        self.is_dirty = true;
        self.cursor = self.cursor.min(from);
        if self.base.is_some_and(|base| base > from) {
            self.base = Some(from);
        }
        let mut dropped = 0;
        self.held.retain(|(height, hash), bytes| {
            let stays = tree.hash_at(*height) == Some(*hash);
            dropped += if stays { 0 } else { bytes.len() as u64 };
            stays
        });
        self.bytes_held = self.bytes_held.saturating_sub(dropped);
    }

    /// Returns whether a block is of use: wanted, or of the window and not there yet.
    pub fn needs(&self, hash: BlockHash, height: Height, tree: &HeaderTree) -> bool {
        self.is_wanted(hash)
            || (self.window().contains(&height.get())
                && tree.hash_at(height) == Some(hash)
                && self.done.get(&height) != Some(&hash)
                && !self.held.contains_key(&(height, hash)))
    }

    /// Returns the heights of the window.
    pub fn window(&self) -> std::ops::Range<u32> {
        self.base
            .map_or(0..0, |base| base.get()..base.get().saturating_add(WINDOW))
    }

    /// Returns the height from which on the window may have gaps.
    pub const fn cursor(&self) -> Height {
        self.cursor
    }

    /// Notes that the window has no gaps below a height.
    pub fn advance_cursor(&mut self, to: Height) {
        self.cursor = self.cursor.max(to);
    }

    /// Returns whether a block of the best chain must be asked for.
    pub fn is_missing(&self, hash: BlockHash, height: Height) -> bool {
        self.owners(hash) == 0
            && self.done.get(&height) != Some(&hash)
            && !self.held.contains_key(&(height, hash))
    }

    /// Returns whether the budget has room for a block of the estimated size.
    pub const fn admits(&self) -> bool {
        let taken = self.bytes_held.saturating_add(self.bytes_asked);
        taken == 0 || taken.saturating_add(self.estimate) <= self.budget
    }

    /// Gives up blocks at hand that are needed last until a wanted one fits.
    pub fn make_room(&mut self) {
        while !self.admits() {
            if !self.drop_last() {
                return;
            }
        }
    }

    /// Gives up the block at hand that is needed last, and returns whether there was one.
    fn drop_last(&mut self) -> bool {
        let Some(((height, _), bytes)) = self.held.pop_last() else {
            return false;
        };
        self.bytes_held = self.bytes_held.saturating_sub(bytes.len() as u64);
        self.cursor = self.cursor.min(height);
        true
    }

    /// Notes that a block was asked for, and returns the bytes it counts for.
    pub fn asked(&mut self, hash: BlockHash) -> u64 {
        *self.owners.entry(hash).or_default() += 1;
        self.bytes_asked = self.bytes_asked.saturating_add(self.estimate);
        self.estimate
    }

    /// Notes that a request is over, whether the block came or not.
    pub fn request_over(&mut self, hash: BlockHash, bytes: u64) {
        self.bytes_asked = self.bytes_asked.saturating_sub(bytes);
        if let Some(count) = self.owners.get_mut(&hash) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.owners.remove(&hash);
            }
        }
        self.is_dirty = true;
    }

    /// Notes that the block of a height has to be asked for again.
    pub fn lost(&mut self, height: Height) {
        self.cursor = self.cursor.min(height);
    }

    /// Learns from the size of a block that came.
    pub fn learn_size(&mut self, bytes: u64) {
        let decayed = self.estimate - self.estimate / 64;
        let with_margin = bytes.saturating_add(bytes / 4);
        self.estimate = decayed.max(with_margin).min(MAX_BLOCK_BYTES as u64);
    }

    /// Keeps a block until it is wanted; beyond the budget the ones needed last are given up.
    pub fn hold(&mut self, hash: BlockHash, height: Height, bytes: Vec<u8>) {
        self.bytes_held = self.bytes_held.saturating_add(bytes.len() as u64);
        self.held.insert((height, hash), bytes);
        while self.bytes_held.saturating_add(self.bytes_asked) > self.budget && self.held.len() > 1
        {
            self.drop_last();
        }
    }

    /// Takes a block at hand out.
    pub fn take_held(&mut self, hash: BlockHash, height: Height) -> Option<Vec<u8>> {
        let bytes = self.held.remove(&(height, hash))?;
        self.bytes_held = self.bytes_held.saturating_sub(bytes.len() as u64);
        Some(bytes)
    }

    /// Makes the next staller wait less, as each block that the chain goes on with shows that
    /// things move (Bitcoin Core's decay of 0.85).
    pub fn relax(&mut self) {
        self.stall_timeout = (self.stall_timeout * 85 / 100).max(STALL_TIMEOUT);
    }

    /// Makes the next staller wait longer: perhaps our own line is slow.
    pub fn strain(&mut self) {
        self.stall_timeout = (self.stall_timeout * 2).min(STALL_TIMEOUT_MAX);
    }
}
