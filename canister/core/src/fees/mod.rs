//! What recent transactions paid: percentiles over the last 10,000 of the best chain.
//!
//! A block's rates are computed once, when it is connected, and kept as [`BlockFees`]; a
//! [`FeeWindow`] is filled from them newest block first.

#[cfg(test)]
mod tests;

use bitcoin::Amount;

use crate::bytes::Reader;
use crate::header::RecordError;
use crate::units::FeeRate;

/// Transactions that percentiles are taken over, coinbases not counted.
pub const FEE_WINDOW_TRANSACTIONS: usize = 10_000;

/// Numbers in a list of percentiles: from the 0th to the 100th.
pub const PERCENTILES: usize = 101;

/// Satoshi are counted in thousandths.
const MILLI: u128 = 1000;

/// Size of an encoded [`FeeRate`].
const RATE_BYTES: usize = 8;

/// What a transaction pays and how much room it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionFee {
    /// Inputs less outputs; zero for a transaction that creates value.
    pub fee: Amount,
    /// Virtual size (BIP141): a quarter of the weight, rounded up.
    ///
    /// Exact when the block came with its witness data. For a block without
    /// ([`crate::consensus::WitnessData::Stripped`]) it is the size of the stripped transaction,
    /// so rates of segwit transactions come out too high; the official canister, whose blocks
    /// come without, answers the same.
    pub virtual_bytes: u64,
}

impl TransactionFee {
    /// Returns the rate, rounded down; `None` for a transaction without size.
    pub fn rate(&self) -> Option<FeeRate> {
        let milli_satoshi = u128::from(self.fee.to_sat()) * MILLI;
        let rate = milli_satoshi.checked_div(u128::from(self.virtual_bytes))?;
        Some(FeeRate::new(u64::try_from(rate).unwrap_or(u64::MAX)))
    }
}

/// The rates of one block's transactions in block order, coinbases left out.
///
/// At most [`FEE_WINDOW_TRANSACTIONS`]: later ones of a larger block are never looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockFees {
    rates: Vec<FeeRate>,
}

impl BlockFees {
    /// Takes the next transaction of the block.
    pub fn push(&mut self, fee: TransactionFee) {
        if self.rates.len() < FEE_WINDOW_TRANSACTIONS {
            self.rates.extend(fee.rate());
        }
    }

    /// Returns the rates.
    pub fn rates(&self) -> &[FeeRate] {
        &self.rates
    }

    /// Returns the stable form: each rate as u64 LE, in block order.
    pub fn encode(&self) -> Vec<u8> {
        let rates = self.rates.iter();
        rates.flat_map(|rate| rate.get().to_le_bytes()).collect()
    }

    /// Reads the stable form.
    ///
    /// # Errors
    /// [`RecordError::Length`] when the length is none that `encode` writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let whole = bytes.len() - bytes.len() % RATE_BYTES;
        let expected = whole.min(FEE_WINDOW_TRANSACTIONS * RATE_BYTES);
        if bytes.len() != expected {
            return Err(RecordError::Length {
                got: bytes.len(),
                expected,
            });
        }
        let mut reader = Reader::new(bytes);
        let rates = std::iter::from_fn(|| reader.u64().map(FeeRate::new)).collect();
        Ok(Self { rates })
    }
}

/// The rates of the latest transactions, being collected.
///
/// Holds at most [`FEE_WINDOW_TRANSACTIONS`] numbers. Collecting may stop after any block and go
/// on later; a new best tip needs a new window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeeWindow {
    rates: Vec<FeeRate>,
}

impl FeeWindow {
    /// Returns whether older blocks would change nothing.
    pub fn is_full(&self) -> bool {
        self.rates.len() >= FEE_WINDOW_TRANSACTIONS
    }

    /// Takes the next older block, the best tip being the first. Where the window ends inside a
    /// block, that block's first transactions count, as in the official canister.
    pub fn push_block(&mut self, block: &BlockFees) {
        let left = FEE_WINDOW_TRANSACTIONS.saturating_sub(self.rates.len());
        self.rates.extend(block.rates.iter().take(left));
    }

    /// Returns [`PERCENTILES`] rates, or none when the window has no transactions.
    ///
    /// The `p`-th percentile is the `⌈p · n / 100⌉`-th smallest of `n` rates (nearest rank), the
    /// 0th the smallest. Costs one sort.
    ///
    /// The official canister answers with its last result when its unstable blocks hold no
    /// transactions any more; that memory is the caller's.
    pub fn percentiles(mut self) -> Vec<FeeRate> {
        self.rates.sort_unstable();
        let count = self.rates.len();
        (0..PERCENTILES)
            .filter_map(|percentile| {
                let rank = (percentile * count).div_ceil(PERCENTILES - 1);
                self.rates.get(rank.saturating_sub(1)).copied()
            })
            .collect()
    }
}
