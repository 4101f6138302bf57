//! The header of a run: where its parts are, and what it counts.
//!
//! ```text
//! offset size
//!      0    4  magic "MRUN"
//!      4    1  version
//!      5    1  kind: 1 coins, 2 scripts
//!      6    2  reserved
//!      8    4  leaves
//!     12    4  blocks of the filter
//!     16    8  entries (coins) or groups (scripts)
//!     24    8  keys in the filter: outpoints or scripts
//!     32    8  puts
//!     40    8  spends
//!     48    8  bytes of entries in all leaves
//!     56    8  bytes of overflow scripts
//!     64    8  offset of the fences from the run's start
//!     72    8  offset of the overflow area
//!     80    8  offset of the leaves
//!     88   40  reserved
//!    128       filter, blocks of 64 bytes
//!              fences, 8 bytes for each leaf there may be
//!              overflow area
//!              leaves, aligned to 2 KiB, to the end of the run
//! ```
//!
//! Leaves come last because only their number is not known before the run is written: the rest of
//! the range that was taken for them is given back.

use super::leaf::LEAF_BYTES;
use super::number::Input;
use crate::StoreError;
use crate::record::join;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 128;

/// Bytes of a block of a filter.
pub const FILTER_BLOCK_BYTES: usize = 64;

/// Bytes of a fence.
pub const FENCE_BYTES: u64 = 8;

const MAGIC: [u8; 4] = *b"MRUN";
const VERSION: u8 = 1;

/// What a run is sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunKind {
    /// Outpoints.
    Coins,
    /// Script keys.
    Scripts,
}

/// See the module's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunHeader {
    /// What the run is sorted by.
    pub kind: RunKind,
    /// Number of leaves.
    pub leaves: u32,
    /// Number of filter blocks.
    pub filter_blocks: u32,
    /// Entries of a coin run, groups of a script run.
    pub entries: u64,
    /// Distinct keys of the filter.
    pub keys: u64,
    /// Entries that put a coin.
    pub puts: u64,
    /// Entries that spend a coin; one that replaces counts in both.
    pub spends: u64,
    /// Bytes of entries.
    pub entry_bytes: u64,
    /// Bytes of overflow scripts.
    pub overflow_bytes: u64,
    /// Offset of the fences.
    pub fences_at: u64,
    /// Offset of the overflow area.
    pub overflow_at: u64,
    /// Offset of the leaves.
    pub leaves_at: u64,
}

impl RunHeader {
    /// Returns the length of the whole run in bytes.
    pub const fn length(&self) -> u64 {
        self.leaves_at
            .saturating_add((self.leaves as u64).saturating_mul(LEAF_BYTES as u64))
    }

    /// Returns the header's bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let kind = match self.kind {
            RunKind::Coins => 1,
            RunKind::Scripts => 2,
        };
        join(&[
            &MAGIC,
            &[VERSION, kind, 0, 0],
            &self.leaves.to_le_bytes(),
            &self.filter_blocks.to_le_bytes(),
            &self.entries.to_le_bytes(),
            &self.keys.to_le_bytes(),
            &self.puts.to_le_bytes(),
            &self.spends.to_le_bytes(),
            &self.entry_bytes.to_le_bytes(),
            &self.overflow_bytes.to_le_bytes(),
            &self.fences_at.to_le_bytes(),
            &self.overflow_at.to_le_bytes(),
            &self.leaves_at.to_le_bytes(),
        ])
    }

    /// Reads a header and checks that its parts follow each other.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let mut input = Input::new("run header", bytes);
        let magic: [u8; 4] = input.array()?;
        let [version, kind, _, _] = input.array()?;
        if magic != MAGIC || version != VERSION {
            return Err(input.damaged(format!("it begins with {magic:02x?}, version {version}")));
        }
        let kind = match kind {
            1 => RunKind::Coins,
            2 => RunKind::Scripts,
            other => return Err(input.damaged(format!("unknown kind {other}"))),
        };
        let leaves = u32::from_le_bytes(input.array()?);
        let filter_blocks = u32::from_le_bytes(input.array()?);
        let mut next = || input.array().map(u64::from_le_bytes);
        let header = Self {
            kind,
            leaves,
            filter_blocks,
            entries: next()?,
            keys: next()?,
            puts: next()?,
            spends: next()?,
            entry_bytes: next()?,
            overflow_bytes: next()?,
            fences_at: next()?,
            overflow_at: next()?,
            leaves_at: next()?,
        };
        if header.is_ordered() {
            Ok(header)
        } else {
            Err(input.damaged(format!("its parts overlap: {header:?}")))
        }
    }

    fn is_ordered(&self) -> bool {
        let filter = u64::from(self.filter_blocks) * FILTER_BLOCK_BYTES as u64;
        let fences = u64::from(self.leaves) * FENCE_BYTES;
        let is_after = |at: u64, start: u64, length: u64| {
            start.checked_add(length).is_some_and(|end| end <= at)
        };
        self.filter_blocks > 0
            && is_after(self.fences_at, HEADER_BYTES as u64, filter)
            && is_after(self.overflow_at, self.fences_at, fences)
            && is_after(self.leaves_at, self.overflow_at, self.overflow_bytes)
            && self.leaves_at.is_multiple_of(LEAF_BYTES as u64)
            && self.length() < u64::MAX
    }
}
