//! What the canister tells an adapter, in checked types.

use bitcoin::BlockHash;
use millrace_core::{Height, Network};

/// A block by hash and height.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRef {
    /// The block's hash.
    pub hash: BlockHash,
    /// Its distance from genesis.
    pub height: Height,
}

/// A block of which the canister holds a beginning pushed by this adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HalfReceived {
    /// The block.
    pub hash: BlockHash,
    /// Its size in bytes.
    pub size: u32,
    /// Bytes received, from the block's start.
    pub received: u32,
}

/// The kind of rule that a refused block broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectionKind {
    /// It came before its parent.
    UnknownParent,
    /// Its time is ahead of the canister's clock.
    TooNew,
    /// It has less work than all blocks the canister holds.
    TreeFull,
    /// The delivered bytes are not those its header stands for.
    DamagedBytes,
    /// Its header breaks a rule.
    InvalidHeader,
    /// It breaks a rule.
    InvalidBlock,
    /// It follows an invalid block.
    InvalidAncestor,
    /// Processing it never ended.
    Quarantined,
    /// A kind that only newer versions know.
    Unknown,
}

impl RejectionKind {
    /// Returns whether the block itself is not at fault: it came before its parent or before its
    /// time, and is to be pushed again.
    pub const fn is_transient(self) -> bool {
        matches!(self, Self::UnknownParent | Self::TooNew)
    }

    /// Returns the contract's name of the kind.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownParent => "unknown_parent",
            Self::TooNew => "too_new",
            Self::TreeFull => "tree_full",
            Self::DamagedBytes => "damaged_bytes",
            Self::InvalidHeader => "invalid_header",
            Self::InvalidBlock => "invalid_block",
            Self::InvalidAncestor => "invalid_ancestor",
            Self::Quarantined => "quarantined",
            Self::Unknown => "unknown",
        }
    }
}

/// A block the canister refused after it was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The block.
    pub hash: BlockHash,
    /// Its height, if its parent was known.
    pub height: Option<Height>,
    /// The kind of rule it broke.
    pub kind: RejectionKind,
    /// The canister's reason, for people.
    pub reason: String,
}

/// The canister's answer to `feed_state`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedView {
    /// The network the canister follows.
    pub network: Network,
    /// Whether it takes in blocks at all.
    pub is_syncing: bool,
    /// Its newest stable block; nothing that forks off below is accepted.
    pub anchor: BlockRef,
    /// Its best connected block.
    pub tip: BlockRef,
    /// The best header it knows.
    pub best_header: BlockRef,
    /// The first block of the locator that needs no pushing.
    pub common: Option<BlockRef>,
    /// Bytes its queue still takes.
    pub free_bytes: u64,
    /// Blocks its queue still takes.
    pub free_blocks: u32,
    /// Candid bytes of one push, at most.
    pub message_bytes_max: u32,
    /// Parts of one push, at most.
    pub parts_max: u32,
    /// Bytes of one block, at most.
    pub block_bytes_max: u32,
    /// Blocks of which it holds a beginning.
    pub half_received: Vec<HalfReceived>,
    /// Blocks waiting to be connected.
    pub pending_blocks: u32,
    /// The last refusals, newest first.
    pub rejections: Vec<Rejection>,
}

/// Consecutive bytes of one serialised block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The block.
    pub hash: BlockHash,
    /// The whole block's size in bytes.
    pub size: u32,
    /// Where `bytes` begin.
    pub offset: u32,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// What became of one part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartOutcome {
    /// The block is complete and queued.
    Queued,
    /// More bytes are expected.
    Incomplete {
        /// Bytes received so far.
        received: u32,
    },
    /// The canister has the block.
    Known,
    /// There was no room for it.
    NoRoom,
    /// The canister wants the block from another offset on.
    ContinueAt {
        /// That offset.
        offset: u32,
    },
    /// The canister will never take the block.
    Refused {
        /// Its reason.
        reason: String,
    },
}

/// The canister's answer to a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// One for each part, in order.
    pub outcomes: Vec<PartOutcome>,
    /// Bytes the queue still takes.
    pub free_bytes: u64,
    /// Blocks the queue still takes.
    pub free_blocks: u32,
    /// The best connected block.
    pub tip: BlockRef,
}
