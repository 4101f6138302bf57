//! Finds transactions of held blocks by id: one small sorted index for each block, written once,
//! front to back, when the block is connected, and dropped with the block.
//!
//! ```text
//! bytes     page 0: magic "TXI1"
//!           page n: the index of one block, in whole pages; entries of 20 bytes in order:
//!                   first 8 bytes of the txid, offset u32, length u32, position u32
//! directory block hash 32 -> first byte u64, entries u32
//! ```
//!
//! Numbers are little endian. Offset and length say where the transaction is in the block's bytes,
//! position which of its transactions it is. What is free is computed from the directory and never
//! stored. A look-up reads one or two pages of each block asked: ids are uniform, so that where an
//! entry must be is guessed well. Entries with the same first bytes are told apart by hashing the
//! transactions they name, and nothing else of the block is read.

use std::collections::BTreeMap;

use bitcoin::consensus::deserialize;
use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, Transaction, Txid};
use ic_stable_structures::{BTreeMap as StableMap, Memory};
use millrace_core::scan::ScannedBlock;

use crate::blobs::BlobKey;
use crate::record::{join, take};
use crate::runs::allocator::Allocator;
use crate::runs::extent::Extent;
use crate::{Store, StoreError};

/// Bytes of an entry.
pub const ENTRY_BYTES: usize = 20;

/// Entries read at once: half a page, in which an entry of an ordinary block is found at once.
const WINDOW: u32 = 100;

/// Looks that expect ids to be even, before the search goes by halves.
const GUESSES: u32 = 4;

const MAGIC: [u8; 4] = *b"TXI1";

/// The first bytes of a transaction id, in order.
type Prefix = [u8; 8];

/// The indexes of all held blocks that have one: connected blocks of the tree, and the one in hand.
pub struct TransactionIndexes<M: Memory> {
    memory: M,
    directory: StableMap<[u8; 32], [u8; 12], M>,
    /// Heap copy of `directory`, about 100 bytes for each block.
    indexes: BTreeMap<BlockHash, Index>,
    allocator: Allocator,
}

/// One block's index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Index {
    extent: Extent,
    count: u32,
}

/// One transaction as its index knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) prefix: Prefix,
    pub(crate) offset: u32,
    pub(crate) length: u32,
    pub(crate) position: u32,
}

/// A transaction of a held block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldTransaction {
    /// Its place in the block; the coinbase has 0.
    pub position: u32,
    /// Its consensus encoding.
    pub bytes: Vec<u8>,
}

impl<M: Memory> TransactionIndexes<M> {
    pub(crate) fn open(memory: M, directory: M) -> Result<Self, StoreError> {
        if memory.size() > 0 {
            let mut magic = [0; MAGIC.len()];
            memory.read(0, &mut magic);
            if magic != MAGIC {
                return Err(damaged(format!("it begins with {magic:02x?}")));
            }
        }
        let directory: StableMap<_, _, _> = StableMap::init(directory);
        let indexes: BTreeMap<BlockHash, Index> = directory
            .iter()
            .map(|entry| {
                let hash = BlockHash::from_byte_array(*entry.key());
                (hash, decode_index(&entry.value()))
            })
            .collect();
        Ok(Self {
            allocator: Allocator::of(indexes.values().map(|index| index.extent))?,
            memory,
            directory,
            indexes,
        })
    }

    /// Returns the bytes that indexes take, without those free between them.
    pub fn bytes(&self) -> u64 {
        let free = self.allocator.free_bytes();
        self.allocator.end().saturating_sub(free)
    }

    /// Returns how many transactions a block has, or `None` for one without an index. Reads
    /// nothing.
    pub fn count(&self, block: &BlockHash) -> Option<u32> {
        self.indexes.get(block).map(|index| index.count)
    }

    /// Writes the index of a block, in place of any written before.
    pub(crate) fn set(
        &mut self,
        block: BlockHash,
        entries: impl Iterator<Item = Entry>,
    ) -> Result<(), StoreError> {
        self.remove(&block);
        let mut entries: Vec<Entry> = entries.collect();
        entries.sort_unstable_by_key(|entry| (entry.prefix, entry.position));
        let bytes: Vec<u8> = entries.iter().flat_map(Entry::encode).collect();
        let is_new = self.memory.size() == 0;
        let extent = self.allocator.allocate(&self.memory, bytes.len() as u64)?;
        if is_new {
            self.memory.write(0, &MAGIC);
        }
        extent.write(&self.memory, 0, &bytes)?;
        let index = Index {
            extent,
            // A block of 4 MB has below 100,000 transactions.
            count: u32::try_from(entries.len()).unwrap_or(u32::MAX),
        };
        self.directory
            .insert(block.to_byte_array(), encode_index(&index));
        self.indexes.insert(block, index);
        Ok(())
    }

    /// Drops the index of a block, if there is one. Costs the same for every size.
    pub(crate) fn remove(&mut self, block: &BlockHash) {
        if let Some(index) = self.indexes.remove(block) {
            self.directory.remove(block.as_byte_array());
            self.allocator.free(index.extent);
        }
    }

    /// Returns the entries of a block that may be a transaction's: in practice one or none.
    fn candidates(&self, block: &BlockHash, txid: &Txid) -> Result<Vec<Entry>, StoreError> {
        let Some(index) = self.indexes.get(block) else {
            return Ok(Vec::new());
        };
        let prefix = prefix_of(txid);
        let mut found = Vec::new();
        for at in self.first_at_or_after(index, prefix)?..index.count {
            let entries = self.entries(index, at, at + 1)?;
            let same = entries.iter().filter(|entry| entry.prefix == prefix);
            let before = found.len();
            found.extend(same);
            if found.len() == before {
                break;
            }
        }
        Ok(found)
    }

    /// Returns the place of the first entry that does not sort before a prefix: first where it
    /// would be if ids were perfectly even between those seen, then, should somebody have made
    /// uneven ones, by halves.
    fn first_at_or_after(&self, index: &Index, prefix: Prefix) -> Result<u32, StoreError> {
        let wanted = number(&prefix);
        // Entries before `low` sort before the prefix, those from `high` on do not.
        let (mut low, mut high) = ((0, 0), (index.count, 1u128 << 64));
        for round in 0.. {
            let (left, right) = (low.0, high.0);
            if left >= right {
                break;
            }
            let guess = if round < GUESSES {
                let share = wanted.saturating_sub(low.1) * u128::from(right - left);
                let share = share / high.1.saturating_sub(low.1).max(1);
                left.saturating_add(u32::try_from(share).unwrap_or(u32::MAX))
            } else {
                left + (right - left) / 2
            };
            let start = guess.saturating_sub(WINDOW / 2).clamp(left, right - 1);
            let end = start.saturating_add(WINDOW).min(right);
            let entries = self.entries(index, start, end)?;
            let below = entries.partition_point(|entry| entry.prefix < prefix);
            let key_of = |entry: Option<&Entry>| entry.map_or(0, |entry| number(&entry.prefix));
            if below == 0 {
                high = (start, key_of(entries.first()));
            } else if below == entries.len() {
                low = (end, key_of(entries.last()));
            } else {
                return Ok(start.saturating_add(below as u32));
            }
        }
        Ok(low.0)
    }

    /// Reads some entries of an index.
    fn entries(&self, index: &Index, start: u32, end: u32) -> Result<Vec<Entry>, StoreError> {
        let mut bytes = vec![0; end.saturating_sub(start) as usize * ENTRY_BYTES];
        let offset = u64::from(start) * ENTRY_BYTES as u64;
        index.extent.read(&self.memory, offset, &mut bytes)?;
        let (entries, _) = bytes.as_chunks::<ENTRY_BYTES>();
        Ok(entries.iter().map(Entry::decode).collect())
    }

    /// Returns the blocks that have an index.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = &BlockHash> {
        self.indexes.keys()
    }

    /// Returns all entries of a block in their order.
    pub(crate) fn all(&self, block: &BlockHash) -> Result<Vec<Entry>, StoreError> {
        match self.indexes.get(block) {
            Some(index) => self.entries(index, 0, index.count),
            None => Ok(Vec::new()),
        }
    }

    /// Checks that the heap's copies equal what is stored and what is free.
    pub(crate) fn audit(&self) -> Result<(), StoreError> {
        let stored = self.directory.iter();
        let stored: BTreeMap<BlockHash, Index> = stored
            .map(|entry| {
                let hash = BlockHash::from_byte_array(*entry.key());
                (hash, decode_index(&entry.value()))
            })
            .collect();
        let extents = self.indexes.values().map(|index| index.extent);
        if stored != self.indexes || Allocator::of(extents)? != self.allocator {
            return Err(damaged("the directory is not up to date"));
        }
        Ok(())
    }
}

impl<M: Memory> Store<M> {
    /// Writes the index of a block whose bytes are held. Sorts its ids and writes 20 bytes for
    /// each, sequentially: 15 pages for an ordinary block, 96 for the 19,600 transactions that no
    /// rule of its structure keeps a block from having.
    ///
    /// # Errors
    /// [`StoreError::OutOfMemory`], or [`StoreError::Damaged`] when the bytes held are not those the
    /// block was read from; the block has no index then.
    pub fn index_transactions(&mut self, block: &ScannedBlock) -> Result<(), StoreError> {
        let hash = block.hash();
        let last = block.transactions().last();
        let end = last.map(|last| last.offset.saturating_add(last.bytes));
        let held = self.blobs.length(&BlobKey::Block(hash));
        if held != end {
            return Err(damaged(format!(
                "block {hash} was read from {end:?} bytes, {held:?} are held"
            )));
        }
        let transactions = block.txids().iter().zip(block.transactions());
        let entries = (0..)
            .zip(transactions)
            .map(|(position, (txid, transaction))| Entry {
                prefix: prefix_of(txid),
                offset: transaction.offset,
                length: transaction.bytes,
                position,
            });
        self.transaction_indexes.set(hash, entries)
    }

    /// Returns a transaction of a block that has an index, or `None`. Reads one or two pages of the
    /// index; when the transaction is there, its bytes and the page links of the block before it,
    /// and hashes it alone.
    ///
    /// # Errors
    /// [`StoreError`] when bytes are missing or damaged.
    pub fn find_transaction(
        &self,
        block: &BlockHash,
        txid: &Txid,
    ) -> Result<Option<HeldTransaction>, StoreError> {
        for entry in self.transaction_indexes.candidates(block, txid)? {
            let (found, bytes) = self.indexed_transaction(block, &entry)?;
            if found == *txid {
                let position = entry.position;
                return Ok(Some(HeldTransaction { position, bytes }));
            }
        }
        Ok(None)
    }

    /// Reads and hashes the transaction an entry names.
    fn indexed_transaction(
        &self,
        block: &BlockHash,
        entry: &Entry,
    ) -> Result<(Txid, Vec<u8>), StoreError> {
        let key = BlobKey::Block(*block);
        let size = self.blobs.length(&key).unwrap_or(0);
        if entry.offset.saturating_add(entry.length) > size {
            let Entry { offset, length, .. } = entry;
            return Err(damaged(format!(
                "{length} bytes at {offset} of block {block}, which has {size}"
            )));
        }
        let mut bytes = vec![0; entry.length as usize];
        self.blobs.read(&key, entry.offset, &mut bytes)?;
        let transaction: Transaction = deserialize(&bytes)
            .map_err(|error| damaged(format!("{entry:?} of block {block}: {error}")))?;
        Ok((transaction.compute_txid(), bytes))
    }

    /// Checks one block's index: sorted, and each entry names the transaction at its position.
    pub(crate) fn audit_transactions_of(&self, block: &BlockHash) -> Result<(), StoreError> {
        let mut entries = self.transaction_indexes.all(block)?;
        let is_sorted = entries.is_sorted_by_key(|entry| (entry.prefix, entry.position));
        entries.sort_unstable_by_key(|entry| entry.position);
        let mut end = entries.first().map_or(0, |entry| entry.offset);
        for (position, entry) in (0..).zip(&entries) {
            let (txid, _) = self.indexed_transaction(block, entry)?;
            let names_it = prefix_of(&txid) == entry.prefix;
            if !is_sorted || !names_it || entry.position != position || entry.offset != end {
                return Err(damaged(format!("{entry:?} of block {block}")));
            }
            end = end.saturating_add(entry.length);
        }
        if self.blobs.length(&BlobKey::Block(*block)) != Some(end) {
            return Err(damaged(format!("block {block} ends after {end} bytes")));
        }
        Ok(())
    }
}

impl Entry {
    fn encode(&self) -> [u8; ENTRY_BYTES] {
        join(&[
            &self.prefix,
            &self.offset.to_le_bytes(),
            &self.length.to_le_bytes(),
            &self.position.to_le_bytes(),
        ])
    }

    fn decode(bytes: &[u8; ENTRY_BYTES]) -> Self {
        let mut rest = bytes.as_slice();
        let prefix = take(&mut rest).unwrap_or_default();
        let mut next = || u32::from_le_bytes(take(&mut rest).unwrap_or_default());
        Self {
            prefix,
            offset: next(),
            length: next(),
            position: next(),
        }
    }
}

fn number(prefix: &Prefix) -> u128 {
    u128::from(u64::from_be_bytes(*prefix))
}

fn prefix_of(txid: &Txid) -> Prefix {
    take(&mut txid.as_byte_array().as_slice()).unwrap_or_default()
}

fn encode_index(index: &Index) -> [u8; 12] {
    join(&[
        &index.extent.start.to_le_bytes(),
        &index.count.to_le_bytes(),
    ])
}

fn decode_index(bytes: &[u8; 12]) -> Index {
    let mut rest = bytes.as_slice();
    let start = u64::from_le_bytes(take(&mut rest).unwrap_or_default());
    let count = u32::from_le_bytes(take(&mut rest).unwrap_or_default());
    Index {
        extent: Extent {
            start,
            length: u64::from(count) * ENTRY_BYTES as u64,
        },
        count,
    }
}

fn damaged(detail: impl ToString) -> StoreError {
    StoreError::damaged("transaction index", detail)
}

#[cfg(test)]
mod tests;
