//! Stable memory that grows only as far as the canister can pay for it.
//!
//! The system answers -1 where there is no memory left, and the store is made for that. A canister that lacks
//! the cycles to keep a larger memory for as long as its freezing threshold says is not answered: a heartbeat or
//! an update that asks for it traps (`InsufficientCyclesInMemoryGrow`), and one that must drain the queue would
//! trap again and again. So too few cycles are to the store what full memory is.
//!
//! What a page costs depends on the subnet, the threshold, what is reserved for the canister and how full the
//! subnet is, and no call tells. So one page is taken first, where there is enough for it whatever it costs, and
//! what may be spent after it tells the price of the others.
//!
//! Not covered: a `reserved_cycles_limit` of the canister that is used up on a subnet that is nearly full,
//! where growth traps whatever the balance; and the heap, of which enough is taken at installation.

use ic_stable_structures::Memory;

use crate::env::Env;

/// Cycles that must be there to spend for the first page of 64 KiB: more than holding it for ten years costs on
/// 13 nodes (2.4 G), which is also what a subnet reserves at most when it is full.
pub const FIRST_PAGE_CYCLES: u128 = 2_500_000_000;

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
        let Some(before) = self.env.cycles_to_spend().filter(|_| pages > 0) else {
            return self.inner.grow(pages);
        };
        if before < FIRST_PAGE_CYCLES {
            return -1;
        }
        let size = self.inner.grow(1);
        let others = pages - 1;
        if size < 0 || others == 0 {
            return size;
        }
        let left = self.env.cycles_to_spend().unwrap_or(u128::MAX);
        let price = before.saturating_sub(left);
        // A quarter more: prices are rounded, and rise while the subnet fills.
        let price = price.saturating_add(price / 4).saturating_add(1);
        if left < price.saturating_mul(u128::from(others)) || self.inner.grow(others) < 0 {
            // The page is found there the next time.
            return -1;
        }
        size
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

    /// A system in which only cycles count, and pages cost some of them.
    struct Purse {
        /// None where nothing costs any.
        cycles: Cell<Option<u128>>,
        page: u128,
        pages: Cell<u64>,
    }

    impl Purse {
        fn new(cycles: Option<u128>, page: u128) -> Self {
            Self {
                cycles: Cell::new(cycles),
                page,
                pages: Cell::new(0),
            }
        }
    }

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
            self.cycles.get().unwrap_or(0)
        }

        fn cycles_to_spend(&self) -> Option<u128> {
            let frozen = self.page * u128::from(self.pages.get());
            self.cycles
                .get()
                .map(|cycles| cycles.saturating_sub(frozen))
        }

        fn log(&self, _: &str) {}
    }

    /// A memory of the system: it traps where a page cannot be paid for. It keeps the bytes of its first page.
    struct Charged<'a> {
        first: VectorMemory,
        purse: &'a Purse,
        most: u64,
    }

    impl Memory for Charged<'_> {
        fn size(&self) -> u64 {
            self.purse.pages.get()
        }

        fn grow(&self, pages: u64) -> i64 {
            let before = self.size();
            let now = before + pages;
            if now > self.most {
                return -1;
            }
            let needed = self.purse.page * u128::from(now);
            let is_paid = self
                .purse
                .cycles
                .get()
                .is_none_or(|cycles| cycles >= needed);
            assert!(is_paid, "the system traps: {pages} more pages");
            self.purse.pages.set(now);
            before as i64
        }

        fn read(&self, offset: u64, dst: &mut [u8]) {
            self.first.read(offset, dst);
        }

        fn write(&self, offset: u64, src: &[u8]) {
            self.first.write(offset, src);
        }
    }

    fn memory(purse: &Purse, most: u64) -> PaidMemory<Charged<'_>, &Purse> {
        let first = VectorMemory::default();
        first.grow(1);
        PaidMemory::new(Charged { first, purse, most }, purse)
    }

    #[test]
    fn where_nothing_costs_cycles_memory_grows_as_far_as_there_is_some() {
        let purse = Purse::new(None, 1);
        let memory = memory(&purse, 100);
        assert_eq!(memory.grow(90), 0);
        assert_eq!(memory.grow(11), -1);
        assert_eq!(memory.grow(10), 90);
        memory.write(60_000, b"kept");
        let mut bytes = [0; 4];
        memory.read(60_000, &mut bytes);
        assert_eq!(&bytes, b"kept");
    }

    #[test]
    fn memory_never_grows_into_a_trap_whatever_a_page_costs() {
        // Nothing, as in what is reserved; 30 days; a year; ten years.
        for page in [0, 20_091_796, 244_450_000, 2_450_000_000] {
            for spare in (0..=60).map(|step| step * FIRST_PAGE_CYCLES / 4) {
                let purse = Purse::new(Some(spare), page);
                let memory = memory(&purse, u64::MAX);
                for pages in [0, 1, 2, 5, 30, 1_000] {
                    let before = memory.size();
                    let grown = memory.grow(pages);
                    assert!(grown == before as i64 || grown == -1, "{grown}");
                    // A page more at most for each refusal.
                    let most = if grown < 0 { 1 } else { pages };
                    assert!(memory.size() <= before + most);
                }
            }
        }
    }

    #[test]
    fn who_can_pay_what_the_system_asks_gets_gigabytes() {
        // 10 GiB for 30 days are 3.3 T.
        let purse = Purse::new(Some(4_500_000_000_000), 20_091_796);
        let memory = memory(&purse, u64::MAX);
        assert_eq!(memory.grow(10 << 14), 0);
        assert_eq!(memory.grow(10 << 14), -1, "as much again is too much");
        assert_eq!(memory.size(), (10 << 14) + 1);
    }

    #[test]
    fn memory_that_is_full_besides_is_refused_as_ever() {
        let purse = Purse::new(Some(FIRST_PAGE_CYCLES * 10), 1);
        let memory = memory(&purse, 3);
        assert_eq!(memory.grow(5), -1);
        assert_eq!(memory.size(), 1);
        assert_eq!(memory.grow(2), 1);
        assert_eq!(memory.grow(1), -1);
    }
}
