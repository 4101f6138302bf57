//! Which pushed chunk of a block may be written where.
//!
//! A block may be larger than one message, so adapters push it in parts, in order. This is pure
//! bookkeeping: the bytes are stored by the caller, under the same [`AssemblyKey`]. Every pusher
//! assembles its own copy, so that none can damage another's.
//!
//! Room is reserved for the whole block when its first part comes. When a pusher exceeds its own
//! share, its least recently continued blocks make room; when all pushers together exceed the
//! total, blocks not continued for [`IDLE_SECONDS`] make room, the longest idle first; otherwise
//! there is no room for now. Nobody can push out another's block that is making progress.

mod record;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bitcoin::BlockHash;

use crate::block::{MAX_BLOCK_BYTES, MIN_BLOCK_BYTES};
use crate::units::UnixSeconds;

pub use record::{ASSEMBLY_RECORD_BYTES, AssemblyRecord};

/// Half-received blocks per pusher: one at work and one for each of a few parallel senders.
pub const MAX_BLOCKS_PER_PUSHER: usize = 4;

/// Bytes reserved per pusher: two blocks of the largest size.
pub const MAX_BYTES_PER_PUSHER: u64 = 2 * MAX_BLOCK_BYTES as u64;

/// Half-received blocks in total.
pub const MAX_BLOCKS: usize = 32;

/// Bytes reserved in total: eight blocks of the largest size.
pub const MAX_BYTES: u64 = 8 * MAX_BLOCK_BYTES as u64;

/// After how long without a new part a block may be given up for another pusher's, in seconds.
pub const IDLE_SECONDS: u64 = 600;

/// Longest pusher name in bytes: that of a principal.
pub const MAX_PUSHER_BYTES: usize = 29;

/// Names a pusher by up to [`MAX_PUSHER_BYTES`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PusherId {
    // Unused bytes stay zero, so the derived comparison sees equal names as equal.
    bytes: [u8; MAX_PUSHER_BYTES],
    len: u8,
}

impl PusherId {
    /// Wraps a name, or returns `None` when it is too long.
    pub fn new(name: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAX_PUSHER_BYTES];
        bytes.get_mut(..name.len())?.copy_from_slice(name);
        Some(Self {
            bytes,
            len: u8::try_from(name.len()).ok()?,
        })
    }

    /// Returns the name.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// Names one pusher's copy of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AssemblyKey {
    /// Who pushes it.
    pub pusher: PusherId,
    /// The block.
    pub hash: BlockHash,
}

/// A chunk of a block, without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The block.
    pub hash: BlockHash,
    /// The whole block's size in bytes.
    pub size: u32,
    /// Where the chunk starts.
    pub offset: u32,
    /// The chunk's length in bytes.
    pub length: u32,
}

/// What to do with an accepted chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing: these bytes came before.
    Repeated {
        /// Bytes of the block so far.
        received: u32,
    },
    /// Write the chunk at its offset; more is to come.
    Incomplete {
        /// Bytes of the block so far.
        received: u32,
    },
    /// Write the chunk at its offset: the block is whole, and no longer tracked here.
    Complete,
}

/// An accepted chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// What to do with the chunk.
    pub progress: Progress,
    /// Blocks given up for it, in the order they were given up: delete their bytes first. It
    /// holds the chunk's own key when the pusher started the block anew.
    pub discarded: Vec<AssemblyKey>,
}

/// Why a chunk was refused. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssemblyError {
    /// The chunk holds nothing.
    #[error("part of block {hash} is empty")]
    EmptyPart {
        /// The block.
        hash: BlockHash,
    },
    /// The block is too large to be valid.
    #[error("block {hash} is said to have {size} bytes, at most {max} are allowed")]
    BlockTooLarge {
        /// The block.
        hash: BlockHash,
        /// Its stated size.
        size: u32,
        /// The limit.
        max: u32,
    },
    /// The block is too small to be valid.
    #[error("block {hash} is said to have {size} bytes, at least {min} are needed")]
    BlockTooSmall {
        /// The block.
        hash: BlockHash,
        /// Its stated size.
        size: u32,
        /// The limit.
        min: u32,
    },
    /// The chunk ends after the block.
    #[error("part of block {hash} at offset {offset} with {length} bytes exceeds its size {size}")]
    BeyondEnd {
        /// The block.
        hash: BlockHash,
        /// Where the chunk starts.
        offset: u32,
        /// Its length.
        length: u32,
        /// The block's stated size.
        size: u32,
    },
    /// The chunk is not the next one.
    #[error("part of block {hash} starts at {given}, continue at {expected}")]
    UnexpectedOffset {
        /// The block.
        hash: BlockHash,
        /// Where to continue.
        expected: u32,
        /// Where the chunk starts.
        given: u32,
    },
    /// The block's stated size differs from that of its first chunk.
    #[error("block {hash} began with size {first} and goes on with {given}; start it anew")]
    SizeChanged {
        /// The block.
        hash: BlockHash,
        /// Size stated first.
        first: u32,
        /// Size stated now.
        given: u32,
    },
    /// No room for a new block. Transient.
    #[error(
        "no room for block {hash} of {size} bytes beside {held} half-received blocks; retry later"
    )]
    NoRoom {
        /// The block.
        hash: BlockHash,
        /// Its size.
        size: u32,
        /// Half-received blocks held.
        held: usize,
    },
}

impl AssemblyError {
    /// Returns whether the same chunk may be accepted later.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::NoRoom { .. })
    }
}

/// All half-received blocks; see the module's documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assembly {
    blocks: BTreeMap<AssemblyKey, Progressing>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Progressing {
    size: u32,
    received: u32,
    touched: UnixSeconds,
}

impl Assembly {
    /// Starts with no blocks.
    pub const fn new() -> Self {
        Self {
            blocks: BTreeMap::new(),
        }
    }

    /// Judges a chunk from `pusher`. Costs O(blocks held), at most [`MAX_BLOCKS`].
    ///
    /// A chunk that lies wholly in what came before is a no-op. A first chunk with another size
    /// than before starts the block anew: the same block can be sent with and without witnesses.
    ///
    /// # Errors
    /// [`AssemblyError`]; only [`AssemblyError::NoRoom`] is transient.
    pub fn offer(
        &mut self,
        now: UnixSeconds,
        pusher: PusherId,
        part: &Part,
    ) -> Result<Accepted, AssemblyError> {
        let end = check_part(part)?;
        let key = AssemblyKey {
            pusher,
            hash: part.hash,
        };
        match self.blocks.get_mut(&key) {
            Some(block) if block.size == part.size => {
                if end <= block.received {
                    block.touched = now;
                    let received = block.received;
                    return Ok(Accepted::without_discards(Progress::Repeated { received }));
                }
                expect_offset(part, block.received)?;
                if end == part.size {
                    self.blocks.remove(&key);
                    return Ok(Accepted::without_discards(Progress::Complete));
                }
                block.received = end;
                block.touched = now;
                Ok(Accepted::without_discards(Progress::Incomplete {
                    received: end,
                }))
            }
            Some(block) if part.offset > 0 => Err(AssemblyError::SizeChanged {
                hash: part.hash,
                first: block.size,
                given: part.size,
            }),
            _ => self.begin(now, key, part, end),
        }
    }

    /// Starts a block, anew if it was begun with another size.
    fn begin(
        &mut self,
        now: UnixSeconds,
        key: AssemblyKey,
        part: &Part,
        end: u32,
    ) -> Result<Accepted, AssemblyError> {
        expect_offset(part, 0)?;
        let restarted = self.blocks.contains_key(&key).then_some(key);
        if end == part.size {
            self.blocks.remove(&key);
            return Ok(Accepted {
                progress: Progress::Complete,
                discarded: restarted.into_iter().collect(),
            });
        }
        let discarded = self.make_room(now, key, part.size)?;
        for key in &discarded {
            self.blocks.remove(key);
        }
        self.blocks.insert(
            key,
            Progressing {
                size: part.size,
                received: end,
                touched: now,
            },
        );
        Ok(Accepted {
            progress: Progress::Incomplete { received: end },
            discarded,
        })
    }

    /// Chooses what must go for `size` more bytes under `key`, without removing it yet.
    fn make_room(
        &self,
        now: UnixSeconds,
        key: AssemblyKey,
        size: u32,
    ) -> Result<Vec<AssemblyKey>, AssemblyError> {
        let mut kept = self.blocks.clone();
        let mut discarded: Vec<AssemblyKey> = kept.remove(&key).map(|_| key).into_iter().collect();
        let is_own = |other: &AssemblyKey| other.pusher == key.pusher;
        while exceeds(
            kept.iter().filter(|(other, _)| is_own(other)),
            size,
            MAX_BLOCKS_PER_PUSHER,
            MAX_BYTES_PER_PUSHER,
        ) {
            let Some(oldest) = oldest(&kept, is_own) else {
                break;
            };
            kept.remove(&oldest);
            discarded.push(oldest);
        }
        while exceeds(kept.iter(), size, MAX_BLOCKS, MAX_BYTES) {
            let idle = oldest(&kept, |_| true).filter(|oldest| {
                kept.get(oldest)
                    .is_some_and(|block| now.saturating_sub(block.touched).get() >= IDLE_SECONDS)
            });
            let Some(idle) = idle else {
                return Err(AssemblyError::NoRoom {
                    hash: key.hash,
                    size,
                    held: self.blocks.len(),
                });
            };
            kept.remove(&idle);
            discarded.push(idle);
        }
        Ok(discarded)
    }

    /// Returns a pusher's half-received blocks as (block, size, received), in hash order.
    pub fn half_received(
        &self,
        pusher: PusherId,
    ) -> impl Iterator<Item = (BlockHash, u32, u32)> + '_ {
        self.blocks
            .iter()
            .filter(move |(key, _)| key.pusher == pusher)
            .map(|(key, block)| (key.hash, block.size, block.received))
    }

    /// Returns the number of half-received blocks.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Returns whether no block is half received.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Gives up every copy for which `is_unwanted` holds, such as those of a pusher that lost its
    /// right or of a block that came another way. Returns what was given up, for its bytes to be
    /// deleted.
    pub fn discard(&mut self, is_unwanted: impl Fn(&AssemblyKey) -> bool) -> Vec<AssemblyKey> {
        let unwanted: Vec<AssemblyKey> = self
            .blocks
            .keys()
            .filter(|key| is_unwanted(key))
            .copied()
            .collect();
        for key in &unwanted {
            self.blocks.remove(key);
        }
        unwanted
    }
}

impl Accepted {
    const fn without_discards(progress: Progress) -> Self {
        Self {
            progress,
            discarded: Vec::new(),
        }
    }
}

/// Checks a chunk on its own and returns where it ends.
fn check_part(part: &Part) -> Result<u32, AssemblyError> {
    let (hash, size) = (part.hash, part.size);
    let max = u32::try_from(MAX_BLOCK_BYTES).unwrap_or(u32::MAX);
    if size > max {
        return Err(AssemblyError::BlockTooLarge { hash, size, max });
    }
    let min = u32::try_from(MIN_BLOCK_BYTES).unwrap_or(u32::MAX);
    if size < min {
        return Err(AssemblyError::BlockTooSmall { hash, size, min });
    }
    if part.length == 0 {
        return Err(AssemblyError::EmptyPart { hash });
    }
    part.offset
        .checked_add(part.length)
        .filter(|end| *end <= size)
        .ok_or(AssemblyError::BeyondEnd {
            hash,
            offset: part.offset,
            length: part.length,
            size,
        })
}

fn expect_offset(part: &Part, expected: u32) -> Result<(), AssemblyError> {
    if part.offset == expected {
        Ok(())
    } else {
        Err(AssemblyError::UnexpectedOffset {
            hash: part.hash,
            expected,
            given: part.offset,
        })
    }
}

/// Returns whether `blocks` and one more of `size` bytes exceed a limit.
fn exceeds<'a>(
    blocks: impl Iterator<Item = (&'a AssemblyKey, &'a Progressing)>,
    size: u32,
    blocks_max: usize,
    bytes_max: u64,
) -> bool {
    let (count, bytes) = blocks.fold((1, u64::from(size)), |(count, bytes), (_, block)| {
        (count + 1, bytes.saturating_add(u64::from(block.size)))
    });
    count > blocks_max || bytes > bytes_max
}

/// Returns the block continued longest ago among those that `is_eligible`; ties go by key.
fn oldest(
    blocks: &BTreeMap<AssemblyKey, Progressing>,
    is_eligible: impl Fn(&AssemblyKey) -> bool,
) -> Option<AssemblyKey> {
    blocks
        .iter()
        .filter(|(key, _)| is_eligible(key))
        .min_by_key(|(key, block)| (block.touched, **key))
        .map(|(key, _)| *key)
}
