//! Reads the UTXO set as it stands after a list of changes.

use bitcoin::OutPoint;
use ic_stable_structures::Memory;
use millrace_core::Height;
use millrace_core::delta::Coin;
use millrace_core::script::ScriptHash;

use super::change::ChangeRuns;
use super::coin_cursor::find_coin;
use super::coin_entry::PutCoin;
use super::filter::Filter;
use super::key::{Digest, OutpointKey, Place, ScriptKey};
use super::script_cursor::{FoundGroup, find_group};
use super::script_entry::{BalanceChange, ListChange};
use super::script_merge::merge_place;
use crate::StoreError;
use crate::coins::{Balance, ListedCoin};

/// Filters over neighbours in a list of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Index of the newest change it covers.
    pub first: usize,
    /// Index after the oldest one.
    pub end: usize,
    /// Keys of the coin runs.
    pub coins: Filter,
    /// Keys of the script runs.
    pub scripts: Filter,
}

/// The UTXO set after some changes.
#[derive(Clone, Debug)]
pub struct ChangeList {
    /// Newest first, down to the oldest change of all.
    changes: Vec<ChangeRuns>,
    /// By their first change, the widest first.
    spans: Vec<Span>,
}

impl ChangeList {
    /// Takes changes, newest first and complete, and any spans over them.
    pub fn new(changes: Vec<ChangeRuns>, mut spans: Vec<Span>) -> Self {
        spans.sort_by_key(|span| (span.first, std::cmp::Reverse(span.end)));
        Self { changes, spans }
    }

    /// Returns the unspent coin at `outpoint`. Reads a filter block for each span or change that
    /// is newer than the coin, and where one says maybe, fences and mostly one leaf.
    ///
    /// # Errors
    /// [`StoreError`] when a run is damaged.
    pub fn coin<M: Memory>(
        &self,
        memory: &M,
        outpoint: &OutPoint,
    ) -> Result<Option<Coin>, StoreError> {
        let key = OutpointKey::from(outpoint);
        let mut at = 0;
        while let Some(change) = self.changes.get(at) {
            if let Some(end) = self.skip(memory, at, &key.digest(), |span| &span.coins)? {
                at = end;
                continue;
            }
            if let Some(change) = find_coin(memory, &change.coins, &key)? {
                return change.coin().map(coin_of).transpose();
            }
            at += 1;
        }
        Ok(None)
    }

    /// Returns what a script holds. Reads a filter block for each span or change, and where one
    /// says maybe, fences and mostly one leaf.
    ///
    /// # Errors
    /// [`StoreError`] when a run is damaged.
    pub fn balance<M: Memory>(
        &self,
        memory: &M,
        script: &ScriptHash,
    ) -> Result<Balance, StoreError> {
        let groups = self.groups(memory, &ScriptKey::from(script))?;
        let changes = groups.iter().map(|group| group.change);
        let sum = changes.fold(BalanceChange::default(), BalanceChange::and);
        Ok(Balance {
            satoshi: sum.satoshi,
            coins: sum.coins,
        })
    }

    /// Returns up to `limit` coins of a script in list order, from a place (included) on. Holds a
    /// leaf for each change that has the script, and reads nothing of its coins before the place.
    ///
    /// # Errors
    /// [`StoreError`] when a run is damaged.
    pub fn coins_of<M: Memory>(
        &self,
        memory: &M,
        script: &ScriptHash,
        from: Option<(Height, OutPoint)>,
        limit: usize,
    ) -> Result<Vec<ListedCoin>, StoreError> {
        let mut groups = self.groups(memory, &ScriptKey::from(script))?;
        if let Some((height, outpoint)) = from {
            let place = Place::new(height, OutpointKey::from(&outpoint));
            for group in &mut groups {
                group.cursor.skip_to(memory, &place)?;
            }
        }
        let mut found = Vec::new();
        while found.len() < limit {
            // Oldest first: what follows a put can only be its spend.
            let cursors = groups.iter_mut().rev().map(|group| &mut group.cursor);
            match merge_place(memory, cursors)? {
                None => break,
                Some((_, None)) => {}
                Some((place, Some(ListChange::Put { value, coinbase }))) => {
                    found.push(ListedCoin {
                        outpoint: OutPoint::from(&place.outpoint),
                        value,
                        height: place.height(),
                        coinbase,
                    });
                }
                Some((place, Some(ListChange::Spend))) => {
                    let detail = format!("{place:?} is spent and was never put");
                    return Err(StoreError::damaged("changes", detail));
                }
            }
        }
        Ok(found)
    }

    /// Returns the script's groups, newest first.
    fn groups<M: Memory>(
        &self,
        memory: &M,
        key: &ScriptKey,
    ) -> Result<Vec<FoundGroup>, StoreError> {
        let mut groups = Vec::new();
        let mut at = 0;
        while let Some(change) = self.changes.get(at) {
            if let Some(end) = self.skip(memory, at, &key.digest(), |span| &span.scripts)? {
                at = end;
                continue;
            }
            groups.extend(find_group(memory, &change.scripts, key)?);
            at += 1;
        }
        Ok(groups)
    }

    /// Returns where to go on when a span that begins at a change knows that the key is in none of
    /// its changes.
    fn skip<M: Memory>(
        &self,
        memory: &M,
        at: usize,
        digest: &Digest,
        filter: impl Fn(&Span) -> &Filter,
    ) -> Result<Option<usize>, StoreError> {
        let from = self.spans.partition_point(|span| span.first < at);
        let spans = self.spans.iter().skip(from);
        for span in spans.take_while(|span| span.first == at) {
            if span.end > at && !filter(span).may_contain(memory, digest)? {
                return Ok(Some(span.end));
            }
        }
        Ok(None)
    }
}

fn coin_of(coin: &PutCoin) -> Result<Coin, StoreError> {
    let script = coin.script.script();
    Ok(Coin {
        value: coin.value,
        script: script.ok_or_else(|| StoreError::damaged("coin", "its script is elsewhere"))?,
        height: coin.height,
        coinbase: coin.coinbase,
    })
}
