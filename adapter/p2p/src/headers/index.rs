//! Where each block is in the tree, by its hash.
//!
//! An open table of positions: the hashes are in the nodes already, so they are not kept twice. Block
//! hashes are uniform in the bytes used here, and choosing them costs proof of work.

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;

use super::node::Node;

const EMPTY: u32 = u32::MAX;
const MIN_SLOTS: usize = 16;

/// The index; at most half of its slots are taken.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    /// Positions; the count is zero or a power of two.
    slots: Vec<u32>,
    taken: usize,
}

impl Index {
    /// Returns the position of a block.
    pub(super) fn get(&self, hash: BlockHash, nodes: &[Node]) -> Option<u32> {
        let position = *self.slots.get(self.find(hash, nodes)?)?;
        (position != EMPTY).then_some(position)
    }

    /// Notes a node that is not in the index.
    pub(super) fn insert(&mut self, position: u32, nodes: &[Node]) {
        self.reserve(1, nodes);
        self.put(position, nodes);
        self.taken += 1;
    }

    /// Makes room for more nodes.
    pub(super) fn reserve(&mut self, more: usize, nodes: &[Node]) {
        let wanted = self.taken.saturating_add(more).saturating_mul(2);
        if wanted <= self.slots.len() {
            return;
        }
        let slots = wanted.next_power_of_two().max(MIN_SLOTS);
        let former = core::mem::replace(&mut self.slots, vec![EMPTY; slots]);
        for position in former.into_iter().filter(|position| *position != EMPTY) {
            self.put(position, nodes);
        }
    }

    fn put(&mut self, position: u32, nodes: &[Node]) {
        let Some(node) = nodes.get(position as usize) else {
            return;
        };
        let slot = self.find(node.hash(), nodes);
        if let Some(slot) = slot.and_then(|slot| self.slots.get_mut(slot)) {
            *slot = position;
        }
    }

    /// Returns the slot of a block, or the empty one where it belongs. `None` without slots.
    fn find(&self, hash: BlockHash, nodes: &[Node]) -> Option<usize> {
        let mask = self.slots.len().checked_sub(1)?;
        let bytes = hash.as_byte_array().first_chunk::<8>()?;
        let mut slot = usize::try_from(u64::from_le_bytes(*bytes) & mask as u64).ok()?;
        // Half of the slots are empty, so the search ends.
        loop {
            let position = *self.slots.get(slot)?;
            let is_here = nodes
                .get(position as usize)
                .is_some_and(|node| node.hash() == hash);
            if position == EMPTY || is_here {
                return Some(slot);
            }
            slot = (slot + 1) & mask;
        }
    }
}
