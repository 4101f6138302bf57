//! What can be read, on the heap: the changes of unstable blocks by id, the stable ones by height,
//! merges made ahead at the change they end with, and the ways down from one to the next. Rebuilt
//! from the manifest.
//!
//! A merge made ahead ends with one block, and all its blocks are on every chain through that one:
//! a reader that comes to this block takes the merge, and goes on below its first block.

use std::collections::BTreeMap;

use bitcoin::BlockHash;
use ic_stable_structures::Memory;
use millrace_core::Height;

use super::compact::FAN_OUT;
use crate::StoreError;
use crate::runs::change::ChangeRuns;
use crate::runs::manifest::{ChangeId, ChangeRecord, Manifest, State};

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
    /// Merges made ahead that end with its last block, widest first.
    pub aheads: Vec<Node>,
}

/// See the module's documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Index {
    unstable: BTreeMap<ChangeId, Node>,
    by_block: BTreeMap<BlockHash, ChangeId>,
    /// Oldest first.
    stable: Vec<Node>,
    /// Pieces of a set that is being imported, in order; nobody reads them.
    imported: Vec<Node>,
}

impl Index {
    /// Reads what a manifest names. Returns, too, merges made ahead that are damaged, or whose blocks are not
    /// there: what they are made of is, so that they can go.
    pub(super) fn open<R: Memory, M: Memory>(
        region: &R,
        manifest: &Manifest<M>,
    ) -> Result<(Self, Vec<ChangeId>), StoreError> {
        let mut index = Self::default();
        let mut useless = Vec::new();
        for (id, record) in manifest.stable() {
            index.push_stable(id, &record, ChangeRuns::open(region, &record)?);
        }
        let of_state = |state| {
            let records = manifest.records();
            let mut found: Vec<(ChangeId, ChangeRecord)> = records
                .filter(|(_, record)| record.state == state)
                .map(|(id, record)| (id, *record))
                .collect();
            // Parents before children.
            found.sort_by_key(|(_, record)| record.last);
            found
        };
        for (id, record) in of_state(State::Unstable) {
            index.push_unstable(id, &record, ChangeRuns::open(region, &record)?);
        }
        for (id, record) in of_state(State::Imported) {
            index.add_imported(id, &record, ChangeRuns::open(region, &record)?);
        }
        for (id, record) in of_state(State::Ahead) {
            let runs = ChangeRuns::open(region, &record);
            let is_added = runs.is_ok_and(|runs| index.add_ahead(id, &record, runs));
            if !is_added {
                useless.push(id);
            }
        }
        Ok((index, useless))
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

    /// Returns a change of either kind, or one merged ahead.
    pub(super) fn find(&self, id: ChangeId) -> Option<&Node> {
        let aheads = || {
            let nodes = self.unstable.values().chain(&self.stable);
            nodes.flat_map(|node| &node.aheads)
        };
        let stable = || self.stable.iter().find(|node| node.id == id);
        self.unstable
            .get(&id)
            .or_else(stable)
            .or_else(|| self.imported.iter().find(|node| node.id == id))
            .or_else(|| aheads().find(|node| node.id == id))
    }

    /// Returns the changes that a merge of a level is made of, oldest first; `None` where one is not
    /// there.
    pub(super) fn inputs_of(&self, record: &ChangeRecord) -> Option<Vec<ChangeId>> {
        let level = record.level.checked_sub(1)?;
        let mut inputs = Vec::new();
        let mut at = self.end_of(record)?;
        loop {
            let change = self.node(at)?.at_level(level)?;
            inputs.push(change.id);
            if change.first <= record.first {
                inputs.reverse();
                return (change.first == record.first).then_some(inputs);
            }
            at = self.below(change.parent, change.first);
        }
    }

    /// Returns where the last block of a merge is: in an unstable change, or in a stable one of a lower
    /// level.
    fn end_of(&self, record: &ChangeRecord) -> Option<At> {
        if let Some(id) = self.of_block(&record.block) {
            return Some(At::Unstable(id));
        }
        let mut places = (1..=self.stable.len()).rev();
        let place = places.find(|place| {
            let node = place.checked_sub(1).and_then(|at| self.stable.get(at));
            node.is_some_and(|node| node.block == record.block && node.level < record.level)
        });
        place.map(At::Stable)
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

    /// Adds a merge of changes that are not all stable to the one it ends with. Returns whether they
    /// are there.
    pub(super) fn add_ahead(
        &mut self,
        id: ChangeId,
        record: &ChangeRecord,
        runs: ChangeRuns,
    ) -> bool {
        let Some(end) = self.end_of(record) else {
            return false;
        };
        let blocks = self.down(end, |node| node);
        let oldest = blocks
            .take_while(|node| node.first >= record.first)
            .last()
            .filter(|node| node.first == record.first);
        let Some((oldest, newest)) = oldest.zip(self.node(end)) else {
            return false;
        };
        let ahead = Node {
            utxo_count: newest.utxo_count,
            ..Node::new(id, record, runs, oldest.parent, 0)
        };
        let newest = newest.id;
        if let Some(node) = self.node_mut(newest) {
            node.aheads.push(ahead);
            node.aheads
                .sort_by_key(|ahead| std::cmp::Reverse(ahead.level));
        }
        true
    }

    /// Returns the pieces of a set that is being imported, in order.
    pub(super) fn imported(&self) -> &[Node] {
        &self.imported
    }

    /// Adds the next piece.
    pub(super) fn add_imported(&mut self, id: ChangeId, record: &ChangeRecord, runs: ChangeRuns) {
        self.imported.push(Node::new(id, record, runs, None, 0));
    }

    /// Returns the pieces from one number to another if all of them are there.
    pub(super) fn imported_between(&self, first: Height, last: Height) -> Vec<ChangeId> {
        let between = |node: &&Node| node.first >= first && node.last <= last;
        let nodes: Vec<&Node> = self.imported.iter().filter(between).collect();
        let ends = nodes.first().zip(nodes.last());
        let are_all = ends.is_some_and(|(from, to)| from.first == first && to.last == last);
        let ids = nodes.into_iter().map(|node| node.id);
        ids.filter(|_| are_all).collect()
    }

    /// Puts a merge in the place of pieces that follow each other.
    pub(super) fn swap_imported(
        &mut self,
        inputs: &[ChangeId],
        id: ChangeId,
        record: &ChangeRecord,
        runs: ChangeRuns,
    ) {
        self.imported.retain(|node| !inputs.contains(&node.id));
        self.add_imported(id, record, runs);
        self.imported.sort_by_key(|node| node.first);
    }

    /// Forgets all pieces.
    pub(super) fn clear_imported(&mut self) {
        self.imported.clear();
    }

    fn node_mut(&mut self, id: ChangeId) -> Option<&mut Node> {
        let stable = self.stable.iter_mut();
        self.unstable
            .get_mut(&id)
            .or_else(|| stable.rev().find(|node| node.id == id))
    }

    /// Moves the oldest unstable change to the stable ones.
    pub(super) fn retire(&mut self, id: ChangeId) {
        if let Some(mut node) = self.unstable.remove(&id) {
            self.by_block.remove(&node.block);
            node.parent = None;
            self.stable.push(node);
        }
    }

    /// Removes an unstable change; returns the merges made ahead that end with it.
    pub(super) fn remove_unstable(&mut self, id: ChangeId) -> Vec<ChangeId> {
        let Some(node) = self.unstable.remove(&id) else {
            return Vec::new();
        };
        self.by_block.remove(&node.block);
        node.aheads.iter().map(|ahead| ahead.id).collect()
    }

    /// Removes the widest merge made ahead that ends with an unstable block, and returns it.
    pub(super) fn remove_widest_ahead(&mut self) -> Option<ChangeId> {
        let with = self.unstable.values_mut();
        let with = with.max_by_key(|node| node.aheads.first().map(|ahead| ahead.level))?;
        (!with.aheads.is_empty()).then(|| with.aheads.remove(0).id)
    }

    /// Moves a stable change to the next level.
    pub(super) fn promote(&mut self, id: ChangeId) {
        if let Some(node) = self.stable.iter_mut().find(|node| node.id == id) {
            node.level = node.level.saturating_add(1);
        }
    }

    /// Puts a merge in the place of stable changes that follow each other. Wider merges made ahead that
    /// end where it does are its own from now on.
    pub(super) fn swap(
        &mut self,
        inputs: &[ChangeId],
        id: ChangeId,
        record: &ChangeRecord,
        runs: ChangeRuns,
    ) {
        let is_input = |node: &Node| inputs.contains(&node.id);
        let Some(at) = self.stable.iter().position(is_input) else {
            return;
        };
        let before = at.checked_sub(1).and_then(|older| self.stable.get(older));
        let before = before.map_or(0, |node| node.utxo_count);
        let node = Node::new(id, record, runs, None, before);
        let end = at + inputs.len().min(self.stable.len() - at);
        let last = self.stable.splice(at..end, [node]).next_back();
        if let Some((node, last)) = self.stable.get_mut(at).zip(last) {
            node.aheads = last.aheads;
            node.aheads.retain(|ahead| ahead.level > record.level);
        }
    }

    /// Returns the oldest stable changes of a level that are merged into one, if the last of them is
    /// there.
    pub(super) fn ready_group(&self, level: u8) -> Option<&[Node]> {
        let first = self.stable.iter().position(|node| node.level == level)?;
        let nodes = self.stable.get(first..)?;
        let group = |node: &Node| u64::from(node.last.get()) / group_blocks(level);
        let oldest = group(nodes.first()?);
        let is_in = |node: &&Node| node.level == level && group(node) == oldest;
        let nodes = nodes.get(..nodes.iter().take_while(is_in).count())?;
        let is_complete = nodes.last()?.ends_group(level);
        is_complete.then_some(nodes)
    }

    /// Returns the unstable changes from a block down, newest first.
    pub(super) fn unstable_from(&self, block: &BlockHash) -> impl Iterator<Item = &Node> {
        let mut next = self.of_block(block).and_then(|id| self.unstable.get(&id));
        std::iter::from_fn(move || {
            let node = next?;
            next = node.parent.and_then(|parent| self.unstable.get(&parent));
            Some(node)
        })
    }

    /// Returns the changes of blocks from one down to the oldest of all, as if none were merged ahead.
    pub(super) fn down_from(&self, id: ChangeId) -> impl Iterator<Item = &Node> {
        let at = match self.unstable.get(&id) {
            Some(_) => At::Unstable(id),
            None => {
                let at = self.stable.iter().position(|node| node.id == id);
                At::Stable(at.map_or(0, |at| at + 1))
            }
        };
        self.down(at, |node| node)
    }

    /// Returns changes from a place down to the oldest of all; `choose` says which of those that end
    /// at a place.
    fn down<'a>(
        &'a self,
        mut at: At,
        choose: fn(&'a Node) -> &'a Node,
    ) -> impl Iterator<Item = &'a Node> {
        std::iter::from_fn(move || {
            let node = choose(self.node(at)?);
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
            for ahead in &mut node.aheads {
                ahead.parent = ahead.parent.filter(is_there);
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
    /// once; the widest of those that end there.
    pub(super) fn node_below(&self, parent: Option<ChangeId>, first: Height) -> Option<&Node> {
        self.node(self.below(parent, first)).map(Node::widest)
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
            aheads: Vec::new(),
        }
    }

    /// Returns the bytes of its runs.
    pub(super) const fn bytes(&self) -> u64 {
        let (coins, scripts) = (self.runs.coins.extent(), self.runs.scripts.extent());
        coins.length.saturating_add(scripts.length)
    }

    /// Returns the widest change that ends where this one does.
    fn widest(&self) -> &Self {
        self.aheads.first().unwrap_or(self)
    }

    /// Returns the change of a level that ends where this one does.
    pub(super) fn at_level(&self, level: u8) -> Option<&Self> {
        if self.level == level {
            return Some(self);
        }
        self.aheads.iter().find(|ahead| ahead.level == level)
    }

    /// Returns whether changes of a level are merged up to its last block.
    pub(super) fn ends_group(&self, level: u8) -> bool {
        (u64::from(self.last.get()) + 1).is_multiple_of(group_blocks(level))
    }
}

/// Returns how many blocks a merge of changes of a level covers: it ends where the next height is a
/// multiple of that.
pub(super) const fn group_blocks(level: u8) -> u64 {
    (FAN_OUT as u64).saturating_pow(level as u32 + 1)
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
    /// Returns the change of the tip.
    pub(super) fn tip(&self) -> Option<&'a Node> {
        self.index.node(self.at)
    }

    /// Returns the changes from the tip to the oldest of all, the widest there are.
    pub(super) fn changes(&self) -> impl Iterator<Item = &'a Node> {
        self.index.down(self.at, Node::widest)
    }
}
