//! Reads the UTXO set along a path of changes, newest first.

use bitcoin::OutPoint;
use ic_stable_structures::Memory;
use millrace_core::delta::Coin;

use super::change::ChangeRuns;
use super::coin_cursor::find_coin;
use super::coin_entry::PutCoin;
use super::key::{OutpointKey, Place, ScriptKey};
use super::script_cursor::{FoundGroup, Scratch, ScriptCursor, find_balance, find_group};
use super::script_entry::{BalanceChange, ListChange, ScriptEntry};
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
    let mut scratch = Scratch::default();
    for change in changes {
        if let Some(change) = find_balance(memory, &change.scripts, key, &mut scratch)? {
            sum = sum.and(change);
        }
    }
    Ok(sum)
}

/// A script's coins in list order. Holds a leaf for each change that has the script.
#[derive(Clone, Debug)]
pub struct ScriptList {
    /// Oldest first.
    groups: Vec<ScriptCursor>,
    /// The next entry of each group, the one to be taken first last: blocks follow each other, so the next one
    /// is mostly of the same group.
    heads: Vec<Head>,
    /// The script's coins in all.
    coins: i64,
}

/// The next entry of a group.
#[derive(Clone, Copy, Debug)]
struct Head {
    entry: ScriptEntry,
    /// The group's place: of entries at one place, those of older changes come first, since what follows a put
    /// can only be its spend.
    group: usize,
}

impl Head {
    fn is_before(&self, other: &Self) -> bool {
        let (place, others) = (&self.entry.place, &other.entry.place);
        place < others || (place == others && self.group < other.group)
    }
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
        let (mut groups, mut coins) = (Vec::new(), 0i64);
        for change in changes {
            let found = find_group(memory, &change.scripts, key)?;
            if let Some(FoundGroup { mut cursor, change }) = found {
                coins = coins.saturating_add(change.coins);
                if let Some(from) = from {
                    cursor.skip_to(memory, from)?;
                }
                groups.push(cursor);
            }
        }
        groups.reverse();
        let mut heads = Vec::with_capacity(groups.len());
        for (group, cursor) in groups.iter_mut().enumerate() {
            if let Some(entry) = cursor.next_entry(memory)? {
                heads.push(Head { entry, group });
            }
        }
        heads.sort_unstable_by(|one, other| {
            let key = |head: &Head| (head.entry.place, head.group);
            key(other).cmp(&key(one))
        });
        Ok(Self {
            groups,
            heads,
            coins,
        })
    }

    /// Returns the number of the script's coins, those before the place included.
    pub fn coins(&self) -> usize {
        usize::try_from(self.coins).unwrap_or(0)
    }

    /// Returns what is at the next place of any change; `None` at the end.
    ///
    /// # Errors
    /// [`StoreError`] when a run is damaged.
    pub fn next<M: Memory>(&mut self, memory: &M) -> Result<Option<Listed>, StoreError> {
        let Some(first) = self.take(memory)? else {
            return Ok(None);
        };
        let place = first.place;
        if self
            .heads
            .last()
            .is_some_and(|head| head.entry.place == place)
        {
            self.take_spend_of(memory, &first)?;
            return Ok(Some(Listed::Spent(place)));
        }
        let ListChange::Put { value, coinbase } = first.change else {
            let detail = format!("{place:?} is spent and was never put");
            return Err(StoreError::damaged("changes", detail));
        };
        Ok(Some(Listed::Coin(ListedCoin {
            outpoint: OutPoint::from(&place.outpoint),
            value,
            height: place.height(),
            coinbase,
        })))
    }

    /// Takes the one other entry at the place of a put.
    fn take_spend_of<M: Memory>(
        &mut self,
        memory: &M,
        put: &ScriptEntry,
    ) -> Result<(), StoreError> {
        let next = self.take(memory)?.map(|entry| entry.change);
        let third = self.heads.last().map(|head| head.entry.place);
        let is_put = matches!(put.change, ListChange::Put { .. });
        if is_put && next == Some(ListChange::Spend) && third != Some(put.place) {
            return Ok(());
        }
        let detail = format!("{:?} is put or spent twice", put.place);
        Err(StoreError::damaged("changes", detail))
    }

    /// Takes the next entry of all.
    fn take<M: Memory>(&mut self, memory: &M) -> Result<Option<ScriptEntry>, StoreError> {
        let Some(head) = self.heads.last_mut() else {
            return Ok(None);
        };
        let taken = head.entry;
        let cursor = self.groups.get_mut(head.group);
        match cursor
            .map(|it| it.next_entry(memory))
            .transpose()?
            .flatten()
        {
            Some(entry) => {
                head.entry = entry;
                self.settle();
            }
            None => {
                self.heads.pop();
            }
        }
        Ok(Some(taken))
    }

    /// Moves the last head to its place among the others.
    fn settle(&mut self) {
        let Some((last, others)) = self.heads.split_last() else {
            return;
        };
        let after = others.iter().rposition(|other| last.is_before(other));
        let at = after.map_or(0, |after| after + 1);
        let is_there = at == others.len();
        if let Some(moved) = self.heads.get_mut(at..).filter(|_| !is_there) {
            moved.rotate_right(1);
        }
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
