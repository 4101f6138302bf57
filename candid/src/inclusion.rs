//! Proofs that a transaction is in a block.

use candid::CandidType;
use serde::Deserialize;
use serde_bytes::ByteBuf;

use crate::{BlockId, ReadError};

/// How the transaction is shown to be under the block's merkle root.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum InclusionProof {
    /// What Bitcoin Core's `gettxoutproof` gives, as bytes (BIP37); at most 600,000.
    #[serde(rename = "merkle_block")]
    MerkleBlock(ByteBuf),
    /// The hashes beside the way from the transaction to the root.
    #[serde(rename = "branch")]
    Branch {
        /// The block's hash.
        block: ByteBuf,
        /// The transaction's place in the block; the coinbase has 0.
        position: u32,
        /// 32 bytes each in internal order, the transaction's neighbour first; at most 15.
        siblings: Vec<ByteBuf>,
    },
}

/// Argument of `verify_tx_inclusion`.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct VerifyTxInclusionArgs {
    /// The transaction's id.
    pub txid: ByteBuf,
    /// The proof.
    pub proof: InclusionProof,
    /// Count confirmations on the chain that ends here instead of at the best tip.
    pub at_tip: Option<ByteBuf>,
}

/// Where a transaction was shown to be.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ProvenInclusion {
    /// The block.
    pub block: BlockId,
    /// The transaction's place in it; the coinbase has 0.
    pub position: u32,
    /// 1 when the block is the tip; 0 when it is not on the chain read, or not connected yet.
    pub confirmations: u32,
    /// Number of the block's transactions, known once the block was connected: the proof then has the
    /// one shape it can have. Absent while only the header is known; `confirmations` is 0 then, and a
    /// proof that ends above or below the transactions may pass.
    pub transactions: Option<u32>,
    /// The tip of the chain read.
    pub tip: BlockId,
}

/// What `verify_tx_inclusion` returns.
pub type VerifyTxInclusionResult = Result<ProvenInclusion, ReadError>;
