//! What one block changes in the UTXO set: coins spent, coins put, balances moved.

mod builder;
mod rules;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bitcoin::{Amount, BlockHash, OutPoint, ScriptBuf, Txid};

use crate::script::ScriptHash;
use crate::units::Height;

pub(crate) use builder::Watch;
pub use builder::{BYTES_PER_ITEM, DeltaBuilder, DeltaStep};
pub(crate) use rules::commits_to;
pub use rules::{MAX_SCRIPT_BYTES, is_unspendable, may_overwrite_unspent, needs_overwrite_check};

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

/// A coin with the key of its script, hashed once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedCoin {
    /// The coin.
    pub coin: Coin,
    /// SHA-256 of the coin's script.
    pub script_hash: ScriptHash,
}

impl From<Coin> for KeyedCoin {
    fn from(coin: Coin) -> Self {
        let script_hash = ScriptHash::of(&coin.script);
        Self { coin, script_hash }
    }
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

/// The change one block makes, relative to its parent's UTXO set.
///
/// Coins made and spent inside the block appear nowhere. Apply `spends` before `puts`: in the two
/// BIP30 blocks one outpoint is in both, because the new coin replaces an unspent older one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockDelta {
    /// The block.
    pub block: BlockHash,
    /// Its height.
    pub height: Height,
    /// Coins of earlier blocks that are gone, as they were.
    pub spends: BTreeMap<OutPoint, KeyedCoin>,
    /// Coins that are new.
    pub puts: BTreeMap<OutPoint, KeyedCoin>,
}

/// One coin in a script's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScriptEntry {
    /// Height of the block that made the coin.
    pub height: Height,
    /// Where the coin is.
    pub outpoint: OutPoint,
    /// Its amount.
    pub value: Amount,
}

/// What a block changes for one script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScriptDelta {
    /// Coins gone, in outpoint order.
    pub spends: Vec<ScriptEntry>,
    /// Coins new, in outpoint order.
    pub puts: Vec<ScriptEntry>,
    /// Change of the script's balance in satoshi. Wider than any single amount because nothing
    /// bounds the sum of created values under proof-of-work validation.
    pub balance_satoshi: i128,
}

impl BlockDelta {
    /// Groups the change by script: O(n log n) in coins, no hashing.
    pub fn scripts(&self) -> BTreeMap<ScriptHash, ScriptDelta> {
        let mut scripts: BTreeMap<ScriptHash, ScriptDelta> = BTreeMap::new();
        for (outpoint, keyed) in &self.spends {
            let delta = scripts.entry(keyed.script_hash).or_default();
            delta.balance_satoshi -= i128::from(keyed.coin.value.to_sat());
            delta.spends.push(ScriptEntry::new(outpoint, &keyed.coin));
        }
        for (outpoint, keyed) in &self.puts {
            let delta = scripts.entry(keyed.script_hash).or_default();
            delta.balance_satoshi += i128::from(keyed.coin.value.to_sat());
            delta.puts.push(ScriptEntry::new(outpoint, &keyed.coin));
        }
        scripts
    }
}

impl ScriptEntry {
    fn new(outpoint: &OutPoint, coin: &Coin) -> Self {
        Self {
            height: coin.height,
            outpoint: *outpoint,
            value: coin.value,
        }
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
    /// A resumed computation was given another block than the one it started with.
    #[error("computation of block {expected} was resumed with block {got}")]
    OtherBlock {
        /// The block it started with.
        expected: BlockHash,
        /// The block it was given.
        got: BlockHash,
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
