//! Leaves: 2 KiB of entries, the unit of reading.
//!
//! ```text
//! 0  entries u16 LE        of a coin leaf; parts of a script leaf
//! 2  used u16 LE           bytes of them
//! 4  entries back to back, then zeros
//! ```

use ic_stable_structures::Memory;

use super::checkpoint::Saved;
use super::extent::Appender;
use super::number::Input;
use crate::StoreError;

/// Bytes of a leaf: half a page, so that a look-up reads one page.
pub const LEAF_BYTES: usize = 2048;

/// Bytes before the entries.
pub(super) const HEAD_BYTES: usize = 4;

/// Bytes for entries.
pub const LEAF_ROOM: usize = LEAF_BYTES - HEAD_BYTES;

/// A leaf being filled.
#[derive(Clone, Debug, Default)]
pub struct LeafBuilder {
    body: Vec<u8>,
    entries: u16,
}

impl LeafBuilder {
    /// Returns whether nothing is in it.
    pub const fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Returns how many bytes are free.
    pub const fn room(&self) -> usize {
        LEAF_ROOM.saturating_sub(self.body.len())
    }

    /// Adds an encoded entry.
    ///
    /// # Errors
    /// [`StoreError::BeyondEnd`] when it does not fit; nothing is added.
    pub fn push(&mut self, entry: &[u8]) -> Result<(), StoreError> {
        if entry.len() > self.room() {
            return Err(StoreError::BeyondEnd {
                offset: self.body.len() as u64,
                end: (self.body.len() + entry.len()) as u64,
                length: LEAF_ROOM as u64,
            });
        }
        self.body.extend_from_slice(entry);
        self.entries += 1;
        Ok(())
    }

    pub(super) fn save(&self, out: &mut Vec<u8>) {
        self.entries.save(out);
        self.body.save(out);
    }

    pub(super) fn restore(input: &mut Input<'_>) -> Result<Self, StoreError> {
        let entries = u16::restore(input)?;
        let body = Vec::restore(input)?;
        if body.len() > LEAF_ROOM {
            return Err(input.damaged(format!("a leaf of {} bytes", body.len())));
        }
        Ok(Self { body, entries })
    }

    /// Appends the leaf, and starts an empty one.
    ///
    /// # Errors
    /// [`StoreError::BeyondEnd`] when the extent is full.
    pub fn finish<M: Memory>(&mut self, memory: &M, out: &mut Appender) -> Result<(), StoreError> {
        let [entries_low, entries_high] = self.entries.to_le_bytes();
        let [used_low, used_high] = (self.body.len() as u16).to_le_bytes();
        let zeros = ZEROS.get(self.body.len()..).unwrap_or_default();
        out.append(memory, &[entries_low, entries_high, used_low, used_high])?;
        out.append(memory, &self.body)?;
        out.append(memory, zeros)?;
        self.body.clear();
        self.entries = 0;
        Ok(())
    }
}

/// What fills a leaf up.
static ZEROS: [u8; LEAF_ROOM] = [0; LEAF_ROOM];

/// Returns a leaf's number of entries and their bytes.
///
/// # Errors
/// [`StoreError::Damaged`] when there are more bytes than a leaf has, or none of them.
pub fn open<'a>(what: &'static str, leaf: &'a [u8]) -> Result<(u16, &'a [u8]), StoreError> {
    let mut input = Input::new(what, leaf);
    let entries = u16::from_le_bytes(input.array()?);
    let used = u16::from_le_bytes(input.array()?);
    if entries == 0 {
        return Err(input.damaged("a leaf without entries"));
    }
    Ok((entries, input.bytes(usize::from(used))?))
}
