//! Decides whether a block may change the UTXO set as it does: every consensus rule that takes
//! no script execution.
//!
//! | rule | where |
//! |---|---|
//! | outputs exist, no input is null; amounts within 21 million bitcoin; script lengths | [`crate::scan`] counts and sums, `rules` judges |
//! | one coinbase, and first; BIP34's height | `rules` |
//! | lock-times (BIP113) and relative lock-times (BIP68) | `rules`, `sequence` |
//! | maturity of coinbases, inputs cover outputs, subsidy and fees cover the coinbase | `rules` |
//! | witness commitment (BIP141) | `rules` |
//! | signature operations, 80,000 (BIP141) | [`crate::scan`] counts, `rules` judges |
//! | version (BIP34, BIP66, BIP65) | `rules` |
//! | weight (BIP141) | `rules`, for every block; final once the commitment holds |
//! | size without witness data, merkle root, unique transactions | [`crate::scan`], for every block |
//! | coins exist, are spent once and replaced never (BIP30) | [`crate::connect`], for every block |
//!
//! What is left out is what scripts decide: signatures, `OP_CHECKLOCKTIMEVERIFY`,
//! `OP_CHECKSEQUENCEVERIFY`, and signet's block signature.
//!
//! Old blocks may come without witness data to save half the bytes. Their ids and so their
//! merkle root are the same, but nobody can compare the witness commitment: see [`WitnessData`].

mod error;
pub(crate) mod rules;
mod sequence;

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use crate::network::Network;
use crate::units::Height;

pub use error::{ConnectError, ConsensusError};
pub use rules::{
    COINBASE_MATURITY, MAX_BLOCK_SIGOP_COST, MAX_COINBASE_SCRIPT_BYTES, MIN_COINBASE_SCRIPT_BYTES,
};

/// How much of a block is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockValidation {
    /// What the official canister checks: proof of work, header rules, merkle root, a first
    /// transaction that is a coinbase, unique transactions; and that every spent coin exists.
    ///
    /// Further coinbases and created value pass: test sources make such blocks.
    ProofOfWork,
    /// All of that and every rule in the table of [`crate::consensus`].
    Consensus,
}

impl BlockValidation {
    /// Returns what a canister checks on `network` unless it is told otherwise.
    pub const fn default_of(network: Network) -> Self {
        match network {
            Network::Regtest => Self::ProofOfWork,
            _ => Self::Consensus,
        }
    }
}

/// Where a block goes, as far as its rules depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockPlace {
    /// The chain's network.
    pub network: Network,
    /// The block's height.
    pub height: Height,
    /// Median time past of the block's parent, in seconds since 1970 (BIP113).
    pub median_time_past: u32,
}

/// The chain that ends with a block's parent, for locks that count from a coin's time (BIP68).
pub trait MedianTimes {
    /// Why a look-up can fail, such as damaged storage.
    type Error;

    /// Returns the median time past of the block at `height` of this chain, or `None` when it is
    /// not known. Asked only for coins that an input spends under a lock in time.
    ///
    /// # Errors
    /// `Self::Error` when headers cannot be read; an unknown height is no error.
    fn median_time_past(&self, height: Height) -> Result<Option<u32>, Self::Error>;
}

/// Whether a block came with its witness data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WitnessData {
    /// All of it, as far as the block has any.
    Complete,
    /// None, though the block commits to some. The commitment cannot be compared, P2WSH scripts
    /// cannot be counted, and virtual sizes are those of the stripped transactions.
    Stripped,
}

/// A text that names no [`BlockValidation`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown block validation {0:?}, use \"proof_of_work\" or \"consensus\"")]
pub struct UnknownValidation(String);

impl FromStr for BlockValidation {
    type Err = UnknownValidation;

    fn from_str(text: &str) -> Result<Self, UnknownValidation> {
        match text {
            "proof_of_work" => Ok(Self::ProofOfWork),
            "consensus" => Ok(Self::Consensus),
            other => Err(UnknownValidation(other.chars().take(40).collect())),
        }
    }
}

impl fmt::Display for BlockValidation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ProofOfWork => "proof_of_work",
            Self::Consensus => "consensus",
        })
    }
}
