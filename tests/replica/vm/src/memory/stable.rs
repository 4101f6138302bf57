//! Stable memory during one message: a private mapping, and exact counts of pages touched.

use std::io;

use super::mapping::Reservation;
use super::pages::Pages;
use crate::input::Limits;
use crate::trap::Trap;
use crate::units::{OS_PAGE_BYTES, OsPages, WASM_PAGE_BYTES};

/// Instructions charged for each page a message writes for the first time.
pub(crate) const DIRTY_PAGE_OVERHEAD: u64 = 1_000;

/// A growing set of page numbers.
#[derive(Debug, Default)]
struct PageSet {
    bits: Vec<u64>,
    count: u64,
}

impl PageSet {
    fn contains(&self, page: u64) -> bool {
        let word = usize::try_from(page / 64).expect("addresses are 64 bits wide");
        self.bits
            .get(word)
            .is_some_and(|bits| bits >> (page % 64) & 1 == 1)
    }

    /// Returns whether the page is new.
    fn insert(&mut self, page: u64) -> bool {
        let word = usize::try_from(page / 64).expect("addresses are 64 bits wide");
        if word >= self.bits.len() {
            self.bits.resize((word + 1).next_power_of_two(), 0);
        }
        let bit = 1 << (page % 64);
        let new = self.bits[word] & bit == 0;
        self.bits[word] |= bit;
        self.count += u64::from(new);
        new
    }

    fn missing(&self, pages: std::ops::Range<u64>) -> u64 {
        pages.filter(|page| !self.contains(*page)).count() as u64
    }
}

/// Stable memory as one message sees it.
#[derive(Debug)]
pub(crate) struct StableSession {
    pages: Pages,
    /// Made on first access: most messages never look.
    reservation: Option<Reservation>,
    /// Bytes of addresses to reserve, so that growth never moves the mapping.
    bytes_max: u64,
    size_pages: u64,
    dirty_limit: OsPages,
    accessed_limit: OsPages,
    accessed: PageSet,
    dirty: PageSet,
    read: PageSet,
    /// Written pages in the order of their first write.
    dirty_list: Vec<u64>,
}

/// What a message did to stable memory.
#[derive(Debug)]
pub(crate) struct StableChanges {
    /// The mapping holding the written pages, if anything was touched.
    pub reservation: Option<Reservation>,
    /// Written pages, ascending.
    pub dirty: Vec<u64>,
    /// The new size in Wasm pages.
    pub size_pages: u64,
}

/// Pages touched so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StableUsage {
    pub dirtied: OsPages,
    pub accessed: OsPages,
    pub read: OsPages,
}

impl StableSession {
    /// Starts with `size_pages` Wasm pages of `pages`.
    pub(crate) fn new(pages: Pages, size_pages: u64, bytes_max: u64, limits: &Limits) -> Self {
        Self {
            pages,
            reservation: None,
            bytes_max: bytes_max.max(size_pages * WASM_PAGE_BYTES),
            size_pages,
            dirty_limit: limits.stable_dirty_pages,
            accessed_limit: limits.stable_accessed_pages,
            accessed: PageSet::default(),
            dirty: PageSet::default(),
            read: PageSet::default(),
            dirty_list: Vec::new(),
        }
    }

    /// Returns the size in Wasm pages.
    pub(crate) fn size_pages(&self) -> u64 {
        self.size_pages
    }

    /// Returns the pages touched so far.
    pub(crate) fn usage(&self) -> StableUsage {
        StableUsage {
            dirtied: OsPages(self.dirty.count),
            accessed: OsPages(self.accessed.count),
            read: OsPages(self.read.count),
        }
    }

    /// Grows by `additional` Wasm pages; the caller has checked all limits.
    pub(crate) fn grow(&mut self, additional: u64) -> io::Result<()> {
        let old = self.size_bytes();
        if let Some(reservation) = &self.reservation {
            self.pages
                .map_growth(reservation, old, as_index(additional * WASM_PAGE_BYTES))?;
        }
        self.size_pages += additional;
        Ok(())
    }

    /// Refuses ranges beyond the end.
    pub(crate) fn check_range(&self, offset: u64, len: u64) -> Result<(), Trap> {
        match offset.checked_add(len) {
            Some(end) if end <= self.size_pages * WASM_PAGE_BYTES => Ok(()),
            _ => Err(Trap::trapped("stable memory out of bounds")),
        }
    }

    /// Checks the budget of a read in bounds and counts its pages.
    pub(crate) fn mark_read(&mut self, offset: u64, len: u64) -> Result<(), Trap> {
        let pages = page_range(offset, len);
        self.check_accessed(pages.clone())?;
        for page in pages {
            self.accessed.insert(page);
            self.read.insert(page);
        }
        Ok(())
    }

    /// Checks the budgets of a write in bounds and returns the number of newly written pages; they
    /// are counted by [`Self::mark_written`], after they have been paid for.
    pub(crate) fn new_pages_of_write(&self, offset: u64, len: u64) -> Result<u64, Trap> {
        let pages = page_range(offset, len);
        self.check_accessed(pages.clone())?;
        let new = self.dirty.missing(pages);
        if self.dirty.count + new > self.dirty_limit.get() {
            let kib = self.dirty_limit.bytes() / 1_024;
            return Err(Trap::memory_access(&format!(
                "Exceeded the limit for the number of modified pages in the stable memory in a single execution: limit {kib} KB."
            )));
        }
        Ok(new)
    }

    /// Counts the pages of a checked write.
    pub(crate) fn mark_written(&mut self, offset: u64, len: u64) {
        for page in page_range(offset, len) {
            self.accessed.insert(page);
            if self.dirty.insert(page) {
                self.dirty_list.push(page);
            }
        }
    }

    /// Returns `len` bytes at `offset` of a checked range.
    pub(crate) fn bytes(&mut self, offset: u64, len: usize) -> Result<&mut [u8], Trap> {
        let (offset, size) = (as_index(offset), self.size_bytes());
        let reservation = match &mut self.reservation {
            Some(reservation) => reservation,
            None => {
                let mapped = Reservation::new(as_index(self.bytes_max))
                    .and_then(|reservation| {
                        self.pages.map(&reservation, size, size)?;
                        Ok(reservation)
                    })
                    .map_err(|error| Trap::engine(format!("cannot map stable memory: {error}")))?;
                self.reservation.insert(mapped)
            }
        };
        assert!(offset + len <= size, "the range was checked");
        // SAFETY: [0, size) is mapped readable and writable, and the borrow is exclusive.
        Ok(unsafe { std::slice::from_raw_parts_mut(reservation.as_ptr().add(offset), len) })
    }

    /// Ends the message.
    pub(crate) fn finish(mut self) -> StableChanges {
        self.dirty_list.sort_unstable();
        StableChanges {
            reservation: self.reservation,
            dirty: self.dirty_list,
            size_pages: self.size_pages,
        }
    }

    fn size_bytes(&self) -> usize {
        as_index(self.size_pages * WASM_PAGE_BYTES)
    }

    fn check_accessed(&self, pages: std::ops::Range<u64>) -> Result<(), Trap> {
        let new = self.accessed.missing(pages);
        if self.accessed.count + new > self.accessed_limit.get() {
            let kib = self.accessed_limit.bytes() / 1_024;
            return Err(Trap::memory_access(&format!(
                "Exceeded the limit for the number of accessed pages in the stable memory in a single message execution: limit {kib} KB."
            )));
        }
        Ok(())
    }
}

fn as_index(value: u64) -> usize {
    usize::try_from(value).expect("addresses are 64 bits wide")
}

/// Returns the 4 KiB pages of a range that has been checked.
fn page_range(offset: u64, len: u64) -> std::ops::Range<u64> {
    offset / OS_PAGE_BYTES..(offset + len).div_ceil(OS_PAGE_BYTES)
}
