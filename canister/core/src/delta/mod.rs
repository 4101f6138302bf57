//! Coins: what outputs become, how they are looked up, and why they cannot be spent.

mod rules;

#[cfg(test)]
mod tests;

use bitcoin::{Amount, OutPoint, ScriptBuf, Txid};

use crate::scan::Lock;
use crate::script::{ScriptHash, ScriptKey};
use crate::units::Height;

pub use rules::{MAX_SCRIPT_BYTES, is_unspendable, may_overwrite_unspent};

/// An unspent transaction output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coin {
    /// Its amount. Under proof-of-work validation any 64-bit value can appear.
    pub value: Amount,
    /// The script that must be satisfied to spend it; at most [`MAX_SCRIPT_BYTES`] long.
    pub script: ScriptBuf,
    /// Height of the block that made it.
    pub height: Height,
    /// Whether a coinbase transaction made it.
    pub coinbase: bool,
}

/// The UTXO set as it stands after a block's parent.
pub trait CoinView {
    /// Why a look-up can fail, such as damaged storage.
    type Error;

    /// Returns the unspent coin at `outpoint`, or `None` when there is none.
    ///
    /// # Errors
    /// `Self::Error` when the set cannot be read; an unknown outpoint is no error.
    fn coin(&self, outpoint: &OutPoint) -> Result<Option<Coin>, Self::Error>;
}

/// What a block's rules and its change need to know of a coin that the block spends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PriorCoin {
    /// Its amount in satoshi.
    pub satoshi: u64,
    /// Height of the block that made it.
    pub height: Height,
    /// Whether a coinbase transaction made it.
    pub coinbase: bool,
    /// What kind its script is, as far as spending it counts signature operations.
    pub lock: Lock,
    /// Names its script.
    pub script: ScriptKey,
}

impl From<&Coin> for PriorCoin {
    fn from(coin: &Coin) -> Self {
        Self {
            satoshi: coin.value.to_sat(),
            height: coin.height,
            coinbase: coin.coinbase,
            lock: Lock::of(coin.script.as_bytes()),
            script: ScriptKey::from(&ScriptHash::of(&coin.script)),
        }
    }
}

/// The coins that a block may spend, as they stand after its parent.
pub trait PriorCoins {
    /// Why a look-up can fail, such as damaged storage.
    type Error;

    /// Returns what is to be known of the unspent coin at `outpoint`, or `None` when there is none.
    /// Outpoints that are asked for in ascending order may cost less.
    ///
    /// # Errors
    /// `Self::Error` when the set cannot be read; an unknown outpoint is no error.
    fn prior(&self, outpoint: &OutPoint) -> Result<Option<PriorCoin>, Self::Error>;
}

impl<V: CoinView> PriorCoins for V {
    type Error = V::Error;

    fn prior(&self, outpoint: &OutPoint) -> Result<Option<PriorCoin>, Self::Error> {
        Ok(self.coin(outpoint)?.as_ref().map(PriorCoin::from))
    }
}

/// Why a block's change cannot be computed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeltaError<E> {
    /// An input names no unspent coin.
    #[error("transaction {txid} spends {outpoint}, which does not exist or is spent")]
    MissingCoin {
        /// The spending transaction.
        txid: Txid,
        /// The outpoint without a coin.
        outpoint: OutPoint,
    },
    /// Two inputs of the block name the same coin.
    #[error("transaction {txid} spends {outpoint}, which is already spent in this block")]
    DoubleSpend {
        /// The second spending transaction.
        txid: Txid,
        /// The coin spent twice.
        outpoint: OutPoint,
    },
    /// A transaction repeats an earlier one whose output is still unspent (BIP30).
    #[error("output {outpoint} would replace an unspent coin of the same name")]
    OverwritesUnspent {
        /// The repeated outpoint.
        outpoint: OutPoint,
    },
    /// The UTXO set could not be read.
    #[error("coin look-up failed: {0}")]
    View(E),
}

impl<E> DeltaError<E> {
    /// Returns whether the block itself breaks a rule, so that its hash may be remembered as
    /// invalid. The others are faults of the caller or of storage.
    pub const fn condemns_block(&self) -> bool {
        matches!(
            self,
            Self::MissingCoin { .. } | Self::DoubleSpend { .. } | Self::OverwritesUnspent { .. }
        )
    }
}
