//! The Candid types of `source.did`.

use candid::{CandidType, Reserved};
use serde::Deserialize;
use serde_bytes::ByteBuf;

/// The question.
#[derive(CandidType, Deserialize, Clone, Debug)]
pub enum GetSuccessorsRequest {
    /// What follows the blocks the asker has.
    #[serde(rename = "initial")]
    Initial(Initial),
    /// A further page of a large block, from 0.
    #[serde(rename = "follow_up")]
    FollowUp(u8),
}

/// What the asker has.
#[derive(CandidType, Deserialize, Clone, Debug)]
pub struct Initial {
    /// Any network: only loaded blocks are served.
    pub network: Reserved,
    /// The root of the asker's unstable tree.
    pub anchor: ByteBuf,
    /// The blocks above it that it needs no more.
    pub processed_block_hashes: Vec<ByteBuf>,
}

/// The answer.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum GetSuccessorsResponse {
    /// Whole blocks.
    #[serde(rename = "complete")]
    Complete {
        /// Serialised blocks, parents first.
        blocks: Vec<ByteBuf>,
        /// Headers of blocks to come.
        next: Vec<ByteBuf>,
    },
    /// The beginning of a large block.
    #[serde(rename = "partial")]
    Partial {
        /// The first page.
        partial_block: ByteBuf,
        /// Headers of blocks to come.
        next: Vec<ByteBuf>,
        /// Pages that follow.
        remaining_follow_ups: u8,
    },
    /// A further page.
    #[serde(rename = "follow_up")]
    FollowUp(ByteBuf),
}

/// What a call gets instead of an answer.
#[derive(CandidType, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A reply without blocks.
    #[serde(rename = "empty")]
    Empty,
    /// A well-formed reply of the wrong bytes.
    #[serde(rename = "garbage_blocks")]
    GarbageBlocks,
    /// A reply that is not Candid.
    #[serde(rename = "garbage_reply")]
    GarbageReply,
    /// A rejection.
    #[serde(rename = "reject")]
    Reject,
    /// A page of a block nobody asked for.
    #[serde(rename = "unasked_page")]
    UnaskedPage,
}

/// How to answer.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// A block larger than this comes in pages of this size.
    pub page_bytes: u32,
    /// Blocks of one reply together, in bytes; the first always comes.
    pub reply_bytes: u32,
    /// Blocks of one reply.
    pub reply_blocks: u32,
    /// Rounds each reply is held back for at least.
    pub delay_rounds: u32,
    /// What the next calls get instead of an answer.
    pub fault: Option<Fault>,
    /// How many calls get it.
    pub fault_calls: u32,
}

impl Default for Options {
    /// The bounds of the IC's own integration.
    fn default() -> Self {
        Self {
            page_bytes: 2_000_000,
            reply_bytes: 1_992_000,
            reply_blocks: 100,
            delay_rounds: 0,
            fault: None,
            fault_calls: 0,
        }
    }
}

/// How often it was asked.
#[derive(CandidType, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// Initial requests.
    pub initial: u64,
    /// Requests for further pages.
    pub follow_up: u64,
    /// Calls under way at once, at most.
    pub at_once_max: u32,
}

/// A network by the official names.
#[derive(CandidType, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Bitcoin's main network.
    #[serde(rename = "mainnet")]
    Mainnet,
    /// Testnet4.
    #[serde(rename = "testnet")]
    Testnet,
    /// A local regression-test network.
    #[serde(rename = "regtest")]
    Regtest,
}

/// A transaction handed over for Bitcoin's network.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct SentTransaction {
    /// The network it is for.
    pub network: Network,
    /// Its bytes.
    pub transaction: ByteBuf,
}
