//! Decides whether a block may change the UTXO set as it does: every consensus rule that takes
//! no script execution.
//!
//! | rule | where |
//! |---|---|
//! | one coinbase, and first; its script's length; BIP34's height | `rules`, `transaction` |
//! | inputs and outputs exist, none twice, none null; amounts within 21 million bitcoin | `transaction` |
//! | lock-times (BIP113) and relative lock-times (BIP68) | `transaction`, `sequence` |
//! | maturity of coinbases, inputs cover outputs, subsidy and fees cover the coinbase | `rules` |
//! | witness commitment (BIP141) | `witness` |
//! | signature operations, 80,000 (BIP141) | `sigops` |
//! | weight, merkle root, unique transactions | [`crate::block`], for every block |
//! | coins exist, are spent once and replaced never (BIP30) | [`crate::delta`], for every block |
//!
//! What is left out is what scripts decide: signatures, `OP_CHECKLOCKTIMEVERIFY`,
//! `OP_CHECKSEQUENCEVERIFY`, and signet's block signature.
//!
//! Old blocks may come without witness data to save half the bytes. Their ids and so their
//! merkle root are the same, but nobody can compare the witness commitment: see [`WitnessData`].

mod connector;
mod error;
mod rules;
pub(crate) mod sequence;
mod sigops;
mod transaction;
mod witness;

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use crate::network::Network;

pub use connector::{BlockConnector, BlockPlace, ConnectStep, ConnectedBlock, MedianTimes};
pub use error::{ConnectError, ConsensusError};
pub use rules::{COINBASE_MATURITY, MAX_BLOCK_SIGOP_COST};
pub use transaction::{MAX_COINBASE_SCRIPT_BYTES, MIN_COINBASE_SCRIPT_BYTES, check_transaction};
pub use witness::WitnessData;

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
