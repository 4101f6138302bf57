//! Computes a [`BlockDelta`] in steps of bounded work.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::{OutPoint, Transaction, Txid};

use super::{BlockDelta, Coin, CoinView, DeltaError, KeyedCoin};
use super::{is_unspendable, may_overwrite_unspent, needs_overwrite_check};
use crate::block::CheckedBlock;
use crate::network::Network;
use crate::units::Height;

/// A half-computed [`BlockDelta`].
///
/// It holds nothing that cannot be recomputed from the block and the parent's UTXO set: drop it
/// at any time and start again. The block at height 0 is treated like any other, so the genesis
/// coinbase counts, as in the official canister (Bitcoin Core leaves it out).
#[derive(Clone, Debug)]
pub struct DeltaBuilder {
    delta: BlockDelta,
    /// Coins made and spent in this block, to tell a double spend from a missing coin.
    passing: BTreeSet<OutPoint>,
    check_overwrite: bool,
    allow_overwrite: bool,
    next: Cursor,
}

/// The next input or output to look at: inputs of a transaction come first.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    transaction: usize,
    item: usize,
}

/// What a step of a [`DeltaBuilder`] led to.
#[derive(Debug)]
pub enum DeltaStep {
    /// The budget ran out; call again.
    More(DeltaBuilder),
    /// The block's whole change.
    Done(BlockDelta),
}

impl DeltaBuilder {
    /// Starts with a block that will be connected at `height`.
    pub fn new(block: &CheckedBlock, height: Height, network: Network) -> Self {
        Self {
            delta: BlockDelta {
                block: block.hash(),
                height,
                spends: BTreeMap::new(),
                puts: BTreeMap::new(),
            },
            passing: BTreeSet::new(),
            check_overwrite: needs_overwrite_check(network, height, block),
            allow_overwrite: may_overwrite_unspent(network, height),
            next: Cursor::default(),
        }
    }

    /// Looks at up to `budget` inputs and outputs (at least one, so that every call progresses).
    ///
    /// Each costs at most one look-up and one SHA-256 of a script.
    ///
    /// # Errors
    /// [`DeltaError`]; see [`DeltaError::condemns_block`].
    pub fn step<V: CoinView>(
        mut self,
        block: &CheckedBlock,
        coins: &V,
        budget: usize,
    ) -> Result<DeltaStep, DeltaError<V::Error>> {
        if block.hash() != self.delta.block {
            return Err(DeltaError::OtherBlock {
                expected: self.delta.block,
                got: block.hash(),
            });
        }
        let mut left = budget.max(1);
        while let Some((txid, transaction)) = block.transaction(self.next.transaction) {
            while self.next.item < transaction.input.len() + transaction.output.len() {
                if left == 0 {
                    return Ok(DeltaStep::More(self));
                }
                left -= 1;
                self.item(*txid, transaction, coins)?;
                self.next.item += 1;
            }
            self.next = Cursor {
                transaction: self.next.transaction + 1,
                item: 0,
            };
        }
        Ok(DeltaStep::Done(self.delta))
    }

    fn item<V: CoinView>(
        &mut self,
        txid: Txid,
        transaction: &Transaction,
        coins: &V,
    ) -> Result<(), DeltaError<V::Error>> {
        let item = self.next.item;
        if let Some(input) = transaction.input.get(item) {
            if transaction.is_coinbase() {
                return Ok(());
            }
            return self.spend(txid, input.previous_output, coins);
        }
        let index = item - transaction.input.len();
        let (Some(output), Ok(vout)) = (transaction.output.get(index), u32::try_from(index)) else {
            return Ok(());
        };
        if is_unspendable(&output.script_pubkey) {
            return Ok(());
        }
        let coin = Coin {
            value: output.value,
            script: output.script_pubkey.clone(),
            height: self.delta.height,
            coinbase: transaction.is_coinbase(),
        };
        self.put(OutPoint { txid, vout }, coin, coins)
    }

    fn spend<V: CoinView>(
        &mut self,
        txid: Txid,
        outpoint: OutPoint,
        coins: &V,
    ) -> Result<(), DeltaError<V::Error>> {
        if self.delta.puts.remove(&outpoint).is_some() {
            self.passing.insert(outpoint);
            return Ok(());
        }
        if self.passing.contains(&outpoint) || self.delta.spends.contains_key(&outpoint) {
            return Err(DeltaError::DoubleSpend { txid, outpoint });
        }
        let coin = coins
            .coin(&outpoint)
            .map_err(DeltaError::View)?
            .ok_or(DeltaError::MissingCoin { txid, outpoint })?;
        self.delta.spends.insert(outpoint, KeyedCoin::from(coin));
        Ok(())
    }

    fn put<V: CoinView>(
        &mut self,
        outpoint: OutPoint,
        coin: Coin,
        coins: &V,
    ) -> Result<(), DeltaError<V::Error>> {
        if self.check_overwrite {
            let replaced = coins.coin(&outpoint).map_err(DeltaError::View)?;
            if let Some(replaced) = replaced {
                if !(self.allow_overwrite && coin.coinbase) {
                    return Err(DeltaError::OverwritesUnspent { outpoint });
                }
                self.delta
                    .spends
                    .insert(outpoint, KeyedCoin::from(replaced));
            }
        }
        self.delta.puts.insert(outpoint, KeyedCoin::from(coin));
        Ok(())
    }
}
