//! Reads the UTXO set as it stands at a chain of unstable blocks.

use std::collections::{BTreeMap, BTreeSet};
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
        let first = codec::run_coin_key(outpoint, 0);
        let last = codec::run_coin_key(outpoint, u64::MAX);
        let changes = self.coins.run_coins.range(first..=last);
        let newest = changes
            .filter_map(|entry| {
                let run = codec::split_run_coin_key(entry.key());
                let height = *self.chain.get(&run)?;
                Some((height, entry.value()))
            })
            .max_by_key(|(height, _)| *height);
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
    /// Costs one look-up per coin returned or spent since, and a scan of the script's unstable
    /// changes.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn coins_of(
        &self,
        script: &ScriptHash,
        from: Option<(Height, OutPoint)>,
        limit: usize,
    ) -> Result<Vec<ListedCoin>, StoreError> {
        let start = from.map_or([0; PLACE_BYTES], |(height, outpoint)| {
            codec::place(height, &outpoint)
        });
        let (puts, spends) = self.unstable_changes(script, &start)?;
        let first = codec::script_key(script, &start);
        let last = codec::script_key(script, &[u8::MAX; PLACE_BYTES]);
        let stable = self.coins.by_script.range(first..=last).map(|entry| {
            let (_, place) = codec::split_script_key(entry.key());
            (place, codec::listed(&place, &entry.value()))
        });
        let mut puts = puts.into_iter().peekable();
        let mut stable = stable.peekable();
        let mut found = Vec::new();
        while found.len() < limit {
            let take_put = match (puts.peek(), stable.peek()) {
                (None, None) => break,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (Some((put, _)), Some((old, _))) => put < old,
            };
            let next = if take_put {
                puts.next().map(|(place, coin)| (place, Ok(coin)))
            } else {
                stable.next()
            };
            let Some((place, coin)) = next else { break };
            if !spends.contains(&place) {
                found.push(coin?);
            }
        }
        Ok(found)
    }

    /// Returns coins put and spent on the chain, by place, from `start` on. A coin put and spent
    /// there is in both.
    #[expect(clippy::type_complexity, reason = "used once, right above")]
    fn unstable_changes(
        &self,
        script: &ScriptHash,
        start: &[u8; PLACE_BYTES],
    ) -> Result<
        (
            BTreeMap<[u8; PLACE_BYTES], ListedCoin>,
            BTreeSet<[u8; PLACE_BYTES]>,
        ),
        StoreError,
    > {
        let mut puts = BTreeMap::new();
        let mut spends = BTreeSet::new();
        for run in self.touching_runs(script)? {
            let first = codec::run_script_key(script, run, Kind::Put, &[0; PLACE_BYTES]);
            let last = codec::run_script_key(script, run, Kind::Spend, &[u8::MAX; PLACE_BYTES]);
            for entry in self.coins.run_scripts.range(first..=last) {
                let (_, _, kind, place) = codec::split_run_script_key(entry.key())?;
                if place < *start {
                    continue;
                }
                if kind == Kind::Put {
                    puts.insert(place, codec::listed(&place, &entry.value())?);
                } else {
                    spends.insert(place);
                }
            }
        }
        Ok((puts, spends))
    }

    /// Returns the chain's runs that change a script. Each run that does, of any chain, costs one
    /// look-up; the others cost nothing.
    fn touching_runs(&self, script: &ScriptHash) -> Result<Vec<u64>, StoreError> {
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
            let Some(entry) = changes.next() else {
                return Ok(runs);
            };
            let (_, run, _, _) = codec::split_run_script_key(entry.key())?;
            if self.chain.contains_key(&run) {
                runs.push(run);
            }
            after = Bound::Excluded(codec::run_script_key(
                script,
                run,
                Kind::Spend,
                &[u8::MAX; PLACE_BYTES],
            ));
        }
    }

    /// Returns what a script holds. Costs one look-up, and one for each unstable block that
    /// changes the script.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn balance(&self, script: &ScriptHash) -> Result<Balance, StoreError> {
        let (mut satoshi, mut coins) = self.coins.stable_balance(script);
        for run in self.touching_runs(script)? {
            let key = codec::run_script_key(script, run, Kind::Head, &[0; PLACE_BYTES]);
            // A retiring run's head moves to the stable balance before its last entry does.
            if let Some(head) = self.coins.run_scripts.get(&key) {
                let (more, count) = decode_total(&head);
                satoshi = satoshi.saturating_add(more);
                coins = coins.saturating_add(count);
            }
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
