//! Reads a blob at any place: its pages are found once, front to back, and then known.

use ic_stable_structures::Memory;
use millrace_core::scan::BlockBytes;

use super::{BlobKey, Blobs, NO_PAGE, PAYLOAD_BYTES, decode_chain, pages_of};
use crate::StoreError;

/// The pages of a blob: 4 bytes on the heap for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobPages {
    pages: Vec<u32>,
    length: u32,
}

/// A blob being read at any place.
pub struct BlobReader<'a, M: Memory> {
    blobs: &'a Blobs<M>,
    pages: &'a BlobPages,
}

impl<M: Memory> BlockBytes for BlobReader<'_, M> {
    type Error = StoreError;

    fn length(&self) -> u32 {
        self.pages.length
    }

    fn read(&self, offset: u32, buffer: &mut [u8]) -> Result<(), StoreError> {
        let known = &self.pages.pages;
        let mut pages = known.iter().skip((offset / PAYLOAD_BYTES) as usize);
        let beyond = StoreError::BeyondEnd {
            offset: offset.into(),
            end: u64::from(offset) + buffer.len() as u64,
            length: self.pages.length.into(),
        };
        self.blobs.read_pages(offset % PAYLOAD_BYTES, buffer, || {
            pages.next().copied().ok_or_else(|| beyond.clone())
        })
    }
}

impl<M: Memory> Blobs<M> {
    /// Finds the pages of a blob, so that any of its bytes can be read at once. Costs one small
    /// read for each page.
    ///
    /// # Errors
    /// [`StoreError::Missing`] or [`StoreError::Damaged`].
    pub fn pages(&self, key: &BlobKey) -> Result<BlobPages, StoreError> {
        let chain = self.chain(key)?;
        let count = pages_of(chain.length);
        let mut pages = Vec::with_capacity(count as usize);
        let mut page = chain.first;
        for number in 0..count {
            if number > 0 {
                page = self.next(page)?;
            }
            pages.push(page);
        }
        Ok(BlobPages {
            pages,
            length: chain.length,
        })
    }

    /// Returns whether a blob is where it was when its pages were found. Costs one look-up.
    pub fn is_at(&self, key: &BlobKey, pages: &BlobPages) -> bool {
        let stored = self.index.get(&key.encode());
        stored.is_some_and(|chain| {
            let chain = decode_chain(&chain);
            let first = pages.pages.first().copied().unwrap_or(NO_PAGE);
            (chain.first, chain.length) == (first, pages.length)
        })
    }

    /// Reads through pages found before. The blob must not have been changed since.
    pub const fn reader<'a>(&'a self, pages: &'a BlobPages) -> BlobReader<'a, M> {
        BlobReader { blobs: self, pages }
    }
}
