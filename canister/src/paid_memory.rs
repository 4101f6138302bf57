//! Stable memory that grows only where the canister can pay for it.
//!
//! The system answers -1 where memory cannot grow, and the store is made for that. A canister that lacks the
//! cycles is not answered: a heartbeat or an update that grows its memory traps
//! (`InsufficientCyclesInMemoryGrow`), and one that must drain the queue would trap again and again. So
//! memory stops growing before that, and too few cycles are to the store what full memory is.

use ic_stable_structures::Memory;

use crate::env::Env;

/// Cycles that must be there to spend for each page of 64 KiB that memory grows by: what holding one for a year
/// costs on a subnet of 13 nodes, or for four and a half months on one of 34. The system asks for as long as
/// the canister's freezing threshold says, 30 days by default.
pub const CYCLES_PER_PAGE: u128 = 250_000_000;

/// A memory that asks its system what the canister may spend.
#[derive(Clone, Debug, Default)]
pub struct PaidMemory<M, E> {
    inner: M,
    env: E,
}

impl<M, E> PaidMemory<M, E> {
    /// Returns this memory under the system's rule.
    pub const fn new(inner: M, env: E) -> Self {
        Self { inner, env }
    }
}

impl<M: Memory, E: Env> Memory for PaidMemory<M, E> {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn grow(&self, pages: u64) -> i64 {
        let price = CYCLES_PER_PAGE.saturating_mul(u128::from(pages));
        if self.env.cycles_to_spend().is_some_and(|it| it < price) {
            return -1;
        }
        self.inner.grow(pages)
    }

    fn read(&self, offset: u64, dst: &mut [u8]) {
        self.inner.read(offset, dst);
    }

    unsafe fn read_unsafe(&self, offset: u64, dst: *mut u8, count: usize) {
        // SAFETY: the caller's promises are passed on unchanged.
        unsafe { self.inner.read_unsafe(offset, dst, count) }
    }

    fn write(&self, offset: u64, src: &[u8]) {
        self.inner.write(offset, src);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use ic_stable_structures::VectorMemory;
    use millrace_core::{Bytes, Instructions, UnixSeconds};

    use super::*;

    /// A system in which only cycles count; none is named where they do not.
    struct Purse(Cell<Option<u128>>);

    impl Env for &Purse {
        fn now(&self) -> UnixSeconds {
            UnixSeconds::new(0)
        }

        fn instructions(&self) -> Instructions {
            Instructions::new(0)
        }

        fn heap_bytes(&self) -> Bytes {
            Bytes::new(0)
        }

        fn cycles_balance(&self) -> u128 {
            self.0.get().unwrap_or(0)
        }

        fn cycles_to_spend(&self) -> Option<u128> {
            self.0.get()
        }

        fn log(&self, _: &str) {}
    }

    #[test]
    fn memory_grows_as_far_as_it_can_be_paid_for() {
        let purse = Purse(Cell::new(None));
        let memory = PaidMemory::new(VectorMemory::default(), &purse);
        assert_eq!(memory.grow(100), 0, "where it costs nothing");
        purse.0.set(Some(4 * CYCLES_PER_PAGE - 1));
        assert_eq!((memory.grow(4), memory.size()), (-1, 100));
        assert_eq!((memory.grow(3), memory.size()), (100, 103));
        assert_eq!(memory.grow(u64::MAX), -1);
        purse.0.set(Some(0));
        assert_eq!(memory.grow(0), 103, "which is free");
        memory.write(65_536, b"kept");
        let mut bytes = [0; 4];
        memory.read(65_536, &mut bytes);
        assert_eq!(&bytes, b"kept");
    }
}
