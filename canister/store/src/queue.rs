//! Delivered blocks that nobody has looked at, and the bounds that make draining them safe.
//!
//! A heartbeat drains the queue completely before it looks at any budget. That is safe because of
//! what is admitted: at most [`MAX_PENDING_BLOCKS`] blocks and [`MAX_PENDING_BYTES`] bytes are
//! queued or waiting to be connected at any time. Draining one block reads its first 80 bytes,
//! judges its header (two SHA-256 runs, eleven timestamps, a few ordered-map steps) and writes one
//! tree record: below 1 M instructions and 12 pages, whatever the block's size, because its bytes
//! were written once when it was admitted and are not copied. A block that came before its parent
//! is judged twice, when its parent came too. A full queue therefore costs below 4 G instructions
//! and 25,000 pages (100 MB), a tenth and a twentieth of one message's limits of 40 G instructions
//! and 2 GiB of written pages.

use std::collections::BTreeMap;

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use ic_stable_structures::{BTreeMap as StableMap, Memory};
use millrace_core::Bytes;

use crate::StoreError;
use crate::record::{join, take};

/// Blocks that are queued or wait to be connected, at most.
pub const MAX_PENDING_BLOCKS: u32 = 2_000;

/// Bytes of those blocks, at most: sixteen of the largest ones.
pub const MAX_PENDING_BYTES: Bytes = Bytes::new(64 * 1024 * 1024);

/// Who delivered a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The canister asked for it.
    Pull,
    /// An adapter pushed it.
    Push,
}

/// A delivered block; its bytes are in [`crate::blobs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The block.
    pub hash: BlockHash,
    /// Its size in bytes.
    pub size: u32,
    /// Who delivered it.
    pub source: Source,
}

const RECORD_BYTES: usize = 40;

/// The queue; first in, first out.
pub struct Queue<M: Memory> {
    records: StableMap<u64, [u8; RECORD_BYTES], M>,
    /// Queued blocks by hash; rebuilt when the store is opened.
    sizes: BTreeMap<BlockHash, u32>,
    next: u64,
}

impl<M: Memory> Queue<M> {
    pub(crate) fn open(memory: M) -> Self {
        let mut queue = Self {
            records: StableMap::init(memory),
            sizes: BTreeMap::new(),
            next: 0,
        };
        for entry in queue.records.iter() {
            let (hash, size) = name_and_size(&entry.value());
            queue.sizes.insert(hash, size);
            queue.next = entry.key().saturating_add(1);
        }
        queue
    }

    /// Returns whether the block is queued.
    pub fn contains(&self, hash: &BlockHash) -> bool {
        self.sizes.contains_key(hash)
    }

    /// Returns how many blocks are queued.
    pub fn len(&self) -> usize {
        self.sizes.len()
    }

    /// Returns whether nothing is queued.
    pub fn is_empty(&self) -> bool {
        self.sizes.is_empty()
    }

    /// Returns the bytes of all queued blocks.
    pub fn bytes(&self) -> Bytes {
        let sum = self.sizes.values().map(|size| u64::from(*size)).sum();
        Bytes::new(sum)
    }

    /// Appends a block whose bytes are stored; the caller has checked that there is room.
    pub(crate) fn push(&mut self, block: Delivered) {
        self.records.insert(self.next, encode(&block));
        self.sizes.insert(block.hash, block.size);
        self.next = self.next.saturating_add(1);
    }

    /// Returns the block that [`Queue::pop`] removes.
    pub fn first(&self) -> Option<BlockHash> {
        let (_, record) = self.records.first_key_value()?;
        Some(name_and_size(&record).0)
    }

    /// Removes the block delivered first and returns its hash.
    pub fn pop(&mut self) -> Option<BlockHash> {
        let (_, record) = self.records.pop_first()?;
        let (hash, _) = name_and_size(&record);
        self.sizes.remove(&hash);
        Some(hash)
    }

    pub(crate) fn stored_len(&self) -> u64 {
        self.records.len()
    }

    /// Returns the queued blocks in order of delivery.
    ///
    /// # Errors
    /// Each item may be [`StoreError::Damaged`].
    pub fn iter(&self) -> impl Iterator<Item = Result<Delivered, StoreError>> + '_ {
        self.records.iter().map(|entry| decode(&entry.value()))
    }
}

fn encode(block: &Delivered) -> [u8; RECORD_BYTES] {
    let source = match block.source {
        Source::Pull => 0,
        Source::Push => 1,
    };
    join(&[
        block.hash.as_byte_array(),
        &block.size.to_le_bytes(),
        &[source],
    ])
}

/// Reads what every record has, damaged or not.
fn name_and_size(record: &[u8; RECORD_BYTES]) -> (BlockHash, u32) {
    let mut rest = record.as_slice();
    let hash = take(&mut rest).unwrap_or_default();
    let size = u32::from_le_bytes(take(&mut rest).unwrap_or_default());
    (BlockHash::from_byte_array(hash), size)
}

fn decode(record: &[u8; RECORD_BYTES]) -> Result<Delivered, StoreError> {
    let (hash, size) = name_and_size(record);
    let source = record.get(36).copied().unwrap_or(u8::MAX);
    Ok(Delivered {
        hash,
        size,
        source: match source {
            0 => Source::Pull,
            1 => Source::Push,
            other => {
                return Err(StoreError::damaged(
                    "queue record",
                    format!("source {other}"),
                ));
            }
        },
    })
}

#[cfg(test)]
mod tests {
    use ic_stable_structures::VectorMemory;

    use super::*;

    #[test]
    fn a_damaged_record_leaves_the_queue_with_its_size() {
        let memory = VectorMemory::default();
        let mut queue = Queue::open(memory.clone());
        let block = |byte| Delivered {
            hash: BlockHash::from_byte_array([byte; 32]),
            size: 100,
            source: Source::Push,
        };
        queue.push(block(1));
        queue.push(block(2));
        let mut damaged = encode(&block(1));
        damaged[36] = 9;
        queue.records.insert(0, damaged);
        drop(queue);
        let mut queue = Queue::open(memory);
        assert!(queue.iter().next().unwrap().is_err());
        assert_eq!(queue.bytes(), Bytes::new(200));
        assert_eq!(queue.pop(), Some(block(1).hash));
        assert_eq!((queue.len(), queue.bytes()), (1, Bytes::new(100)));
        assert_eq!(queue.pop(), Some(block(2).hash));
        assert_eq!((queue.pop(), queue.is_empty()), (None, true));
    }
}
