//! The tree of unstable headers and blocks above the stable root, in memory and deterministic.
//!
//! The tree decides what is known, what is best, what to connect next and what to give up when it
//! is full. It holds records only: bodies and coins live in the store, which persists each node
//! as one fixed-size [`NodeRecord`] after every change ([`Tree::take_changes`]) and rebuilds the
//! tree from them ([`Tree::restore`]).
//!
//! Invariants:
//! - the root is connected; a connected node's parent is connected;
//! - every descendant of an invalid node is invalid;
//! - at most `capacity` nodes, of which at most [`MAX_INVALID_NODES`] are invalid;
//! - every node but the root has its parent in the tree.

mod index;
mod insert;
mod mark;
mod query;
mod record;
mod reroot;
mod restore;

#[cfg(test)]
mod flood_tests;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::BlockHash;

use crate::header::{HeaderContext, HeaderError};
use crate::network::Network;
use index::Indexes;

pub use insert::Inserted;
pub use record::{NODE_RECORD_BYTES, NodeRecord};
pub use reroot::Rerooted;
pub use restore::{RestoreError, Restored};

/// Nodes a tree holds unless told otherwise.
///
/// Stability retires blocks after at most 1,500 on test networks and about 144 on mainnet, so
/// this leaves room for headers far ahead and thousands of forks in about 8 MB of heap.
pub const MAX_TREE_NODES: usize = 10_000;

/// Invalid nodes remembered; above that the ones with least work are forgotten.
pub const MAX_INVALID_NODES: usize = 1_000;

/// How far a block has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockStatus {
    /// Only the header is known.
    HeaderOnly,
    /// The body is held, its change to the UTXO set is not computed yet.
    BodyHeld,
    /// The body is connected: views of the UTXO set exist at this block.
    Connected,
    /// The block or one of its ancestors broke a rule; it is remembered to refuse it cheaply.
    Invalid(InvalidReason),
}

/// Why a block is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InvalidReason {
    /// The body under the header's merkle root breaks a structure rule.
    Structure,
    /// The block spends what does not exist or is spent, or replaces an unspent coin.
    Coins,
    /// The block breaks a consensus rule that [`crate::consensus`] checks.
    Consensus,
    /// An ancestor is invalid.
    Ancestor,
    /// Processing it failed in a way that must not be tried again and again.
    Quarantined,
}

/// One header or block of the tree.
#[derive(Clone, Debug)]
pub struct Node {
    context: HeaderContext,
    status: BlockStatus,
    /// Order in which headers became known; breaks ties between header tips.
    header_sequence: u64,
    /// Order in which bodies became held, 0 while none was; breaks ties between block tips.
    body_sequence: u64,
    difficulty: u128,
    parent: Option<NodeId>,
    skip: Option<NodeId>,
    /// In first-seen order.
    children: Vec<NodeId>,
}

impl Node {
    /// Returns the block's hash.
    pub const fn hash(&self) -> BlockHash {
        self.context.hash()
    }

    /// Returns the header and what its children are judged by.
    pub const fn context(&self) -> &HeaderContext {
        &self.context
    }

    /// Returns how far the block has come.
    pub const fn status(&self) -> BlockStatus {
        self.status
    }

    /// Returns how many times harder the block was to mine than the network's easiest one,
    /// rounded down; at least 1 for a header that keeps the limit.
    pub const fn difficulty(&self) -> u128 {
        self.difficulty
    }
}

/// Place of a node in the tree's slab.
type NodeId = u32;

/// Why the tree refused an operation. The tree is unchanged then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// The header's parent is not in the tree.
    #[error("unknown parent: header {hash} follows {parent}; send its ancestors first")]
    UnknownParent {
        /// The refused header.
        hash: BlockHash,
        /// Its parent.
        parent: BlockHash,
    },
    /// The header's parent is invalid.
    #[error("header {hash} follows {parent}, which is invalid ({reason})")]
    InvalidParent {
        /// The refused header.
        hash: BlockHash,
        /// Its parent.
        parent: BlockHash,
        /// Why the parent is invalid.
        reason: InvalidReason,
    },
    /// The header breaks a rule.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The tree is full of blocks with more work.
    #[error("header {hash} has less work than all {capacity} held ones; retry when blocks retired")]
    Full {
        /// The refused header.
        hash: BlockHash,
        /// Nodes the tree may hold.
        capacity: usize,
    },
    /// The block is not in the tree.
    #[error("block {hash} is not in the unstable tree")]
    UnknownBlock {
        /// The block asked for.
        hash: BlockHash,
    },
    /// The block's status does not allow the operation.
    #[error("block {hash} cannot be {operation}: it is {status}")]
    WrongStatus {
        /// The block.
        hash: BlockHash,
        /// Its status.
        status: BlockStatus,
        /// What was asked, in the past participle.
        operation: &'static str,
    },
    /// The block cannot be connected before its parent is.
    #[error("block {hash} cannot be connected before its parent {parent}")]
    ParentNotConnected {
        /// The block.
        hash: BlockHash,
        /// Its parent.
        parent: BlockHash,
    },
    /// The operation makes no sense for the root, which is final.
    #[error("root {hash} cannot be {operation}")]
    Root {
        /// The root.
        hash: BlockHash,
        /// What was asked, in the past participle.
        operation: &'static str,
    },
    /// Only a child of the root can become the root.
    #[error("block {hash} is no child of the root")]
    NotChildOfRoot {
        /// The block.
        hash: BlockHash,
    },
}

impl TreeError {
    /// Returns whether the same call may succeed later without anything being wrong now.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Header(error) => error.is_transient(),
            Self::UnknownParent { .. } | Self::Full { .. } | Self::ParentNotConnected { .. } => {
                true
            }
            Self::InvalidParent { .. }
            | Self::UnknownBlock { .. }
            | Self::WrongStatus { .. }
            | Self::Root { .. }
            | Self::NotChildOfRoot { .. } => false,
        }
    }
}

/// What the store must write to keep up with the tree: first what left it, then what is new. A block
/// that left and came back is in both lists: what was kept of it belongs to the one that left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeChanges {
    /// The root now.
    pub root: BlockHash,
    /// Records that are new or changed, in hash order.
    pub puts: Vec<NodeRecord>,
    /// Blocks that left the tree, in hash order; their bodies and runs are no longer needed,
    /// except those of an old root.
    pub removes: Vec<BlockHash>,
}

/// The unstable headers and blocks; see the module's documentation.
#[derive(Clone, Debug)]
pub struct Tree {
    network: Network,
    capacity: usize,
    root: NodeId,
    nodes: Vec<Option<Node>>,
    free: Vec<NodeId>,
    by_hash: BTreeMap<BlockHash, NodeId>,
    indexes: Indexes,
    next_sequence: u64,
    invalid_count: usize,
    changed: BTreeSet<BlockHash>,
    removed: BTreeSet<BlockHash>,
}

impl Tree {
    /// Starts a tree with one connected block, holding up to [`MAX_TREE_NODES`] nodes.
    pub fn new(root: HeaderContext, network: Network) -> Self {
        Self::with_capacity(root, network, MAX_TREE_NODES)
    }

    /// Starts a tree with one connected block, holding up to `capacity` nodes (at least 2).
    pub fn with_capacity(root: HeaderContext, network: Network, capacity: usize) -> Self {
        let mut tree = Self {
            network,
            capacity: capacity.max(2),
            root: 0,
            nodes: Vec::new(),
            free: Vec::new(),
            by_hash: BTreeMap::new(),
            indexes: Indexes::default(),
            next_sequence: 1,
            invalid_count: 0,
            changed: BTreeSet::new(),
            removed: BTreeSet::new(),
        };
        let sequence = tree.take_sequence();
        tree.root = tree.attach(root, None, BlockStatus::Connected, sequence, sequence);
        tree
    }

    /// Returns the network whose rules judge headers.
    pub const fn network(&self) -> Network {
        self.network
    }

    /// Returns what changed since the last call, and forgets it. Bounded by the number of nodes.
    pub fn take_changes(&mut self) -> TreeChanges {
        let changed = std::mem::take(&mut self.changed);
        let removed = std::mem::take(&mut self.removed);
        TreeChanges {
            root: self.root_hash(),
            puts: changed
                .iter()
                .filter_map(|hash| self.get(hash).map(NodeRecord::of))
                .collect(),
            removes: removed.into_iter().collect(),
        }
    }

    fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(usize::try_from(id).ok()?)?.as_ref()
    }

    fn node_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.get_mut(usize::try_from(id).ok()?)?.as_mut()
    }

    fn id(&self, hash: &BlockHash) -> Result<NodeId, TreeError> {
        self.by_hash
            .get(hash)
            .copied()
            .ok_or(TreeError::UnknownBlock { hash: *hash })
    }

    fn take_sequence(&mut self) -> u64 {
        let sequence = self.next_sequence;
        self.next_sequence = self.next_sequence.saturating_add(1);
        sequence
    }

    fn note_change(&mut self, hash: BlockHash) {
        self.changed.insert(hash);
    }

    fn note_removal(&mut self, hash: BlockHash) {
        self.changed.remove(&hash);
        self.removed.insert(hash);
    }
}
