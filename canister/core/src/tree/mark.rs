//! Moves blocks from header to body to connected, or to invalid.

use bitcoin::BlockHash;

use super::{BlockStatus, InvalidReason, MAX_INVALID_NODES, NodeId, Tree, TreeError};

impl Tree {
    /// Notes that the body of `hash` is held. Returns whether that was news.
    ///
    /// # Errors
    /// [`TreeError::UnknownBlock`], or [`TreeError::WrongStatus`] for an invalid block.
    pub fn mark_body(&mut self, hash: &BlockHash) -> Result<bool, TreeError> {
        let id = self.id(hash)?;
        match self.status_of(id, hash)? {
            BlockStatus::HeaderOnly => {
                let sequence = self.take_sequence();
                self.reindex(id, |node| {
                    node.status = BlockStatus::BodyHeld;
                    node.body_sequence = sequence;
                });
                self.note_change(*hash);
                Ok(true)
            }
            BlockStatus::BodyHeld | BlockStatus::Connected => Ok(false),
            status @ BlockStatus::Invalid(_) => Err(TreeError::WrongStatus {
                hash: *hash,
                status,
                operation: "given a body",
            }),
        }
    }

    /// Notes that the body of `hash` turned out to be unusable without condemning the block, so
    /// that it is wanted again.
    ///
    /// # Errors
    /// [`TreeError::UnknownBlock`], or [`TreeError::WrongStatus`] unless a body is held and not
    /// yet connected.
    pub fn drop_body(&mut self, hash: &BlockHash) -> Result<(), TreeError> {
        let id = self.id(hash)?;
        let status = self.status_of(id, hash)?;
        if status != BlockStatus::BodyHeld {
            return Err(TreeError::WrongStatus {
                hash: *hash,
                status,
                operation: "stripped of its body",
            });
        }
        self.reindex(id, |node| {
            node.status = BlockStatus::HeaderOnly;
            node.body_sequence = 0;
        });
        self.note_change(*hash);
        Ok(())
    }

    /// Notes that the change of `hash` is computed and stored.
    ///
    /// # Errors
    /// [`TreeError::UnknownBlock`], [`TreeError::WrongStatus`] unless its body is held, or
    /// [`TreeError::ParentNotConnected`].
    pub fn mark_connected(&mut self, hash: &BlockHash) -> Result<(), TreeError> {
        let id = self.id(hash)?;
        let status = self.status_of(id, hash)?;
        if status != BlockStatus::BodyHeld {
            return Err(TreeError::WrongStatus {
                hash: *hash,
                status,
                operation: "connected",
            });
        }
        let node = self
            .node(id)
            .ok_or(TreeError::UnknownBlock { hash: *hash })?;
        if !node.parent.is_some_and(|parent| self.is_connected(parent)) {
            return Err(TreeError::ParentNotConnected {
                hash: *hash,
                parent: node.context.header().prev_blockhash,
            });
        }
        let children = node.children.clone();
        self.reindex(id, |node| node.status = BlockStatus::Connected);
        self.note_change(*hash);
        for child in children {
            // A child's place depends on its parent being connected.
            self.reindex(child, |_| ());
        }
        Ok(())
    }

    /// Notes that `hash` broke a rule; its descendants become invalid with it. Returns every
    /// block whose status changed, `hash` first.
    ///
    /// Costs O(log n) per descendant. A connected block may be marked too: the best tip moves to
    /// another branch then.
    ///
    /// # Errors
    /// [`TreeError::UnknownBlock`], or [`TreeError::Root`]: the root is final.
    pub fn mark_invalid(
        &mut self,
        hash: &BlockHash,
        reason: InvalidReason,
    ) -> Result<Vec<BlockHash>, TreeError> {
        let id = self.id(hash)?;
        if id == self.root {
            return Err(TreeError::Root {
                hash: *hash,
                operation: "marked invalid",
            });
        }
        let mut marked = Vec::new();
        let mut pending = vec![(id, reason)];
        while let Some((id, reason)) = pending.pop() {
            let Some(node) = self.node(id) else { continue };
            if !node.is_valid() {
                // Its descendants are invalid already.
                continue;
            }
            let (node_hash, children) = (node.hash(), node.children.clone());
            self.reindex(id, |node| node.status = BlockStatus::Invalid(reason));
            self.invalid_count += 1;
            self.note_change(node_hash);
            marked.push(node_hash);
            pending.extend(
                children
                    .into_iter()
                    .map(|child| (child, InvalidReason::Ancestor)),
            );
        }
        self.forget_excess_invalid();
        Ok(marked)
    }

    /// An invalid branch ends in invalid leaves, which sort first among all leaves.
    fn forget_excess_invalid(&mut self) {
        while self.invalid_count > MAX_INVALID_NODES {
            let Some((false, _, _, _, id)) = self.indexes.leaves.first().copied() else {
                return;
            };
            self.remove_leaf(id);
        }
    }

    fn status_of(&self, id: NodeId, hash: &BlockHash) -> Result<BlockStatus, TreeError> {
        self.node(id)
            .map(|node| node.status)
            .ok_or(TreeError::UnknownBlock { hash: *hash })
    }
}
