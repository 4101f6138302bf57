//! Records of the unstable tree, from which its heap form is rebuilt.

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use ic_stable_structures::{BTreeMap as StableMap, Cell, Memory};
use millrace_core::Network;
use millrace_core::tree::{
    BlockStatus, InvalidReason, MAX_TREE_NODES, NODE_RECORD_BYTES, NodeRecord, Tree, TreeChanges,
};

use crate::StoreError;

/// Stored records and the root's hash.
pub struct Nodes<M: Memory> {
    records: StableMap<[u8; 32], [u8; NODE_RECORD_BYTES], M>,
    root: Cell<[u8; 32], M>,
}

/// A rebuilt tree, and blocks whose records were left out.
pub(crate) struct Loaded {
    pub tree: Tree,
    pub dropped: Vec<BlockHash>,
}

impl<M: Memory> Nodes<M> {
    pub(crate) fn open(records: M, root: M) -> Self {
        Self {
            records: StableMap::init(records),
            root: Cell::init(root, [0; 32]),
        }
    }

    /// Writes what changed in the tree.
    pub(crate) fn apply(&mut self, changes: &TreeChanges) {
        for hash in &changes.removes {
            self.records.remove(hash.as_byte_array());
        }
        for record in &changes.puts {
            self.records
                .insert(record.hash().to_byte_array(), record.encode());
        }
        if *self.root.get() != changes.root.to_byte_array() {
            self.root.set(changes.root.to_byte_array());
        }
    }

    /// Rebuilds the tree. Quarantined blocks are left out: whoever opens the store may be a newer
    /// program that can process them, so they are fetched and tried again.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub(crate) fn load(&self, network: Network) -> Result<Loaded, StoreError> {
        let root = BlockHash::from_byte_array(*self.root.get());
        let mut dropped = Vec::new();
        let mut records = Vec::new();
        for entry in self.records.iter() {
            let record = NodeRecord::decode(&entry.value())
                .map_err(|error| StoreError::damaged("tree record", error))?;
            if record.status() == BlockStatus::Invalid(InvalidReason::Quarantined) {
                dropped.push(record.hash());
            } else {
                records.push(record);
            }
        }
        let restored = Tree::restore(&root, records, network, MAX_TREE_NODES)
            .map_err(|error| StoreError::damaged("tree", error))?;
        dropped.extend(restored.dropped);
        Ok(Loaded {
            tree: restored.tree,
            dropped,
        })
    }

    pub(crate) fn remove(&mut self, hash: &BlockHash) {
        self.records.remove(hash.as_byte_array());
    }

    pub(crate) fn len(&self) -> u64 {
        self.records.len()
    }

    pub(crate) fn get(&self, hash: &BlockHash) -> Option<[u8; NODE_RECORD_BYTES]> {
        self.records.get(hash.as_byte_array())
    }
}
