//! Blocked Bloom filters: which runs need not be read.
//!
//! A key sets seven bits in one block of 512. The block is the key's share of the key space, so
//! keys in order visit blocks in order: a filter is written front to back like everything else,
//! with one block on the heap. About ten bits a key make one in a hundred other keys a "maybe".
//!
//! Outputs of one transaction share their block. Where many transactions of a run have as many outputs as a
//! block has room for, more keys are a maybe (modelled: 2 % at 10 outputs each, 7 % at 50, 18 % at 200, the
//! worst); each costs a search in vain, never a wrong answer.

use ic_stable_structures::Memory;

use super::checkpoint::Saved;
use super::extent::{Appender, Extent};
use super::header::FILTER_BLOCK_BYTES;
use super::key::Digest;
use super::number::Input;
use crate::StoreError;

/// Bits set for each key.
const PROBES: u32 = 7;

/// Bits that choose one of a block's 512.
const PROBE_BITS: u32 = 9;

/// Keys for which a block is made: 10.24 bits each.
const KEYS_PER_BLOCK: u64 = 50;

/// Blocks read at once where keys are dense: a page of them.
const PAGE_BLOCKS: u32 = 64;

/// Keys are dense where there are this many blocks for each, at most.
const DENSE_BLOCKS: usize = 16;

type Block = [u64; FILTER_BLOCK_BYTES / 8];

/// Returns the blocks of a filter for up to `keys` keys: at least one.
pub const fn blocks_for(keys: u64) -> u32 {
    let blocks = keys.div_ceil(KEYS_PER_BLOCK);
    if blocks > u32::MAX as u64 {
        u32::MAX
    } else if blocks == 0 {
        1
    } else {
        blocks as u32
    }
}

/// Returns the block of a key.
const fn block_of(blocks: u32, digest: &Digest) -> u32 {
    (((digest.prefix >> 32) * blocks as u64) >> 32) as u32
}

/// Sets a key's bits.
fn set(block: &mut Block, digest: &Digest) {
    for probe in 0..PROBES {
        let bit = digest.bits >> (probe * PROBE_BITS);
        if let Some(word) = block.get_mut((bit >> 6 & 7) as usize) {
            *word |= 1 << (bit & 63);
        }
    }
}

/// Returns whether all bits of a key are set.
fn is_set(block: &[u8; FILTER_BLOCK_BYTES], digest: &Digest) -> bool {
    let (words, _) = block.as_chunks::<8>();
    (0..PROBES).all(|probe| {
        let bit = digest.bits >> (probe * PROBE_BITS);
        let word = words.get((bit >> 6 & 7) as usize);
        word.is_some_and(|word| u64::from_le_bytes(*word) >> (bit & 63) & 1 == 1)
    })
}

/// A stored filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    extent: Extent,
    blocks: u32,
}

impl Filter {
    /// Names a filter of so many blocks at the front of an extent.
    pub const fn new(extent: Extent, blocks: u32) -> Self {
        Self { extent, blocks }
    }

    /// Returns `false` only for keys that are not in it. Reads 64 bytes.
    ///
    /// # Errors
    /// [`StoreError::BeyondEnd`] when the filter is not where it is said to be.
    pub fn may_contain<M: Memory>(&self, memory: &M, digest: &Digest) -> Result<bool, StoreError> {
        let mut block = [0; FILTER_BLOCK_BYTES];
        let at = u64::from(block_of(self.blocks, digest)) * FILTER_BLOCK_BYTES as u64;
        self.extent.read(memory, at, &mut block)?;
        Ok(is_set(&block, digest))
    }
}

/// Looks up keys in order: a part of a filter that several of them share is read once.
#[derive(Clone, Debug)]
pub struct FilterReader {
    filter: Filter,
    /// What is read at once, in blocks.
    window: u32,
    /// The first block in `bytes`, and their number.
    first: u32,
    count: u32,
    bytes: Vec<u8>,
}

impl FilterReader {
    /// Starts to look up about `keys` keys: where they are dense, whole pages are read.
    pub fn new(filter: Filter, keys: usize) -> Self {
        let is_dense = filter.blocks as usize <= keys.saturating_mul(DENSE_BLOCKS);
        Self {
            filter,
            window: if is_dense { PAGE_BLOCKS } else { 1 },
            first: 0,
            count: 0,
            bytes: Vec::new(),
        }
    }

    /// As [`Filter::may_contain`]; keys may come in any order, but ascending ones are cheaper.
    ///
    /// # Errors
    /// [`StoreError::BeyondEnd`] when the filter is not where it is said to be.
    pub fn may_contain<M: Memory>(
        &mut self,
        memory: &M,
        digest: &Digest,
    ) -> Result<bool, StoreError> {
        let block = block_of(self.filter.blocks, digest);
        if block < self.first || block - self.first >= self.count {
            self.first = block;
            self.count = self.window.min(self.filter.blocks.saturating_sub(block));
            self.bytes
                .resize(self.count as usize * FILTER_BLOCK_BYTES, 0);
            let at = u64::from(block) * FILTER_BLOCK_BYTES as u64;
            self.filter.extent.read(memory, at, &mut self.bytes)?;
        }
        let (blocks, _) = self.bytes.as_chunks::<FILTER_BLOCK_BYTES>();
        let block = blocks.get((block - self.first) as usize);
        Ok(block.is_some_and(|block| is_set(block, digest)))
    }
}

/// A filter being written.
#[derive(Clone, Debug)]
pub struct FilterWriter {
    out: Appender,
    blocks: u32,
    current: u32,
    block: Block,
    last: Option<Digest>,
    keys: u64,
}

impl FilterWriter {
    /// Starts a filter of so many blocks at the front of an extent.
    pub const fn new(extent: Extent, blocks: u32) -> Self {
        Self {
            out: Appender::new(extent),
            blocks,
            current: 0,
            block: [0; FILTER_BLOCK_BYTES / 8],
            last: None,
            keys: 0,
        }
    }

    /// Returns the number of distinct keys inserted.
    pub const fn keys(&self) -> u64 {
        self.keys
    }

    /// Inserts a key; keys must not descend. A repeated one costs nothing.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] for a key of an earlier block, [`StoreError::BeyondEnd`] when the
    /// extent is too small.
    pub fn insert<M: Memory>(&mut self, memory: &M, digest: &Digest) -> Result<(), StoreError> {
        if self.last == Some(*digest) {
            return Ok(());
        }
        let target = block_of(self.blocks, digest);
        if target < self.current {
            return Err(StoreError::damaged("filter", "its keys descend"));
        }
        self.write_up_to(memory, target)?;
        set(&mut self.block, digest);
        self.last = Some(*digest);
        self.keys += 1;
        Ok(())
    }

    /// Writes the rest; the filter is complete.
    ///
    /// # Errors
    /// [`StoreError::BeyondEnd`] when the extent is too small.
    pub fn finish<M: Memory>(&mut self, memory: &M) -> Result<(), StoreError> {
        self.write_up_to(memory, self.blocks)?;
        self.out.flush(memory)
    }

    /// Writes what waits, and appends what is needed to go on.
    pub(super) fn save<M: Memory>(
        &mut self,
        memory: &M,
        out: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        self.out.flush(memory)?;
        self.current.save(out);
        for word in self.block {
            word.save(out);
        }
        self.last.save(out);
        self.keys.save(out);
        Ok(())
    }

    pub(super) fn restore(
        extent: Extent,
        blocks: u32,
        input: &mut Input<'_>,
    ) -> Result<Self, StoreError> {
        let current = u32::restore(input)?;
        let mut block = Block::default();
        for word in &mut block {
            *word = u64::restore(input)?;
        }
        Ok(Self {
            out: Appender::resume(extent, u64::from(current) * FILTER_BLOCK_BYTES as u64),
            blocks,
            current,
            block,
            last: Option::restore(input)?,
            keys: u64::restore(input)?,
        })
    }

    fn write_up_to<M: Memory>(&mut self, memory: &M, target: u32) -> Result<(), StoreError> {
        while self.current < target {
            let words = self.block.map(u64::to_le_bytes);
            self.out.append(memory, words.as_flattened())?;
            self.block = Block::default();
            self.current += 1;
        }
        Ok(())
    }
}
