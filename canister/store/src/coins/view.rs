//! Reads the UTXO set as it stands at a tip.

use bitcoin::{BlockHash, OutPoint};
use ic_stable_structures::Memory;
use millrace_core::Height;
use millrace_core::delta::{Coin, CoinView};
use millrace_core::script::ScriptHash;

use super::index::Walk;
use super::sweep::{StablePage, page_of};
use super::{Coins, ListedCoin};
use crate::StoreError;
use crate::runs::change::ChangeRuns;
use crate::runs::key::{OutpointKey, Place, ScriptKey};
use crate::runs::read::{self, Listed, ScriptList};

/// Spent coins that one page passes over, at most: at some thousand instructions each, a small
/// part of what the Internet Computer lets a query spend.
pub const MAX_SPENT_PASSED: usize = 10_000;

/// Some of a script's coins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoinPage {
    /// Coins in list order.
    pub coins: Vec<ListedCoin>,
    /// Where the list goes on; `None` after the last coin.
    pub next: Option<(Height, OutPoint)>,
}

/// What a script holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// Sum of its coins. Wider than any amount: nothing bounds created values under proof-of-work
    /// validation.
    pub satoshi: i128,
    /// Number of its coins.
    pub coins: i64,
}

/// The UTXO set at one tip.
pub struct View<'a, M: Memory> {
    region: &'a M,
    walk: Walk<'a>,
}

impl<M: Memory> Coins<M> {
    /// Returns the UTXO set after an unstable block with a complete change, or after the newest
    /// stable one; `None` for every other block. Costs one look-up on the heap.
    pub fn view(&self, tip: &BlockHash) -> Option<View<'_, M>> {
        let walk = self.index.walk(tip)?;
        Some(View {
            region: &self.region,
            walk,
        })
    }
}

impl<M: Memory> View<'_, M> {
    /// Returns the unspent coin at `outpoint`, or `None`. Reads a filter block, 64 bytes, for each
    /// change from the newest to the coin's, merges made ahead in the place of their blocks, and where
    /// one says maybe, fences and mostly one leaf.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn coin(&self, outpoint: &OutPoint) -> Result<Option<Coin>, StoreError> {
        read::coin(self.region, self.changes(), outpoint)
    }

    /// Returns up to `limit` coins of a script in list order (height descending, transaction id
    /// bytes, output index), starting at `from` (included) or at the newest.
    ///
    /// Whatever the script's number of coins and changes, a page costs a look at a filter for each
    /// change, fences and a leaf for each one that has the script, and one entry for each coin returned or passed over because a newer change spent it: at most
    /// [`MAX_SPENT_PASSED`]. A page that passed so many is short, and goes on where it stopped.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn coins_of(
        &self,
        script: &ScriptHash,
        from: Option<(Height, OutPoint)>,
        limit: usize,
    ) -> Result<CoinPage, StoreError> {
        self.coins_passing(script, from, limit, MAX_SPENT_PASSED)
    }

    /// As [`View::coins_of`], passing over at most `passes` spent coins.
    pub(super) fn coins_passing(
        &self,
        script: &ScriptHash,
        from: Option<(Height, OutPoint)>,
        limit: usize,
        mut passes: usize,
    ) -> Result<CoinPage, StoreError> {
        let from = from.map(|(height, at)| Place::new(height, OutpointKey::from(&at)));
        let key = ScriptKey::from(script);
        let mut list = ScriptList::open(self.region, self.changes(), &key, from.as_ref())?;
        let mut page = CoinPage {
            coins: Vec::with_capacity(limit.min(list.coins())),
            next: None,
        };
        while let Some(listed) = list.next(self.region)? {
            match listed {
                Listed::Coin(coin) if page.coins.len() < limit => page.coins.push(coin),
                Listed::Spent(_) if passes > 0 => passes -= 1,
                stop => {
                    let place = stop.place();
                    page.next = Some((place.height(), OutPoint::from(&place.outpoint)));
                    return Ok(page);
                }
            }
        }
        Ok(page)
    }

    /// Returns what a script holds. Reads a filter block for each change, and fences and a leaf for each
    /// one that has the script, however many coins it has there.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn balance(&self, script: &ScriptHash) -> Result<Balance, StoreError> {
        let key = ScriptKey::from(script);
        let sum = read::balance(self.region, self.changes(), &key)?;
        Ok(Balance {
            satoshi: sum.satoshi,
            coins: sum.coins,
        })
    }

    /// Returns up to `limit` coins (at least one) from `from` on; fewer once their scripts have more than `script_bytes`, or
    /// [`MAX_SPENT_PASSED`] outpoints were looked at: a page that passes over spent ones may have none, and goes on.
    ///
    /// Costs a seek in each change, and for each outpoint a look at where each of them stands.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn all_coins(
        &self,
        from: &OutpointKey,
        limit: usize,
        script_bytes: usize,
    ) -> Result<StablePage, StoreError> {
        let limits = [MAX_SPENT_PASSED, limit.max(1), script_bytes];
        page_of(self.region, self.changes(), from, limits)
    }

    fn changes(&self) -> impl Iterator<Item = &ChangeRuns> {
        self.walk.changes().map(|node| &node.runs)
    }

    /// Returns the number of unspent coins.
    pub fn utxo_count(&self) -> u64 {
        self.walk.tip().map_or(0, |node| node.utxo_count)
    }
}

impl<M: Memory> CoinView for View<'_, M> {
    type Error = StoreError;

    fn coin(&self, outpoint: &OutPoint) -> Result<Option<Coin>, StoreError> {
        View::coin(self, outpoint)
    }
}
