//! Writes a change of new coins only: a piece of a set that is taken in at once.

use ic_stable_structures::Memory;
use millrace_core::script::ScriptKey;

use super::change::{ChangePlan, ChangeRuns};
use super::coin_entry::{CoinChange, CoinEntry, PutCoin};
use super::coin_writer::CoinWriter;
use super::extent::Extent;
use super::key::{OutpointKey, Place};
use super::script_entry::{BalanceChange, ListChange, ScriptEntry};
use super::script_writer::ScriptWriter;
use crate::StoreError;

/// Coins, ready to be written: by outpoint, and by script.
#[derive(Clone, Debug)]
pub struct Piece {
    coins: Vec<(OutpointKey, PutCoin)>,
    /// The script of each coin with its place in the list above; ascending by script, then by place.
    scripts: Vec<(ScriptKey, Place, u32)>,
}

impl Piece {
    /// Sorts coins by script; by outpoint they ascend already. Costs a SHA-256 for each, and the
    /// comparisons of a sort.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when a script is elsewhere.
    pub fn new(coins: Vec<(OutpointKey, PutCoin)>) -> Result<Self, StoreError> {
        let mut scripts = Vec::with_capacity(coins.len());
        for (at, (outpoint, coin)) in (0..).zip(&coins) {
            let elsewhere = || StoreError::damaged("new coin", "its script is elsewhere");
            let (_, key) = coin.script.lock_and_key().ok_or_else(elsewhere)?;
            scripts.push((key, Place::new(coin.height, *outpoint), at));
        }
        scripts.sort_unstable();
        Ok(Self { coins, scripts })
    }

    /// Returns the most that the runs will hold.
    pub fn plan(&self) -> ChangePlan {
        let mut plan = ChangePlan::default();
        let mut before = None;
        for (outpoint, coin) in &self.coins {
            let is_same = before == Some(outpoint.txid);
            let bytes = coin.script.parts().map_or(0, script_bytes);
            plan.coins = plan.coins.and(CoinWriter::bound(is_same, Some(bytes)));
            before = Some(outpoint.txid);
        }
        let mut before = None;
        for (key, ..) in &self.scripts {
            plan.scripts = plan.scripts.and(ScriptWriter::bound(before != Some(*key)));
            before = Some(*key);
        }
        plan
    }

    /// Writes both runs to extents of the planned lengths: 40 to 70 bytes each for a coin.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when outpoints do not ascend, [`StoreError::BeyondEnd`] when an extent is
    /// too small.
    pub fn write<M: Memory>(
        self,
        memory: &M,
        plan: &ChangePlan,
        coins: Extent,
        scripts: Extent,
    ) -> Result<ChangeRuns, StoreError> {
        let mut out = ScriptWriter::new(scripts, &plan.scripts)?;
        for group in self.scripts.chunk_by(|(one, ..), (other, ..)| one == other) {
            let put = |at: &u32| self.coins.get(*at as usize).map(|(_, coin)| coin);
            let values = group.iter().filter_map(|(_, _, at)| put(at));
            let sum = values.fold(BalanceChange::default(), |sum, coin| {
                sum.and(BalanceChange {
                    satoshi: i128::from(coin.value.to_sat()),
                    coins: 1,
                })
            });
            if let Some((key, ..)) = group.first() {
                out.begin_group(memory, *key, sum)?;
            }
            for (_, place, at) in group {
                let Some(coin) = put(at) else { continue };
                let change = ListChange::Put {
                    value: coin.value,
                    coinbase: coin.coinbase,
                };
                out.push(
                    memory,
                    &ScriptEntry {
                        place: *place,
                        change,
                    },
                )?;
            }
        }
        let scripts = out.finish(memory)?;
        let mut out = CoinWriter::new(coins, &plan.coins)?;
        for (outpoint, coin) in self.coins {
            let change = CoinChange::Put(coin);
            out.push(memory, CoinEntry { outpoint, change })?;
        }
        Ok(ChangeRuns {
            coins: out.finish(memory)?,
            scripts,
        })
    }
}

fn script_bytes(parts: [&[u8]; 3]) -> u32 {
    let bytes: usize = parts.iter().map(|part| part.len()).sum();
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
