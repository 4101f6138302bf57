//! The fixed-size stable form of a node.
//!
//! ```text
//! offset size
//!      0  208  header context, see crate::header
//!    208    8  header sequence, u64 LE
//!    216    8  body sequence, u64 LE, 0 without a body
//!    224    1  status: 0 header only, 1 body held, 2 connected, 3 invalid
//!    225    1  reason, when invalid: 1 structure, 2 coins, 3 ancestor, 4 quarantined; else 0
//!    226    6  zero
//!    232
//! ```

use std::fmt;

use bitcoin::BlockHash;

use super::{BlockStatus, InvalidReason, Node};
use crate::bytes::{Reader, fixed};
use crate::header::{HEADER_CONTEXT_BYTES, HeaderContext, RecordError};

/// Size of an encoded [`NodeRecord`].
pub const NODE_RECORD_BYTES: usize = HEADER_CONTEXT_BYTES + 24;

/// Everything about a node that must survive an upgrade; links are rebuilt from hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    pub(super) context: HeaderContext,
    pub(super) status: BlockStatus,
    pub(super) header_sequence: u64,
    pub(super) body_sequence: u64,
}

impl NodeRecord {
    pub(super) fn of(node: &Node) -> Self {
        Self {
            context: node.context,
            status: node.status,
            header_sequence: node.header_sequence,
            body_sequence: node.body_sequence,
        }
    }

    /// Returns the block's hash, the record's key.
    pub const fn hash(&self) -> BlockHash {
        self.context.hash()
    }

    /// Returns the header context.
    pub const fn context(&self) -> &HeaderContext {
        &self.context
    }

    /// Returns how far the block has come.
    pub const fn status(&self) -> BlockStatus {
        self.status
    }

    /// Returns the stable form.
    pub fn encode(&self) -> [u8; NODE_RECORD_BYTES] {
        let (status, reason) = match self.status {
            BlockStatus::HeaderOnly => (0, 0),
            BlockStatus::BodyHeld => (1, 0),
            BlockStatus::Connected => (2, 0),
            BlockStatus::Invalid(reason) => (3, reason.code()),
        };
        fixed(&[
            &self.context.encode(),
            &self.header_sequence.to_le_bytes(),
            &self.body_sequence.to_le_bytes(),
            &[status, reason],
        ])
    }

    /// Reads the stable form.
    ///
    /// # Errors
    /// [`RecordError`] when the length, status or reason is not one `encode` writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let length = RecordError::Length {
            got: bytes.len(),
            expected: NODE_RECORD_BYTES,
        };
        if bytes.len() != NODE_RECORD_BYTES {
            return Err(length);
        }
        let mut reader = Reader::new(bytes);
        let (Some(context), Some(header_sequence), Some(body_sequence), Some([status, reason])) = (
            reader.array::<HEADER_CONTEXT_BYTES>(),
            reader.u64(),
            reader.u64(),
            reader.array::<2>(),
        ) else {
            return Err(length);
        };
        Ok(Self {
            context: HeaderContext::decode(&context)?,
            status: decode_status(status, reason)?,
            header_sequence,
            body_sequence,
        })
    }
}

fn decode_status(status: u8, reason: u8) -> Result<BlockStatus, RecordError> {
    match (status, reason) {
        (0, 0) => Ok(BlockStatus::HeaderOnly),
        (1, 0) => Ok(BlockStatus::BodyHeld),
        (2, 0) => Ok(BlockStatus::Connected),
        (3, reason) => InvalidReason::from_code(reason)
            .map(BlockStatus::Invalid)
            .ok_or(RecordError::Field {
                field: "invalid reason",
                value: u64::from(reason),
            }),
        _ => Err(RecordError::Field {
            field: "block status",
            value: u64::from(status),
        }),
    }
}

impl InvalidReason {
    /// Every reason, in code order.
    pub const ALL: [Self; 5] = [
        Self::Structure,
        Self::Coins,
        Self::Ancestor,
        Self::Quarantined,
        Self::Consensus,
    ];

    /// Returns the number that stands for the reason in records; never reused.
    pub const fn code(self) -> u8 {
        match self {
            Self::Structure => 1,
            Self::Coins => 2,
            Self::Ancestor => 3,
            Self::Quarantined => 4,
            Self::Consensus => 5,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

impl fmt::Display for InvalidReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Structure => "malformed block",
            Self::Coins => "missing or spent coins",
            Self::Consensus => "broken consensus rule",
            Self::Ancestor => "invalid ancestor",
            Self::Quarantined => "quarantined",
        })
    }
}

impl fmt::Display for BlockStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HeaderOnly => f.write_str("known by its header only"),
            Self::BodyHeld => f.write_str("held but not connected"),
            Self::Connected => f.write_str("connected"),
            Self::Invalid(reason) => write!(f, "invalid ({reason})"),
        }
    }
}
