//! Takes delivered blocks into the tree: their headers are judged, their bytes stay where they
//! are. What one block costs does not depend on its size; see `millrace_store::queue`.
//!
//! Pushes on their way at the same time arrive in any order. A block that comes before its parent
//! is judged once more when its parent follows within the same drain; one whose parent does not is
//! refused at the drain's end.

use std::collections::{BTreeMap, VecDeque};

use bitcoin::BlockHash;
use ic_stable_structures::Memory;
use millrace_core::block::{HEADER_BYTES, decode_header};
use millrace_core::tree::{BlockStatus, Inserted, TreeError};
use millrace_store::StoreError;
use millrace_store::blobs::BlobKey;
use millrace_store::cells::Counter;
use millrace_store::rejections::RejectionKind;

use crate::{App, Env};

/// Blocks that came before their parents, by parent. At most as many as one drain takes.
type Early = BTreeMap<BlockHash, Vec<(BlockHash, String)>>;

impl<M: Memory> App<M> {
    /// Drains up to `limit` queued blocks, first in, first out; those that came before their
    /// parents right after these.
    pub(crate) fn drain(&mut self, env: &impl Env, limit: usize) {
        let mut early = Early::new();
        for _ in 0..limit {
            let Some(hash) = self.store.queue.pop() else {
                break;
            };
            self.take(env, hash, &mut early);
        }
        for (hash, reason) in early.into_values().flatten() {
            self.reject(env, hash, RejectionKind::UnknownParent, reason);
            self.copies.drop_copy(&hash);
            self.store.blobs.remove(&BlobKey::Block(hash));
        }
        self.store.flush_tree();
    }

    /// Takes one block into the tree, and those that waited for it; or puts it off, or refuses it
    /// and deletes its bytes. A block that waited has its parent when it is judged again, so none
    /// is judged more than twice.
    fn take(&mut self, env: &impl Env, first: BlockHash, early: &mut Early) {
        let mut ready = VecDeque::from([first]);
        while let Some(hash) = ready.pop_front() {
            let refusal = match self.judge(env, hash) {
                Ok(is_news) => {
                    // Else another delivery came first; the block has its bytes.
                    let known = u64::from(!is_news);
                    self.store.counters.add(Counter::BlocksKnown, known);
                    let waiting = early.remove(&hash).unwrap_or_default();
                    ready.extend(waiting.into_iter().map(|(child, _)| child));
                    continue;
                }
                Err(refusal) => refusal,
            };
            match refusal {
                Refusal::Early { parent, reason } => {
                    early.entry(parent).or_default().push((hash, reason));
                    continue;
                }
                // A header is bad for good; what it depends on is in the block itself.
                Refusal::Rule(RejectionKind::Header, reason) => {
                    self.refuse_for_good(env, hash, RejectionKind::Header, reason);
                }
                Refusal::Rule(kind, reason) => {
                    self.reject(env, hash, kind, reason);
                    if matches!(kind, RejectionKind::TooNew | RejectionKind::TreeFull) {
                        // Delivered again at once, it would be refused again.
                        self.copies.note_bad(env.now(), hash);
                    }
                }
                Refusal::Fault(error) => self.note_fault(env, "reading a queued block", &error),
            }
            self.copies.drop_copy(&hash);
            self.store.blobs.remove(&BlobKey::Block(hash));
        }
    }

    /// Returns whether the block is news.
    fn judge(&mut self, env: &impl Env, hash: BlockHash) -> Result<bool, Refusal> {
        if self.store.stable_height(&hash).is_some() {
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
            let reason = "no header".to_owned();
            return Err(Refusal::Rule(RejectionKind::DamagedBytes, reason));
        };
        match self.store.tree.insert_header(&header, env.now()) {
            Ok(Inserted::New | Inserted::Known(BlockStatus::HeaderOnly)) => {}
            Ok(Inserted::Known(BlockStatus::BodyHeld | BlockStatus::Connected)) => {
                return Ok(false);
            }
            Ok(Inserted::Known(BlockStatus::Invalid(reason))) => {
                let reason = format!("the block is known to be invalid: {reason}");
                return Err(Refusal::Rule(RejectionKind::Ancestor, reason));
            }
            Err(TreeError::UnknownParent { hash, parent }) => {
                let reason = TreeError::UnknownParent { hash, parent }.to_string();
                return Err(Refusal::Early { parent, reason });
            }
            Err(error) => return Err(Refusal::Rule(kind_of(&error), error.to_string())),
        }
        // A body waits only for its parent to be connected, never for one to arrive: otherwise
        // blocks whose parents never come could fill the store.
        let parent = header.prev_blockhash;
        let status = self.store.tree.get(&parent).map(|node| node.status());
        if !matches!(status, Some(BlockStatus::BodyHeld | BlockStatus::Connected)) {
            let reason = format!(
                "unknown parent: {parent} is known by its header only; push that block first"
            );
            return Err(Refusal::Early { parent, reason });
        }
        match self.store.tree.mark_body(&hash) {
            Ok(is_news) => Ok(is_news),
            Err(error) => Err(Refusal::Rule(kind_of(&error), error.to_string())),
        }
    }
}

enum Refusal {
    /// The parent is not there yet.
    Early {
        parent: BlockHash,
        reason: String,
    },
    Rule(RejectionKind, String),
    Fault(StoreError),
}

/// Returns what kind of rule was broken.
pub(crate) const fn kind_of(error: &TreeError) -> RejectionKind {
    match error {
        TreeError::UnknownParent { .. } => RejectionKind::UnknownParent,
        TreeError::Full { .. } => RejectionKind::TreeFull,
        TreeError::Header(error) if error.is_transient() => RejectionKind::TooNew,
        TreeError::Header(_) => RejectionKind::Header,
        // Those after the first do not arise where headers and bodies are taken in.
        TreeError::InvalidParent { .. }
        | TreeError::UnknownBlock { .. }
        | TreeError::WrongStatus { .. }
        | TreeError::ParentNotConnected { .. }
        | TreeError::Root { .. }
        | TreeError::NotChildOfRoot { .. } => RejectionKind::Ancestor,
    }
}
