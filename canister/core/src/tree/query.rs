//! Answers questions about the tree.

use std::collections::BTreeSet;

use bitcoin::BlockHash;

use super::{BlockStatus, Node, NodeId, NodeRecord, Tree};
use crate::header::SkipList;
use crate::units::Height;

impl Tree {
    /// Returns the number of nodes, root and invalid ones included.
    pub fn len(&self) -> usize {
        self.by_hash.len()
    }

    /// Returns whether the tree has no nodes, which never happens.
    pub fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }

    /// Returns how many nodes the tree may hold.
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Returns how many invalid blocks are remembered.
    pub const fn invalid_count(&self) -> usize {
        self.invalid_count
    }

    /// Returns how many blocks are connected, root included.
    pub fn connected_count(&self) -> usize {
        self.indexes.connected.len()
    }

    /// Returns a node.
    pub fn get(&self, hash: &BlockHash) -> Option<&Node> {
        self.node(*self.by_hash.get(hash)?)
    }

    /// Returns the hashes of all blocks, root included, in hash order.
    pub fn hashes(&self) -> impl Iterator<Item = &BlockHash> {
        self.by_hash.keys()
    }

    /// Returns a node's stable form as it would be written now.
    pub fn record(&self, hash: &BlockHash) -> Option<NodeRecord> {
        self.get(hash).map(NodeRecord::of)
    }

    /// Returns the root, the highest stable block.
    pub fn root(&self) -> Option<&Node> {
        self.node(self.root)
    }

    /// Returns the root's hash.
    pub fn root_hash(&self) -> BlockHash {
        self.hash_of(self.root)
    }

    /// Returns the connected block with most work; the one whose body came first among equals.
    ///
    /// This is the tip that answers are given at. It is the root when nothing else is connected.
    pub fn best_tip(&self) -> BlockHash {
        let best = self.indexes.connected.last().map(|rank| rank.2);
        self.hash_of(best.unwrap_or(self.root))
    }

    /// Returns the valid header with most work; the one seen first among equals.
    pub fn best_header_tip(&self) -> BlockHash {
        let best = self.indexes.headers.last().map(|rank| rank.2);
        self.hash_of(best.unwrap_or(self.root))
    }

    /// Returns the block to connect next: body held, parent connected, most work, first received.
    pub fn next_to_connect(&self) -> Option<BlockHash> {
        let next = self.indexes.connectable.last()?;
        Some(self.hash_of(next.2))
    }

    /// Returns a node's children in first-seen order; nothing for an unknown block.
    pub fn children(&self, hash: &BlockHash) -> impl Iterator<Item = &Node> {
        let node = self.get(hash);
        let children = node.map(|node| node.children.as_slice());
        children
            .unwrap_or_default()
            .iter()
            .filter_map(|id| self.node(*id))
    }

    /// Returns the nodes from `tip` down to the root, both included; nothing for an unknown tip.
    /// Costs O(1) per node.
    pub fn path(&self, tip: &BlockHash) -> impl Iterator<Item = &Node> {
        let first = self.by_hash.get(tip).copied();
        std::iter::successors(first, |id| self.parent(*id)).filter_map(|id| self.node(id))
    }

    /// Returns the ancestor of `tip` at `height` (`tip` itself at its own height), or `None`
    /// outside root to tip. Costs O(log n).
    pub fn ancestor_at(&self, tip: &BlockHash, height: Height) -> Option<&Node> {
        let id = *self.by_hash.get(tip)?;
        self.node(self.ancestor(id, height)?)
    }

    /// Returns whether `ancestor` is `descendant` or lies between it and the root. Costs
    /// O(log n).
    pub fn is_ancestor(&self, ancestor: &BlockHash, descendant: &BlockHash) -> bool {
        self.get(ancestor)
            .and_then(|node| self.ancestor_at(descendant, node.context.height()))
            .is_some_and(|found| found.hash() == *ancestor)
    }

    /// Returns the highest block that two blocks have below them or are, or `None` when either is
    /// unknown. Costs O(log² n).
    pub fn common_ancestor(&self, one: &BlockHash, other: &BlockHash) -> Option<&Node> {
        let top = self.get(one)?.context.height();
        let top = top.min(self.get(other)?.context.height());
        let root = self.root()?;
        let (mut low, mut high) = (root.context.height().get(), top.get());
        let mut common = root;
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            let height = Height::new(middle);
            let (here, there) = (
                self.ancestor_at(one, height),
                self.ancestor_at(other, height),
            );
            match here.filter(|here| there.is_some_and(|there| there.hash() == here.hash())) {
                Some(node) => {
                    common = node;
                    low = middle;
                }
                None => high = middle - 1,
            }
        }
        Some(common)
    }

    /// Returns the tip of every branch, invalid and header-only ones included, in hash order.
    /// Costs O(n).
    pub fn tips(&self) -> impl Iterator<Item = &Node> {
        self.by_hash
            .values()
            .filter_map(|id| self.node(*id))
            .filter(|node| node.children.is_empty())
    }

    /// Returns the blocks that a source is not to send, in depth-first pre-order without the root:
    /// those with a body, invalid ones, and those `held_off` for a time. Costs O(n).
    pub fn processed_blocks(&self, held_off: &BTreeSet<BlockHash>) -> Vec<BlockHash> {
        let is_processed =
            |node: &Node| node.status != BlockStatus::HeaderOnly || held_off.contains(&node.hash());
        self.preorder(is_processed)
            .into_iter()
            .map(|(node, _)| node.hash())
            .collect()
    }

    /// Returns the nodes below the root that pass `keep`, each with the number of nodes between
    /// it and the root, depth first, children in first-seen order. Nodes that do not pass are
    /// walked through.
    pub(crate) fn preorder(&self, keep: impl Fn(&Node) -> bool) -> Vec<(&Node, usize)> {
        let mut found = Vec::new();
        let mut pending: Vec<(NodeId, usize)> = Vec::new();
        let push_children = |pending: &mut Vec<(NodeId, usize)>, node: &Node, depth| {
            pending.extend(node.children.iter().rev().map(|id| (*id, depth)));
        };
        if let Some(root) = self.root() {
            push_children(&mut pending, root, 0);
        }
        while let Some((id, depth)) = pending.pop() {
            let Some(node) = self.node(id) else { continue };
            push_children(&mut pending, node, depth + 1);
            if keep(node) {
                found.push((node, depth));
            }
        }
        found
    }

    fn hash_of(&self, id: NodeId) -> BlockHash {
        // The root and every indexed node exist; the fallback only spares a panic path.
        self.node(id)
            .map_or_else(bitcoin::hashes::Hash::all_zeros, Node::hash)
    }
}
