//! The package's only address-space arithmetic: private mappings of memory files.

use std::io;
use std::ops::Deref;
use std::ptr::{self, NonNull};

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap, mmap_anonymous, mprotect, munmap};

use super::file::SparseFile;
use super::pages::PAGE;

/// A range of addresses into which memory files are mapped.
#[derive(Debug)]
pub(crate) struct Window {
    start: NonNull<u8>,
    len: usize,
}

impl Window {
    /// Names the `len` bytes at `start`.
    ///
    /// # Safety
    /// The range must be reserved for the life of the value, and nobody else may rely on its
    /// content while it is mapped anew.
    pub(crate) unsafe fn new(start: NonNull<u8>, len: usize) -> Self {
        Self { start, len }
    }

    /// Returns the first address.
    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Returns the number of bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Makes `[offset, offset + len)` readable and writable.
    pub(crate) fn make_accessible(&self, offset: usize, len: usize) -> io::Result<()> {
        self.check(offset, len)?;
        if len > 0 {
            // SAFETY: the range is inside this window.
            unsafe {
                let at = self.as_ptr().add(offset).cast();
                mprotect(at, len, MprotectFlags::READ | MprotectFlags::WRITE)?;
            }
        }
        Ok(())
    }

    /// Shows `[offset, offset + len)` of `file` at the same offset of the window, as a copy that
    /// is private page by page once written. The file must be long enough.
    pub(crate) fn map(
        &self,
        file: &SparseFile,
        offset: usize,
        len: usize,
        accessible: bool,
    ) -> io::Result<()> {
        self.check(offset, len)?;
        if len == 0 {
            return Ok(());
        }
        let prot = if accessible {
            ProtFlags::READ | ProtFlags::WRITE
        } else {
            ProtFlags::empty()
        };
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
        // SAFETY: the range is inside this window, so nothing else is replaced.
        unsafe {
            let at = self.as_ptr().add(offset).cast();
            mmap(at, len, prot, flags, file.fd(), offset as u64)?;
        }
        Ok(())
    }

    fn check(&self, offset: usize, len: usize) -> io::Result<()> {
        if offset.checked_add(len).is_some_and(|end| end <= self.len) {
            return Ok(());
        }
        let detail = format!("{offset} + {len} is outside a window of {} bytes", self.len);
        Err(io::Error::new(io::ErrorKind::InvalidInput, detail))
    }
}

/// A range of addresses this value owns; inaccessible until something is mapped into it.
#[derive(Debug)]
pub(crate) struct Reservation(Window);

// SAFETY: a reservation is plain memory owned by this value alone; access goes through the owner.
unsafe impl Send for Reservation {}
// SAFETY: shared references only hand out the address.
unsafe impl Sync for Reservation {}

impl Reservation {
    /// Reserves `len` bytes of addresses; no memory is used.
    pub(crate) fn new(len: usize) -> io::Result<Self> {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        let len = len.max(PAGE);
        // SAFETY: the kernel chooses an unused range.
        let start = unsafe { mmap_anonymous(ptr::null_mut(), len, ProtFlags::empty(), flags)? };
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self(Window { start, len }))
    }
}

impl Deref for Reservation {
    type Target = Window;

    fn deref(&self) -> &Window {
        &self.0
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // SAFETY: the range is this value's own and nothing refers to it any more.
        let unmapped = unsafe { munmap(self.as_ptr().cast(), self.len()) };
        debug_assert!(unmapped.is_ok(), "an owned range can be unmapped");
    }
}
