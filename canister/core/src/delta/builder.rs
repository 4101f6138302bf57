//! Computes a [`BlockDelta`] in steps of bounded work.

use std::borrow::Cow;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use bitcoin::{OutPoint, Transaction, TxIn, Txid};

use super::{BlockDelta, Coin, CoinView, DeltaError, KeyedCoin};
use super::{is_unspendable, may_overwrite_unspent, needs_overwrite_check};
use crate::block::CheckedBlock;
use crate::network::Network;
use crate::units::Height;

/// Bytes of a transaction that count as one input or output: hashing them costs about as much as
/// looking up a coin.
pub const BYTES_PER_ITEM: usize = 2_000;

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

/// Sees the transactions a [`DeltaBuilder`] passes, in block order, each once however often the
/// computation pauses. Its errors end the computation.
pub(crate) trait Watch<E> {
    /// Why the watcher ends the computation.
    type Error: From<DeltaError<E>>;

    /// Is told of a transaction before its first input.
    fn begin(
        &mut self,
        index: usize,
        txid: Txid,
        transaction: &Transaction,
    ) -> Result<(), Self::Error>;

    /// Is told of the coin an input spends; never for a coinbase.
    fn spend(
        &mut self,
        txid: Txid,
        transaction: &Transaction,
        input: &TxIn,
        coin: &Coin,
    ) -> Result<(), Self::Error>;

    /// Is told of a transaction after its last output.
    fn end(&mut self, txid: Txid, transaction: &Transaction) -> Result<(), Self::Error>;
}

/// Watches nothing.
struct Unwatched;

impl<E> Watch<E> for Unwatched {
    type Error = DeltaError<E>;

    fn begin(&mut self, _: usize, _: Txid, _: &Transaction) -> Result<(), Self::Error> {
        Ok(())
    }

    fn spend(&mut self, _: Txid, _: &Transaction, _: &TxIn, _: &Coin) -> Result<(), Self::Error> {
        Ok(())
    }

    fn end(&mut self, _: Txid, _: &Transaction) -> Result<(), Self::Error> {
        Ok(())
    }
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

    /// Looks at up to `budget` inputs and outputs (at least one, so that every call progresses). A
    /// transaction counts as one more, and one for each [`BYTES_PER_ITEM`] of it.
    ///
    /// Each costs at most one look-up and one SHA-256 of a script.
    ///
    /// # Errors
    /// [`DeltaError`]; see [`DeltaError::condemns_block`].
    pub fn step<V: CoinView>(
        self,
        block: &CheckedBlock,
        coins: &V,
        budget: usize,
    ) -> Result<DeltaStep, DeltaError<V::Error>> {
        self.watched_step(block, coins, budget, &mut Unwatched)
    }

    /// Does the same as [`Self::step`] and tells `watch` about each transaction and each coin it
    /// spends, so that whoever needs them causes no second look-up.
    pub(crate) fn watched_step<V: CoinView, W: Watch<V::Error>>(
        mut self,
        block: &CheckedBlock,
        coins: &V,
        budget: usize,
        watch: &mut W,
    ) -> Result<DeltaStep, W::Error> {
        if block.hash() != self.delta.block {
            return Err(W::Error::from(DeltaError::OtherBlock {
                expected: self.delta.block,
                got: block.hash(),
            }));
        }
        let mut left = budget.max(1);
        while let Some((txid, transaction)) = block.transaction(self.next.transaction) {
            if self.next.item == 0 {
                if left == 0 {
                    return Ok(DeltaStep::More(self));
                }
                watch.begin(self.next.transaction, *txid, transaction)?;
            }
            while self.next.item < transaction.input.len() + transaction.output.len() {
                if left == 0 {
                    return Ok(DeltaStep::More(self));
                }
                left -= 1;
                self.item(*txid, transaction, coins, watch)?;
                self.next.item += 1;
            }
            watch.end(*txid, transaction)?;
            // Paid afterwards: a pause between `begin` and the first item would repeat `begin`.
            left = left.saturating_sub(1 + transaction.total_size() / BYTES_PER_ITEM);
            self.next = Cursor {
                transaction: self.next.transaction + 1,
                item: 0,
            };
        }
        Ok(DeltaStep::Done(self.delta))
    }

    fn item<V: CoinView, W: Watch<V::Error>>(
        &mut self,
        txid: Txid,
        transaction: &Transaction,
        coins: &V,
        watch: &mut W,
    ) -> Result<(), W::Error> {
        let item = self.next.item;
        if let Some(input) = transaction.input.get(item) {
            if transaction.is_coinbase() {
                return Ok(());
            }
            let coin = self.spend(txid, input.previous_output, coins)?;
            return watch.spend(txid, transaction, input, &coin);
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
        self.put(OutPoint { txid, vout }, coin, coins)?;
        Ok(())
    }

    /// Returns the spent coin.
    fn spend<V: CoinView>(
        &mut self,
        txid: Txid,
        outpoint: OutPoint,
        coins: &V,
    ) -> Result<Cow<'_, Coin>, DeltaError<V::Error>> {
        if let Some(made) = self.delta.puts.remove(&outpoint) {
            self.passing.insert(outpoint);
            return Ok(Cow::Owned(made.coin));
        }
        if self.passing.contains(&outpoint) {
            return Err(DeltaError::DoubleSpend { txid, outpoint });
        }
        match self.delta.spends.entry(outpoint) {
            Entry::Occupied(_) => Err(DeltaError::DoubleSpend { txid, outpoint }),
            Entry::Vacant(vacant) => {
                let coin = coins
                    .coin(&outpoint)
                    .map_err(DeltaError::View)?
                    .ok_or(DeltaError::MissingCoin { txid, outpoint })?;
                Ok(Cow::Borrowed(&vacant.insert(KeyedCoin::from(coin)).coin))
            }
        }
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
