//! Reads the UTXO set along a path of changes, newest first.

use bitcoin::OutPoint;
use ic_stable_structures::Memory;
use millrace_core::delta::Coin;

use super::change::ChangeRuns;
use super::coin_cursor::find_coin;
use super::coin_entry::PutCoin;
use super::key::{OutpointKey, Place, ScriptKey};
use super::script_cursor::{FoundGroup, find_group};
use super::script_entry::{BalanceChange, ListChange};
use super::script_merge::merge_place;
use crate::StoreError;
use crate::coins::ListedCoin;

/// Returns the unspent coin at `outpoint`. Reads a filter block for each change, newest first,
/// down to the coin's, and where one says maybe, fences and mostly one leaf.
///
/// # Errors
/// [`StoreError`] when a run is damaged.
pub fn coin<'a, M: Memory>(
    memory: &M,
    changes: impl Iterator<Item = &'a ChangeRuns>,
    outpoint: &OutPoint,
) -> Result<Option<Coin>, StoreError> {
    let key = OutpointKey::from(outpoint);
    for change in changes {
        if let Some(change) = find_coin(memory, &change.coins, &key)? {
            return change.coin().map(coin_of).transpose();
        }
    }
    Ok(None)
}

/// Returns what a script's coins sum up to. Reads a filter block for each change, and where one
/// says maybe, fences and mostly one leaf.
///
/// # Errors
/// [`StoreError`] when a run is damaged.
pub fn balance<'a, M: Memory>(
    memory: &M,
    changes: impl Iterator<Item = &'a ChangeRuns>,
    key: &ScriptKey,
) -> Result<BalanceChange, StoreError> {
    let mut sum = BalanceChange::default();
    for change in changes {
        if let Some(group) = find_group(memory, &change.scripts, key)? {
            sum = sum.and(group.change);
        }
    }
    Ok(sum)
}

/// A script's coins in list order. Holds a leaf for each change that has the script.
#[derive(Clone, Debug)]
pub struct ScriptList {
    /// Oldest first: what follows a put can only be its spend.
    groups: Vec<FoundGroup>,
    /// The group that the last place came from, and the first place of the others; `None` when that is
    /// not known, or there are no others.
    leading: Option<(usize, Option<Place>)>,
}

/// What is at a place of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// An unspent coin.
    Coin(ListedCoin),
    /// A coin that a newer change spent.
    Spent(Place),
}

impl Listed {
    /// Returns the place.
    pub fn place(&self) -> Place {
        match self {
            Self::Coin(coin) => Place::new(coin.height, OutpointKey::from(&coin.outpoint)),
            Self::Spent(place) => *place,
        }
    }
}

impl ScriptList {
    /// Finds a script's groups, and goes to a place (included). Costs as [`balance`], and reads
    /// nothing of the coins before the place but as many leaves as their number has bits.
    ///
    /// # Errors
    /// [`StoreError`] when a run is damaged.
    pub fn open<'a, M: Memory>(
        memory: &M,
        changes: impl Iterator<Item = &'a ChangeRuns>,
        key: &ScriptKey,
        from: Option<&Place>,
    ) -> Result<Self, StoreError> {
        let mut groups = Vec::new();
        for change in changes {
            let found = find_group(memory, &change.scripts, key)?;
            if let Some(mut group) = found {
                if let Some(from) = from {
                    group.cursor.skip_to(memory, from)?;
                }
                groups.push(group);
            }
        }
        groups.reverse();
        Ok(Self {
            groups,
            leading: None,
        })
    }

    /// Returns what is at the next place of any change; `None` at the end.
    ///
    /// # Errors
    /// [`StoreError`] when a run is damaged.
    pub fn next<M: Memory>(&mut self, memory: &M) -> Result<Option<Listed>, StoreError> {
        let found = match self.take_from_leading(memory)? {
            Some((place, change)) => Some((place, Some(change))),
            None => {
                let found = merge_place(memory, &mut self.groups, |group| Some(&mut group.cursor))?;
                self.find_leading(memory)?;
                found
            }
        };
        Ok(match found {
            None => None,
            Some((place, None)) => Some(Listed::Spent(place)),
            Some((place, Some(ListChange::Put { value, coinbase }))) => {
                Some(Listed::Coin(ListedCoin {
                    outpoint: OutPoint::from(&place.outpoint),
                    value,
                    height: place.height(),
                    coinbase,
                }))
            }
            Some((place, Some(ListChange::Spend))) => {
                let detail = format!("{place:?} is spent and was never put");
                return Err(StoreError::damaged("changes", detail));
            }
        })
    }
}

impl ScriptList {
    /// Returns the next place of the leading group while it comes before those of all others: blocks
    /// follow each other, so the places of one change mostly do.
    fn take_from_leading<M: Memory>(
        &mut self,
        memory: &M,
    ) -> Result<Option<(Place, ListChange)>, StoreError> {
        let Some((index, others)) = self.leading else {
            return Ok(None);
        };
        let Some(group) = self.groups.get_mut(index) else {
            return Ok(None);
        };
        let next = group.cursor.peek_entry(memory)?.copied();
        let next = next.filter(|entry| others.is_none_or(|others| entry.place < others));
        let Some(entry) = next else {
            return Ok(None);
        };
        group.cursor.next_entry(memory)?;
        Ok(Some((entry.place, entry.change)))
    }

    fn find_leading<M: Memory>(&mut self, memory: &M) -> Result<(), StoreError> {
        let mut first: Option<(usize, Place)> = None;
        let mut others: Option<Place> = None;
        for (index, group) in self.groups.iter_mut().enumerate() {
            let Some(place) = group.cursor.peek_entry(memory)?.map(|entry| entry.place) else {
                continue;
            };
            let behind = match first {
                Some((_, leading)) if leading <= place => place,
                before => {
                    first = Some((index, place));
                    match before {
                        Some((_, behind)) => behind,
                        None => continue,
                    }
                }
            };
            others = Some(others.map_or(behind, |others| others.min(behind)));
        }
        self.leading = first.map(|(index, _)| (index, others));
        Ok(())
    }
}

/// Returns a put coin with its script in full.
///
/// # Errors
/// [`StoreError::Damaged`] when the script was left in the overflow area.
pub fn coin_of(coin: &PutCoin) -> Result<Coin, StoreError> {
    let script = coin.script.script();
    Ok(Coin {
        value: coin.value,
        script: script.ok_or_else(|| StoreError::damaged("coin", "its script is elsewhere"))?,
        height: coin.height,
        coinbase: coin.coinbase,
    })
}
