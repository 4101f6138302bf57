//! What can be read, on the heap: the changes of unstable blocks by id, the stable ones by height,
//! and the ways down from one to the next. Rebuilt from the manifest.

use std::collections::BTreeMap;

use bitcoin::BlockHash;
use ic_stable_structures::Memory;
use millrace_core::Height;

use crate::StoreError;
use crate::runs::change::ChangeRuns;
use crate::runs::extent::Extent;
use crate::runs::filter::Filter;
use crate::runs::header::{FILTER_BLOCK_BYTES, RunKind};
use crate::runs::key::Digest;
use crate::runs::manifest::{ChangeId, ChangeRecord, Kind, Manifest, State};
use crate::runs::read::Path;

/// Filters over a block's change and those before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub id: ChangeId,
    /// Which of the widths.
    pub width: u8,
    /// Height of the oldest block it covers.
    pub first: Height,
    /// The unstable change before that one, when the span was made.
    below: Option<ChangeId>,
    pub coins: Filter,
    pub scripts: Filter,
}

/// A change that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub id: ChangeId,
    /// Its last block.
    pub block: BlockHash,
    pub first: Height,
    pub last: Height,
    pub level: u8,
    pub runs: ChangeRuns,
    /// The unstable change before it.
    pub parent: Option<ChangeId>,
    /// Number of coins after it.
    pub utxo_count: u64,
    /// Widest first.
    pub spans: Vec<Span>,
}

/// See the module's documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Index {
    unstable: BTreeMap<ChangeId, Node>,
    by_block: BTreeMap<BlockHash, ChangeId>,
    /// Oldest first.
    stable: Vec<Node>,
}

impl Index {
    pub(super) fn open<R: Memory, M: Memory>(
        region: &R,
        manifest: &Manifest<M>,
    ) -> Result<Self, StoreError> {
        let mut index = Self::default();
        for (id, record) in manifest.stable() {
            index.push_stable(id, &record, ChangeRuns::open(region, &record)?);
        }
        let of_kind = |kind, state| {
            let records = manifest.records();
            let mut found: Vec<(ChangeId, ChangeRecord)> = records
                .filter(|(_, record)| (record.kind, record.state) == (kind, state))
                .map(|(id, record)| (id, *record))
                .collect();
            // Parents before children.
            found.sort_by_key(|(_, record)| record.last);
            found
        };
        for (id, record) in of_kind(Kind::Change, State::Unstable) {
            index.push_unstable(id, &record, ChangeRuns::open(region, &record)?);
        }
        for (id, record) in of_kind(Kind::Span, State::Unstable) {
            index.add_span(id, &record);
        }
        Ok(index)
    }

    pub(super) fn stable(&self) -> &[Node] {
        &self.stable
    }

    pub(super) fn unstable(&self) -> impl Iterator<Item = &Node> {
        self.unstable.values()
    }

    pub(super) fn unstable_len(&self) -> usize {
        self.unstable.len()
    }

    pub(super) fn of_block(&self, block: &BlockHash) -> Option<ChangeId> {
        self.by_block.get(block).copied()
    }

    /// Returns the newest stable block.
    pub(super) fn stable_tip(&self) -> Option<BlockHash> {
        self.stable.last().map(|node| node.block)
    }

    pub(super) fn stable_count(&self) -> u64 {
        self.stable.last().map_or(0, |node| node.utxo_count)
    }

    /// Returns the change of one block, unstable or not merged yet.
    pub(super) fn single(&self, id: ChangeId) -> Option<&Node> {
        let stable = || self.stable.iter().rev().take_while(|node| node.level == 0);
        self.unstable
            .get(&id)
            .or_else(|| stable().find(|node| node.id == id))
    }

    pub(super) fn push_stable(&mut self, id: ChangeId, record: &ChangeRecord, runs: ChangeRuns) {
        let before = self.stable_count();
        self.stable.push(Node::new(id, record, runs, None, before));
    }

    /// Adds the change of a block whose parent is there.
    pub(super) fn push_unstable(&mut self, id: ChangeId, record: &ChangeRecord, runs: ChangeRuns) {
        let parent = self.of_block(&record.parent);
        let below = parent.and_then(|parent| self.unstable.get(&parent));
        let before = below.map_or_else(|| self.stable_count(), |node| node.utxo_count);
        let node = Node::new(id, record, runs, parent, before);
        self.by_block.insert(record.block, id);
        self.unstable.insert(id, node);
    }

    /// Adds span filters to the change of their last block. Returns whether there is one.
    pub(super) fn add_span(&mut self, id: ChangeId, record: &ChangeRecord) -> bool {
        let Some(last) = self.last_single(record) else {
            return false;
        };
        let oldest = self.down_from(last).find(|node| node.first == record.first);
        let below = oldest.and_then(|node| node.parent);
        let filter = |extent: Extent| {
            let blocks = extent.length / FILTER_BLOCK_BYTES as u64;
            Filter::new(extent, u32::try_from(blocks).unwrap_or(u32::MAX))
        };
        let span = Span {
            id,
            width: record.level,
            first: record.first,
            below,
            coins: filter(record.coins),
            scripts: filter(record.scripts),
        };
        let Some(node) = self.single_mut(last) else {
            return false;
        };
        node.spans.push(span);
        node.spans.sort_by_key(|span| std::cmp::Reverse(span.width));
        true
    }

    fn last_single(&self, record: &ChangeRecord) -> Option<ChangeId> {
        self.of_block(&record.block).or_else(|| {
            let stable = self.stable.iter().rev();
            let mut singles = stable.take_while(|node| node.level == 0);
            singles
                .find(|node| node.block == record.block)
                .map(|node| node.id)
        })
    }

    fn single_mut(&mut self, id: ChangeId) -> Option<&mut Node> {
        let stable = self.stable.iter_mut().rev();
        let mut singles = stable.take_while(|node| node.level == 0);
        self.unstable
            .get_mut(&id)
            .or_else(|| singles.find(|node| node.id == id))
    }

    /// Moves the oldest unstable change to the stable ones.
    pub(super) fn retire(&mut self, id: ChangeId) {
        if let Some(mut node) = self.unstable.remove(&id) {
            self.by_block.remove(&node.block);
            node.parent = None;
            self.stable.push(node);
        }
    }

    /// Removes an unstable change; returns the ids of its spans.
    pub(super) fn remove_unstable(&mut self, id: ChangeId) -> Vec<ChangeId> {
        let Some(node) = self.unstable.remove(&id) else {
            return Vec::new();
        };
        self.by_block.remove(&node.block);
        node.spans.iter().map(|span| span.id).collect()
    }

    /// Moves a stable change to the next level; returns the ids of its spans.
    pub(super) fn promote(&mut self, id: ChangeId) -> Vec<ChangeId> {
        let Some(node) = self.stable.iter_mut().find(|node| node.id == id) else {
            return Vec::new();
        };
        node.level = node.level.saturating_add(1);
        let spans = std::mem::take(&mut node.spans);
        spans.iter().map(|span| span.id).collect()
    }

    /// Puts a merge in the place of stable changes that follow each other; returns the ids of their
    /// spans.
    pub(super) fn swap(
        &mut self,
        inputs: &[ChangeId],
        id: ChangeId,
        record: &ChangeRecord,
        runs: ChangeRuns,
    ) -> Vec<ChangeId> {
        let is_input = |node: &Node| inputs.contains(&node.id);
        let Some(at) = self.stable.iter().position(is_input) else {
            return Vec::new();
        };
        let before = at.checked_sub(1).and_then(|older| self.stable.get(older));
        let before = before.map_or(0, |node| node.utxo_count);
        let node = Node::new(id, record, runs, None, before);
        let end = at + inputs.len().min(self.stable.len() - at);
        let removed = self.stable.splice(at..end, [node]);
        removed
            .flat_map(|node| node.spans)
            .map(|span| span.id)
            .collect()
    }

    /// Returns the changes from one down to the oldest of all.
    pub(super) fn down_from(&self, id: ChangeId) -> impl Iterator<Item = &Node> {
        let first = match self.unstable.get(&id) {
            Some(_) => At::Unstable(id),
            None => {
                let at = self.stable.iter().position(|node| node.id == id);
                At::Stable(at.map_or(0, |at| at + 1))
            }
        };
        let mut at = first;
        std::iter::from_fn(move || {
            let node = self.node(at)?;
            at = self.below(node.parent, node.first);
            Some(node)
        })
    }

    /// Returns whether both describe the same changes; ways down to what became stable since are the
    /// same as none.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.without_stale_ways() == other.without_stale_ways()
    }

    fn without_stale_ways(&self) -> Self {
        let mut copy = self.clone();
        let is_there = |id: &ChangeId| self.unstable.contains_key(id);
        for node in copy.unstable.values_mut().chain(&mut copy.stable) {
            node.parent = node.parent.filter(is_there);
            for span in &mut node.spans {
                span.below = span.below.filter(is_there);
            }
        }
        copy
    }

    /// Returns the way down from a tip: an unstable block, or the newest stable one.
    pub(super) fn walk(&self, tip: &BlockHash) -> Option<Walk<'_>> {
        let at = match self.of_block(tip) {
            Some(id) => At::Unstable(id),
            None if self.stable_tip() == Some(*tip) => At::Stable(self.stable.len()),
            None => return None,
        };
        Some(Walk { index: self, at })
    }

    /// Returns the newest change of a chain, below a height, given the unstable change that was there
    /// once.
    pub(super) fn node_below(&self, parent: Option<ChangeId>, first: Height) -> Option<&Node> {
        self.node(self.below(parent, first))
    }

    fn node(&self, at: At) -> Option<&Node> {
        match at {
            At::Unstable(id) => self.unstable.get(&id),
            At::Stable(left) => self.stable.get(left.checked_sub(1)?),
        }
    }

    /// Returns where the blocks below a height are: in the unstable change before them, or in a
    /// stable one, which a merge may have made wider since.
    fn below(&self, parent: Option<ChangeId>, first: Height) -> At {
        match parent.filter(|parent| self.unstable.contains_key(parent)) {
            Some(parent) => At::Unstable(parent),
            None => At::Stable(self.stable.partition_point(|node| node.first < first)),
        }
    }
}

impl Node {
    fn new(
        id: ChangeId,
        record: &ChangeRecord,
        runs: ChangeRuns,
        parent: Option<ChangeId>,
        before: u64,
    ) -> Self {
        Self {
            id,
            block: record.block,
            first: record.first,
            last: record.last,
            level: record.level,
            runs,
            parent,
            utxo_count: before
                .saturating_add(record.puts)
                .saturating_sub(record.spends),
            spans: Vec::new(),
        }
    }

    /// Returns the bytes of its runs.
    pub(super) const fn bytes(&self) -> u64 {
        let (coins, scripts) = (self.runs.coins.extent(), self.runs.scripts.extent());
        coins.length.saturating_add(scripts.length)
    }

    /// Returns the widest span that knows that a key is in none of its changes.
    fn passing_span<M: Memory>(
        &self,
        memory: &M,
        kind: RunKind,
        digest: &Digest,
    ) -> Result<Option<&Span>, StoreError> {
        for span in &self.spans {
            let filter = match kind {
                RunKind::Coins => &span.coins,
                RunKind::Scripts => &span.scripts,
            };
            if !filter.may_contain(memory, digest)? {
                return Ok(Some(span));
            }
        }
        Ok(None)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Unstable(ChangeId),
    /// So many stable changes are left.
    Stable(usize),
}

/// The way from a tip to the oldest change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk<'a> {
    index: &'a Index,
    at: At,
}

impl<'a> Walk<'a> {
    /// Returns the next change, whatever spans know.
    pub(super) fn peek(&self) -> Option<&'a Node> {
        self.index.node(self.at)
    }
}

impl<'a> Path<'a> for Walk<'a> {
    fn next<M: Memory>(
        &mut self,
        memory: &M,
        kind: RunKind,
        digest: &Digest,
    ) -> Result<Option<&'a ChangeRuns>, StoreError> {
        while let Some(node) = self.peek() {
            match node.passing_span(memory, kind, digest)? {
                Some(span) => self.at = self.index.below(span.below, span.first),
                None => {
                    self.at = self.index.below(node.parent, node.first);
                    return Ok(Some(&node.runs));
                }
            }
        }
        Ok(None)
    }
}
