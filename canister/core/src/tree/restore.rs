//! Rebuilds a tree from stored records.

use bitcoin::BlockHash;

use super::{BlockStatus, NodeRecord, Tree};
use crate::network::Network;

/// A rebuilt tree.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The tree; its changes are empty.
    pub tree: Tree,
    /// Records that fit nowhere (unknown parent, repeated, status against the parent's, over
    /// capacity) and were left out. Always empty unless the records are damaged.
    pub dropped: Vec<BlockHash>,
}

/// Why no tree can be rebuilt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// No record belongs to the root.
    #[error("no record for the root {root} among {records} records")]
    NoRoot {
        /// The root asked for.
        root: BlockHash,
        /// Records given.
        records: usize,
    },
}

impl Tree {
    /// Rebuilds the tree from all its records, in any order. Costs O(n log n).
    ///
    /// Records that fit nowhere are reported, not fatal: their blocks will be fetched again.
    ///
    /// # Errors
    /// [`RestoreError::NoRoot`].
    pub fn restore(
        root: &BlockHash,
        mut records: Vec<NodeRecord>,
        network: Network,
        capacity: usize,
    ) -> Result<Restored, RestoreError> {
        let no_root = RestoreError::NoRoot {
            root: *root,
            records: records.len(),
        };
        // Parents before children, siblings in first-seen order.
        records.sort_by_cached_key(|record| (record.context.height(), record.header_sequence));
        let root_at = records.iter().position(|record| record.hash() == *root);
        let root = records.remove(root_at.ok_or(no_root)?);
        let mut tree = Self::with_capacity(root.context, network, capacity);
        tree.set_root_sequences(&root);
        let mut dropped = Vec::new();
        for record in records {
            if tree.fits(&record) {
                tree.restore_node(&record);
            } else {
                dropped.push(record.hash());
            }
        }
        tree.changed.clear();
        Ok(Restored { tree, dropped })
    }

    fn set_root_sequences(&mut self, root: &NodeRecord) {
        self.reindex(self.root, |node| {
            node.header_sequence = root.header_sequence;
            node.body_sequence = root.body_sequence;
        });
        self.advance_sequence(root);
    }

    fn fits(&self, record: &NodeRecord) -> bool {
        let context = &record.context;
        let Some(parent) = self.get(&context.header().prev_blockhash) else {
            return false;
        };
        let status_fits = match record.status {
            BlockStatus::Connected => parent.status == BlockStatus::Connected,
            BlockStatus::HeaderOnly | BlockStatus::BodyHeld => parent.is_valid(),
            BlockStatus::Invalid(_) => true,
        };
        status_fits
            && context.height() == parent.context.height().next()
            && self.get(&record.hash()).is_none()
            && self.len() < self.capacity
    }

    fn restore_node(&mut self, record: &NodeRecord) {
        let parent = self.by_hash.get(&record.context.header().prev_blockhash);
        self.attach(
            record.context,
            parent.copied(),
            record.status,
            record.header_sequence,
            record.body_sequence,
        );
        self.advance_sequence(record);
    }

    fn advance_sequence(&mut self, record: &NodeRecord) {
        let last = record.header_sequence.max(record.body_sequence);
        self.next_sequence = self.next_sequence.max(last.saturating_add(1));
    }
}
