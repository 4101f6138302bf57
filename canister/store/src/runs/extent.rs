//! Ranges of the region that holds runs, and writing one from front to back.

use ic_stable_structures::Memory;

use crate::StoreError;
use crate::counting::PAGE_BYTES;

/// A range of bytes of the region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Extent {
    /// Its first byte.
    pub start: u64,
    /// Its length in bytes.
    pub length: u64,
}

impl Extent {
    /// Returns the byte after the last one.
    pub const fn end(&self) -> u64 {
        self.start.saturating_add(self.length)
    }

    /// Returns the part of it from `offset` on, as far as it reaches.
    pub const fn part(&self, offset: u64, length: u64) -> Self {
        let left = self.length.saturating_sub(offset);
        Self {
            start: self.start.saturating_add(offset),
            length: if length < left { length } else { left },
        }
    }

    /// Reads bytes at an offset.
    ///
    /// # Errors
    /// [`StoreError::BeyondEnd`] when they are not all in the range and in memory.
    pub fn read<M: Memory>(
        &self,
        memory: &M,
        offset: u64,
        bytes: &mut [u8],
    ) -> Result<(), StoreError> {
        self.check(memory, offset, bytes.len())?;
        // Nothing may be asked for beyond the end of memory, not even nothing.
        if bytes.is_empty() {
            return Ok(());
        }
        memory.read(self.start + offset, bytes);
        Ok(())
    }

    /// Writes bytes at an offset.
    ///
    /// # Errors
    /// As [`Extent::read`]; nothing is written.
    pub fn write<M: Memory>(
        &self,
        memory: &M,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        self.check(memory, offset, bytes.len())?;
        if bytes.is_empty() {
            return Ok(());
        }
        memory.write(self.start + offset, bytes);
        Ok(())
    }

    fn check<M: Memory>(&self, memory: &M, offset: u64, bytes: usize) -> Result<(), StoreError> {
        let end = offset.saturating_add(bytes as u64);
        let limit = memory_bytes(memory).saturating_sub(self.start);
        if end <= self.length.min(limit) {
            return Ok(());
        }
        Err(StoreError::BeyondEnd {
            offset,
            end,
            length: self.length.min(limit),
        })
    }
}

fn memory_bytes<M: Memory>(memory: &M) -> u64 {
    memory.size().saturating_mul(crate::layout::WASM_PAGE_BYTES)
}

/// Writes an extent front to back. At most a page waits on the heap, and whole pages are written
/// once.
#[derive(Clone, Debug)]
pub struct Appender {
    extent: Extent,
    written: u64,
    waiting: Vec<u8>,
}

impl Appender {
    /// Starts at the front of an extent.
    pub const fn new(extent: Extent) -> Self {
        Self {
            extent,
            written: 0,
            waiting: Vec::new(),
        }
    }

    /// Goes on where one stopped after [`Appender::flush`].
    pub const fn resume(extent: Extent, written: u64) -> Self {
        Self {
            extent,
            written,
            waiting: Vec::new(),
        }
    }

    /// Returns the number of bytes appended.
    pub const fn length(&self) -> u64 {
        self.written + self.waiting.len() as u64
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// [`StoreError::BeyondEnd`] when the extent is full.
    pub fn append<M: Memory>(&mut self, memory: &M, bytes: &[u8]) -> Result<(), StoreError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let at = self.extent.start + self.length();
            let to_page_end = (PAGE_BYTES - at % PAGE_BYTES) as usize;
            let (now, later) = rest.split_at(to_page_end.min(rest.len()));
            self.waiting.extend_from_slice(now);
            if now.len() == to_page_end {
                self.flush(memory)?;
            }
            rest = later;
        }
        Ok(())
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// [`StoreError::BeyondEnd`] when the extent is full.
    pub fn flush<M: Memory>(&mut self, memory: &M) -> Result<(), StoreError> {
        self.extent.write(memory, self.written, &self.waiting)?;
        self.written += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }
}
