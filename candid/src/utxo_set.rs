//! `get_utxo_set_info`: what Bitcoin Core's `gettxoutsetinfo muhash` says of the stable set.

use candid::{CandidType, Nat};
use serde::Deserialize;

use crate::{BlockId, ReadError};

/// Argument of `get_utxo_set_info`.
#[derive(CandidType, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct GetUtxoSetInfoArgs {
    /// The set after the stable block at this height; after the newest one when absent.
    pub height: Option<u32>,
}

/// The set of all coins after a stable block, counted as Bitcoin Core counts them.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct UtxoSetInfo {
    /// The block.
    pub block: BlockId,
    /// Number of coins.
    pub outputs: u64,
    /// Sum of their amounts in satoshi.
    pub total_amount: Nat,
    /// Core's measure of size that depends on no database: 50 bytes for each coin, and its script.
    pub bogosize: u64,
    /// MuHash3072 as Bitcoin Core prints it: 64 hexadecimal digits.
    pub muhash: String,
}

/// How far the commitment to the stable set is.
#[derive(CandidType, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum UtxoSetCommitment {
    /// `utxo_set_commitment` is disabled, or was given up until the next upgrade.
    #[serde(rename = "off")]
    Off,
    /// It has so many coins of the stable set's.
    #[serde(rename = "catching_up")]
    CatchingUp {
        /// Coins that it has.
        coins: u64,
        /// Coins of the stable set.
        of: u64,
    },
    /// `get_utxo_set_info` answers for every height in this range.
    #[serde(rename = "complete")]
    Complete {
        /// The lowest height.
        min_height: u32,
        /// The newest stable block's height.
        max_height: u32,
    },
}

/// What `get_utxo_set_info` returns.
pub type GetUtxoSetInfoResult = Result<UtxoSetInfo, ReadError>;
