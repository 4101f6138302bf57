//! Looks up the coins that a block spends, all of them together: change by change, newest first, and
//! in each in the order of keys, so that a page of a filter, or a leaf, is read once for all that it
//! can say. A coin alone would read a page of each change.

use bitcoin::{BlockHash, OutPoint};
use ic_stable_structures::Memory;
use millrace_core::Height;
use millrace_core::delta::{Coin, CoinView};

use super::index::Node;
use super::{Coins, Progress, View};
use crate::StoreError;
use crate::runs::coin_cursor::{LeafCache, find_in_leaves};
use crate::runs::coin_entry::{CoinChange, PutCoin};
use crate::runs::filter::FilterReader;
use crate::runs::key::OutpointKey;
use crate::runs::manifest::ChangeId;
use crate::runs::read::coin_of;

/// What finding a key in a run costs, in units of asking a filter.
const FIND_UNITS: usize = 32;

/// A key that was not found yet.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    key: OutpointKey,
    /// A span knows that nothing from this height up has it.
    skip: Height,
}

/// A change that is being asked.
#[derive(Clone, Debug)]
struct Asking {
    change: ChangeId,
    filter: FilterReader,
    /// Widest first, with the heights from which on they cover.
    spans: Vec<(Height, FilterReader)>,
    /// The next key, and how many of those before are still wanted: they are in front.
    next: usize,
    kept: usize,
}

/// Look-ups under way, at one tip. About 40 bytes for each key, and 100 for each coin found; lost,
/// they are made again.
#[derive(Clone, Debug)]
pub struct Resolver {
    tip: BlockHash,
    /// In order.
    wanted: Vec<Wanted>,
    /// By key once all are found.
    pub(super) found: Vec<(OutpointKey, PutCoin)>,
    /// The oldest change that was asked: its parent and its first height.
    below: Option<(Option<ChangeId>, Height)>,
    asking: Option<Asking>,
    leaf: LeafCache,
}

/// Coins that a [`Resolver`] looked up, and all others one by one.
pub struct ResolvedCoins<'a, M: Memory> {
    found: &'a [(OutpointKey, PutCoin)],
    /// In order.
    missing: &'a [Wanted],
    view: View<'a, M>,
}

impl Resolver {
    /// Starts to look up coins at a tip.
    pub fn new(tip: BlockHash, outpoints: impl Iterator<Item = OutPoint>) -> Self {
        let keys = outpoints.map(|outpoint| Wanted {
            key: OutpointKey::from(&outpoint),
            skip: Height::MAX,
        });
        let mut wanted: Vec<Wanted> = keys.collect();
        wanted.sort_unstable_by_key(|wanted| wanted.key);
        wanted.dedup_by_key(|wanted| wanted.key);
        Self {
            tip,
            wanted,
            found: Vec::new(),
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
            let Some(node) = node.filter(|_| !self.wanted.is_empty()) else {
                // What is left is nowhere.
                self.found.sort_unstable_by_key(|(key, _)| *key);
                return Ok(Progress::Done);
            };
            if self.ask(&coins.region, node, &mut left)? == Progress::More {
                return Ok(Progress::More);
            }
            self.below = Some((node.parent, node.first));
        }
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
            found: &self.found,
            missing: &self.wanted,
            view: view.ok_or_else(|| StoreError::missing("change of", self.tip))?,
        })
    }

    /// Asks a change for the wanted keys, as many as there are units for.
    fn ask<M: Memory>(
        &mut self,
        region: &M,
        node: &Node,
        left: &mut usize,
    ) -> Result<Progress, StoreError> {
        let same = self.asking.take_if(|asking| asking.change == node.id);
        let mut asking = match same {
            Some(asking) => asking,
            None => {
                self.drop_found();
                self.leaf.clear();
                Asking::new(node, self.wanted.len())
            }
        };
        while let Some(wanted) = self.wanted.get_mut(asking.next) {
            if *left == 0 {
                self.asking = Some(asking);
                return Ok(Progress::More);
            }
            *left -= 1;
            let mut is_found = false;
            if asking.may_have(region, node, wanted)? {
                *left = left.saturating_sub(FIND_UNITS);
                let run = &node.runs.coins;
                let change = find_in_leaves(region, run, &wanted.key, &mut self.leaf)?;
                is_found = change.is_some();
                if let Some(CoinChange::Put(coin) | CoinChange::Replace(coin)) = change {
                    self.found.push((wanted.key, coin));
                }
            }
            if !is_found {
                self.wanted.swap(asking.kept, asking.next);
                asking.kept += 1;
            }
            asking.next += 1;
        }
        self.asking = Some(asking);
        self.drop_found();
        Ok(Progress::Done)
    }

    /// Closes the gap that found keys left, and ends the asking.
    fn drop_found(&mut self) {
        if let Some(asking) = self.asking.take() {
            let end = asking.next.min(self.wanted.len());
            self.wanted.drain(asking.kept.min(end)..end);
        }
    }
}

impl Asking {
    fn new(node: &Node, keys: usize) -> Self {
        let spans = node.spans.iter();
        Self {
            change: node.id,
            filter: FilterReader::new(node.runs.coins.filter(), keys),
            spans: spans
                .map(|span| (span.first, FilterReader::new(span.coins, keys)))
                .collect(),
            next: 0,
            kept: 0,
        }
    }

    fn may_have<M: Memory>(
        &mut self,
        region: &M,
        node: &Node,
        wanted: &mut Wanted,
    ) -> Result<bool, StoreError> {
        if node.first >= wanted.skip {
            return Ok(false);
        }
        let digest = wanted.key.digest();
        for (first, filter) in &mut self.spans {
            if !filter.may_contain(region, &digest)? {
                wanted.skip = *first;
                return Ok(false);
            }
        }
        self.filter.may_contain(region, &digest)
    }
}

impl<M: Memory> CoinView for ResolvedCoins<'_, M> {
    type Error = StoreError;

    fn coin(&self, outpoint: &OutPoint) -> Result<Option<Coin>, StoreError> {
        let key = OutpointKey::from(outpoint);
        if let Ok(at) = self.found.binary_search_by_key(&key, |(key, _)| *key) {
            let coin = self.found.get(at);
            return coin.map(|(_, coin)| coin_of(coin)).transpose();
        }
        let missing = self.missing.binary_search_by_key(&key, |wanted| wanted.key);
        match missing {
            Ok(_) => Ok(None),
            Err(_) => self.view.coin(outpoint),
        }
    }
}
