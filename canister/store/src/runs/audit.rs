//! Checks the invariants of `DESIGN.md`; reads everything, and holds the whole set on the heap.
//! For tests.

use std::collections::BTreeMap;

use ic_stable_structures::Memory;
use millrace_core::script::ScriptHash;

use super::allocator::Allocator;
use super::change::ChangeRuns;
use super::coin_cursor::{CoinCursor, find_coin};
use super::coin_entry::{CoinChange, PutCoin};
use super::key::{OutpointKey, Place, ScriptKey};
use super::manifest::{Manifest, State};
use super::run::Run;
use super::script_cursor::{ScriptCursor, find_group};
use super::script_entry::{BalanceChange, ListChange};
use crate::StoreError;
use crate::layout::WASM_PAGE_BYTES;

type Lists = BTreeMap<ScriptKey, (BalanceChange, BTreeMap<Place, ListChange>)>;

/// Checks that ranges are disjoint, aligned and inside the region (invariant 1), and that stable
/// changes follow each other from height 0, larger levels first (invariant 3).
///
/// # Errors
/// [`StoreError::Damaged`] naming what is broken; so for all that follow.
pub fn audit_manifest<R: Memory, M: Memory>(
    memory: &R,
    manifest: &Manifest<M>,
) -> Result<(), StoreError> {
    let allocator = Allocator::of(manifest.extents())?;
    let size = memory.size().saturating_mul(WASM_PAGE_BYTES);
    if manifest.extents().count() > 0 && allocator.end() > size {
        return broken(format!("ranges reach {}, memory {size}", allocator.end()));
    }
    let mut next_height = 0;
    let mut level = u8::MAX;
    let mut tip = None;
    for (id, record) in manifest.stable() {
        if record.first.get() != next_height || record.level > level {
            return broken(format!("{id:?} after height {next_height}, level {level}"));
        }
        if tip.is_some_and(|tip| tip != record.parent) {
            return broken(format!("{id:?} does not follow {tip:?}"));
        }
        tip = Some(record.block);
        next_height = record.last.get().saturating_add(1);
        level = record.level;
    }
    for (id, record) in manifest.records() {
        if !matches!(record.state, State::Building | State::Importing) {
            let runs = ChangeRuns::open(memory, record)?;
            let header = runs.coins.header();
            if (header.puts, header.spends) != (record.puts, record.spends) {
                return broken(format!("{id:?} counts other coins than its run"));
            }
        }
    }
    Ok(())
}

/// The set after the changes of a chain that were checked so far.
#[derive(Clone, Debug, Default)]
pub struct ChainAudit {
    set: BTreeMap<OutpointKey, PutCoin>,
}

impl ChainAudit {
    /// Returns the number of coins.
    pub fn coins(&self) -> u64 {
        self.set.len() as u64
    }

    /// Checks the next newer change of the chain: each run in itself (invariants 2 and 6), that
    /// both runs agree (4), and that spends name coins that are there (5, 7).
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn apply<M: Memory>(&mut self, memory: &M, change: &ChangeRuns) -> Result<(), StoreError> {
        let mut expected = Lists::new();
        for (outpoint, change) in audit_coins(memory, &change.coins)? {
            if change.is_spend() {
                let Some(old) = self.set.remove(&outpoint) else {
                    return broken(format!("{outpoint:?} is spent and not there"));
                };
                add(&mut expected, outpoint, &old, ListChange::Spend)?;
            }
            if let Some(coin) = change.coin() {
                let put = ListChange::Put {
                    value: coin.value,
                    coinbase: coin.coinbase,
                };
                add(&mut expected, outpoint, coin, put)?;
                if self.set.insert(outpoint, coin.clone()).is_some() {
                    return broken(format!("{outpoint:?} is put and there"));
                }
            }
        }
        if audit_scripts(memory, &change.scripts)? != expected {
            return broken(format!("the runs in {:?} disagree", change.coins.extent()));
        }
        Ok(())
    }
}

/// Checks that a change does what older ones do one after the other (invariant 8).
///
/// # Errors
/// [`StoreError::Damaged`].
pub fn audit_merge<M: Memory>(
    memory: &M,
    merge: &ChangeRuns,
    oldest_first: &[ChangeRuns],
) -> Result<(), StoreError> {
    let mut coins: BTreeMap<OutpointKey, CoinChange> = BTreeMap::new();
    let mut lists = Lists::new();
    for change in oldest_first {
        for (outpoint, newer) in audit_coins(memory, &change.coins)? {
            let left = match (coins.remove(&outpoint), newer) {
                (None, newer) => Some(newer),
                (Some(CoinChange::Put(_)), CoinChange::Spend) => None,
                (Some(CoinChange::Put(_)), CoinChange::Replace(coin)) => {
                    Some(CoinChange::Put(coin))
                }
                (Some(CoinChange::Spend), CoinChange::Put(coin)) => Some(CoinChange::Replace(coin)),
                (Some(CoinChange::Replace(_)), CoinChange::Spend) => Some(CoinChange::Spend),
                (Some(CoinChange::Replace(_)), CoinChange::Replace(coin)) => {
                    Some(CoinChange::Replace(coin))
                }
                (older, newer) => return broken(format!("{newer:?} follows {older:?}")),
            };
            coins.extend(left.map(|left| (outpoint, left)));
        }
        for (key, (change, list)) in audit_scripts(memory, &change.scripts)? {
            let (sum, places) = lists.entry(key).or_default();
            *sum = sum.and(change);
            for (place, newer) in list {
                // A coin is put once at a place, and spent once.
                if places.remove(&place).is_none() {
                    places.insert(place, newer);
                }
            }
        }
    }
    lists.retain(|_, (_, places)| !places.is_empty());
    if audit_coins(memory, &merge.coins)? != coins {
        return broken(format!(
            "coins in {:?} are not the merge",
            merge.coins.extent()
        ));
    }
    if audit_scripts(memory, &merge.scripts)? != lists {
        return broken(format!(
            "lists in {:?} are not the merge",
            merge.scripts.extent()
        ));
    }
    Ok(())
}

/// Reads a coin run in order, finds each entry by its key, and counts.
fn audit_coins<M: Memory>(
    memory: &M,
    run: &Run,
) -> Result<BTreeMap<OutpointKey, CoinChange>, StoreError> {
    let mut entries = BTreeMap::new();
    let mut cursor = CoinCursor::start(run);
    while let Some(entry) = cursor.next(memory)? {
        if find_coin(memory, run, &entry.outpoint)?.as_ref() != Some(&entry.change) {
            return broken(format!("{:?} is not found", entry.outpoint));
        }
        entries.insert(entry.outpoint, entry.change);
    }
    let puts = entries.values().filter(|c| c.coin().is_some()).count();
    let spends = entries.values().filter(|c| c.is_spend()).count();
    check_counts(run, [entries.len(), entries.len(), puts, spends])?;
    Ok(entries)
}

/// Reads a script run in order, finds each group by its key, and counts.
fn audit_scripts<M: Memory>(memory: &M, run: &Run) -> Result<Lists, StoreError> {
    let mut lists = Lists::new();
    let mut cursor = ScriptCursor::start(run);
    while let Some((key, change)) = cursor.next_group(memory)? {
        let mut list = BTreeMap::new();
        while let Some(entry) = cursor.next_entry(memory)? {
            list.insert(entry.place, entry.change);
        }
        let found = find_group(memory, run, &key)?;
        if found.is_none_or(|found| found.change != change) {
            return broken(format!("the group of {key:?} is not found"));
        }
        lists.insert(key, (change, list));
    }
    let entries = || lists.values().flat_map(|(_, list)| list.values());
    let spends = entries().filter(|c| **c == ListChange::Spend).count();
    let puts = entries().count() - spends;
    check_counts(run, [lists.len(), lists.len(), puts, spends])?;
    Ok(lists)
}

fn check_counts(run: &Run, found: [usize; 4]) -> Result<(), StoreError> {
    let header = run.header();
    let stored = [header.entries, header.keys, header.puts, header.spends];
    if found.map(|count| count as u64) == stored {
        return Ok(());
    }
    broken(format!(
        "entries, keys, puts, spends are {found:?}, not {stored:?}"
    ))
}

fn add(
    lists: &mut Lists,
    outpoint: OutpointKey,
    coin: &PutCoin,
    change: ListChange,
) -> Result<(), StoreError> {
    let Some(script) = coin.script.script() else {
        return broken(format!("the script of {outpoint:?} is elsewhere"));
    };
    let (sum, list) = lists
        .entry(ScriptKey::from(&ScriptHash::of(&script)))
        .or_default();
    let sign = if change == ListChange::Spend { -1 } else { 1 };
    *sum = sum.and(BalanceChange {
        satoshi: i128::from(sign) * i128::from(coin.value.to_sat()),
        coins: sign,
    });
    list.insert(Place::new(coin.height, outpoint), change);
    Ok(())
}

fn broken<T>(detail: String) -> Result<T, StoreError> {
    Err(StoreError::damaged("runs", detail))
}
