//! Looks up the coins that a block spends, all of them together: change by change, newest first, and
//! in each in the order of keys, so that a page of a filter, or a leaf, is read once for all that it
//! can say. A coin alone would read a page of each change.
//!
//! Changes may become stable or be merged between two steps. A look-up remembers no place in a list but
//! the height it came down to: whatever change has the block below it is the next, and a wider one that
//! took the place of the one it stopped in is asked from its first key on.

use std::cell::Cell;

use bitcoin::{BlockHash, OutPoint};
use ic_stable_structures::Memory;
use millrace_core::Height;
use millrace_core::delta::{PriorCoin, PriorCoins};

use super::index::Node;
use super::{Coins, Progress, View};
use crate::StoreError;
use crate::runs::coin_cursor::{LeafCache, find_in_leaves};
use crate::runs::coin_entry::{CoinChange, PutCoin};
use crate::runs::filter::FilterReader;
use crate::runs::key::OutpointKey;
use crate::runs::manifest::ChangeId;

/// What finding a key in a run costs, in units of asking a filter.
const FIND_UNITS: usize = 32;

/// What a [`Resolver`] keeps of a coin.
pub trait Kept: Sized {
    /// Returns it.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when the coin's script is not there.
    fn of(coin: &PutCoin) -> Result<Self, StoreError>;
}

impl Kept for PriorCoin {
    fn of(coin: &PutCoin) -> Result<Self, StoreError> {
        let known = coin.script.lock_and_key();
        let (lock, script) =
            known.ok_or_else(|| StoreError::damaged("coin", "its script is elsewhere"))?;
        Ok(Self {
            satoshi: coin.value.to_sat(),
            height: coin.height,
            coinbase: coin.coinbase,
            lock,
            script,
        })
    }
}

impl Kept for PutCoin {
    fn of(coin: &Self) -> Result<Self, StoreError> {
        Ok(coin.clone())
    }
}

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer<T> {
    /// Nothing yet; nothing at all once every change was asked.
    Unknown,
    /// The newest change that has it spends it.
    Spent,
    /// The newest change that has it puts this coin.
    Coin(T),
}

/// A change that is being asked.
#[derive(Clone, Debug)]
struct Asking {
    change: ChangeId,
    filter: FilterReader,
    /// The next key.
    next: usize,
}

/// What comes of going on in the keys.
enum Next {
    /// A key, and its index.
    Key(usize, OutpointKey),
    /// The units or the keys are used up.
    End(Progress),
}

/// Look-ups under way, at one tip. About 100 bytes for each key; lost, they are made again.
#[derive(Clone, Debug)]
pub struct Resolver<T = PriorCoin> {
    tip: BlockHash,
    /// In order.
    keys: Vec<OutpointKey>,
    /// By key.
    answers: Vec<Answer<T>>,
    unknown: usize,
    /// The oldest change that was asked: its parent and its first height.
    below: Option<(Option<ChangeId>, Height)>,
    asking: Option<Asking>,
    leaf: LeafCache,
}

/// Coins that a [`Resolver`] looked up, and all others one by one.
pub struct ResolvedCoins<'a, M: Memory> {
    resolver: &'a Resolver,
    /// The key after the last one asked for.
    next: Cell<usize>,
    view: View<'a, M>,
}

impl<T: Kept> Resolver<T> {
    /// Starts to look up coins at a tip, keeping what is wanted of each.
    pub(super) fn keeping(tip: BlockHash, outpoints: impl Iterator<Item = OutPoint>) -> Self {
        let mut keys: Vec<OutpointKey> = outpoints
            .map(|outpoint| OutpointKey::from(&outpoint))
            .collect();
        // Mostly in order, which this sort makes use of.
        keys.sort();
        keys.dedup();
        let count = keys.len();
        Self {
            tip,
            answers: std::iter::repeat_with(|| Answer::Unknown)
                .take(count)
                .collect(),
            unknown: count,
            keys,
            below: None,
            asking: None,
            leaf: LeafCache::default(),
        }
    }

    /// Does up to `budget` units of work (at least one): asking a filter is one, some hundred
    /// instructions; finding a key in a run is as many as 32.
    ///
    /// Changes may have become stable or been merged since the last step.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when the tip cannot be read, [`StoreError::Damaged`].
    pub fn step<M: Memory>(
        &mut self,
        coins: &Coins<M>,
        budget: usize,
    ) -> Result<Progress, StoreError> {
        let mut left = budget.max(1);
        loop {
            let node = match self.below {
                None => {
                    let walk = coins.index.walk(&self.tip);
                    let walk = walk.ok_or_else(|| StoreError::missing("change of", self.tip))?;
                    walk.changes().next()
                }
                Some((parent, first)) => coins.index.node_below(parent, first),
            };
            let Some(node) = node.filter(|_| self.unknown > 0) else {
                // What is left is nowhere.
                return Ok(Progress::Done);
            };
            if self.ask(&coins.region, node, &mut left)? == Progress::More {
                return Ok(Progress::More);
            }
            self.below = Some((node.parent, node.first));
        }
    }

    /// Returns the outpoints found so far.
    #[cfg(test)]
    pub(super) fn found(&self) -> Vec<OutPoint> {
        let answers = self.keys.iter().zip(&self.answers);
        let coins = answers.filter(|(_, answer)| matches!(answer, Answer::Coin(_)));
        coins.map(|(key, _)| OutPoint::from(key)).collect()
    }

    /// Returns what was found, once all steps are done: each outpoint in order, with its coin if there is
    /// one.
    pub(super) fn into_answers(self) -> impl Iterator<Item = (OutpointKey, Option<T>)> {
        let answers = self.answers.into_iter().map(|answer| match answer {
            Answer::Coin(coin) => Some(coin),
            Answer::Unknown | Answer::Spent => None,
        });
        self.keys.into_iter().zip(answers)
    }

    /// Asks a change for as many keys as there are units.
    fn ask<M: Memory>(
        &mut self,
        region: &M,
        node: &Node,
        left: &mut usize,
    ) -> Result<Progress, StoreError> {
        let mut asking = match self.asking.take() {
            Some(asking) if asking.change == node.id => asking,
            _ => {
                self.leaf.clear();
                Asking {
                    change: node.id,
                    filter: FilterReader::new(node.runs.coins.filter(), self.unknown),
                    next: 0,
                }
            }
        };
        let progress = self.find(region, node, &mut asking, left)?;
        if progress == Progress::More {
            self.asking = Some(asking);
        }
        Ok(progress)
    }

    /// Looks up keys in a change.
    fn find<M: Memory>(
        &mut self,
        region: &M,
        node: &Node,
        asking: &mut Asking,
        left: &mut usize,
    ) -> Result<Progress, StoreError> {
        loop {
            let (index, key) = match self.next_key(asking, left) {
                Next::Key(index, key) => (index, key),
                Next::End(progress) => return Ok(progress),
            };
            if !asking.filter.may_contain(region, &key.digest())? {
                continue;
            }
            *left = left.saturating_sub(FIND_UNITS);
            let change = find_in_leaves(region, &node.runs.coins, &key, &mut self.leaf)?;
            if let (Some(change), Some(answer)) = (change, self.answers.get_mut(index)) {
                *answer = Answer::of(&change)?;
                self.unknown -= 1;
            }
        }
    }

    /// Returns the next key of which nothing is known yet.
    fn next_key(&self, asking: &mut Asking, left: &mut usize) -> Next {
        while let Some(answer) = self.answers.get(asking.next) {
            if *left == 0 {
                return Next::End(Progress::More);
            }
            *left -= 1;
            let index = asking.next;
            asking.next += 1;
            if matches!(answer, Answer::Unknown)
                && let Some(key) = self.keys.get(index)
            {
                return Next::Key(index, *key);
            }
        }
        Next::End(Progress::Done)
    }
}

impl Resolver {
    /// Starts to look up coins at a tip.
    pub fn new(tip: BlockHash, outpoints: impl Iterator<Item = OutPoint>) -> Self {
        Self::keeping(tip, outpoints)
    }

    /// Returns the set at the tip, to be read once all steps are done.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when the tip cannot be read.
    pub fn coins<'a, M: Memory>(
        &'a self,
        coins: &'a Coins<M>,
    ) -> Result<ResolvedCoins<'a, M>, StoreError> {
        let view = coins.view(&self.tip);
        Ok(ResolvedCoins {
            resolver: self,
            next: Cell::new(0),
            view: view.ok_or_else(|| StoreError::missing("change of", self.tip))?,
        })
    }
}

impl<T: Kept> Answer<T> {
    fn of(change: &CoinChange) -> Result<Self, StoreError> {
        change
            .coin()
            .map_or(Ok(Self::Spent), |coin| T::of(coin).map(Self::Coin))
    }
}

impl<M: Memory> PriorCoins for ResolvedCoins<'_, M> {
    type Error = StoreError;

    fn prior(&self, outpoint: &OutPoint) -> Result<Option<PriorCoin>, StoreError> {
        let key = OutpointKey::from(outpoint);
        let keys = &self.resolver.keys;
        let next = self.next.get();
        let at = if keys.get(next) == Some(&key) {
            next
        } else {
            let Ok(at) = keys.binary_search(&key) else {
                return Ok(self.view.coin(outpoint)?.as_ref().map(PriorCoin::from));
            };
            at
        };
        self.next.set(at + 1);
        Ok(match self.resolver.answers.get(at) {
            Some(Answer::Coin(coin)) => Some(*coin),
            _ => None,
        })
    }
}
