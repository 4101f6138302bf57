//! Byte strings of blocks and transactions, in chains of 4 KiB pages.
//!
//! Bytes are written once, sequentially; naming them anew (a half-received block that is whole
//! now) and deleting them move no bytes. A page is `next page u32 LE` and [`PAYLOAD_BYTES`] bytes;
//! freed chains are spliced into the list of free pages as a whole.
//!
//! ```text
//! page 0: magic "BLB1", number of pages in use or free u32, first free page u32, free pages u32
//! page n: next page of the chain u32, 4,092 bytes
//! ```

use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, Txid};
use ic_stable_structures::{BTreeMap as StableMap, Memory};
use millrace_core::assembly::{AssemblyKey, MAX_PUSHER_BYTES};

use crate::StoreError;
use crate::counting::PAGE_BYTES;
use crate::layout::WASM_PAGE_BYTES;
use crate::record::{join, take};

mod reader;

pub use reader::{BlobPages, BlobReader};

/// Bytes of a blob in one page.
pub const PAYLOAD_BYTES: u32 = PAGE_BYTES as u32 - 4;

const MAGIC: [u8; 4] = *b"BLB1";
const KEY_BYTES: usize = 1 + 1 + MAX_PUSHER_BYTES + 32;
const NO_PAGE: u32 = 0;

/// Names a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobKey {
    /// A whole block: queued, held or connected.
    Block(BlockHash),
    /// One pusher's half-received copy of a block.
    Half(AssemblyKey),
    /// The block whose pages are being pulled.
    Staged,
    /// What an unstable block's transactions paid.
    FeeRates(BlockHash),
    /// A transaction of the outbox.
    Transaction(Txid),
}

/// Where a blob's pages are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Chain {
    first: u32,
    last: u32,
    length: u32,
}

#[derive(Clone, Copy, Debug)]
struct Pool {
    /// Pages that exist, page 0 included.
    pages: u32,
    first_free: u32,
    free: u32,
}

/// All blobs.
pub struct Blobs<M: Memory> {
    index: StableMap<[u8; KEY_BYTES], [u8; 12], M>,
    memory: M,
    pool: Pool,
}

impl<M: Memory> Blobs<M> {
    pub(crate) fn open(index: M, memory: M) -> Result<Self, StoreError> {
        let pool = if memory.size() == 0 {
            Pool {
                pages: 1,
                first_free: NO_PAGE,
                free: 0,
            }
        } else {
            read_pool(&memory)?
        };
        Ok(Self {
            index: StableMap::init(index),
            memory,
            pool,
        })
    }

    /// Returns a blob's length, or `None` when there is no such blob.
    pub fn length(&self, key: &BlobKey) -> Option<u32> {
        self.index
            .get(&key.encode())
            .map(|chain| decode_chain(&chain).length)
    }

    /// Appends to a blob, which begins empty.
    ///
    /// # Errors
    /// [`StoreError::OutOfMemory`] before anything is written, or [`StoreError::Damaged`].
    pub fn append(&mut self, key: &BlobKey, mut bytes: &[u8]) -> Result<(), StoreError> {
        let stored = self.index.get(&key.encode());
        let mut chain = stored.map_or_else(Chain::default, |chain| decode_chain(&chain));
        self.reserve(&chain, bytes.len())?;
        while !bytes.is_empty() {
            let used = chain.length % PAYLOAD_BYTES;
            if used == 0 {
                let page = self.take_page()?;
                if chain.length == 0 {
                    chain.first = page;
                } else {
                    self.write_next(chain.last, page);
                }
                chain.last = page;
            }
            let room = (PAYLOAD_BYTES - used) as usize;
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.memory
                .write(address(chain.last) + 4 + u64::from(used), now);
            chain.length = chain.length.saturating_add(now.len() as u32);
            bytes = later;
        }
        self.write_pool();
        self.index.insert(key.encode(), encode_chain(&chain));
        Ok(())
    }

    /// Reads `buffer.len()` bytes from `offset` on. Costs one small read for each page before
    /// `offset`.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::BeyondEnd`] or [`StoreError::Damaged`].
    pub fn read(&self, key: &BlobKey, offset: u32, buffer: &mut [u8]) -> Result<(), StoreError> {
        let chain = self.chain(key)?;
        let end = u64::from(offset) + buffer.len() as u64;
        if end > u64::from(chain.length) {
            return Err(StoreError::BeyondEnd {
                offset: u64::from(offset),
                end,
                length: u64::from(chain.length),
            });
        }
        let mut page = chain.first;
        for _ in 0..offset / PAYLOAD_BYTES {
            page = self.next(page)?;
        }
        let mut is_first = true;
        self.read_pages(offset % PAYLOAD_BYTES, buffer, || {
            if !std::mem::take(&mut is_first) {
                page = self.next(page)?;
            }
            Ok(page)
        })
    }

    /// Fills a buffer from the pages that `next_page` names, starting `at` bytes into the first.
    fn read_pages(
        &self,
        mut at: u32,
        buffer: &mut [u8],
        mut next_page: impl FnMut() -> Result<u32, StoreError>,
    ) -> Result<(), StoreError> {
        let mut rest = buffer;
        while !rest.is_empty() {
            let page = next_page()?;
            let room = (PAYLOAD_BYTES - at) as usize;
            let (now, later) = rest.split_at_mut(room.min(rest.len()));
            self.memory.read(address(page) + 4 + u64::from(at), now);
            rest = later;
            at = 0;
        }
        Ok(())
    }

    /// Reads a whole blob. Its length is bounded by whoever wrote it.
    ///
    /// # Errors
    /// [`StoreError::Missing`] or [`StoreError::Damaged`].
    pub fn read_all(&self, key: &BlobKey) -> Result<Vec<u8>, StoreError> {
        let mut bytes = vec![0; self.chain(key)?.length as usize];
        self.read(key, 0, &mut bytes)?;
        Ok(bytes)
    }

    /// Gives a blob another name, whose former blob goes.
    ///
    /// # Errors
    /// [`StoreError::Missing`].
    pub fn rename(&mut self, from: &BlobKey, to: &BlobKey) -> Result<(), StoreError> {
        let chain = self.chain(from)?;
        self.remove(to);
        self.index.remove(&from.encode());
        self.index.insert(to.encode(), encode_chain(&chain));
        Ok(())
    }

    /// Deletes a blob, if it exists. Costs the same for every length.
    pub fn remove(&mut self, key: &BlobKey) {
        let Some(chain) = self.index.remove(&key.encode()) else {
            return;
        };
        let chain = decode_chain(&chain);
        if chain.length == 0 {
            return;
        }
        self.write_next(chain.last, self.pool.first_free);
        self.pool.first_free = chain.first;
        self.pool.free = self.pool.free.saturating_add(pages_of(chain.length));
        self.write_pool();
    }

    /// Cuts a blob to its first `length` bytes; a shorter one stays as it is. Costs one small read
    /// for each page kept.
    ///
    /// # Errors
    /// [`StoreError::Missing`] or [`StoreError::Damaged`]; nothing is written then.
    pub fn truncate(&mut self, key: &BlobKey, length: u32) -> Result<(), StoreError> {
        let chain = self.chain(key)?;
        if length >= chain.length {
            return Ok(());
        }
        let kept = pages_of(length);
        let gone = pages_of(chain.length).saturating_sub(kept);
        let mut last = chain.first;
        for _ in 1..kept {
            last = self.next(last)?;
        }
        if gone > 0 {
            let first_gone = match kept {
                0 => chain.first,
                _ => self.next(last)?,
            };
            self.write_next(chain.last, self.pool.first_free);
            self.pool.first_free = first_gone;
            self.pool.free = self.pool.free.saturating_add(gone);
            self.write_pool();
        }
        let chain = match kept {
            0 => Chain::default(),
            _ => Chain {
                last,
                length,
                ..chain
            },
        };
        self.index.insert(key.encode(), encode_chain(&chain));
        Ok(())
    }

    /// Returns (pages in use, free pages), each of 4 KiB.
    pub fn usage(&self) -> (u32, u32) {
        let used = self.pool.pages.saturating_sub(1 + self.pool.free);
        (used, self.pool.free)
    }

    /// Returns every blob's name and length.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Option<BlobKey>, u32)> + '_ {
        self.index.iter().map(|entry| {
            let chain = decode_chain(&entry.value());
            (BlobKey::decode(entry.key()), chain.length)
        })
    }

    /// Follows every chain and the free list; returns the number of pages they hold.
    pub(crate) fn count_pages(&self) -> Result<u32, StoreError> {
        let mut pages = 0;
        for entry in self.index.iter() {
            let chain = decode_chain(&entry.value());
            let expected = pages_of(chain.length);
            let mut page = chain.first;
            for _ in 1..expected {
                page = self.next(page)?;
            }
            if expected > 0 && page != chain.last {
                return Err(StoreError::damaged(
                    "blob",
                    format!("ends at page {page}, not {}", chain.last),
                ));
            }
            pages += expected;
        }
        let mut page = self.pool.first_free;
        for _ in 0..self.pool.free {
            pages += 1;
            page = self.next(page)?;
        }
        Ok(pages)
    }

    fn chain(&self, key: &BlobKey) -> Result<Chain, StoreError> {
        let stored = self.index.get(&key.encode());
        stored
            .map(|chain| decode_chain(&chain))
            .ok_or_else(|| StoreError::missing("blob", format!("{key:?}")))
    }

    /// Makes sure that `more` bytes after `chain` have pages, so that no write fails half-way.
    fn reserve(&mut self, chain: &Chain, more: usize) -> Result<(), StoreError> {
        let length = u64::from(chain.length) + more as u64;
        let pages = length.div_ceil(u64::from(PAYLOAD_BYTES)) - u64::from(pages_of(chain.length));
        let new = pages.saturating_sub(u64::from(self.pool.free));
        let end = (u64::from(self.pool.pages) + new) * PAGE_BYTES;
        let size = self.memory.size();
        let missing = end.div_ceil(WASM_PAGE_BYTES).saturating_sub(size);
        let too_many = u32::try_from(length).is_err()
            || u32::try_from(u64::from(self.pool.pages) + new).is_err();
        if too_many || (missing > 0 && self.memory.grow(missing) < 0) {
            return Err(StoreError::OutOfMemory { pages: size });
        }
        Ok(())
    }

    /// Takes a free page, or the first one that was never used.
    fn take_page(&mut self) -> Result<u32, StoreError> {
        if self.pool.free == 0 {
            let page = self.pool.pages;
            self.pool.pages += 1;
            return Ok(page);
        }
        let page = self.pool.first_free;
        self.pool.first_free = self.next(page)?;
        self.pool.free -= 1;
        Ok(page)
    }

    fn next(&self, page: u32) -> Result<u32, StoreError> {
        if page == NO_PAGE || page >= self.pool.pages {
            return Err(StoreError::damaged(
                "blob chain",
                format!("page {page} of {}", self.pool.pages),
            ));
        }
        let mut next = [0; 4];
        self.memory.read(address(page), &mut next);
        Ok(u32::from_le_bytes(next))
    }

    fn write_next(&self, page: u32, next: u32) {
        self.memory.write(address(page), &next.to_le_bytes());
    }

    fn write_pool(&self) {
        let pool: [u8; 16] = join(&[
            &MAGIC,
            &self.pool.pages.to_le_bytes(),
            &self.pool.first_free.to_le_bytes(),
            &self.pool.free.to_le_bytes(),
        ]);
        self.memory.write(0, &pool);
    }
}

fn read_pool<M: Memory>(memory: &M) -> Result<Pool, StoreError> {
    let mut bytes = [0; 16];
    memory.read(0, &mut bytes);
    let mut rest = bytes.as_slice();
    let mut next = || take(&mut rest).unwrap_or_default();
    let magic = next();
    if magic != MAGIC {
        return Err(StoreError::damaged(
            "blob pages",
            format!("they begin with {magic:02x?}"),
        ));
    }
    Ok(Pool {
        pages: u32::from_le_bytes(next()),
        first_free: u32::from_le_bytes(next()),
        free: u32::from_le_bytes(next()),
    })
}

const fn address(page: u32) -> u64 {
    page as u64 * PAGE_BYTES
}

const fn pages_of(length: u32) -> u32 {
    length.div_ceil(PAYLOAD_BYTES)
}

fn encode_chain(chain: &Chain) -> [u8; 12] {
    join(&[
        &chain.first.to_le_bytes(),
        &chain.last.to_le_bytes(),
        &chain.length.to_le_bytes(),
    ])
}

fn decode_chain(bytes: &[u8; 12]) -> Chain {
    let mut rest = bytes.as_slice();
    let mut next = || u32::from_le_bytes(take(&mut rest).unwrap_or_default());
    Chain {
        first: next(),
        last: next(),
        length: next(),
    }
}

impl BlobKey {
    fn encode(&self) -> [u8; KEY_BYTES] {
        match self {
            Self::Block(hash) => join(&[&[0], hash.as_byte_array()]),
            Self::Half(key) => {
                let pusher = key.pusher.as_bytes();
                let name: [u8; MAX_PUSHER_BYTES] = join(&[pusher]);
                join(&[&[1, pusher.len() as u8], &name, key.hash.as_byte_array()])
            }
            Self::Staged => join(&[&[2]]),
            Self::FeeRates(hash) => join(&[&[4], hash.as_byte_array()]),
            Self::Transaction(txid) => join(&[&[5], txid.as_byte_array()]),
        }
    }

    fn decode(bytes: &[u8; KEY_BYTES]) -> Option<Self> {
        let mut rest = bytes.as_slice();
        let [tag] = take(&mut rest)?;
        match tag {
            0 => Some(Self::Block(BlockHash::from_byte_array(take(&mut rest)?))),
            1 => {
                let [len] = take(&mut rest)?;
                let name: [u8; MAX_PUSHER_BYTES] = take(&mut rest)?;
                let pusher = name.get(..usize::from(len))?;
                Some(Self::Half(AssemblyKey {
                    pusher: millrace_core::assembly::PusherId::new(pusher)?,
                    hash: BlockHash::from_byte_array(take(&mut rest)?),
                }))
            }
            2 => Some(Self::Staged),
            4 => Some(Self::FeeRates(BlockHash::from_byte_array(take(&mut rest)?))),
            5 => Some(Self::Transaction(Txid::from_byte_array(take(&mut rest)?))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
