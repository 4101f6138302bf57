//! Moves the root up when its child became stable.

use bitcoin::BlockHash;

use super::{BlockStatus, Tree, TreeError};

/// What left the tree when the root moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rerooted {
    /// The former root: its block is below the tree now, part of the stable chain.
    pub old_root: BlockHash,
    /// The blocks of all other branches with their last status, parents before children.
    pub removed: Vec<(BlockHash, BlockStatus)>,
}

impl Tree {
    /// Makes a connected child of the root the new root. Costs O(log n) per removed block.
    ///
    /// # Errors
    /// [`TreeError::UnknownBlock`], [`TreeError::NotChildOfRoot`], or [`TreeError::WrongStatus`]
    /// unless it is connected.
    pub fn reroot(&mut self, child: &BlockHash) -> Result<Rerooted, TreeError> {
        let id = self.id(child)?;
        let unknown = TreeError::UnknownBlock { hash: *child };
        let node = self.node(id).ok_or(unknown.clone())?;
        if node.parent != Some(self.root) {
            return Err(TreeError::NotChildOfRoot { hash: *child });
        }
        if node.status != BlockStatus::Connected {
            return Err(TreeError::WrongStatus {
                hash: *child,
                status: node.status,
                operation: "made the root",
            });
        }
        let old_root = self.take_node(self.root).ok_or(unknown)?;
        self.root = id;
        if let Some(node) = self.node_mut(id) {
            node.parent = None;
            node.skip = None;
        }
        let mut removed = Vec::new();
        let mut pending: Vec<_> = old_root.children.iter().rev().copied().collect();
        pending.retain(|other| *other != id);
        while let Some(id) = pending.pop() {
            let Some(node) = self.take_node(id) else {
                continue;
            };
            pending.extend(node.children.iter().rev());
            removed.push((node.hash(), node.status));
        }
        Ok(Rerooted {
            old_root: old_root.hash(),
            removed,
        })
    }
}
