//! The fixed-size stable form of a half-received block.
//!
//! ```text
//! offset size
//!      0    1  length of the pusher's name, 0 to 29
//!      1   29  the pusher's name, zero padded
//!     30   32  block hash
//!     62    2  zero
//!     64    4  size in bytes, u32 LE
//!     68    4  bytes received, u32 LE
//!     72    8  time of the last new part, seconds, u64 LE
//!     80
//! ```

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;

use super::{Assembly, AssemblyKey, MAX_PUSHER_BYTES, Progressing, PusherId};
use crate::bytes::{Reader, fixed};
use crate::header::RecordError;
use crate::units::UnixSeconds;

/// Size of an encoded [`AssemblyRecord`].
pub const ASSEMBLY_RECORD_BYTES: usize = 80;

/// What must survive an upgrade of one half-received block, besides its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssemblyRecord {
    key: AssemblyKey,
    block: Progressing,
}

impl AssemblyRecord {
    /// Returns the record's key.
    pub const fn key(&self) -> &AssemblyKey {
        &self.key
    }

    /// Returns the stable form.
    pub fn encode(&self) -> [u8; ASSEMBLY_RECORD_BYTES] {
        fixed(&[
            &[self.key.pusher.len],
            &self.key.pusher.bytes,
            self.key.hash.as_byte_array(),
            &[0, 0],
            &self.block.size.to_le_bytes(),
            &self.block.received.to_le_bytes(),
            &self.block.touched.get().to_le_bytes(),
        ])
    }

    /// Reads the stable form.
    ///
    /// # Errors
    /// [`RecordError`] when the length, the name's length or the progress is not one `encode`
    /// writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let length = RecordError::Length {
            got: bytes.len(),
            expected: ASSEMBLY_RECORD_BYTES,
        };
        if bytes.len() != ASSEMBLY_RECORD_BYTES {
            return Err(length);
        }
        let record = read(&mut Reader::new(bytes)).ok_or(length)?;
        let field = |field, value| Err(RecordError::Field { field, value });
        if usize::from(record.key.pusher.len) > MAX_PUSHER_BYTES {
            return field("pusher name length", u64::from(record.key.pusher.len));
        }
        if record.block.received >= record.block.size {
            return field("bytes received", u64::from(record.block.received));
        }
        Ok(record)
    }
}

fn read(reader: &mut Reader<'_>) -> Option<AssemblyRecord> {
    let len = reader.u8()?;
    let bytes = reader.array()?;
    let hash = BlockHash::from_byte_array(reader.array()?);
    let _zero = reader.array::<2>()?;
    Some(AssemblyRecord {
        key: AssemblyKey {
            pusher: PusherId { bytes, len },
            hash,
        },
        block: Progressing {
            size: reader.u32()?,
            received: reader.u32()?,
            touched: UnixSeconds::new(reader.u64()?),
        },
    })
}

impl Assembly {
    /// Returns one record for each half-received block, in key order.
    pub fn records(&self) -> impl Iterator<Item = AssemblyRecord> + '_ {
        self.blocks.iter().map(|(key, block)| AssemblyRecord {
            key: *key,
            block: *block,
        })
    }

    /// Returns the record of one half-received block.
    pub fn record(&self, key: &AssemblyKey) -> Option<AssemblyRecord> {
        self.blocks.get(key).map(|block| AssemblyRecord {
            key: *key,
            block: *block,
        })
    }

    /// Rebuilds the bookkeeping from its records, in any order.
    pub fn restore(records: impl IntoIterator<Item = AssemblyRecord>) -> Self {
        Self {
            blocks: records
                .into_iter()
                .map(|record| (record.key, record.block))
                .collect(),
        }
    }
}
