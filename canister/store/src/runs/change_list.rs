//! A list of changes, as the engine's own tests read it.

use bitcoin::OutPoint;
use ic_stable_structures::Memory;
use millrace_core::Height;
use millrace_core::delta::Coin;
use millrace_core::script::ScriptHash;

use super::change::ChangeRuns;
use super::key::{OutpointKey, Place, ScriptKey};
use super::read::{self, Listed, ScriptList};
use super::script_entry::BalanceChange;
use crate::coins::ListedCoin;

/// Newest first, down to the oldest change of all.
pub(super) struct ChangeList(Vec<ChangeRuns>);

impl ChangeList {
    pub(super) const fn new(newest_first: Vec<ChangeRuns>) -> Self {
        Self(newest_first)
    }

    pub(super) fn coin<M: Memory>(&self, memory: &M, outpoint: &OutPoint) -> Option<Coin> {
        read::coin(memory, self.0.iter(), outpoint).unwrap()
    }

    pub(super) fn balance<M: Memory>(&self, memory: &M, script: &ScriptHash) -> BalanceChange {
        read::balance(memory, self.0.iter(), &ScriptKey::from(script)).unwrap()
    }

    pub(super) fn coins_of<M: Memory>(
        &self,
        memory: &M,
        script: &ScriptHash,
        from: Option<(Height, OutPoint)>,
        limit: usize,
    ) -> Vec<ListedCoin> {
        let from = from.map(|(height, o)| Place::new(height, OutpointKey::from(&o)));
        let key = ScriptKey::from(script);
        let mut list = ScriptList::open(memory, self.0.iter(), &key, from.as_ref()).unwrap();
        let mut found = Vec::new();
        while found.len() < limit {
            match list.next(memory).unwrap() {
                None => break,
                Some(Listed::Spent(_)) => {}
                Some(Listed::Coin(coin)) => found.push(coin),
            }
        }
        found
    }
}
