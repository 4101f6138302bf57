//! Takes delivered blocks into the tree: their headers are judged, their bytes stay where they
//! are. What one block costs does not depend on its size; see `millrace_store::queue`.

use bitcoin::BlockHash;
use ic_stable_structures::Memory;
use millrace_core::block::{HEADER_BYTES, decode_header};
use millrace_core::tree::{BlockStatus, Inserted, TreeError};
use millrace_store::StoreError;
use millrace_store::blobs::BlobKey;
use millrace_store::cells::Counter;

use crate::{App, Env};

impl<M: Memory> App<M> {
    /// Drains up to `limit` queued blocks, first in, first out.
    pub(crate) fn drain(&mut self, env: &impl Env, limit: usize) {
        for _ in 0..limit {
            match self.store.queue.pop() {
                Ok(Some(delivered)) => self.take(env, delivered.hash),
                Ok(None) => break,
                Err(error) => self.note_fault(env, "draining the queue", &error),
            }
        }
        self.store.flush_tree();
    }

    /// Takes one block into the tree, or refuses it and deletes its bytes.
    fn take(&mut self, env: &impl Env, hash: BlockHash) {
        let refusal = match self.judge(env, hash) {
            Ok(true) => return,
            Ok(false) => {
                // Another delivery came first; the block has its bytes.
                self.store.counters.add(Counter::BlocksKnown, 1);
                return;
            }
            Err(refusal) => refusal,
        };
        match refusal {
            Refusal::Rule(counter, reason) => self.reject(env, hash, counter, reason),
            Refusal::Fault(error) => self.note_fault(env, "reading a queued block", &error),
        }
        self.store.blobs.remove(&BlobKey::Block(hash));
    }

    /// Returns whether the block is news.
    fn judge(&mut self, env: &impl Env, hash: BlockHash) -> Result<bool, Refusal> {
        if self.store.headers.height(&hash).is_some() {
            self.store.blobs.remove(&BlobKey::Block(hash));
            return Ok(false);
        }
        let mut bytes = [0; HEADER_BYTES];
        let key = BlobKey::Block(hash);
        self.store
            .blobs
            .read(&key, 0, &mut bytes)
            .map_err(Refusal::Fault)?;
        let Some(header) = decode_header(&bytes) else {
            return Err(Refusal::Rule(
                Counter::RejectedHeader,
                "no header".to_owned(),
            ));
        };
        match self.store.tree.insert_header(&header, env.now()) {
            Ok(Inserted::New | Inserted::Known(BlockStatus::HeaderOnly)) => {}
            Ok(Inserted::Known(BlockStatus::BodyHeld | BlockStatus::Connected)) => {
                return Ok(false);
            }
            Ok(Inserted::Known(BlockStatus::Invalid(reason))) => {
                let reason = format!("the block is known to be invalid: {reason}");
                return Err(Refusal::Rule(Counter::RejectedInvalid, reason));
            }
            Err(error) => return Err(Refusal::Rule(counter_of(&error), error.to_string())),
        }
        // A body waits only for its parent to be connected, never for one to arrive: otherwise
        // blocks whose parents never come could fill the store.
        let parent = self.store.tree.get(&header.prev_blockhash);
        let parent = parent.map(|node| node.status());
        if !matches!(parent, Some(BlockStatus::BodyHeld | BlockStatus::Connected)) {
            let reason = format!(
                "unknown parent: {} is known by its header only; push that block first",
                header.prev_blockhash
            );
            return Err(Refusal::Rule(Counter::RejectedUnknownParent, reason));
        }
        match self.store.tree.mark_body(&hash) {
            Ok(is_news) => Ok(is_news),
            Err(error) => Err(Refusal::Rule(counter_of(&error), error.to_string())),
        }
    }
}

enum Refusal {
    Rule(Counter, String),
    Fault(StoreError),
}

const fn counter_of(error: &TreeError) -> Counter {
    match error {
        TreeError::UnknownParent { .. } => Counter::RejectedUnknownParent,
        TreeError::InvalidParent { .. } => Counter::RejectedInvalid,
        TreeError::Full { .. } => Counter::RejectedTreeFull,
        TreeError::Header(_)
        | TreeError::UnknownBlock { .. }
        | TreeError::WrongStatus { .. }
        | TreeError::ParentNotConnected { .. }
        | TreeError::Root { .. }
        | TreeError::NotChildOfRoot { .. } => Counter::RejectedHeader,
    }
}
