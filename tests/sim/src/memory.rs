//! Stable memory that can be rolled back to where a message began, counts the pages a message writes,
//! and traps where it is told to.

use std::cell::{Cell, RefCell};
use std::panic::panic_any;
use std::rc::Rc;

use ic_stable_structures::Memory;

/// Bytes in a page as the Internet Computer counts writes.
const PAGE: usize = 4_096;

/// Bytes in a page by which memories grow.
const WASM_PAGE: usize = 65_536;

/// Largest memory of a run, in bytes: a run that needs more has lost its bounds.
const MAX_BYTES: usize = 1 << 30;

/// What an injected trap panics with, so that it is told from a panic of the code under test: the fault's
/// kind.
pub struct InjectedTrap(pub &'static str);

/// Where the next message traps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrapPoint {
    /// At the n-th write to stable memory.
    Write(u32),
    /// At the n-th read from stable memory.
    Read(u32),
}

/// The memory; clones are handles of the same bytes.
#[derive(Clone)]
pub struct SimMemory(Rc<Inner>);

struct Inner {
    bytes: RefCell<Vec<u8>>,
    undo: RefCell<Undo>,
    trap: Cell<Option<TrapPoint>>,
    is_full: Cell<bool>,
    /// Whether faults are on: no query is reached by one.
    is_armed: Cell<bool>,
    /// Whoever reads these bytes traps.
    poison: RefCell<Option<Vec<u8>>>,
}

/// What a message overwrote.
#[derive(Default)]
struct Undo {
    epoch: u32,
    /// The epoch in which each page was saved last.
    saved_in: Vec<u32>,
    pages: Vec<(usize, Vec<u8>)>,
    length: usize,
}

impl SimMemory {
    /// Wraps an image of memory.
    pub fn new(image: Vec<u8>) -> Self {
        let memory = Self(Rc::new(Inner {
            bytes: RefCell::new(image),
            undo: RefCell::default(),
            trap: Cell::new(None),
            is_full: Cell::new(false),
            is_armed: Cell::new(true),
            poison: RefCell::new(None),
        }));
        memory.begin();
        memory
    }

    /// Returns a copy of all bytes.
    pub fn image(&self) -> Vec<u8> {
        self.0.bytes.borrow().clone()
    }

    /// Begins a message: this is what a trap goes back to.
    pub fn begin(&self) {
        let mut undo = self.0.undo.borrow_mut();
        undo.epoch += 1;
        undo.pages.clear();
        undo.length = self.0.bytes.borrow().len();
    }

    /// Undoes everything since [`SimMemory::begin`].
    pub fn roll_back(&self) {
        let mut undo = self.0.undo.borrow_mut();
        let mut bytes = self.0.bytes.borrow_mut();
        bytes.truncate(undo.length);
        for (page, old) in undo.pages.drain(..) {
            let start = page * PAGE;
            if let Some(place) = bytes.get_mut(start..start + old.len()) {
                place.copy_from_slice(&old);
            }
        }
    }

    /// Returns the distinct pages written since [`SimMemory::begin`].
    pub fn pages_written(&self) -> u64 {
        self.0.undo.borrow().pages.len() as u64
    }

    /// Sets where the message traps.
    pub fn set_trap(&self, point: Option<TrapPoint>) {
        self.0.trap.set(point);
    }

    /// Sets whether memory refuses to grow.
    pub fn set_full(&self, is_full: bool) {
        self.0.is_full.set(is_full);
    }

    /// Sets whether traps and poison have an effect.
    pub fn set_armed(&self, is_armed: bool) {
        self.0.is_armed.set(is_armed);
    }

    /// Sets what nobody can read without a trap.
    pub fn set_poison(&self, bytes: Option<Vec<u8>>) {
        self.0.poison.replace(bytes);
    }

    fn trap_if_due(&self, is_write: bool) {
        if !self.0.is_armed.get() {
            return;
        }
        let next = match self.0.trap.get() {
            Some(TrapPoint::Write(left)) if is_write => left.checked_sub(1).map(TrapPoint::Write),
            Some(TrapPoint::Read(left)) if !is_write => left.checked_sub(1).map(TrapPoint::Read),
            _ => return,
        };
        self.0.trap.set(next);
        if next.is_none() {
            panic_any(InjectedTrap(if is_write { "Write" } else { "Read" }));
        }
    }
}

impl Memory for SimMemory {
    fn size(&self) -> u64 {
        (self.0.bytes.borrow().len() / WASM_PAGE) as u64
    }

    fn grow(&self, pages: u64) -> i64 {
        let mut bytes = self.0.bytes.borrow_mut();
        let old = bytes.len();
        let length = old + pages as usize * WASM_PAGE;
        if self.0.is_full.get() || length > MAX_BYTES {
            return -1;
        }
        bytes.resize(length, 0);
        (old / WASM_PAGE) as i64
    }

    fn read(&self, offset: u64, dst: &mut [u8]) {
        self.trap_if_due(false);
        let start = offset as usize;
        let bytes = self.0.bytes.borrow();
        dst.copy_from_slice(&bytes[start..start + dst.len()]);
        drop(bytes);
        let poison = self.0.poison.borrow();
        if let Some(poison) = poison.as_deref()
            && self.0.is_armed.get()
            && dst.windows(poison.len()).any(|window| window == poison)
        {
            panic_any(InjectedTrap("Poison"));
        }
    }

    fn write(&self, offset: u64, src: &[u8]) {
        self.trap_if_due(true);
        if src.is_empty() {
            return;
        }
        let start = offset as usize;
        let mut bytes = self.0.bytes.borrow_mut();
        let mut undo = self.0.undo.borrow_mut();
        let undo = &mut *undo;
        undo.saved_in.resize(bytes.len() / PAGE, 0);
        for page in start / PAGE..=(start + src.len() - 1) / PAGE {
            if undo.saved_in[page] != undo.epoch {
                undo.saved_in[page] = undo.epoch;
                undo.pages
                    .push((page, bytes[page * PAGE..(page + 1) * PAGE].to_vec()));
            }
        }
        bytes[start..start + src.len()].copy_from_slice(src);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rolled_back_message_leaves_no_trace_and_pages_are_counted_once() {
        let memory = SimMemory::new(Vec::new());
        memory.grow(1);
        memory.write(4_090, &[1; 20]);
        memory.begin();
        let before = memory.image();
        memory.grow(2);
        memory.write(4_000, &[2; 200]);
        memory.write(4_095, &[3; 2]);
        memory.write(100_000, &[4; 10]);
        assert_eq!(memory.pages_written(), 3);
        memory.roll_back();
        assert_eq!(memory.image(), before);
        assert_eq!(memory.size(), 1);
    }

    #[test]
    fn traps_come_at_the_access_they_are_set_to() {
        let memory = SimMemory::new(vec![0; WASM_PAGE]);
        memory.set_trap(Some(TrapPoint::Write(2)));
        memory.write(0, &[1]);
        memory.write(0, &[2]);
        let trapped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            memory.write(0, &[3]);
        }));
        assert!(trapped.is_err_and(|payload| payload.is::<InjectedTrap>()));
        memory.write(1, &[4]);
        assert_eq!(memory.image()[..2], [2, 4]);
    }
}
