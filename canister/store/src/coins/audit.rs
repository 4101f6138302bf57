//! Checks the coin maps against each other; reads all of them.

use std::collections::BTreeMap;

use bitcoin::hashes::{HashEngine, sha256};
use ic_stable_structures::Memory;
use millrace_core::script::ScriptHash;

use super::{Coins, RunState, codec, decode_total};
use crate::StoreError;

impl<M: Memory> Coins<M> {
    /// Returns whether a run has this number.
    pub(crate) fn owns_log(&self, number: u64) -> bool {
        self.run_cache.values().any(|run| run.number == number)
    }

    /// Checks that outpoints, scripts and balances of the stable set agree, and that every
    /// unstable change belongs to a run.
    pub(crate) fn audit(&self) -> Result<(), StoreError> {
        let broken = |detail: String| Err(StoreError::damaged("coins", detail));
        let mut balances: BTreeMap<ScriptHash, (i128, i64)> = BTreeMap::new();
        for entry in self.stable.iter() {
            let coin = codec::decode_coin(&entry.value())?;
            let script = ScriptHash::of(&coin.script);
            let sum = balances.entry(script).or_default();
            sum.0 += i128::from(coin.value.to_sat());
            sum.1 += 1;
        }
        let retiring = self
            .run_cache
            .values()
            .find(|run| run.state == RunState::Retiring);
        if self.by_script.len() != self.stable.len() {
            return broken(format!(
                "{} of {} are listed",
                self.by_script.len(),
                self.stable.len()
            ));
        }
        for entry in self.by_script.iter() {
            let (script, place) = codec::split_script_key(entry.key());
            let listed = codec::listed(&place, &entry.value())?;
            let coin = self.stable_coin(&listed.outpoint)?;
            let equal = coin.is_some_and(|coin| {
                (coin.value, coin.height, coin.coinbase)
                    == (listed.value, listed.height, listed.coinbase)
                    && ScriptHash::of(&coin.script) == script
            });
            if !equal {
                return broken(format!(
                    "{} is listed otherwise than it is",
                    listed.outpoint
                ));
            }
        }
        // Balances of scripts move at once, coins one by one.
        if retiring.is_none() {
            let stored = self.balances.iter().map(|entry| {
                (
                    ScriptHash::from_bytes(*entry.key()),
                    decode_total(&entry.value()),
                )
            });
            if !stored.eq(balances) {
                return broken("balances differ from the coins' sums".to_owned());
            }
            if self.stable_count() != self.stable.len() {
                return broken(format!("{} counted", self.stable_count()));
            }
        }
        self.audit_runs()
    }

    fn audit_runs(&self) -> Result<(), StoreError> {
        let broken = |detail: String| Err(StoreError::damaged("runs", detail));
        if self.runs.len() != self.run_cache.len() as u64 {
            return broken(format!(
                "{} of {} cached",
                self.run_cache.len(),
                self.runs.len()
            ));
        }
        for entry in self.run_coins.iter() {
            let run = codec::split_run_coin_key(entry.key());
            if !self.owns_log(run) {
                return broken(format!("coin of run {run}, which does not exist"));
            }
        }
        for entry in self.run_scripts.iter() {
            let (_, run, _, _) = codec::split_run_script_key(entry.key())?;
            if !self.owns_log(run) {
                return broken(format!("script of run {run}, which does not exist"));
            }
        }
        Ok(())
    }

    pub(crate) fn digest(&self, engine: &mut sha256::HashEngine) {
        for entry in self.stable.iter() {
            engine.input(entry.key());
            engine.input(&entry.value());
        }
        for entry in self.by_script.iter() {
            engine.input(entry.key());
            engine.input(&entry.value());
        }
        for entry in self.balances.iter() {
            engine.input(entry.key());
            engine.input(&entry.value());
        }
        for entry in self.run_coins.iter() {
            engine.input(entry.key());
            engine.input(&entry.value());
        }
        for entry in self.run_scripts.iter() {
            engine.input(entry.key());
            engine.input(&entry.value());
        }
        for entry in self.runs.iter() {
            engine.input(entry.key());
            engine.input(&entry.value());
        }
    }
}
