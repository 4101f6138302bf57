//! Maps regions onto stable memory: which of its 64 KiB pages belong to which region.
//!
//! A region is a memory of its own that only grows. It gets its pages in *parts*, one behind the other in
//! the order of asking, so a part's place follows from the parts before it and is not stored. A region that
//! grows gets a sixteenth of what it has where it asked for less, and 32 MiB at most: few parts (some 3,000 for
//! 100 GiB), little unused, and small steps where little is asked for: a merge asks for its whole output. Neighbouring
//! parts of one region become one.
//!
//! Most regions hold structures that cannot go on when their memory does not grow. So
//! [`RESERVE_PAGES`] pages are kept at the end for them that the bulk regions (`Region::is_bulk`), whose
//! users are told, never get. [`Regions::has_reserve`] says whether the reserve is whole; when it is not and
//! memory cannot grow, nothing may begin that writes much.
//!
//! ```text
//! in the header page (see `layout`), little endian
//! offset size
//!     64    4  number of parts, u32
//!    128  256  size of each region in pages, 64 u32
//!  4,096  8*n  parts in the order of their pages: pages u32, region u8, 3 bytes zero
//! ```

use std::cell::RefCell;
use std::rc::Rc;

use ic_stable_structures::Memory;

use crate::StoreError;
use crate::layout::{Raw, Region, WASM_PAGE_BYTES};
use crate::record::{join, take};

/// Pages kept for small structures: 2 MiB, more than they write between two looks at the reserve, when
/// 2,000 blocks are delivered and drained.
pub const RESERVE_PAGES: u64 = 32;

/// Pages before the first part: the header page.
const FIRST_PAGE: u64 = 1;

/// Regions there may be: numbers below this.
const REGIONS: usize = 64;

/// A region that grows gets at least one part in so many of what it has,
const GROWTH: u64 = 16;

/// unless that is more than so many pages.
const MAX_GROWTH: u64 = 512;

const COUNT_AT: u64 = 64;
const SIZES_AT: u64 = 128;
const PARTS_AT: u64 = 4_096;
const PART_BYTES: u64 = 8;

/// Parts that the header page has room for.
const MAX_PARTS: usize = ((WASM_PAGE_BYTES - PARTS_AT) / PART_BYTES) as usize;

/// Parts kept for small structures, as pages are; bulk leaves twice as many.
const RESERVE_PARTS: usize = 128;

/// Pages of a region that lie together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    /// Its first page as the region counts.
    first: u64,
    /// Its first page of stable memory.
    start: u64,
    pages: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Pages {
    /// Pages that the region has asked for.
    size: u64,
    /// Its parts in order; they have `size` pages or more.
    parts: Vec<Part>,
}

impl Pages {
    fn capacity(&self) -> u64 {
        self.parts.last().map_or(0, |part| part.first + part.pages)
    }

    fn add(&mut self, start: u64, pages: u64) {
        let first = self.capacity();
        match self.parts.last_mut() {
            Some(last) if last.start + last.pages == start => last.pages += pages,
            _ => self.parts.push(Part {
                first,
                start,
                pages,
            }),
        }
    }
}

/// The heap's form of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Table {
    regions: Vec<Pages>,
    /// Region and pages of the last stored part, and the number of them.
    last: Option<(u8, u64)>,
    count: usize,
    /// The first page that belongs to no region.
    next: u64,
}

impl Table {
    const fn new() -> Self {
        Self {
            regions: Vec::new(),
            last: None,
            count: 0,
            next: FIRST_PAGE,
        }
    }

    /// Reads the table. Costs a page, and one for each 512 parts.
    fn read<M: Memory>(memory: &M) -> Result<Self, StoreError> {
        let mut head = [0; SIZES_AT as usize + 4 * REGIONS];
        memory.read(0, &mut head);
        let mut rest = head.get(COUNT_AT as usize..).unwrap_or_default();
        let count = u32::from_le_bytes(take(&mut rest).unwrap_or_default()) as usize;
        if count > MAX_PARTS {
            let detail = format!("{count} parts, the page has room for {MAX_PARTS}");
            return Err(StoreError::damaged("table of regions", detail));
        }
        let mut table = Self::new();
        table.regions.resize(REGIONS, Pages::default());
        let mut stored = vec![0; count * PART_BYTES as usize];
        memory.read(PARTS_AT, &mut stored);
        let mut rest = stored.as_slice();
        for _ in 0..count {
            let pages = u64::from(u32::from_le_bytes(take(&mut rest).unwrap_or_default()));
            let [region, ..]: [u8; 4] = take(&mut rest).unwrap_or_default();
            if pages == 0 || usize::from(region) >= REGIONS {
                let detail = format!("a part of {pages} pages of region {region}");
                return Err(StoreError::damaged("table of regions", detail));
            }
            table.place(region, pages);
        }
        let mut sizes = head.get(SIZES_AT as usize..).unwrap_or_default();
        for (region, pages) in table.regions.iter_mut().enumerate() {
            pages.size = u32::from_le_bytes(take(&mut sizes).unwrap_or_default()).into();
            if pages.size > pages.capacity() {
                let (size, capacity) = (pages.size, pages.capacity());
                let detail = format!("region {region} has {size} pages in parts of {capacity}");
                return Err(StoreError::damaged("table of regions", detail));
            }
        }
        Ok(table)
    }

    /// Gives the next pages to a region. Returns whether the last part became longer.
    fn place(&mut self, region: u8, pages: u64) -> bool {
        let start = self.next;
        self.next += pages;
        if let Some(owner) = self.regions.get_mut(usize::from(region)) {
            owner.add(start, pages);
        }
        match &mut self.last {
            Some((last, length)) if *last == region => {
                *length += pages;
                true
            }
            _ => {
                self.last = Some((region, pages));
                self.count += 1;
                false
            }
        }
    }
}

/// All regions of a store.
pub struct Regions<M: Memory> {
    raw: Raw<M>,
    table: RefCell<Table>,
}

impl<M: Memory> Regions<M> {
    /// Opens the table of a checked header page.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub(crate) fn open(raw: &Raw<M>) -> Result<Rc<Self>, StoreError> {
        Ok(Rc::new(Self {
            raw: Rc::clone(raw),
            table: RefCell::new(Table::read(raw)?),
        }))
    }

    /// Returns a region's memory.
    pub(crate) fn get(self: &Rc<Self>, region: Region) -> RegionMemory<M> {
        RegionMemory {
            regions: Rc::clone(self),
            region,
        }
    }

    /// Returns whether the reserve for small structures is whole, after trying to make it so.
    pub fn has_reserve(&self) -> bool {
        let (next, count) = {
            let table = self.table.borrow();
            (table.next, table.count)
        };
        count + RESERVE_PARTS <= MAX_PARTS && self.reach(next + RESERVE_PAGES)
    }

    /// Returns whether memory has so many pages, after growing it.
    fn reach(&self, pages: u64) -> bool {
        let missing = pages.saturating_sub(self.raw.size());
        missing == 0 || self.raw.grow(missing) >= 0
    }

    /// Takes pages for a region: with what is to spare if there is room, else those alone, and for a
    /// small structure from the reserve.
    fn take(&self, region: Region, needed: u64, capacity: u64) -> Option<u64> {
        let next = self.table.borrow().next;
        let spare = needed.max((capacity / GROWTH).min(MAX_GROWTH));
        let fits = |pages: u64, kept: u64| {
            let end = next.checked_add(pages)?.checked_add(kept)?;
            let is_countable = u32::try_from(end).is_ok();
            (is_countable && self.reach(end)).then_some(pages)
        };
        let reserved = || (!region.is_bulk()).then(|| fits(needed, 0)).flatten();
        fits(spare, RESERVE_PAGES)
            .or_else(|| fits(needed, RESERVE_PAGES))
            .or_else(reserved)
    }

    fn grow(&self, region: Region, pages: u64) -> Option<u64> {
        let (before, capacity) = self.of(region, |it| (it.size, it.capacity()));
        let size = before.checked_add(pages)?;
        let missing = size.saturating_sub(capacity);
        if missing > 0 {
            let kept = if region.is_bulk() {
                2 * RESERVE_PARTS
            } else {
                0
            };
            let (last, count) = {
                let table = self.table.borrow();
                (table.last, table.count)
            };
            let is_last = last.is_some_and(|(last, _)| last == region as u8);
            if !is_last && count + kept >= MAX_PARTS {
                return None;
            }
            let taken = self.take(region, missing, capacity)?;
            self.table.borrow_mut().place(region as u8, taken);
            self.write_last_part();
        }
        let mut table = self.table.borrow_mut();
        if let Some(owner) = table.regions.get_mut(region as usize) {
            owner.size = size;
        }
        let stored = u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes();
        self.raw
            .write(SIZES_AT + 4 * u64::from(region as u8), &stored);
        Some(before)
    }

    fn write_last_part(&self) {
        let table = self.table.borrow();
        let Some((region, pages)) = table.last else {
            return;
        };
        let pages = u32::try_from(pages).unwrap_or(u32::MAX).to_le_bytes();
        let part: [u8; PART_BYTES as usize] = join(&[&pages, &[region]]);
        let place = table.count.saturating_sub(1) as u64;
        self.raw.write(PARTS_AT + place * PART_BYTES, &part);
        let count = u32::try_from(table.count).unwrap_or(u32::MAX);
        self.raw.write(COUNT_AT, &count.to_le_bytes());
    }

    fn of<T>(&self, region: Region, get: impl FnOnce(&Pages) -> T) -> T {
        let table = self.table.borrow();
        match table.regions.get(region as usize) {
            Some(pages) => get(pages),
            None => get(&Pages::default()),
        }
    }
}

/// Checks the table of existing memory and returns the pages it needs.
///
/// # Errors
/// [`StoreError::Damaged`].
pub(crate) fn pages_needed<M: Memory>(memory: &M) -> Result<u64, StoreError> {
    Ok(Table::read(memory)?.next)
}

/// One region.
pub struct RegionMemory<M: Memory> {
    regions: Rc<Regions<M>>,
    region: Region,
}

impl<M: Memory> RegionMemory<M> {
    /// Hands each piece of a range that lies together to `access`: where it is in stable memory, where in
    /// the range, and its length.
    ///
    /// # Panics
    /// When the range goes beyond the region, as reading beyond any memory does.
    fn pieces(&self, offset: u64, length: usize, mut access: impl FnMut(u64, usize, usize)) {
        let table = self.regions.table.borrow();
        let parts = table.regions.get(self.region as usize);
        let parts = parts.map_or(&[][..], |pages| pages.parts.as_slice());
        let page = offset / WASM_PAGE_BYTES;
        let first = parts.partition_point(|part| part.first + part.pages <= page);
        let (mut offset, mut done) = (offset, 0);
        for part in parts.get(first..).unwrap_or_default() {
            if done >= length {
                break;
            }
            let within = offset - part.first * WASM_PAGE_BYTES;
            let room = part.pages * WASM_PAGE_BYTES - within;
            let piece = room.min((length - done) as u64);
            access(part.start * WASM_PAGE_BYTES + within, done, piece as usize);
            done += piece as usize;
            offset += piece;
        }
        assert!(
            done >= length,
            "{offset} is beyond region {:?}",
            self.region
        );
    }
}

impl<M: Memory> Memory for RegionMemory<M> {
    fn size(&self) -> u64 {
        self.regions.of(self.region, |pages| pages.size)
    }

    fn grow(&self, pages: u64) -> i64 {
        let before = self.regions.grow(self.region, pages);
        before.and_then(|it| i64::try_from(it).ok()).unwrap_or(-1)
    }

    fn read(&self, offset: u64, dst: &mut [u8]) {
        self.pieces(offset, dst.len(), |at, from, length| {
            if let Some(piece) = dst.get_mut(from..from + length) {
                self.regions.raw.read(at, piece);
            }
        });
    }

    unsafe fn read_unsafe(&self, offset: u64, dst: *mut u8, count: usize) {
        self.pieces(offset, count, |at, from, length| {
            // SAFETY: the caller promises `count` bytes at `dst`, and no piece ends beyond them.
            unsafe { self.regions.raw.read_unsafe(at, dst.add(from), length) }
        });
    }

    fn write(&self, offset: u64, src: &[u8]) {
        self.pieces(offset, src.len(), |at, from, length| {
            if let Some(piece) = src.get(from..from + length) {
                self.regions.raw.write(at, piece);
            }
        });
    }
}

#[cfg(test)]
mod tests;
