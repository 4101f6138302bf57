//! Blocks read before they can be pushed, bounded in bytes.
//!
//! A block's size is known when it has come, so each block under way is counted with an estimate from
//! the sizes seen lately. Where the estimate was too low, the blocks needed last are dropped as the
//! others come, and read again: what is at hand never exceeds the bound, or is one block.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use bitcoin::BlockHash;
use millrace_core::Height;
use millrace_core::block::MAX_BLOCK_BYTES;

use super::pack::PART_OVERHEAD_BYTES;

/// Blocks at hand and under way, at most. The first blocks of a chain are so small that memory for
/// their bookkeeping would exceed that for their bytes.
pub const READ_AHEAD_BLOCKS_MAX: usize = 4_096;

/// Sizes from which the next ones are estimated.
const SIZES_SEEN_MAX: usize = 32;

/// A block at hand.
#[derive(Debug)]
struct Held {
    hash: BlockHash,
    bytes: Vec<u8>,
}

/// The read-ahead buffer.
#[derive(Debug)]
pub struct ReadAhead {
    bytes_max: u64,
    reads_max: usize,
    blocks: BTreeMap<Height, Held>,
    bytes: u64,
    /// Blocks under way that are needed.
    requested: HashMap<BlockHash, Height>,
    /// Blocks under way that are needed no more. The source still brings them.
    abandoned: HashSet<BlockHash>,
    /// Sizes of blocks that were dropped, so that they are not requested before there is room.
    dropped: BTreeMap<Height, u64>,
    sizes_seen: VecDeque<u64>,
    /// The next height to request.
    next: Height,
}

impl ReadAhead {
    /// Starts empty, at the block after genesis: at most `bytes_max` bytes at hand, but one block
    /// always, and at most `reads_max` blocks under way, but one always.
    pub fn new(bytes_max: u64, reads_max: usize) -> Self {
        Self {
            bytes_max,
            reads_max: reads_max.max(1),
            blocks: BTreeMap::new(),
            bytes: 0,
            requested: HashMap::new(),
            abandoned: HashSet::new(),
            dropped: BTreeMap::new(),
            sizes_seen: VecDeque::new(),
            next: Height::new(1),
        }
    }

    /// Returns a block at hand.
    pub fn block(&self, height: Height, hash: BlockHash) -> Option<&[u8]> {
        let held = self.blocks.get(&height).filter(|held| held.hash == hash)?;
        Some(&held.bytes)
    }

    /// Returns the bytes of the blocks at hand.
    pub const fn bytes_held(&self) -> u64 {
        self.bytes
    }

    /// Returns the number of blocks at hand and under way.
    #[cfg(test)]
    pub fn blocks_ahead(&self) -> usize {
        self.blocks.len() + self.under_way()
    }

    /// Returns whether blocks that are needed are on their way.
    pub fn is_reading(&self) -> bool {
        !self.requested.is_empty()
    }

    /// Returns whether the consecutive blocks at hand from a height on fill a message of so many
    /// bytes or parts. Costs O(parts).
    pub fn fills(&self, from: Height, message_bytes: u32, parts: u32) -> bool {
        let mut bytes = 0_u64;
        let mut expected = from;
        for (height, held) in self.blocks.range(from..).take(parts as usize) {
            if *height != expected {
                return false;
            }
            expected = expected.next();
            let length = held.bytes.len() as u64;
            bytes = bytes.saturating_add(length + u64::from(PART_OVERHEAD_BYTES));
            if bytes >= u64::from(message_bytes) {
                return true;
            }
        }
        expected.saturating_sub(from).get() >= parts
    }

    /// Returns blocks to request now, in chain order.
    pub fn request(&mut self, hash_at: impl Fn(Height) -> Option<BlockHash>) -> Vec<BlockHash> {
        let mut hashes = Vec::new();
        while let Some(hash) = hash_at(self.next) {
            let height = self.next;
            if self.block(height, hash).is_none() && !self.requested.contains_key(&hash) {
                if !self.abandoned.remove(&hash) {
                    if !self.make_room_for(height) {
                        break;
                    }
                    hashes.push(hash);
                }
                self.requested.insert(hash, height);
            }
            self.next = height.next();
        }
        hashes
    }

    /// Finds room for one more block, at the cost of blocks that are needed later.
    fn make_room_for(&mut self, height: Height) -> bool {
        if self.under_way() >= self.reads_max {
            return false;
        }
        while !self.has_room_for(height) {
            let last = self.blocks.last_key_value().map(|(last, _)| *last);
            if last.is_none_or(|last| last < height) {
                return false;
            }
            self.drop_last();
        }
        true
    }

    fn has_room_for(&self, height: Height) -> bool {
        let under_way = self.under_way();
        if under_way == 0 && self.blocks.is_empty() {
            return true;
        }
        let estimate = self.estimate();
        let size = self.dropped.get(&height).copied().unwrap_or(estimate);
        let reserved = (under_way as u64).saturating_mul(estimate);
        let bytes = self.bytes.saturating_add(reserved).saturating_add(size);
        bytes <= self.bytes_max && self.blocks.len() + under_way < READ_AHEAD_BLOCKS_MAX
    }

    fn under_way(&self) -> usize {
        self.requested.len() + self.abandoned.len()
    }

    /// Returns the size a block under way is counted with: a quarter more than those seen lately had
    /// on average, or the largest there is while none has been seen.
    fn estimate(&self) -> u64 {
        let sum: u64 = self.sizes_seen.iter().sum();
        let most = MAX_BLOCK_BYTES as u64;
        let mean = sum.checked_div(self.sizes_seen.len() as u64);
        mean.map_or(most, |mean| (mean + mean / 4).min(most))
    }

    /// Takes note that a request was answered; returns the block's height if it is still needed.
    pub fn end_request(&mut self, hash: BlockHash) -> Option<Height> {
        self.abandoned.remove(&hash);
        self.requested.remove(&hash)
    }

    /// Keeps a block until [`ReadAhead::forget`]. Where that exceeds the bound, the blocks needed
    /// last are dropped.
    pub fn keep(&mut self, height: Height, hash: BlockHash, bytes: Vec<u8>) {
        self.forget(height);
        self.dropped.remove(&height);
        let length = bytes.len() as u64;
        self.sizes_seen.push_back(length);
        if self.sizes_seen.len() > SIZES_SEEN_MAX {
            self.sizes_seen.pop_front();
        }
        self.bytes = self.bytes.saturating_add(length);
        self.blocks.insert(height, Held { hash, bytes });
        while self.bytes > self.bytes_max && self.blocks.len() > 1 {
            self.drop_last();
        }
    }

    /// Drops the block that is needed last; it is requested again when there is room.
    fn drop_last(&mut self) {
        let Some((height, held)) = self.blocks.pop_last() else {
            return;
        };
        let length = held.bytes.len() as u64;
        self.bytes = self.bytes.saturating_sub(length);
        self.next = self.next.min(height);
        if self.dropped.len() >= READ_AHEAD_BLOCKS_MAX {
            self.dropped.clear();
        }
        self.dropped.insert(height, length);
    }

    /// Drops a block that has been pushed.
    pub fn forget(&mut self, height: Height) {
        if let Some(held) = self.blocks.remove(&height) {
            self.bytes = self.bytes.saturating_sub(held.bytes.len() as u64);
        }
    }

    /// Requests blocks that are not at hand from `height` on once more.
    pub fn retry_from(&mut self, height: Height) {
        self.next = self.next.min(height);
    }

    /// Drops what is below `height` and requests from there on what is not at hand.
    pub fn restart_at(&mut self, height: Height) {
        self.keep_only(|other, _| other >= height);
        self.next = height;
    }

    /// Drops blocks that left the best chain, which changed from a height on.
    pub fn retain(&mut self, from: Height, is_wanted: impl Fn(BlockHash) -> bool) {
        self.keep_only(|_, hash| is_wanted(hash));
        self.next = self.next.min(from);
    }

    fn keep_only(&mut self, is_wanted: impl Fn(Height, BlockHash) -> bool) {
        self.blocks
            .retain(|height, held| is_wanted(*height, held.hash));
        let lengths = self.blocks.values().map(|held| held.bytes.len() as u64);
        self.bytes = lengths.sum();
        let abandoned = &mut self.abandoned;
        self.requested.retain(|hash, height| {
            let is_wanted = is_wanted(*height, *hash);
            if !is_wanted {
                abandoned.insert(*hash);
            }
            is_wanted
        });
        // Sizes of another branch mean nothing, and those of this one are learnt again.
        self.dropped.clear();
    }
}
