//! Takes in headers, and sheds the branch with least work when the tree is full.

use bitcoin::block::Header;

use super::{BlockStatus, Node, NodeId, Tree, TreeError};
use crate::header::{HeaderContext, SkipList, skip_height};
use crate::units::UnixSeconds;

/// What became of a header that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It is in the tree now.
    New,
    /// It already was, with this status.
    Known(BlockStatus),
}

impl Tree {
    /// Takes in a header whose parent is known. Costs O(log n) and one header check.
    ///
    /// A full tree sheds the leaf with least work, invalid ones first, but never the best header
    /// or block tip and never the new header's parent; what was shed appears in
    /// [`super::TreeChanges::removes`]. Among leaves of equal work it sheds one without a body, and
    /// the one that came first.
    ///
    /// # Errors
    /// [`TreeError::UnknownParent`], [`TreeError::InvalidParent`], [`TreeError::Header`], or
    /// [`TreeError::Full`] when the new header itself has less work than all of them.
    pub fn insert_header(
        &mut self,
        header: &Header,
        now: UnixSeconds,
    ) -> Result<Inserted, TreeError> {
        let hash = header.block_hash();
        if let Some(node) = self.get(&hash) {
            return Ok(Inserted::Known(node.status));
        }
        let parent_hash = header.prev_blockhash;
        let unknown = TreeError::UnknownParent {
            hash,
            parent: parent_hash,
        };
        let parent_id = *self.by_hash.get(&parent_hash).ok_or(unknown.clone())?;
        let parent = self.node(parent_id).ok_or(unknown)?;
        if let BlockStatus::Invalid(reason) = parent.status {
            return Err(TreeError::InvalidParent {
                hash,
                parent: parent_hash,
                reason,
            });
        }
        let context = parent.context.accept(header, self.network, now)?;
        self.place(context, parent_id)?;
        Ok(Inserted::New)
    }

    /// Adds a judged header below `parent_id`, making room if need be.
    pub(super) fn place(
        &mut self,
        context: HeaderContext,
        parent_id: NodeId,
    ) -> Result<(), TreeError> {
        if self.len() >= self.capacity {
            self.make_room(&context, parent_id)?;
        }
        let sequence = self.take_sequence();
        self.attach(
            context,
            Some(parent_id),
            BlockStatus::HeaderOnly,
            sequence,
            0,
        );
        Ok(())
    }

    /// Sheds one leaf in favour of `newcomer`.
    fn make_room(&mut self, newcomer: &HeaderContext, parent: NodeId) -> Result<(), TreeError> {
        let best_header = self.indexes.headers.last().map(|rank| rank.2);
        let best_block = self.indexes.connected.last().map(|rank| rank.2);
        let protected = |id: NodeId| {
            id == parent || id == self.root || Some(id) == best_header || Some(id) == best_block
        };
        // At most four leaves are protected, so the search ends after five.
        let victim = self
            .indexes
            .leaves
            .iter()
            .find(|(_, _, _, _, id)| !protected(*id))
            .filter(|(is_valid, work, ..)| !is_valid || *work <= newcomer.chain_work())
            .map(|(_, _, _, _, id)| *id);
        let Some(victim) = victim else {
            return Err(TreeError::Full {
                hash: newcomer.hash(),
                capacity: self.capacity,
            });
        };
        self.remove_leaf(victim);
        Ok(())
    }

    /// Adds a node below `parent` and returns its place.
    pub(super) fn attach(
        &mut self,
        context: HeaderContext,
        parent: Option<NodeId>,
        status: BlockStatus,
        header_sequence: u64,
        body_sequence: u64,
    ) -> NodeId {
        let node = Node {
            difficulty: self.difficulty_after(parent, &context),
            context,
            status,
            header_sequence,
            body_sequence,
            parent,
            skip: parent.and_then(|parent| self.skip_below(parent, &context)),
            children: Vec::new(),
        };
        let hash = context.hash();
        let parent_connected = parent.is_some_and(|id| self.is_connected(id));
        if !node.is_valid() {
            self.invalid_count += 1;
        }
        let id = self.store_node(node);
        if let Some(parent) = parent {
            self.add_child(parent, id);
        }
        self.by_hash.insert(hash, id);
        if let Some(Some(node)) = self.nodes.get(slot(id)) {
            self.indexes.enter(id, node, parent_connected);
        }
        self.note_change(hash);
        id
    }

    /// Returns how hard a block was to mine. Dividing costs thousands of instructions; a block is mostly as hard as
    /// its parent.
    fn difficulty_after(&self, parent: Option<NodeId>, context: &HeaderContext) -> u128 {
        let header = context.header();
        let parent = parent.and_then(|parent| self.node(parent));
        match parent.filter(|parent| parent.context.header().bits == header.bits) {
            Some(parent) => parent.difficulty,
            None => {
                let target = header.target().min(self.network.pow_limit());
                target.difficulty(self.network.params())
            }
        }
    }

    /// Adds a node's child: of all orders, only that of leaves has to do with children.
    fn add_child(&mut self, parent: NodeId, child: NodeId) {
        if let Some(Some(node)) = self.nodes.get_mut(slot(parent)) {
            self.indexes.leave_leaves(parent, node);
            node.children.push(child);
        }
    }

    fn store_node(&mut self, node: Node) -> NodeId {
        if let Some(id) = self.free.pop()
            && let Some(place) = self.nodes.get_mut(slot(id))
        {
            *place = Some(node);
            return id;
        }
        self.nodes.push(Some(node));
        // The slab never outgrows the capacity by more than one node, far below 2^32.
        NodeId::try_from(self.nodes.len() - 1).unwrap_or(NodeId::MAX)
    }

    /// Finds the skip ancestor of a child of `parent`; none when it is below the root.
    fn skip_below(&self, parent: NodeId, child: &HeaderContext) -> Option<NodeId> {
        self.ancestor(parent, skip_height(child.height()))
    }

    /// Removes a node without children.
    pub(super) fn remove_leaf(&mut self, id: NodeId) {
        let Some(node) = self.take_node(id) else {
            return;
        };
        if let Some(parent) = node.parent {
            self.reindex(parent, |node| node.children.retain(|child| *child != id));
        }
    }

    /// Takes a node out of the slab and all orders, leaving its relatives as they are.
    pub(super) fn take_node(&mut self, id: NodeId) -> Option<Node> {
        let node = self.nodes.get_mut(slot(id))?.take()?;
        self.indexes.leave(id, &node);
        self.by_hash.remove(&node.hash());
        self.free.push(id);
        if !node.is_valid() {
            self.invalid_count = self.invalid_count.saturating_sub(1);
        }
        self.note_removal(node.hash());
        Some(node)
    }

    /// Changes a node and moves it to where it now belongs in all orders.
    pub(super) fn reindex(&mut self, id: NodeId, change: impl FnOnce(&mut Node)) {
        let parent_connected = self
            .node(id)
            .and_then(|node| node.parent)
            .is_some_and(|parent| self.is_connected(parent));
        let Some(Some(node)) = self.nodes.get_mut(slot(id)) else {
            return;
        };
        self.indexes.leave(id, node);
        change(node);
        self.indexes.enter(id, node, parent_connected);
    }

    pub(super) fn is_connected(&self, id: NodeId) -> bool {
        self.node(id)
            .is_some_and(|node| node.status == BlockStatus::Connected)
    }
}

fn slot(id: NodeId) -> usize {
    // Ids come from slab positions, so they fit; a wrong one would only find no node.
    usize::try_from(id).unwrap_or(usize::MAX)
}

impl SkipList for Tree {
    type Id = NodeId;

    fn height(&self, id: NodeId) -> Option<crate::units::Height> {
        Some(self.node(id)?.context.height())
    }

    fn parent(&self, id: NodeId) -> Option<NodeId> {
        self.node(id)?.parent
    }

    fn skip(&self, id: NodeId) -> Option<NodeId> {
        // A pointer below the root may name a reused slot. It is only followed towards heights
        // below the root, where every walk ends with nothing.
        self.node(id)?.skip
    }
}
