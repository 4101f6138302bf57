//! Committed pages of one memory: a base file, and for copies that diverge an overlay of pages.
//!
//! ```text
//! message:  [ private mapping ]  written pages live here until commit
//! overlay:  [   p7   p8       ]  pages that differ from a base that is shared with a fork
//! base:     [ p0 ........ pN  ]  sparse file, shared by forks
//! ```
//!
//! A commit copies the pages the message wrote, never the memory. With the base to itself it
//! writes there; while a fork shares the base it writes to an overlay of its own.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::file::SparseFile;
use super::mapping::Window;
use crate::units::OS_PAGE_BYTES;

/// Runs of adjacent overlay pages above which a memory gets a base of its own: each run is one
/// mapping, and the kernel allows about 65,000 per process.
const OVERLAY_RUNS_MAX: usize = 4_096;

/// Bytes of one page as an index.
pub(crate) const PAGE: usize = OS_PAGE_BYTES as usize;

/// Pages that differ from the base, at their own offsets in a file.
#[derive(Debug)]
struct Overlay {
    file: SparseFile,
    pages: BTreeSet<u64>,
}

impl Overlay {
    fn copied(&self) -> io::Result<Self> {
        let file = SparseFile::new()?;
        self.file.copy_to(&file)?;
        Ok(Self {
            file,
            pages: self.pages.clone(),
        })
    }
}

/// The committed content of one memory; clones share it until they change.
#[derive(Clone, Debug)]
pub(crate) struct Pages {
    base: Arc<SparseFile>,
    overlay: Option<Arc<Overlay>>,
}

impl Pages {
    /// Returns an empty memory; everything reads as zeros.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            base: Arc::new(SparseFile::new()?),
            overlay: None,
        })
    }

    /// Maps the first `accessible` bytes into `window`, and up to `len` bytes inaccessible.
    pub(crate) fn map(&self, window: &Window, accessible: usize, len: usize) -> io::Result<()> {
        self.base.ensure_len(len as u64)?;
        window.map(&self.base, 0, accessible, true)?;
        window.map(&self.base, accessible, len - accessible, false)?;
        if let Some(overlay) = &self.overlay {
            let end = accessible.div_ceil(PAGE) as u64;
            for (first, count) in runs(overlay.pages.range(..end).copied()) {
                let (offset, bytes) = (as_index(first) * PAGE, as_index(count) * PAGE);
                window.map(&overlay.file, offset, bytes, true)?;
            }
        }
        Ok(())
    }

    /// Maps `[offset, offset + len)` of memory that did not exist before: zeros.
    pub(crate) fn map_growth(&self, window: &Window, offset: usize, len: usize) -> io::Result<()> {
        self.base.ensure_len((offset + len) as u64)?;
        window.map(&self.base, offset, len, true)
    }

    /// Copies `pages` (ascending) from `window` and returns how many were copied.
    ///
    /// The window must have been mapped from these pages and be at least as long.
    pub(crate) fn commit(&mut self, window: &Window, pages: &[u64]) -> io::Result<u64> {
        if pages.is_empty() {
            return Ok(0);
        }
        self.prepare_to_write()?;
        for (first, count) in runs(pages.iter().copied()) {
            let (offset, len) = (as_index(first) * PAGE, as_index(count) * PAGE);
            assert!(offset + len <= window.len(), "pages come from this window");
            // SAFETY: the range is inside the window and these pages were written, so they
            // are mapped readable.
            let bytes = unsafe { std::slice::from_raw_parts(window.as_ptr().add(offset), len) };
            self.write_pages(first, bytes)?;
        }
        self.flatten_if_scattered()?;
        Ok(pages.len() as u64)
    }

    /// Writes `bytes` at `offset`, outside any message.
    pub(crate) fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.prepare_to_write()?;
        if self.overlay.is_none() {
            return self.base.write_at(offset, bytes);
        }
        // Overlays hold whole pages.
        let first = offset / OS_PAGE_BYTES;
        let end = (offset + bytes.len() as u64).div_ceil(OS_PAGE_BYTES);
        let mut whole = vec![0; as_index(end - first) * PAGE];
        self.read_at(first * OS_PAGE_BYTES, &mut whole)?;
        let start = as_index(offset - first * OS_PAGE_BYTES);
        whole[start..start + bytes.len()].copy_from_slice(bytes);
        self.write_pages(first, &whole)
    }

    /// Reads at `offset`; what was never written reads as zeros.
    pub(crate) fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.base.read_at(offset, bytes)?;
        let Some(overlay) = &self.overlay else {
            return Ok(());
        };
        let end = offset + bytes.len() as u64;
        let pages = offset / OS_PAGE_BYTES..end.div_ceil(OS_PAGE_BYTES);
        for page in overlay.pages.range(pages) {
            let from = offset.max(page * OS_PAGE_BYTES);
            let to = end.min((page + 1) * OS_PAGE_BYTES);
            overlay.file.read_at(
                from,
                &mut bytes[as_index(from - offset)..as_index(to - offset)],
            )?;
        }
        Ok(())
    }

    /// Writes everything to `path`.
    pub(crate) fn save(&self, path: &Path) -> io::Result<()> {
        if self.overlay.is_none() {
            return self.base.save(path);
        }
        self.flattened()?.save(path)
    }

    /// Reads the first `len_max` bytes of what `save` wrote: the rest is no memory yet, and zeros when it
    /// becomes some.
    pub(crate) fn load(path: &Path, len_max: u64) -> io::Result<Self> {
        Ok(Self {
            base: Arc::new(SparseFile::load(path, len_max)?),
            overlay: None,
        })
    }

    /// Leaves either a base of our own without overlay, or an overlay of our own.
    fn prepare_to_write(&mut self) -> io::Result<()> {
        if Arc::strong_count(&self.base) == 1 {
            if let Some(overlay) = self.overlay.take() {
                copy_overlay(&overlay, &self.base)?;
            }
            return Ok(());
        }
        let owned = match self.overlay.take() {
            None => Overlay {
                file: SparseFile::new()?,
                pages: BTreeSet::new(),
            },
            Some(shared) => match Arc::try_unwrap(shared) {
                Ok(owned) => owned,
                Err(shared) => shared.copied()?,
            },
        };
        self.overlay = Some(Arc::new(owned));
        Ok(())
    }

    fn write_pages(&mut self, first: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = first * OS_PAGE_BYTES;
        match &mut self.overlay {
            None => self.base.write_at(offset, bytes),
            Some(overlay) => {
                let overlay = Arc::get_mut(overlay).expect("prepare_to_write made it ours");
                overlay.file.write_at(offset, bytes)?;
                overlay
                    .pages
                    .extend(first..first + (bytes.len() / PAGE) as u64);
                Ok(())
            }
        }
    }

    fn flatten_if_scattered(&mut self) -> io::Result<()> {
        let Some(overlay) = &self.overlay else {
            return Ok(());
        };
        if runs(overlay.pages.iter().copied()).count() > OVERLAY_RUNS_MAX {
            self.base = Arc::new(self.flattened()?);
            self.overlay = None;
        }
        Ok(())
    }

    fn flattened(&self) -> io::Result<SparseFile> {
        let flat = SparseFile::new()?;
        self.base.copy_to(&flat)?;
        if let Some(overlay) = &self.overlay {
            copy_overlay(overlay, &flat)?;
        }
        Ok(flat)
    }
}

fn copy_overlay(overlay: &Overlay, target: &SparseFile) -> io::Result<()> {
    let mut page_bytes = vec![0; PAGE];
    for page in &overlay.pages {
        overlay
            .file
            .read_at(page * OS_PAGE_BYTES, &mut page_bytes)?;
        target.write_at(page * OS_PAGE_BYTES, &page_bytes)?;
    }
    Ok(())
}

/// Returns (first, count) of each run of adjacent numbers in an ascending sequence.
fn runs(pages: impl Iterator<Item = u64>) -> impl Iterator<Item = (u64, u64)> {
    let mut pages = pages.peekable();
    std::iter::from_fn(move || {
        let first = pages.next()?;
        let mut count = 1;
        while pages.next_if_eq(&(first + count)).is_some() {
            count += 1;
        }
        Some((first, count))
    })
}

fn as_index(value: u64) -> usize {
    usize::try_from(value).expect("addresses are 64 bits wide")
}
