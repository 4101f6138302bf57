//! Blocks read before they can be pushed, bounded in bytes.

use std::collections::{HashMap, HashSet};

use bitcoin::BlockHash;
use millrace_core::Height;
use millrace_core::block::MAX_BLOCK_BYTES;

use super::pack::PART_OVERHEAD_BYTES;

/// The read-ahead buffer.
#[derive(Debug)]
pub struct ReadAhead {
    bytes_max: u64,
    blocks: HashMap<BlockHash, Vec<u8>>,
    bytes: u64,
    requested: HashSet<BlockHash>,
    /// The next height to request.
    next: Height,
}

impl ReadAhead {
    /// Starts empty, at the block after genesis.
    pub fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            blocks: HashMap::new(),
            bytes: 0,
            requested: HashSet::new(),
            next: Height::new(1),
        }
    }

    /// Returns the blocks at hand.
    pub const fn blocks(&self) -> &HashMap<BlockHash, Vec<u8>> {
        &self.blocks
    }

    /// Returns the bytes of the blocks at hand.
    pub const fn bytes_held(&self) -> u64 {
        self.bytes
    }

    /// Returns whether blocks are on their way.
    pub fn is_reading(&self) -> bool {
        !self.requested.is_empty()
    }

    /// Returns whether the blocks at hand fill a message of so many bytes or parts.
    pub fn fills(&self, message_bytes: u32, parts: u32) -> bool {
        let blocks = self.blocks.len() as u64;
        let overhead = blocks.saturating_mul(u64::from(PART_OVERHEAD_BYTES));
        blocks >= u64::from(parts)
            || self.bytes.saturating_add(overhead) >= u64::from(message_bytes)
    }

    /// Returns blocks to request now, in chain order. A block not read yet counts with the
    /// largest size there is, so that the bound holds whatever comes.
    pub fn request(&mut self, hash_at: impl Fn(Height) -> Option<BlockHash>) -> Vec<BlockHash> {
        let mut hashes = Vec::new();
        while self.has_room() {
            let Some(hash) = hash_at(self.next) else {
                break;
            };
            self.next = self.next.next();
            if !self.blocks.contains_key(&hash) && self.requested.insert(hash) {
                hashes.push(hash);
            }
        }
        hashes
    }

    fn has_room(&self) -> bool {
        let reserved = (self.requested.len() as u64 + 1).saturating_mul(MAX_BLOCK_BYTES as u64);
        let is_idle = self.requested.is_empty() && self.blocks.is_empty();
        is_idle || self.bytes.saturating_add(reserved) <= self.bytes_max
    }

    /// Takes note that a request was answered; returns whether it still matters.
    pub fn end_request(&mut self, hash: BlockHash) -> bool {
        self.requested.remove(&hash)
    }

    /// Keeps a block until [`ReadAhead::forget`].
    pub fn keep(&mut self, hash: BlockHash, bytes: Vec<u8>) {
        self.forget(hash);
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        self.blocks.insert(hash, bytes);
    }

    /// Drops a block that has been pushed.
    pub fn forget(&mut self, hash: BlockHash) {
        if let Some(bytes) = self.blocks.remove(&hash) {
            self.bytes = self.bytes.saturating_sub(bytes.len() as u64);
        }
    }

    /// Requests blocks that are not at hand from `height` on once more.
    pub fn retry_from(&mut self, height: Height) {
        self.next = self.next.min(height);
    }

    /// Drops everything and requests from `height` on.
    pub fn restart_at(&mut self, height: Height) {
        self.blocks.clear();
        self.requested.clear();
        self.bytes = 0;
        self.next = height;
    }

    /// Drops blocks that left the best chain, which changed from a height on.
    pub fn retain(&mut self, from: Height, is_wanted: impl Fn(BlockHash) -> bool) {
        self.blocks.retain(|hash, _| is_wanted(*hash));
        self.requested.retain(|hash| is_wanted(*hash));
        self.bytes = self.blocks.values().map(|bytes| bytes.len() as u64).sum();
        self.next = self.next.min(from);
    }
}
