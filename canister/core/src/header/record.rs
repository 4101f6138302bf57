//! The fixed-size stable form of a [`HeaderContext`].
//!
//! ```text
//! offset size
//!      0   32  block hash
//!     32   80  header, as on the wire
//!    112    4  height, u32 LE
//!    116   32  chain work, u256 BE
//!    148   44  recent timestamps, 11 x u32 LE, oldest first, unused ones zero
//!    192    1  number of recent timestamps, 1 to 11
//!    193    3  zero
//!    196    4  time of the period's first header, u32 LE
//!    200    4  bits of the period's first header, u32 LE
//!    204    4  last regular bits, u32 LE
//!    208
//! ```
//!
//! The record has no version of its own: the store that holds it versions its layout.

use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, CompactTarget};

use super::{ChainWork, HeaderContext, MEDIAN_TIME_SPAN, PeriodStart, RecentTimes};
use crate::bytes::{Reader, fixed};
use crate::units::Height;

/// Size of an encoded [`HeaderContext`].
pub const HEADER_CONTEXT_BYTES: usize = 208;

/// Why a stored record cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The record has another size than its layout.
    #[error("record has {got} bytes, its layout has {expected}")]
    Length {
        /// Bytes given.
        got: usize,
        /// Bytes the layout has.
        expected: usize,
    },
    /// A field holds a value its layout does not allow.
    #[error("record field {field} holds the impossible value {value}")]
    Field {
        /// Name of the field.
        field: &'static str,
        /// The value found.
        value: u64,
    },
}

impl HeaderContext {
    /// Returns the stable form.
    pub fn encode(&self) -> [u8; HEADER_CONTEXT_BYTES] {
        let times: Vec<u8> = self
            .times
            .times
            .iter()
            .flat_map(|time| time.to_le_bytes())
            .collect();
        fixed(&[
            self.hash.as_byte_array(),
            &serialize(&self.header),
            &self.height.get().to_le_bytes(),
            &self.chain_work.to_be_bytes(),
            &times,
            &[self.times.len, 0, 0, 0],
            &self.period.time.to_le_bytes(),
            &self.period.bits.to_consensus().to_le_bytes(),
            &self.last_regular_bits.to_consensus().to_le_bytes(),
        ])
    }

    /// Reads the stable form. The hash is taken as stored, not recomputed: hashing every record
    /// would dominate the cost of loading a tree.
    ///
    /// # Errors
    /// [`RecordError`] when the length or the timestamp count is not one `encode` writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let length = RecordError::Length {
            got: bytes.len(),
            expected: HEADER_CONTEXT_BYTES,
        };
        if bytes.len() != HEADER_CONTEXT_BYTES {
            return Err(length);
        }
        let mut reader = Reader::new(bytes);
        let context = read(&mut reader).ok_or(length)?;
        let len = context.times.len;
        if len == 0 || usize::from(len) > MEDIAN_TIME_SPAN {
            return Err(RecordError::Field {
                field: "timestamp count",
                value: u64::from(len),
            });
        }
        Ok(context)
    }
}

fn read(reader: &mut Reader<'_>) -> Option<HeaderContext> {
    let hash = BlockHash::from_byte_array(reader.array()?);
    let header = deserialize(&reader.array::<80>()?).ok()?;
    let height = Height::new(reader.u32()?);
    let chain_work = ChainWork::from_be_bytes(reader.array()?);
    let mut times = [0; MEDIAN_TIME_SPAN];
    for time in &mut times {
        *time = reader.u32()?;
    }
    let len = reader.u8()?;
    let _zero = reader.array::<3>()?;
    Some(HeaderContext {
        hash,
        header,
        height,
        chain_work,
        times: RecentTimes { times, len },
        period: PeriodStart {
            time: reader.u32()?,
            bits: CompactTarget::from_consensus(reader.u32()?),
        },
        last_regular_bits: CompactTarget::from_consensus(reader.u32()?),
    })
}
