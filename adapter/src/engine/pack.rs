//! Fills one push message with consecutive bytes of the chain.
//!
//! Small blocks travel many to a message; a large block's parts span messages. Blocks stay in
//! chain order, because the canister refuses a block whose parent it has not seen.

use bitcoin::BlockHash;
use millrace_core::Height;

use super::feed::{HalfReceived, Part};
use super::reading::ReadAhead;
use crate::headers::HeaderTree;

/// Bytes a push takes besides its parts: Candid's type table and the count.
pub const MESSAGE_OVERHEAD_BYTES: u32 = 256;

/// Bytes a part takes besides its content: hash, size, offset and lengths.
pub const PART_OVERHEAD_BYTES: u32 = 64;

/// Smallest beginning or middle of a block worth a part of its own.
const CHUNK_BYTES_MIN: u32 = 16 * 1024;

/// A place in the stream of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The block, by its height on the best chain.
    pub height: Height,
    /// A byte of the block.
    pub offset: u32,
}

impl Position {
    /// Returns the start of the block at a height.
    pub const fn start_of(height: Height) -> Self {
        Self { height, offset: 0 }
    }
}

/// A part without its bytes, remembered until its receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The block.
    pub hash: BlockHash,
    /// Where the part begins.
    pub position: Position,
    /// Its bytes.
    pub length: u32,
    /// The whole block's size in bytes.
    pub size: u32,
    /// Whether the block, up to the part, was never pushed before. A block begun anew is the exception
    /// that costs no more than a pause.
    pub is_first: bool,
}

impl Sent {
    /// Returns the block's first byte after the part.
    pub const fn end(&self) -> u32 {
        self.position.offset.saturating_add(self.length)
    }

    /// Returns whether the part ends its block.
    pub const fn ends_block(&self) -> bool {
        self.end() >= self.size
    }
}

/// Why a message has no more parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The message is full.
    Full,
    /// The best chain ends.
    EndOfChain,
    /// The next block has not been read yet.
    Unread,
    /// The canister's queue has no room for the next block.
    NoRoom,
    /// No canister of this configuration takes the next block.
    TooLarge {
        /// The block.
        hash: BlockHash,
        /// Its size in bytes.
        size: u32,
    },
}

/// What bounds a message.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Candid bytes of the whole argument.
    pub message_bytes: u32,
    /// Parts.
    pub parts: u32,
    /// Bytes of one block.
    pub block_bytes: u32,
    /// Bytes the canister's queue still takes, beyond what is on its way.
    pub free_bytes: u64,
    /// Blocks it still takes, beyond what is on its way.
    pub free_blocks: u32,
    /// The height up to which blocks have been pushed before.
    pub pushed_to: Height,
}

/// A message.
#[derive(Debug)]
pub struct Packed {
    /// What to push.
    pub parts: Vec<Part>,
    /// The same without bytes.
    pub sent: Vec<Sent>,
    /// Where the next message starts.
    pub next: Position,
    /// Why it ends there.
    pub stop: Stop,
}

/// Packs a message that starts at `from`. Costs O(bytes of the message).
pub fn pack(
    headers: &HeaderTree,
    blocks: &ReadAhead,
    half_received: &[HalfReceived],
    from: Position,
    mut limits: Limits,
) -> Packed {
    let mut packed = Packed {
        parts: Vec::new(),
        sent: Vec::new(),
        next: from,
        stop: Stop::Full,
    };
    let mut room = limits.message_bytes.saturating_sub(MESSAGE_OVERHEAD_BYTES);
    while packed.parts.len() < limits.parts as usize && room > PART_OVERHEAD_BYTES {
        let Some(hash) = headers.hash_at(packed.next.height) else {
            packed.stop = Stop::EndOfChain;
            break;
        };
        let Some(block) = blocks.block(packed.next.height, hash) else {
            packed.stop = Stop::Unread;
            break;
        };
        let size = u32::try_from(block.len()).unwrap_or(u32::MAX);
        if size > limits.block_bytes {
            packed.stop = Stop::TooLarge { hash, size };
            break;
        }
        if packed.next.offset == 0 {
            if limits.free_blocks == 0 || u64::from(size) > limits.free_bytes {
                packed.stop = Stop::NoRoom;
                break;
            }
            packed.next.offset = resume_offset(half_received, hash, size);
        }
        let left = size.saturating_sub(packed.next.offset);
        let length = left.min(room.saturating_sub(PART_OVERHEAD_BYTES));
        if length < left.min(CHUNK_BYTES_MIN) {
            break;
        }
        let position = packed.next;
        let start = position.offset as usize;
        let Some(bytes) = block.get(start..start + length as usize) else {
            // Only a position beyond the block's end leads here; start over with the block.
            packed.next.offset = 0;
            break;
        };
        packed.parts.push(Part {
            hash,
            size,
            offset: position.offset,
            bytes: bytes.to_vec(),
        });
        packed.sent.push(Sent {
            hash,
            position,
            length,
            size,
            is_first: position.height > limits.pushed_to
                || (position.height == limits.pushed_to && position.offset > 0),
        });
        room = room.saturating_sub(length + PART_OVERHEAD_BYTES);
        if length == left {
            limits.free_bytes = limits.free_bytes.saturating_sub(u64::from(size));
            limits.free_blocks = limits.free_blocks.saturating_sub(1);
            packed.next = Position::start_of(packed.next.height.next());
        } else {
            packed.next.offset = position.offset.saturating_add(length);
        }
    }
    packed
}

/// Returns where to go on with a block of which the canister may hold a beginning.
fn resume_offset(half_received: &[HalfReceived], hash: BlockHash, size: u32) -> u32 {
    half_received
        .iter()
        .find(|half| half.hash == hash && half.size == size && half.received < size)
        .map_or(0, |half| half.received)
}
