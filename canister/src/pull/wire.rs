//! Candid types of `bitcoin_get_successors`, as the management canister and its stand-ins speak it.

use candid::CandidType;
use millrace_candid::Network;
use serde::Deserialize;
use serde_bytes::ByteBuf;

/// The question.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum GetSuccessorsRequest {
    /// What follows the blocks held.
    #[serde(rename = "initial")]
    Initial(GetSuccessorsInitial),
    /// A further page of a large block.
    #[serde(rename = "follow_up")]
    FollowUp(u8),
}

/// What the asker holds.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct GetSuccessorsInitial {
    /// The network.
    pub network: Network,
    /// Hash of the root of the unstable tree.
    pub anchor: ByteBuf,
    /// Hashes of the blocks above it that need not be sent, depth first.
    pub processed_block_hashes: Vec<ByteBuf>,
}

/// The answer.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum GetSuccessorsResponse {
    /// Whole blocks.
    #[serde(rename = "complete")]
    Complete(GetSuccessorsComplete),
    /// The beginning of a large block.
    #[serde(rename = "partial")]
    Partial(GetSuccessorsPartial),
    /// A further page.
    #[serde(rename = "follow_up")]
    FollowUp(ByteBuf),
}

/// Whole blocks.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct GetSuccessorsComplete {
    /// Serialised blocks, parents first.
    pub blocks: Vec<ByteBuf>,
    /// Serialised headers of blocks to come.
    pub next: Vec<ByteBuf>,
}

/// The beginning of a large block.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct GetSuccessorsPartial {
    /// Its first bytes.
    pub partial_block: ByteBuf,
    /// Serialised headers of blocks to come.
    pub next: Vec<ByteBuf>,
    /// Pages that follow.
    pub remaining_follow_ups: u8,
}
