//! Reads a file through a small buffer, undoing Bitcoin Core's obfuscation.
//!
//! Since version 28 Bitcoin Core XORs its block files with an 8-byte key from `xor.dat`, by
//! absolute file offset.

use std::io::{self, Read, Seek, SeekFrom};

/// Bytes read at a time while reading on.
const BUFFER_BYTES: usize = 64 * 1024;

/// Bytes read after a jump over a block's body: the next head and header, in a whole page.
const JUMP_BYTES: usize = 4 * 1024;

/// An obfuscation key; all zero when files are plain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct XorKey(pub [u8; 8]);

impl XorKey {
    /// Applies the key to bytes that start at `offset` of the file; twice restores them.
    pub fn apply(&self, offset: u64, bytes: &mut [u8]) {
        if self.0 == [0; 8] {
            return;
        }
        // The offset's low bits choose where in the key to begin.
        let mut key = self.0;
        key.rotate_left(usize::from((offset % 8) as u8));
        // Whole words at a time: a chain has terabytes.
        let (words, rest) = bytes.as_chunks_mut::<8>();
        for word in words {
            *word = (u64::from_ne_bytes(*word) ^ u64::from_ne_bytes(key)).to_ne_bytes();
        }
        for (byte, key) in rest.iter_mut().zip(key) {
            *byte ^= key;
        }
    }
}

/// A buffered view of a file.
#[derive(Debug)]
pub struct Window<R> {
    file: R,
    key: XorKey,
    start: u64,
    /// The file's bytes from `start` on, as stored.
    stored: Vec<u8>,
    /// The same without obfuscation.
    plain: Vec<u8>,
}

impl<R: Read + Seek> Window<R> {
    /// Wraps a file.
    pub const fn new(file: R, key: XorKey) -> Self {
        Self {
            file,
            key,
            start: 0,
            stored: Vec::new(),
            plain: Vec::new(),
        }
    }

    /// Returns up to `length` plain bytes from `offset` on, at most 64 KiB; fewer at the end of
    /// the file.
    ///
    /// # Errors
    /// What the file system says.
    pub fn plain(&mut self, offset: u64, length: usize) -> io::Result<&[u8]> {
        let from = self.load(offset, length)?;
        Ok(slice(&self.plain, from, length))
    }

    /// Returns as much as is buffered from `offset` on, at least one byte unless the file ends:
    /// stored and plain bytes.
    ///
    /// # Errors
    /// What the file system says.
    pub fn both(&mut self, offset: u64) -> io::Result<(&[u8], &[u8])> {
        // The magic may straddle the buffer's end, so four bytes are wanted at least.
        let from = self.load(offset, 4)?;
        Ok((
            slice(&self.stored, from, usize::MAX),
            slice(&self.plain, from, usize::MAX),
        ))
    }

    /// Makes sure that the bytes are buffered, and returns where in the buffer.
    fn load(&mut self, offset: u64, length: usize) -> io::Result<usize> {
        if let Some(from) = offset.checked_sub(self.start) {
            let from = usize::try_from(from).unwrap_or(usize::MAX);
            if from.saturating_add(length) <= self.plain.len() {
                return Ok(from);
            }
        }
        let end = self.start.saturating_add(self.stored.len() as u64);
        let is_jump = offset > end || offset < self.start;
        let usual = if is_jump { JUMP_BYTES } else { BUFFER_BYTES };
        let limit = usual.max(length) as u64;
        self.file.seek(SeekFrom::Start(offset))?;
        self.stored.clear();
        Read::by_ref(&mut self.file)
            .take(limit)
            .read_to_end(&mut self.stored)?;
        self.start = offset;
        self.plain.clone_from(&self.stored);
        self.key.apply(offset, &mut self.plain);
        Ok(0)
    }
}

fn slice(bytes: &[u8], from: usize, length: usize) -> &[u8] {
    let rest = bytes.get(from..).unwrap_or_default();
    rest.get(..length).unwrap_or(rest)
}
