//! Leaves: 2 KiB of entries, the unit of reading.
//!
//! ```text
//! 0  entries u16 LE        of a coin leaf; parts of a script leaf
//! 2  used u16 LE           bytes of them
//! 4  entries back to back, then zeros
//! ```

use super::checkpoint::Saved;
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

    /// Returns the leaf's bytes, and starts an empty one.
    pub fn finish(&mut self) -> [u8; LEAF_BYTES] {
        let mut leaf = [0; LEAF_BYTES];
        let [entries_low, entries_high] = self.entries.to_le_bytes();
        let [used_low, used_high] = (self.body.len() as u16).to_le_bytes();
        let head = [entries_low, entries_high, used_low, used_high];
        if let Some((start, room)) = leaf.split_first_chunk_mut::<HEAD_BYTES>() {
            *start = head;
            if let Some(room) = room.get_mut(..self.body.len()) {
                room.copy_from_slice(&self.body);
            }
        }
        self.body.clear();
        self.entries = 0;
        leaf
    }
}

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
