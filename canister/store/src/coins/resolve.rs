//! Looks up the coins that a block spends, all of them together: change by change, newest first, and
//! in each in the order of keys, so that a page of a filter, or a leaf, is read once for all that it
//! can say. A coin alone would read a page of each change.
//!
//! A span's filter is asked once for each key; what it lets through is a list that the changes below
//! it look at, so that a key costs nothing at the hundreds of unstable blocks that do not have it.

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

/// Keys that may be in the changes from a height up, as far as filters know.
#[derive(Clone, Debug)]
struct List {
    first: Height,
    /// Indices of keys, ascending.
    keys: Vec<u32>,
}

/// A change that is being asked.
#[derive(Clone, Debug)]
struct Asking {
    change: ChangeId,
    /// Spans that end with it, widest first, and how many of them were asked.
    spans: Vec<ChangeId>,
    spans_asked: usize,
    /// Lists there were before the first of them.
    lists: usize,
    /// Of the next span, and of the change itself after the last one.
    filter: FilterReader,
    /// The next place in the innermost list, and what the span let through.
    next: usize,
    passed: Vec<u32>,
}

/// What comes of going on in a list.
enum Next {
    /// A key, and its index.
    Key(u32, OutpointKey),
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
    /// The innermost last. The first one has all keys.
    lists: Vec<List>,
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
            lists: vec![List {
                first: Height::ZERO,
                keys: (0..count as u32).collect(),
            }],
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
                    walk.peek()
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

    /// Asks a change, and before it the spans that end with it, for as many keys as there are units.
    fn ask<M: Memory>(
        &mut self,
        region: &M,
        node: &Node,
        left: &mut usize,
    ) -> Result<Progress, StoreError> {
        let mut asking = self.go_on_asking(node);
        while let Some(span) = node.spans.get(asking.spans_asked) {
            if self.pass_span(region, &mut asking, left)? == Progress::More {
                self.asking = Some(asking);
                return Ok(Progress::More);
            }
            self.lists.push(List {
                first: span.first,
                keys: std::mem::take(&mut asking.passed),
            });
            asking.spans_asked += 1;
            asking.next = 0;
            asking.filter = self.filter_of(node, asking.spans_asked);
        }
        if self.find(region, node, &mut asking, left)? == Progress::More {
            self.asking = Some(asking);
            return Ok(Progress::More);
        }
        Ok(Progress::Done)
    }

    /// Returns where asking a change stopped, or starts with it.
    fn go_on_asking(&mut self, node: &Node) -> Asking {
        let spans: Vec<ChangeId> = node.spans.iter().map(|span| span.id).collect();
        match self.asking.take() {
            Some(asking) if asking.change == node.id && asking.spans == spans => return asking,
            // A change that goes up a level as it is loses its spans, and their filters are gone.
            Some(asking) if asking.change == node.id => self.lists.truncate(asking.lists),
            _ => {}
        }
        // A merged change reaches below spans that its blocks were in.
        let is_above = |list: &List| list.first > node.first;
        while self.lists.len() > 1 && self.lists.last().is_some_and(is_above) {
            self.lists.pop();
        }
        self.leaf.clear();
        Asking {
            change: node.id,
            spans,
            lists: self.lists.len(),
            spans_asked: 0,
            filter: self.filter_of(node, 0),
            next: 0,
            passed: Vec::new(),
        }
    }

    /// Returns what is asked after so many spans: the next one, or the change itself.
    fn filter_of(&self, node: &Node, spans_asked: usize) -> FilterReader {
        let span = node.spans.get(spans_asked).map(|span| span.coins);
        let keys = self.lists.last().map_or(0, |list| list.keys.len());
        FilterReader::new(span.unwrap_or_else(|| node.runs.coins.filter()), keys)
    }

    /// Collects the keys of the innermost list that a span may have.
    fn pass_span<M: Memory>(
        &self,
        region: &M,
        asking: &mut Asking,
        left: &mut usize,
    ) -> Result<Progress, StoreError> {
        loop {
            match self.next_key(asking, left) {
                Next::Key(index, key) => {
                    if asking.filter.may_contain(region, &key.digest())? {
                        asking.passed.push(index);
                    }
                }
                Next::End(progress) => return Ok(progress),
            }
        }
    }

    /// Looks up the keys of the innermost list in a change.
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
            if let (Some(change), Some(answer)) = (change, self.answers.get_mut(index as usize)) {
                *answer = Answer::of(&change)?;
                self.unknown -= 1;
            }
        }
    }

    /// Returns the next key of the innermost list of which nothing is known yet.
    fn next_key(&self, asking: &mut Asking, left: &mut usize) -> Next {
        let keys = self.lists.last().map_or(&[][..], |list| &list.keys);
        while let Some(index) = keys.get(asking.next).copied() {
            if *left == 0 {
                return Next::End(Progress::More);
            }
            *left -= 1;
            asking.next += 1;
            if let Some(key) = self.key(index) {
                return Next::Key(index, *key);
            }
        }
        Next::End(Progress::Done)
    }

    /// Returns a key of which nothing is known yet.
    fn key(&self, index: u32) -> Option<&OutpointKey> {
        let answer = self.answers.get(index as usize)?;
        let key = self.keys.get(index as usize);
        key.filter(|_| matches!(answer, Answer::Unknown))
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
