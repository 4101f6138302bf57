//! Counts the distinct 4 KiB pages of stable memory that a message reads and writes.
//!
//! The Internet Computer charges a subnet for distinct pages written, and a canister cannot see
//! how much its subnet has left; so it counts its own. The wrapper goes around the raw memory,
//! below every mapping, so that its numbers are those the system measures.

use std::cell::RefCell;

use ic_stable_structures::Memory;
use millrace_core::Pages;

/// Bytes in a page as the Internet Computer counts writes.
pub const PAGE_BYTES: u64 = 4096;

/// Pages that one word of a [`PageSet`] covers.
const WORD_PAGES: u64 = 64;

/// Slots of a table that has something in it, at least.
const FEWEST_SLOTS: usize = 32;

/// 2^64 divided by the golden ratio: neighbours lie far from each other in the table.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// A set of page numbers: a table of words of 64 pages each, with a cheap repeated insert, since accesses come in
/// runs. Each look-up of a read inserts a few words that nothing else touched, so that this costs more than what it
/// counts unless it is simple: some forty instructions.
#[derive(Clone, Debug, Default)]
struct PageSet {
    /// The word's number and one, 0 for a free slot, and its pages. A word is at the place that its number says, or
    /// in the next free one. The length is 0 or a power of two, and twice the number of words or more.
    slots: Vec<(u64, u64)>,
    used: usize,
    /// The slot of the last insert.
    last: usize,
    count: u64,
}

impl PageSet {
    fn insert(&mut self, page: u64) {
        let (tag, bit) = (page / WORD_PAGES + 1, 1u64 << (page % WORD_PAGES));
        if self.slots.get(self.last).is_none_or(|slot| slot.0 != tag) {
            if self.used * 2 >= self.slots.len() {
                self.grow();
            }
            self.last = self.place(tag);
        }
        let Some(slot) = self.slots.get_mut(self.last) else {
            return;
        };
        if slot.0 == 0 {
            slot.0 = tag;
            self.used += 1;
        }
        if slot.1 & bit == 0 {
            slot.1 |= bit;
            self.count += 1;
        }
    }

    /// Returns the slot of a word, or the one to put it in.
    fn place(&self, tag: u64) -> usize {
        let mask = self.slots.len().wrapping_sub(1);
        let mut at = (tag.wrapping_mul(SPREAD) >> 32) as usize & mask;
        while let Some(slot) = self.slots.get(at)
            && slot.0 != tag
            && slot.0 != 0
        {
            at = (at + 1) & mask;
        }
        at
    }

    fn grow(&mut self) {
        let length = (self.slots.len() * 2).max(FEWEST_SLOTS);
        let before = std::mem::replace(&mut self.slots, vec![(0, 0); length]);
        for old in before {
            let at = self.place(old.0);
            if let Some(slot) = self.slots.get_mut(at).filter(|_| old.0 != 0) {
                *slot = old;
            }
        }
    }

    fn insert_range(&mut self, offset: u64, length: u64) {
        if length == 0 {
            return;
        }
        let last = offset.saturating_add(length - 1) / PAGE_BYTES;
        for page in offset / PAGE_BYTES..=last {
            self.insert(page);
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Touched {
    read: PageSet,
    written: PageSet,
}

/// A memory that counts; see the module's documentation.
pub struct CountingMemory<M> {
    inner: M,
    touched: RefCell<Touched>,
}

impl<M: Memory> CountingMemory<M> {
    /// Wraps a memory; nothing is counted yet.
    pub fn new(inner: M) -> Self {
        Self {
            inner,
            touched: RefCell::default(),
        }
    }

    /// Forgets all counts. Call it when a message begins.
    pub fn reset(&self) {
        self.touched.replace(Touched::default());
    }

    /// Returns distinct pages written since the last reset.
    pub fn pages_written(&self) -> Pages {
        Pages::new(self.touched.borrow().written.count)
    }

    /// Returns distinct pages read since the last reset. A page that was written first and read
    /// afterwards counts here too.
    pub fn pages_read(&self) -> Pages {
        Pages::new(self.touched.borrow().read.count)
    }

    fn note_read(&self, offset: u64, length: usize) {
        let mut touched = self.touched.borrow_mut();
        touched.read.insert_range(offset, length as u64);
    }
}

impl<M: Memory> Memory for CountingMemory<M> {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn grow(&self, pages: u64) -> i64 {
        self.inner.grow(pages)
    }

    fn read(&self, offset: u64, dst: &mut [u8]) {
        self.note_read(offset, dst.len());
        self.inner.read(offset, dst);
    }

    unsafe fn read_unsafe(&self, offset: u64, dst: *mut u8, count: usize) {
        self.note_read(offset, count);
        // SAFETY: the caller's promises are passed on unchanged.
        unsafe { self.inner.read_unsafe(offset, dst, count) }
    }

    fn write(&self, offset: u64, src: &[u8]) {
        let mut touched = self.touched.borrow_mut();
        touched.written.insert_range(offset, src.len() as u64);
        drop(touched);
        self.inner.write(offset, src);
    }
}

#[cfg(test)]
mod tests {
    use ic_stable_structures::VectorMemory;

    use super::*;

    #[test]
    fn distinct_pages_are_counted_once_until_reset() {
        let memory = CountingMemory::new(VectorMemory::default());
        memory.grow(16);
        memory.write(4095, &[1, 2]);
        memory.write(0, &[3]);
        memory.write(70 * PAGE_BYTES, &[4]);
        memory.write(4096, &[5]);
        assert_eq!(memory.pages_written(), Pages::new(3));
        assert_eq!(memory.pages_read(), Pages::ZERO);
        let mut bytes = [0; 10_000];
        memory.read(0, &mut bytes);
        assert_eq!(memory.pages_read(), Pages::new(3));
        memory.write(0, &[]);
        memory.reset();
        assert_eq!(memory.pages_written(), Pages::ZERO);
        assert_eq!(memory.pages_read(), Pages::ZERO);
    }

    #[test]
    fn counts_equal_a_plain_set_for_scattered_writes() {
        let memory = CountingMemory::new(VectorMemory::default());
        memory.grow(64);
        let mut model = std::collections::BTreeSet::new();
        let mut offset = 1u64;
        for round in 0..2_000u64 {
            offset = (offset * 6_364_136_223 + 1_442_695) % (60 * 65_536);
            let length = (round % 9_000) as usize;
            memory.write(offset, &vec![0; length]);
            model.extend((offset..offset + length as u64).map(|at| at / PAGE_BYTES));
        }
        assert_eq!(memory.pages_written().get(), model.len() as u64);
    }
}
