//! Reads of many owners or outpoints at one tip.

use candid::CandidType;
use serde::Deserialize;
use serde_bytes::ByteBuf;

use crate::{BlockId, OutPoint, Owner, ReadError};

/// Argument of `get_balances`.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct GetBalancesArgs {
    /// Whose coins; at most 100.
    pub owners: Vec<Owner>,
    /// Only coins with at least this many confirmations count.
    pub min_confirmations: Option<u32>,
    /// Read the chain that ends here instead of at the best tip.
    pub at_tip: Option<ByteBuf>,
}

/// What one owner holds.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct OwnerBalance {
    /// Sum of the coins in satoshi.
    pub balance: u64,
    /// How many coins.
    pub utxo_count: u64,
}

/// Balances at one tip.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Balances {
    /// One for each owner, in order.
    pub balances: Vec<OwnerBalance>,
    /// The last block considered.
    pub tip: BlockId,
}

/// Argument of `get_outpoints`.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct GetOutpointsArgs {
    /// Which outputs; at most 100.
    pub outpoints: Vec<OutPoint>,
    /// Read the chain that ends here instead of at the best tip.
    pub at_tip: Option<ByteBuf>,
}

/// An output that is unspent.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct UnspentOutput {
    /// Its value in satoshi.
    pub value: u64,
    /// The script that must be satisfied to spend it.
    pub script: ByteBuf,
    /// Height of the block that made it.
    pub height: u32,
    /// 1 when the tip made it.
    pub confirmations: u32,
    /// Whether a coinbase transaction made it.
    pub coinbase: bool,
}

/// Outputs at one tip.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Outpoints {
    /// One for each outpoint, in order; absent for one that is spent, cannot be spent or never was.
    pub outputs: Vec<Option<UnspentOutput>>,
    /// The last block considered.
    pub tip: BlockId,
}

/// What `get_balances` returns.
pub type GetBalancesResult = Result<Balances, ReadError>;
/// What `get_outpoints` returns.
pub type GetOutpointsResult = Result<Outpoints, ReadError>;
