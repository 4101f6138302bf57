//! A sparse file in memory: holes read as zeros and cost nothing.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{MemfdFlags, SeekFrom, ftruncate, memfd_create, seek};
use rustix::io::Errno;

/// Bytes moved at a time when files are copied.
const COPY_BYTES: usize = 1 << 20;

/// An anonymous sparse file.
#[derive(Debug)]
pub(crate) struct SparseFile {
    file: File,
    /// Never shrinks, so that a mapping stays valid whatever happens to other users of the file.
    len: Mutex<u64>,
}

impl SparseFile {
    /// Returns a new empty file.
    pub(crate) fn new() -> io::Result<Self> {
        let fd: OwnedFd = memfd_create("millrace", MemfdFlags::CLOEXEC)?;
        Ok(Self {
            file: File::from(fd),
            len: Mutex::new(0),
        })
    }

    /// Returns the descriptor, for mapping.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Makes the file at least `len` bytes long; new bytes are holes.
    pub(crate) fn ensure_len(&self, len: u64) -> io::Result<()> {
        let mut current = self.len();
        if *current < len {
            ftruncate(&self.file, len)?;
            *current = len;
        }
        Ok(())
    }

    /// Writes `bytes` at `offset`, extending the file as needed.
    pub(crate) fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.ensure_len(offset + bytes.len() as u64)?;
        self.file.write_all_at(bytes, offset)
    }

    /// Reads at `offset`; what lies beyond the end reads as zeros.
    pub(crate) fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            match self
                .file
                .read_at(&mut bytes[done..], offset + done as u64)?
            {
                0 => break,
                n => done += n,
            }
        }
        bytes[done..].fill(0);
        Ok(())
    }

    /// Copies everything that is not a hole into `target`.
    pub(crate) fn copy_to(&self, target: &Self) -> io::Result<()> {
        target.ensure_len(*self.len())?;
        copy_data(&self.file, &target.file, u64::MAX)
    }

    /// Writes the file to `path`, holes as holes.
    pub(crate) fn save(&self, path: &Path) -> io::Result<()> {
        let target = File::create(path)?;
        target.set_len(*self.len())?;
        copy_data(&self.file, &target, u64::MAX)?;
        target.sync_all()
    }

    /// Reads the first `len_max` bytes of what `save` wrote.
    pub(crate) fn load(path: &Path, len_max: u64) -> io::Result<Self> {
        let source = File::open(path)?;
        let file = Self::new()?;
        file.ensure_len(source.metadata()?.len().min(len_max))?;
        copy_data(&source, &file.file, len_max)?;
        Ok(file)
    }

    fn len(&self) -> MutexGuard<'_, u64> {
        self.len.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Copies the data extents of `source` before `end_max`, up to which `target` is already as long.
fn copy_data(source: &File, target: &File, end_max: u64) -> io::Result<()> {
    let mut buffer = vec![0; COPY_BYTES];
    let mut position = 0;
    while position < end_max {
        let start = match seek(source, SeekFrom::Data(position)) {
            Ok(start) => start,
            // No data beyond this position.
            Err(Errno::NXIO) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let end = seek(source, SeekFrom::Hole(start))?.min(end_max);
        position = start;
        while position < end {
            let length = COPY_BYTES.min(usize::try_from(end - position).unwrap_or(COPY_BYTES));
            source.read_exact_at(&mut buffer[..length], position)?;
            target.write_all_at(&buffer[..length], position)?;
            position += length as u64;
        }
    }
    Ok(())
}
