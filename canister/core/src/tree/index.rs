//! Orders over the tree's nodes, so that "best", "worst" and "next" are look-ups, not scans.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::{BlockStatus, Node, NodeId};
use crate::header::ChainWork;

/// More work ranks higher, then earlier arrival.
pub(super) type Rank = (ChainWork, Reverse<u64>, NodeId);

/// What is shed first sorts first: an invalid leaf, then one with less work, then one known by its
/// header only, then the one that came first. The last rule lets newcomers in: were they refused
/// where work is equal, as many siblings as the tree holds would keep out the block that goes on.
pub(super) type LeafKey = (bool, ChainWork, bool, u64, NodeId);

/// Sets that hold each node exactly where its status and position say.
#[derive(Clone, Debug, Default)]
pub(super) struct Indexes {
    /// Valid nodes by work, then header arrival.
    pub(super) headers: BTreeSet<Rank>,
    /// Connected nodes by work, then body arrival.
    pub(super) connected: BTreeSet<Rank>,
    /// Nodes whose body is held and whose parent is connected, by work, then body arrival.
    pub(super) connectable: BTreeSet<Rank>,
    /// Nodes without children; the front is shed first.
    pub(super) leaves: BTreeSet<LeafKey>,
}

impl Indexes {
    /// Enters a node according to its status.
    pub(super) fn enter(&mut self, id: NodeId, node: &Node, parent_connected: bool) {
        match node.status {
            BlockStatus::BodyHeld => {
                if parent_connected {
                    self.connectable.insert(body_rank(id, node));
                }
            }
            BlockStatus::Connected => {
                self.connected.insert(body_rank(id, node));
            }
            BlockStatus::HeaderOnly | BlockStatus::Invalid(_) => {}
        }
        if node.is_valid() {
            self.headers.insert(header_rank(id, node));
        }
        if node.children.is_empty() {
            self.leaves.insert(leaf_key(id, node));
        }
    }

    /// Removes a node that gets its first child from the order of leaves; nothing for any other.
    pub(super) fn leave_leaves(&mut self, id: NodeId, node: &Node) {
        if node.children.is_empty() {
            self.leaves.remove(&leaf_key(id, node));
        }
    }

    /// Removes a node from all orders; its fields must be those it was entered with.
    pub(super) fn leave(&mut self, id: NodeId, node: &Node) {
        self.connectable.remove(&body_rank(id, node));
        self.connected.remove(&body_rank(id, node));
        self.headers.remove(&header_rank(id, node));
        self.leaves.remove(&leaf_key(id, node));
    }
}

impl Node {
    pub(super) const fn is_valid(&self) -> bool {
        !matches!(self.status, BlockStatus::Invalid(_))
    }
}

fn header_rank(id: NodeId, node: &Node) -> Rank {
    (node.context.chain_work(), Reverse(node.header_sequence), id)
}

fn body_rank(id: NodeId, node: &Node) -> Rank {
    (node.context.chain_work(), Reverse(node.body_sequence), id)
}

fn leaf_key(id: NodeId, node: &Node) -> LeafKey {
    let has_body = matches!(node.status, BlockStatus::BodyHeld | BlockStatus::Connected);
    let work = node.context.chain_work();
    (node.is_valid(), work, has_body, node.header_sequence, id)
}
