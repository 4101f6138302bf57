//! What the canister shows of its state, block by block.

use std::collections::BTreeSet;

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use millrace_candid::{
    BlockSelector, FeedState, FeedStateArgs, GetBlockArgs, GetStatusArgs, Rejection,
};
use serde_bytes::ByteBuf;

use crate::run::{Failure, Run, adapter};
use crate::subject::Subject;

/// The canister's state as its interface shows it; blocks by their place in the model.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The best connected block.
    pub tip: usize,
    /// The newest stable block.
    pub anchor: usize,
    /// Connected blocks from the anchor on.
    pub connected: BTreeSet<usize>,
    /// Blocks that wait to be connected.
    pub held: BTreeSet<usize>,
    /// The anchor's ancestors and itself.
    pub stable: BTreeSet<usize>,
    /// Whether `held` could be asked for: not while the API is closed, and a queued block whose header
    /// is known can be read, too.
    pub is_complete: bool,
    /// Blocks queued.
    pub queued: u32,
    /// The last rejections, newest first.
    pub rejections: Vec<Rejection>,
}

impl Seen {
    /// Returns whether the block needs no delivery.
    pub fn has(&self, place: usize) -> bool {
        self.connected.contains(&place)
            || self.held.contains(&place)
            || self.stable.contains(&place)
    }
}

/// Returns a hash as messages have it.
pub(crate) fn bytes_of(hash: BlockHash) -> ByteBuf {
    ByteBuf::from(hash.to_byte_array())
}

/// Reads a hash of a message.
pub(crate) fn hash_of(bytes: &ByteBuf) -> Result<BlockHash, Failure> {
    let array: Result<[u8; 32], _> = bytes.as_slice().try_into();
    array.map(BlockHash::from_byte_array).map_err(|_| Failure {
        check: "hash",
        detail: format!("{} bytes", bytes.len()),
    })
}

impl<S: Subject> Run<S> {
    /// Returns a block of the model by the hash of a message.
    pub(crate) fn named(&self, bytes: &ByteBuf) -> Result<usize, Failure> {
        let hash = hash_of(bytes)?;
        self.model.place(&hash).ok_or_else(|| Failure {
            check: "known block",
            detail: format!("{hash} was never mined"),
        })
    }

    pub(crate) fn feed_state(&mut self) -> Result<FeedState, Failure> {
        let state = self
            .subject
            .feed_state(adapter(0), &FeedStateArgs::default());
        state.map_err(|error| Failure {
            check: "feed state",
            detail: format!("{error:?}"),
        })
    }

    /// Looks at everything again, and returns what was seen before.
    pub(crate) fn look(&mut self) -> Result<Seen, Failure> {
        let seen = self.observe()?;
        let before = std::mem::replace(&mut self.seen, seen);
        self.known.extend(before.held.union(&before.connected));
        Ok(before)
    }

    fn observe(&mut self) -> Result<Seen, Failure> {
        let state = self.feed_state()?;
        let queued = self.queue_length()?;
        let (tip, anchor) = (
            self.named(&state.tip.hash)?,
            self.named(&state.anchor.hash)?,
        );
        let mut seen = Seen {
            tip,
            anchor,
            stable: self.model.ancestry(anchor).collect(),
            is_complete: self.is_open && queued == 0,
            queued,
            rejections: state.recent_rejections,
            ..Seen::default()
        };
        let at_anchor = bytes_of(self.model.at(anchor).hash);
        let base = self.model.at(anchor).height;
        for place in 0..self.model.len() {
            let block = self.model.at(place);
            if block.height < base || !self.model.is_ancestor(anchor, place) {
                continue;
            }
            let hash = bytes_of(block.hash);
            let at_tip = Some(hash.clone());
            if self.subject.status(&GetStatusArgs { at_tip }).is_ok() {
                seen.connected.insert(place);
            } else if seen.is_complete {
                let found = self.subject.block(&GetBlockArgs {
                    select: BlockSelector::Hash(hash),
                    offset: None,
                    max_bytes: Some(1),
                    at_tip: Some(at_anchor.clone()),
                });
                if found.is_ok() {
                    seen.held.insert(place);
                }
            }
        }
        Ok(seen)
    }

    pub(crate) fn queue_length(&mut self) -> Result<u32, Failure> {
        let status = self.subject.status(&GetStatusArgs::default());
        status
            .map(|status| status.queued_blocks)
            .map_err(|error| Failure {
                check: "status",
                detail: format!("{error:?}"),
            })
    }

    pub(crate) fn describe(&self, place: usize) -> String {
        let block = self.model.at(place);
        let seen = &self.seen;
        format!(
            "block {place} {} at height {}, parent {:?}, claim {:?}, valid {}, connected {}, held {}, \
             anchor {} at {}, now {}",
            block.hash,
            block.height,
            block.parent,
            block.claim,
            block.is_valid,
            seen.connected.contains(&place),
            seen.held.contains(&place),
            seen.anchor,
            self.model.at(seen.anchor).height,
            self.subject.now(),
        )
    }
}
