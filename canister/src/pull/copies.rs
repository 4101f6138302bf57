//! What is known of the copies of blocks that came by pull.
//!
//! On the heap only. An upgrade forgets which blocks that wait were pulled and how many bad copies
//! came before: a padded one of them is fetched again, and a bad one a few times more.

use std::collections::BTreeSet;

use bitcoin::BlockHash;
use ic_stable_structures::Memory;
use millrace_core::UnixSeconds;
use millrace_core::sync::BadCopies;
use millrace_core::tree::BlockStatus;
use millrace_store::Store;
use millrace_store::queue::MAX_PENDING_BLOCKS;

/// Pulled copies that wait, and what was wrong with earlier ones.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    /// Pulled blocks that were not judged yet: at most [`MAX_PENDING_BLOCKS`].
    pulled: BTreeSet<BlockHash>,
    bad: BadCopies,
}

impl Copies {
    /// Notes that a copy was admitted.
    pub fn note_pulled<M: Memory>(&mut self, store: &Store<M>, hash: BlockHash) {
        if self.pulled.len() >= MAX_PENDING_BLOCKS as usize {
            // Some left the tree unjudged. Fewer than that wait: there is room for this one.
            self.pulled.retain(|hash| {
                let node = store.tree.get(hash);
                let is_held = node.is_some_and(|node| node.status() == BlockStatus::BodyHeld);
                is_held || store.queue.contains(hash)
            });
        }
        self.pulled.insert(hash);
    }

    /// Returns whether the copy that waits was pulled.
    pub fn is_pulled(&self, hash: &BlockHash) -> bool {
        self.pulled.contains(hash)
    }

    /// Notes that the copy's bytes turned out bad, or that the block cannot be taken yet. Only pulled
    /// ones count: a pusher's must not keep
    /// good ones of the source away.
    pub fn note_bad(&mut self, now: UnixSeconds, hash: BlockHash) {
        if self.pulled.remove(&hash) {
            self.bad.note(now, hash);
        }
    }

    /// Notes that a block came that was refused for good before.
    pub fn note_refused(&mut self, now: UnixSeconds, hash: BlockHash) {
        self.bad.note(now, hash);
    }

    /// Notes that the copy was given up unjudged.
    pub fn drop_copy(&mut self, hash: &BlockHash) {
        self.pulled.remove(hash);
    }

    /// Notes that the block is connected or condemned.
    pub fn settle(&mut self, hash: &BlockHash) {
        self.pulled.remove(hash);
        self.bad.forget(hash);
    }

    /// Returns the blocks that are not to be asked for now.
    pub fn held_off(&self, now: UnixSeconds) -> impl Iterator<Item = BlockHash> + '_ {
        self.bad.held_off(now).copied()
    }
}
