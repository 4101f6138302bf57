//! Reads the UTXO set as it stands at a chain of unstable blocks.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Bound;

use bitcoin::{BlockHash, OutPoint};
use ic_stable_structures::Memory;
use millrace_core::Height;
use millrace_core::delta::{Coin, CoinView};
use millrace_core::script::ScriptHash;

use super::codec::{self, Kind, PLACE_BYTES};
use super::connect::{PUT, flags_of};
use super::{Coins, ListedCoin, RunState, decode_total};
use crate::StoreError;

/// Spent coins that one page passes over, at most: at about 100,000 instructions each, a fifth of
/// what the Internet Computer lets a query spend.
pub const MAX_SPENT_PASSED: usize = 10_000;

/// A place in a list, and the coin there.
type Place = ([u8; PLACE_BYTES], Result<ListedCoin, StoreError>);

/// Some of a script's coins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoinPage {
    /// Coins in list order.
    pub coins: Vec<ListedCoin>,
    /// Where the list goes on; `None` after the last coin.
    pub next: Option<(Height, OutPoint)>,
}

/// A run that changes a script.
struct Touching {
    number: u64,
    height: Height,
    /// Its change of the script's balance, unless that is part of the stable one already.
    change: Option<(i128, i64)>,
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
    coins: &'a Coins<M>,
    /// Runs between the stable set and the tip, with their heights.
    chain: BTreeMap<u64, Height>,
    utxo_count: u64,
}

impl<M: Memory> Coins<M> {
    /// Returns the UTXO set after the given blocks: all connected blocks from the tip down to the
    /// root of the unstable tree. Costs O(blocks).
    pub fn view<'a>(&'a self, blocks: impl Iterator<Item = BlockHash>) -> View<'a, M> {
        let mut chain = BTreeMap::new();
        // Summed up first: on the way from the tip down a partial sum may fall below zero.
        let mut change: i64 = 0;
        for block in blocks {
            let Some(run) = self.run_cache.get(&block) else {
                continue;
            };
            if matches!(run.state, RunState::Complete | RunState::Retiring) {
                chain.insert(run.number, run.height);
                change = change.saturating_add(run.coins);
            }
        }
        View {
            coins: self,
            chain,
            utxo_count: self.stable_count().saturating_add_signed(change),
        }
    }
}

impl<M: Memory> View<'_, M> {
    /// Returns the unspent coin at `outpoint`, or `None`. Costs one range look-up among unstable
    /// changes and at most one look-up in the stable set.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn coin(&self, outpoint: &OutPoint) -> Result<Option<Coin>, StoreError> {
        let newest = self.newest_change(outpoint);
        let Some((_, value)) = newest else {
            return self.coins.stable_coin(outpoint);
        };
        if flags_of(&value) & PUT == 0 {
            return Ok(None);
        }
        codec::decode_coin(value.get(1..).unwrap_or_default()).map(Some)
    }

    /// Returns up to `limit` coins of a script in list order (height descending, transaction id
    /// bytes, output index), starting at `from` (included) or at the newest.
    ///
    /// Whatever the script's number of coins and changes, a page costs one look-up for each
    /// unstable block that changes the script, one for each coin returned, and one for each coin
    /// passed over because an unstable block spent it: at most [`MAX_SPENT_PASSED`]. A page that
    /// passed so many is short, and goes on where it stopped.
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
        let touching = self.touching_runs(script)?;
        let start = from.map_or([0; PLACE_BYTES], |(height, outpoint)| {
            codec::place(height, &outpoint)
        });
        let newest = from.map_or(Height::MAX, |(height, _)| height);
        let puts = touching.iter().filter(|run| run.height <= newest);
        let mut puts = puts
            .flat_map(|run| self.puts_of(script, run.number, &start))
            .peekable();
        let mut stable = self.stable_of(script, &start).peekable();
        let mut coins = Vec::new();
        loop {
            let take_put = match (puts.peek(), stable.peek()) {
                (None, None) => return Ok(CoinPage { coins, next: None }),
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (Some((put, _)), Some((old, _))) => put < old,
            };
            let next = if take_put { puts.next() } else { stable.next() };
            let Some((_, coin)) = next else {
                return Ok(CoinPage { coins, next: None });
            };
            let coin = coin?;
            let place = (coin.height, coin.outpoint);
            // What no block of the chain touched cannot have been spent there.
            if !touching.is_empty() && self.is_spent(&coin) {
                if passes == 0 {
                    let next = Some(place);
                    return Ok(CoinPage { coins, next });
                }
                passes -= 1;
            } else if coins.len() == limit {
                let next = Some(place);
                return Ok(CoinPage { coins, next });
            } else {
                coins.push(coin);
            }
        }
    }

    /// Returns a script's coins made by one run, in list order, read as they are asked for. All
    /// have the run's height, so that runs from the newest to the oldest make one ordered list.
    fn puts_of(
        &self,
        script: &ScriptHash,
        run: u64,
        start: &[u8; PLACE_BYTES],
    ) -> impl Iterator<Item = Place> {
        let first = codec::run_script_key(script, run, Kind::Put, start);
        let last = codec::run_script_key(script, run, Kind::Put, &[u8::MAX; PLACE_BYTES]);
        self.coins.run_scripts.range(first..=last).map(|entry| {
            let place = codec::place_of(entry.key());
            (place, codec::listed(&place, &entry.value()))
        })
    }

    /// Returns a script's stable coins in list order, read as they are asked for.
    fn stable_of(
        &self,
        script: &ScriptHash,
        start: &[u8; PLACE_BYTES],
    ) -> impl Iterator<Item = Place> {
        let first = codec::script_key(script, start);
        let last = codec::script_key(script, &[u8::MAX; PLACE_BYTES]);
        self.coins.by_script.range(first..=last).map(|entry| {
            let place = codec::place_of(entry.key());
            (place, codec::listed(&place, &entry.value()))
        })
    }

    /// Returns whether the chain spent a coin of the stable set or of one of its own runs. Costs
    /// one range look-up.
    fn is_spent(&self, coin: &ListedCoin) -> bool {
        match self.newest_change(&coin.outpoint) {
            None => false,
            // A later coin may have taken the outpoint of an unspent one (BIP30).
            Some((height, change)) => flags_of(&change) & PUT == 0 || height != coin.height,
        }
    }

    /// Returns the chain's last change of an outpoint and its height.
    fn newest_change(&self, outpoint: &OutPoint) -> Option<(Height, Vec<u8>)> {
        let first = codec::run_coin_key(outpoint, 0);
        let last = codec::run_coin_key(outpoint, u64::MAX);
        let changes = self.coins.run_coins.range(first..=last);
        changes
            .filter_map(|entry| {
                let run = codec::split_run_coin_key(entry.key());
                let height = *self.chain.get(&run)?;
                Some((height, entry.value()))
            })
            .max_by_key(|(height, _)| *height)
    }

    /// Returns the chain's runs that change a script, newest first. Each run that does, of any
    /// chain, costs one look-up; the others cost nothing. There are at most as many runs as the
    /// unstable tree holds blocks, and those still being deleted.
    fn touching_runs(&self, script: &ScriptHash) -> Result<Vec<Touching>, StoreError> {
        let mut runs = Vec::new();
        let last = codec::run_script_key(script, u64::MAX, Kind::Spend, &[u8::MAX; PLACE_BYTES]);
        let mut after = Bound::Included(codec::run_script_key(
            script,
            0,
            Kind::Head,
            &[0; PLACE_BYTES],
        ));
        loop {
            let mut changes = self.coins.run_scripts.range((after, Bound::Included(last)));
            let Some(entry) = changes.next() else { break };
            let (_, number, kind, _) = codec::split_run_script_key(entry.key())?;
            if let Some(height) = self.chain.get(&number) {
                // A retiring run's head moves to the stable balance before its last entry does.
                let has_head = kind == Kind::Head;
                runs.push(Touching {
                    number,
                    height: *height,
                    change: has_head.then(|| decode_total(&entry.value())),
                });
            }
            after = Bound::Excluded(codec::run_script_key(
                script,
                number,
                Kind::Spend,
                &[u8::MAX; PLACE_BYTES],
            ));
        }
        runs.sort_by_key(|run| Reverse(run.height));
        Ok(runs)
    }

    /// Returns what a script holds. Costs one look-up, and one for each unstable block, of any
    /// chain, that changes the script, however often it does.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn balance(&self, script: &ScriptHash) -> Result<Balance, StoreError> {
        let (mut satoshi, mut coins) = self.coins.stable_balance(script);
        for (more, count) in self
            .touching_runs(script)?
            .iter()
            .filter_map(|run| run.change)
        {
            satoshi = satoshi.saturating_add(more);
            coins = coins.saturating_add(count);
        }
        Ok(Balance { satoshi, coins })
    }

    /// Returns the number of unspent coins.
    pub const fn utxo_count(&self) -> u64 {
        self.utxo_count
    }
}

impl<M: Memory> CoinView for View<'_, M> {
    type Error = StoreError;

    fn coin(&self, outpoint: &OutPoint) -> Result<Option<Coin>, StoreError> {
        View::coin(self, outpoint)
    }
}
