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
    /// Removes blocks of the branches that leave the tree when `child`, a child of the root, becomes the
    /// root: at most `limit`, descendants before their parents, so that the rest is a tree. Returns how
    /// many; fewer than `limit` when none is left. Costs O(log n) per removed block, and one walk down a
    /// branch.
    ///
    /// # Errors
    /// [`TreeError::UnknownBlock`], [`TreeError::NotChildOfRoot`].
    pub fn prune(&mut self, child: &BlockHash, limit: usize) -> Result<usize, TreeError> {
        let kept = self.id(child)?;
        if self.node(kept).and_then(|node| node.parent) != Some(self.root) {
            return Err(TreeError::NotChildOfRoot { hash: *child });
        }
        // From the root down to the end of a branch; back up whenever an end was removed.
        let mut walk = vec![self.root];
        let mut removed = 0;
        while removed < limit
            && let Some(&at) = walk.last()
        {
            let children = self.node(at).map_or(&[][..], |node| &node.children);
            let next = children.iter().rev().find(|id| **id != kept).copied();
            match next {
                Some(next) => walk.push(next),
                None if at == self.root => break,
                None => {
                    self.remove_leaf(at);
                    removed += 1;
                    walk.pop();
                }
            }
        }
        Ok(removed)
    }

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
