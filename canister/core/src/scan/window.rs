//! A block's bytes, read front to back through a window of bounded size.

use std::convert::Infallible;

/// Bytes of a block, wherever they lie.
pub trait BlockBytes {
    /// Why they cannot be read, such as damaged storage.
    type Error;

    /// Returns their number.
    fn length(&self) -> u32;

    /// Fills `buffer` with the bytes from `offset` on. Callers stay within the length.
    ///
    /// # Errors
    /// `Self::Error` when they cannot be read.
    fn read(&self, offset: u32, buffer: &mut [u8]) -> Result<(), Self::Error>;
}

impl BlockBytes for [u8] {
    type Error = Infallible;

    fn length(&self) -> u32 {
        u32::try_from(self.len()).unwrap_or(u32::MAX)
    }

    fn read(&self, offset: u32, buffer: &mut [u8]) -> Result<(), Infallible> {
        let bytes = self.get(offset as usize..).unwrap_or_default();
        for (slot, byte) in buffer.iter_mut().zip(bytes) {
            *slot = *byte;
        }
        Ok(())
    }
}

/// Bytes read at once: a few pages, so that a call costs little beside its bytes.
pub(super) const WINDOW_BYTES: usize = 32 * 1024;

/// A stretch of a block's bytes on the heap.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    bytes: Vec<u8>,
    /// Offset in the block of the first byte held.
    start: u32,
    /// Bytes taken of those held.
    at: usize,
    /// Bytes of those taken that somebody is done with: the rest is [`Self::pending`].
    done: usize,
}

impl Window {
    /// Returns the offset in the block of the next byte.
    pub(super) fn offset(&self) -> u32 {
        self.start + self.at as u32
    }

    /// Returns the number of bytes held and not taken.
    pub(super) fn ready(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Returns the bytes taken that nobody is done with.
    pub(super) fn pending(&self) -> &[u8] {
        self.bytes.get(self.done..self.at).unwrap_or_default()
    }

    /// Notes that the pending bytes are no longer needed.
    pub(super) const fn settle(&mut self) {
        self.done = self.at;
    }

    /// Returns the bytes held and not taken.
    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Takes up to `count` bytes of those held.
    pub(super) fn take(&mut self, count: usize) -> &[u8] {
        let from = self.at;
        self.at = self.bytes.len().min(from + count);
        self.bytes.get(from..self.at).unwrap_or_default()
    }

    /// Lets the bytes taken go and reads on. No byte may be pending.
    pub(super) fn refill<B: BlockBytes + ?Sized>(&mut self, source: &B) -> Result<(), B::Error> {
        self.bytes.drain(..self.at);
        self.start += self.at as u32;
        (self.at, self.done) = (0, 0);
        let held = self.bytes.len();
        let offset = self.start + held as u32;
        let left = source.length().saturating_sub(offset) as usize;
        self.bytes
            .resize(WINDOW_BYTES.min(held + left).max(held), 0);
        source.read(offset, self.bytes.get_mut(held..).unwrap_or_default())
    }
}
