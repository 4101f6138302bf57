//! A memory for tests that cannot grow beyond a limit.

use std::cell::Cell;
use std::rc::Rc;

use ic_stable_structures::{Memory, VectorMemory};

/// A memory with a limit of 64 KiB pages.
#[derive(Clone)]
pub struct Limited {
    pub inner: VectorMemory,
    pub limit: Rc<Cell<u64>>,
}

impl Memory for Limited {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn grow(&self, pages: u64) -> i64 {
        if self.inner.size() + pages > self.limit.get() {
            return -1;
        }
        self.inner.grow(pages)
    }

    fn read(&self, offset: u64, dst: &mut [u8]) {
        self.inner.read(offset, dst);
    }

    fn write(&self, offset: u64, src: &[u8]) {
        self.inner.write(offset, src);
    }
}
