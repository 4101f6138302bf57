//! How adapters learn what is wanted and push blocks.

use candid::{CandidType, Principal};
use serde::Deserialize;
use serde_bytes::ByteBuf;

use crate::{BlockId, Chain, Flag};

/// Argument of `feed_state`.
#[derive(CandidType, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedStateArgs {
    /// Hashes of blocks the adapter has, newest first, thinning out towards its oldest; at most 64.
    pub locator: Vec<ByteBuf>,
}

/// A block of which a beginning has arrived.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct HalfReceived {
    /// The block.
    pub hash: ByteBuf,
    /// Its size in bytes.
    pub size: u32,
    /// Bytes received: the offset at which to go on.
    pub received: u32,
}

/// What kind of rule a refused block broke, and so what its pusher can do.
#[derive(CandidType, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectionKind {
    /// It came before its parent: push its ancestors, then push it again.
    #[serde(rename = "unknown_parent")]
    UnknownParent,
    /// Its time is ahead of the canister's clock: push it again later.
    #[serde(rename = "too_new")]
    TooNew,
    /// It has less work than all blocks held: push it again when blocks have retired.
    #[serde(rename = "tree_full")]
    TreeFull,
    /// The delivered bytes are not those its header stands for: push an intact copy.
    #[serde(rename = "damaged_bytes")]
    DamagedBytes,
    /// Its header breaks a rule: it is refused for good.
    #[serde(rename = "invalid_header")]
    InvalidHeader,
    /// It breaks a rule: it is refused for good.
    #[serde(rename = "invalid_block")]
    InvalidBlock,
    /// It follows an invalid block, or is known to be invalid.
    #[serde(rename = "invalid_ancestor")]
    InvalidAncestor,
    /// Processing it never ended: it is refused until the canister is upgraded.
    #[serde(rename = "quarantined")]
    Quarantined,
}

/// A block that was refused.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The block.
    pub hash: ByteBuf,
    /// Its height, where its parent was known.
    pub height: Option<u32>,
    /// The kind of rule it broke; `None` for a kind that a newer canister has.
    pub kind: Option<RejectionKind>,
    /// The rule it broke, for people.
    pub reason: String,
}

/// What the canister has and what it still takes.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct FeedState {
    /// The Bitcoin network.
    pub chain: Chain,
    /// Whether blocks are taken in at all.
    pub syncing: Flag,
    /// The newest stable block: nothing that forks off below it is accepted.
    pub anchor: BlockId,
    /// The best connected block: what reads answer from.
    pub tip: BlockId,
    /// The best known header, its block connected or not.
    pub best_header: BlockId,
    /// The first hash of the locator whose block needs no pushing.
    pub common: Option<BlockId>,
    /// Bytes the queue still takes.
    pub free_bytes: u64,
    /// Blocks the queue still takes.
    pub free_blocks: u32,
    /// Candid bytes of one `push_blocks` argument, at most.
    pub max_message_bytes: u32,
    /// Parts of one `push_blocks` argument, at most.
    pub max_parts: u32,
    /// Bytes of one block, at most.
    pub max_block_bytes: u32,
    /// Blocks of which this caller has pushed a beginning.
    pub half_received: Vec<HalfReceived>,
    /// Blocks waiting to be connected.
    pub pending_blocks: u32,
    /// The last blocks that were refused, newest first, at most 16.
    pub recent_rejections: Vec<Rejection>,
}

/// Why a feeding call was refused as a whole. Nothing changes when one is.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "fields repeat the value at fault and the bound it broke"
)]
pub enum FeedError {
    /// A controller can add the caller with `set_config`.
    #[serde(rename = "not_an_adapter")]
    NotAnAdapter { caller: Principal },
    /// A controller has switched syncing off.
    #[serde(rename = "syncing_disabled")]
    SyncingDisabled,
    /// Push fewer parts per message.
    #[serde(rename = "too_many_parts")]
    TooManyParts { given: u32, max: u32 },
    /// Send a shorter locator.
    #[serde(rename = "locator_too_long")]
    LocatorTooLong { given: u32, max: u32 },
    /// A hash has 32 bytes.
    #[serde(rename = "malformed_hash")]
    MalformedHash {
        given_bytes: u32,
        expected_bytes: u32,
    },
    /// A defect or a limit inside the canister.
    #[serde(rename = "internal")]
    Internal(String),
}

/// Consecutive bytes of one serialised block.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct BlockPart {
    /// The block's hash.
    pub hash: ByteBuf,
    /// The whole block's size in bytes.
    pub size: u32,
    /// Where `bytes` begin.
    pub offset: u32,
    /// The bytes.
    pub bytes: ByteBuf,
}

/// Why one part was refused. The other parts of the message are not affected.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "fields repeat the value at fault and the bound it broke"
)]
pub enum PartError {
    /// A hash has 32 bytes.
    #[serde(rename = "malformed_hash")]
    MalformedHash {
        given_bytes: u32,
        expected_bytes: u32,
    },
    /// A part carries at least one byte.
    #[serde(rename = "empty_part")]
    EmptyPart,
    /// No block of this network is that large.
    #[serde(rename = "block_too_large")]
    BlockTooLarge { size: u32, max: u32 },
    /// No block is that small.
    #[serde(rename = "block_too_small")]
    BlockTooSmall { size: u32, min: u32 },
    /// The part reaches beyond the block's own size.
    #[serde(rename = "beyond_end")]
    BeyondEnd { offset: u32, length: u32, size: u32 },
    /// Continue at `expected`; what was received is kept.
    #[serde(rename = "unexpected_offset")]
    UnexpectedOffset { expected: u32, given: u32 },
    /// The block's size is not the one its first part named.
    #[serde(rename = "size_changed")]
    SizeChanged { first: u32, given: u32 },
    /// The first 80 bytes do not hash to `hash`.
    #[serde(rename = "header_hash_mismatch")]
    HeaderHashMismatch { computed: ByteBuf },
    /// The header's own proof of work does not hold on this network.
    #[serde(rename = "insufficient_work")]
    InsufficientWork { reason: String },
    /// The block was refused before: for good, or until the canister is upgraded.
    #[serde(rename = "invalid_block")]
    InvalidBlock {
        kind: Option<RejectionKind>,
        reason: String,
    },
}

/// What became of one part.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum PartOutcome {
    /// The block is complete and will be looked at by the next heartbeat.
    #[serde(rename = "queued")]
    Queued,
    /// More bytes are expected, from this offset on.
    #[serde(rename = "incomplete")]
    Incomplete {
        /// Bytes received so far.
        received: u32,
    },
    /// Nothing to do: queued, held, connected or stable already.
    #[serde(rename = "known")]
    Known,
    /// No room now: push it again later.
    #[serde(rename = "no_room")]
    NoRoom,
    /// The part was refused.
    #[serde(rename = "rejected")]
    Rejected(PartError),
}

/// The canister's receipt for a push.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct PushReceipt {
    /// One for each part, in order.
    pub outcomes: Vec<PartOutcome>,
    /// Bytes the queue still takes.
    pub free_bytes: u64,
    /// Blocks the queue still takes.
    pub free_blocks: u32,
    /// The best connected block.
    pub tip: BlockId,
}

/// What `feed_state` returns.
pub type FeedStateResult = Result<FeedState, FeedError>;
/// What `push_blocks` returns.
pub type PushBlocksResult = Result<PushReceipt, FeedError>;
