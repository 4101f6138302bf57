//! The heap during one message: wasmtime's linear memory over a private mapping, and the pages
//! the message wrote, found without slowing down a single store.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use wasmtime::{LinearMemory, MemoryCreator, MemoryType};

use super::mapping::{Reservation, Window};
use super::pages::{PAGE, Pages};

/// Bytes of addresses of any heap: what a 32-bit memory can address.
pub(crate) const HEAP_RESERVATION_BYTES: u64 = 1 << 32;

/// How written heap pages are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeapTracking {
    /// Asks the kernel which pages became private: exact, and a page written with the bytes it
    /// had counts. Falls back to [`Self::Compare`] where `/proc/self/pagemap` cannot be read.
    #[default]
    Pagemap,
    /// Compares every page with its committed content: slow, and blind to writes that changed
    /// nothing.
    Compare,
}

/// Gives wasmtime reservations whose content the caller maps after instantiation.
#[derive(Debug)]
pub(crate) struct HeapCreator;

#[derive(Debug)]
struct Heap {
    reservation: Reservation,
    size: usize,
    capacity: usize,
}

// SAFETY: the reservation is as long as asked for, guard included, is never moved, and reads as
// zeros where accessible.
unsafe impl MemoryCreator for HeapCreator {
    fn new_memory(
        &self,
        _ty: MemoryType,
        minimum: usize,
        maximum: Option<usize>,
        reserved_size_in_bytes: Option<usize>,
        guard_size_in_bytes: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        let capacity = reserved_size_in_bytes
            .or(maximum)
            .unwrap_or(minimum)
            .max(minimum);
        let reservation = Reservation::new(capacity + guard_size_in_bytes)
            .and_then(|reservation| {
                reservation.make_accessible(0, minimum)?;
                Ok(reservation)
            })
            .map_err(|error| format!("cannot reserve {capacity} bytes of addresses: {error}"))?;
        Ok(Box::new(Heap {
            reservation,
            size: minimum,
            capacity,
        }))
    }
}

// SAFETY: the pointer is valid for `capacity` bytes for the life of the value.
unsafe impl LinearMemory for Heap {
    fn byte_size(&self) -> usize {
        self.size
    }

    fn byte_capacity(&self) -> usize {
        self.capacity
    }

    fn grow_to(&mut self, new_size: usize) -> wasmtime::Result<()> {
        if new_size > self.capacity {
            wasmtime::bail!(
                "{new_size} bytes exceed the reservation of {}",
                self.capacity
            );
        }
        self.reservation
            .make_accessible(self.size, new_size - self.size)?;
        self.size = new_size;
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        self.reservation.as_ptr()
    }
}

/// Returns the pages of `window` written since `pages` were mapped into it, ascending.
///
/// Looks at the first `size` bytes. `pagemap` is this process's, or `None` to compare.
pub(crate) fn written_pages(
    window: &Window,
    size: usize,
    pages: &Pages,
    pagemap: Option<&File>,
) -> io::Result<Vec<u64>> {
    match pagemap {
        Some(pagemap) => private_pages(window, size, pagemap),
        None => differing_pages(window, size, pages),
    }
}

/// Opens this process's page map, if the host has one.
pub(crate) fn open_pagemap(tracking: HeapTracking) -> Option<File> {
    match tracking {
        HeapTracking::Pagemap => File::open("/proc/self/pagemap").ok(),
        HeapTracking::Compare => None,
    }
}

/// Finds pages the kernel copied on write: present, and no longer the file's.
fn private_pages(window: &Window, size: usize, pagemap: &File) -> io::Result<Vec<u64>> {
    /// Bytes per page in the map.
    const ENTRY: usize = 8;
    const ENTRIES_PER_READ: usize = 32_768;
    const PRESENT_OR_SWAPPED: u64 = 0b11 << 62;
    const FILE_OR_SHARED: u64 = 1 << 61;
    let first = window.as_ptr().addr() / PAGE;
    let count = size / PAGE;
    let mut buffer = vec![0; ENTRY * ENTRIES_PER_READ.min(count)];
    let mut written = Vec::new();
    let mut page = 0;
    while page < count {
        let entries = ENTRIES_PER_READ.min(count - page);
        let bytes = &mut buffer[..entries * ENTRY];
        pagemap.read_exact_at(bytes, ((first + page) * ENTRY) as u64)?;
        for (index, entry) in bytes.chunks_exact(ENTRY).enumerate() {
            let entry = u64::from_ne_bytes(entry.try_into().expect("chunks are entries"));
            if entry & PRESENT_OR_SWAPPED != 0 && entry & FILE_OR_SHARED == 0 {
                written.push((page + index) as u64);
            }
        }
        page += entries;
    }
    Ok(written)
}

fn differing_pages(window: &Window, size: usize, pages: &Pages) -> io::Result<Vec<u64>> {
    let mut committed = vec![0; PAGE];
    let mut written = Vec::new();
    for page in 0..size / PAGE {
        pages.read_at((page * PAGE) as u64, &mut committed)?;
        // SAFETY: [0, size) of the heap is readable, and no Wasm code runs any more.
        let current = unsafe { std::slice::from_raw_parts(window.as_ptr().add(page * PAGE), PAGE) };
        if current != committed {
            written.push(page as u64);
        }
    }
    Ok(written)
}
