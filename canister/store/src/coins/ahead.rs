//! Merges blocks of the best chain before they are stable, so that a read meets a dozen changes instead
//! of hundreds: [`FAN_OUT`] blocks that end where the next height is a multiple of that, and as many such
//! merges again. They would be merged anyway once they are stable; then the merge made ahead takes their
//! place by a swap of records. Until then they stay, for tips among them and for forks.
//!
//! A block or two of another branch cannot undo much of this work: what is merged is buried under
//! [`DEPTHS`] further blocks of the best chain, each with its proof of work.

use bitcoin::BlockHash;
use ic_stable_structures::Memory;

use super::Coins;
use super::compact::{FAN_OUT, MAX_LEVEL_CHANGES, Merging};
use super::index::{Node, group_blocks};
use crate::StoreError;
use crate::runs::manifest::{ChangeId, State};

/// Levels whose changes are merged ahead.
const LEVELS: usize = 2;

/// Blocks of the best chain on top of a group, by the level of its changes. One more lets every
/// replacement of the best block by another one pass, which nearly all reorganizations are. A wasted
/// merge of 64 blocks costs eight times as much as one of eight, and takes an attacker nine blocks: for
/// either width, less than what connecting the attacker's blocks costs.
const DEPTHS: [u32; LEVELS] = [1, 8];

/// Groups of a level that wait to be merged ahead while further blocks are connected. With so many,
/// merging goes before connecting: looking up what blocks spend would cost more with each block.
pub const MAX_WAITING_GROUPS: usize = 4;

/// What waits to be merged ahead, by the level of what is merged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Waiting([Groups; LEVELS]);

/// Groups of one level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Groups {
    count: usize,
    /// The changes of the oldest one, oldest first.
    oldest: Option<[ChangeId; FAN_OUT]>,
}

impl Waiting {
    /// Returns the lowest level that has a group.
    pub(super) fn lowest(&self) -> Option<u8> {
        let mut levels = (0..).zip(&self.0);
        let found = levels.find(|(_, groups)| groups.oldest.is_some());
        found.map(|(level, _)| level)
    }

    /// Returns the changes of a level's oldest group, or none.
    pub(super) fn inputs(&self, level: u8) -> Vec<ChangeId> {
        let groups = self.0.get(usize::from(level));
        let oldest = groups.and_then(|groups| groups.oldest);
        oldest.map_or_else(Vec::new, |ids| ids.to_vec())
    }
}

impl<M: Memory> Coins<M> {
    /// Says which block is the best one. Costs a comparison if it was before.
    pub fn follow(&mut self, tip: BlockHash) {
        if self.tip.replace(tip) != Some(tip) {
            self.waiting.set(None);
        }
    }

    /// Returns whether so much waits to be merged ahead that it goes before connecting.
    pub fn must_merge_ahead(&self) -> bool {
        let is_much = |groups: &Groups| groups.count >= MAX_WAITING_GROUPS;
        self.merging == Merging::Possible && self.waiting().0.iter().any(is_much)
    }

    /// Returns what waits to be merged ahead. Looks at each unstable block of the best chain once after
    /// each change of what there is.
    pub(super) fn waiting(&self) -> Waiting {
        let waiting = self.waiting.get().unwrap_or_else(|| self.find_waiting());
        self.waiting.set(Some(waiting));
        waiting
    }

    fn find_waiting(&self) -> Waiting {
        let mut waiting = Waiting::default();
        let Some(tip) = self.tip else {
            return waiting;
        };
        let mut path: Vec<&Node> = self.index.unstable_from(&tip).collect();
        path.reverse();
        let Some(height) = path.last().map(|node| node.last.get()) else {
            return waiting;
        };
        for ((level, depth), groups) in (0..).zip(DEPTHS).zip(&mut waiting.0) {
            for (at, node) in path.iter().enumerate() {
                let is_deep = node.last.get().saturating_add(depth) <= height;
                if is_deep
                    && self.lacks_merge(node, level)
                    && let Some(inputs) = group_ending(&path, at, level)
                {
                    groups.count += 1;
                    groups.oldest.get_or_insert(inputs);
                }
            }
        }
        waiting
    }

    /// Returns whether changes of a level end a group with a block, and are not being merged yet.
    fn lacks_merge(&self, node: &Node, level: u8) -> bool {
        let begun = self.merges.get(&level);
        node.ends_group(level)
            && node.at_level(level + 1).is_none()
            && begun.is_none_or(|merge| merge.record.block != node.block)
    }

    /// Gives up the merge that a change takes part in, if there is one.
    pub(super) fn give_up_merge_of(&mut self, change: ChangeId) {
        let mut merges = self.merges.iter();
        let found = merges.find(|(_, merge)| merge.inputs.contains(&change));
        if let Some(level) = found.map(|(level, _)| *level)
            && let Some(merge) = self.merges.remove(&level)
        {
            self.forget(merge.output);
        }
    }

    /// Gives up a merge of unstable blocks: one under way, else the widest. Returns whether there was one.
    pub(super) fn give_up_merge_ahead(&mut self) -> bool {
        let mut merges = self.merges.values();
        let begun = merges.find(|merge| self.index.of_block(&merge.record.block).is_some());
        if let Some(input) = begun.and_then(|merge| merge.inputs.first().copied()) {
            self.give_up_merge_of(input);
        } else if let Some(ahead) = self.index.remove_widest_ahead() {
            self.give_up_merge_of(ahead);
            self.forget(ahead);
        } else {
            return false;
        }
        // They would only take the room again; the next block that is connected tries.
        self.merging = Merging::NoSpace;
        self.waiting.set(None);
        true
    }

    /// Puts merges in the place of the stable changes they are made of: of the oldest group of each
    /// level, where the next level has room.
    pub(super) fn settle(&mut self) -> Result<(), StoreError> {
        while let Some((inputs, id)) = self.next_swap() {
            let node = self.index.find(id);
            let node = node.ok_or_else(|| StoreError::missing("change", id.0))?;
            let (runs, mut record) = (node.runs, self.manifest.get(id)?);
            record.state = State::Stable;
            for extent in self.manifest.swap(&inputs, id, record)? {
                self.allocator.free(extent);
            }
            self.index.swap(&inputs, id, &record, runs);
        }
        Ok(())
    }

    /// Returns stable changes and the merge of them.
    pub(super) fn next_swap(&self) -> Option<(Vec<ChangeId>, ChangeId)> {
        self.levels().find_map(|(level, _)| {
            let group = self.index.ready_group(level)?;
            let above = level.saturating_add(1);
            let mut levels = self.levels().filter(|(other, _)| *other == above);
            if levels.any(|(_, count)| count >= MAX_LEVEL_CHANGES) {
                return None;
            }
            let (oldest, newest) = (group.first()?, group.last()?);
            let merge = newest.aheads.iter().find(|ahead| ahead.level == above);
            let merge = merge.filter(|merge| merge.first == oldest.first)?;
            Some((group.iter().map(|node| node.id).collect(), merge.id))
        })
    }
}

/// Returns the changes of a level in the group that ends at a place of a path, oldest first; `None`
/// where the path does not have all of its blocks, or one is not merged yet.
fn group_ending(path: &[&Node], at: usize, level: u8) -> Option<[ChangeId; FAN_OUT]> {
    let blocks = usize::try_from(group_blocks(level)).ok()?;
    let first = (at + 1).checked_sub(blocks)?;
    let each = blocks / FAN_OUT;
    let mut inputs = [ChangeId(0); FAN_OUT];
    for (index, input) in inputs.iter_mut().enumerate() {
        let node = path.get(first + (index + 1) * each - 1)?;
        *input = node.at_level(level)?.id;
    }
    Some(inputs)
}
