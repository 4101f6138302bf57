//! Asks `blocks_source` for blocks and takes in its replies. What to ask when, and what a reply
//! means, is `millrace_core::sync`'s to decide; its commands are carried out here.

mod copies;
mod wire;

use std::collections::BTreeSet;

use bitcoin::BlockHash;
use bitcoin::block::Header;
use candid::{DecoderConfig, Principal};
use ic_stable_structures::Memory;
use millrace_core::Bytes;
use millrace_core::block::{MAX_BLOCK_BYTES, MIN_BLOCK_BYTES, decode_header};
use millrace_core::header::check_own_work;
use millrace_core::sync::{CallId, Command, Event, MAX_REPLY_BYTES, Reply, Request};
use millrace_core::tree::TreeError;
use millrace_store::StoreError;
use millrace_store::blobs::BlobKey;
use millrace_store::cells::Counter;
use millrace_store::queue::{Delivered, Source};
use millrace_store::rejections::{Rejection, RejectionKind};
use serde_bytes::ByteBuf;

use crate::drain::kind_of;
use crate::{App, Env, convert};

pub(crate) use copies::Copies;
pub use wire::{
    GetSuccessorsComplete, GetSuccessorsInitial, GetSuccessorsPartial, GetSuccessorsRequest,
    GetSuccessorsResponse,
};

/// The method asked.
pub const GET_SUCCESSORS: &str = "bitcoin_get_successors";

/// Blocks that must find room before a call starts. A reply with more is taken as far as there is
/// room; the source sends the others again.
pub const ROOM_BLOCKS: u32 = 256;

/// Headers of one reply that are looked at: sources send up to 100.
pub const MAX_REPLY_HEADERS: usize = 1_000;

/// What decoding a reply may cost, in Candid's units of about a byte: a short message can stand
/// for billions of empty values.
const DECODING_QUOTA: usize = 2 * MAX_REPLY_BYTES;

/// What passing over unknown fields may cost, in the same units.
const SKIPPING_QUOTA: usize = 10_000;

/// A call to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Names the call in the report of its outcome.
    pub id: CallId,
    /// Whom to ask.
    pub source: Principal,
    /// The argument.
    pub request: GetSuccessorsRequest,
}

impl<M: Memory> App<M> {
    /// Returns the call to make now, if there is one.
    pub(crate) fn next_ask(&mut self, env: &impl Env) -> Option<Ask> {
        if !(self.config.is_pulling && self.config.is_syncing) {
            return None;
        }
        let (blocks, bytes) = self.free();
        let has_room = blocks >= ROOM_BLOCKS && bytes >= Bytes::new(MAX_REPLY_BYTES as u64);
        let event = Event::Tick { has_room };
        let step = self.pull.on(env.now(), event, &self.policy);
        let mut ask = None;
        for command in step.commands {
            if let Command::Ask { id, request } = command {
                self.store.counters.add(Counter::PullCalls, 1);
                ask = Some(Ask {
                    id,
                    source: self.config.blocks_source,
                    request: self.request(env, request),
                });
            } else {
                self.carry_out(env, command);
            }
        }
        if let Some(error) = step.error {
            self.note_pull_error(env, &error.to_string());
        }
        self.store.cells.set_pull(&self.pull);
        ask
    }

    /// Takes in the outcome of a call: the raw reply, or why there is none.
    pub fn on_reply(&mut self, env: &impl Env, id: CallId, outcome: Result<Vec<u8>, String>) {
        let event = match outcome.and_then(|bytes| decode_reply(&bytes)) {
            Ok(reply) => Event::Replied { id, reply },
            Err(reason) => Event::Refused { id, reason },
        };
        let step = self.pull.on(env.now(), event, &self.policy);
        // Whatever was switched off since only stops the asking: what was delivered is taken, the
        // source may not send it again.
        for command in step.commands {
            self.carry_out(env, command);
        }
        if let Some(error) = step.error {
            self.note_pull_error(env, &error.to_string());
        }
        self.store.cells.set_pull(&self.pull);
        self.store.flush();
    }

    fn note_pull_error(&mut self, env: &impl Env, error: &str) {
        self.store.counters.add(Counter::PullErrors, 1);
        env.log(&format!("pull: {error}"));
    }

    fn request(&self, env: &impl Env, request: Request) -> GetSuccessorsRequest {
        match request {
            Request::FollowUp { page } => GetSuccessorsRequest::FollowUp(page),
            Request::Initial => GetSuccessorsRequest::Initial(GetSuccessorsInitial {
                network: convert::network(self.store.network()),
                anchor: convert::hash(self.store.tree.root_hash()),
                processed_block_hashes: self.processed_blocks(env),
            }),
        }
    }

    /// Returns the blocks that the source is not to send: those of the tree first.
    fn processed_blocks(&self, env: &impl Env) -> Vec<ByteBuf> {
        let tree = &self.store.tree;
        let held_off = self.held_off(env);
        let unknown = held_off.iter().filter(|hash| tree.get(hash).is_none());
        tree.processed_blocks(&held_off)
            .into_iter()
            .chain(unknown.copied())
            .map(convert::hash)
            .collect()
    }

    fn carry_out(&mut self, env: &impl Env, command: Command) {
        let done = match command {
            // The next tick asks; a command to ask only comes from a tick.
            Command::Ask { .. } => Ok(()),
            Command::TakeHeaders(headers) => {
                self.take_headers(env, &headers);
                Ok(())
            }
            Command::TakeBlocks(blocks) => self.take_blocks(env, &blocks),
            Command::Stage { offset, bytes } => {
                if offset == 0 {
                    self.store.blobs.remove(&BlobKey::Staged);
                }
                self.store.blobs.append(&BlobKey::Staged, &bytes)
            }
            Command::TakeStaged { length } => self.take_staged(env, length),
            Command::DropStaged => {
                self.store.blobs.remove(&BlobKey::Staged);
                Ok(())
            }
        };
        if let Err(error) = done {
            self.note_block_fault(env, "taking in a reply", &error);
        }
    }

    /// Takes in headers; those refused are counted by reason.
    fn take_headers(&mut self, env: &impl Env, headers: &[Header]) {
        let mut refused = headers.len().saturating_sub(MAX_REPLY_HEADERS) as u64;
        for header in headers.iter().take(MAX_REPLY_HEADERS) {
            let hash = header.block_hash();
            let is_stable = self.store.stable_height(&hash).is_some();
            if is_stable {
                continue;
            }
            // Their records would use up what is kept for draining.
            if self.store.rejections.refused(&hash).is_some() || !self.store.has_room() {
                refused += 1;
            } else if let Err(error) = self.store.tree.insert_header(header, env.now()) {
                refused += 1;
                self.refuse_header(header, &error);
            }
        }
        self.store
            .counters
            .add(Counter::PullHeadersRefused, refused);
        self.store.flush_tree();
    }

    /// Counts a refused header, and remembers one that is bad for good, so that its block is not
    /// taken either. One without work of its own costs nothing to make, and is forgotten: those
    /// remembered must not be pushed out by such.
    fn refuse_header(&mut self, header: &Header, error: &TreeError) {
        let kind = kind_of(error);
        self.store.counters.add(kind.counter(), 1);
        let has_work = check_own_work(header, self.store.network()).is_ok();
        if kind == RejectionKind::Header && has_work {
            self.store.rejections.refuse_for_good(Rejection {
                hash: header.block_hash(),
                height: None,
                kind,
                reason: error.to_string(),
            });
        }
    }

    /// Returns the blocks not to be asked for now: those of which too many copies were bad or came too
    /// early, and what is known above them, which could not be taken without them. Costs O(those
    /// blocks).
    fn held_off(&self, env: &impl Env) -> BTreeSet<BlockHash> {
        let tree = &self.store.tree;
        let mut pending: Vec<BlockHash> = self.copies.held_off(env.now()).collect();
        let mut found = BTreeSet::new();
        while let Some(hash) = pending.pop() {
            if found.insert(hash) {
                pending.extend(tree.children(&hash).map(|node| node.hash()));
            }
        }
        found
    }

    fn take_blocks(&mut self, env: &impl Env, blocks: &[Vec<u8>]) -> Result<(), StoreError> {
        let mut held_off = self.held_off(env);
        blocks
            .iter()
            .try_for_each(|bytes| self.take_block(env, bytes, &mut held_off))
    }

    /// Puts a block into the queue, unless it is known, not wanted now, or there is no room.
    fn take_block(
        &mut self,
        env: &impl Env,
        bytes: &[u8],
        held_off: &mut BTreeSet<BlockHash>,
    ) -> Result<(), StoreError> {
        // Sources may send bytes after a block; beyond this many there is nothing else.
        let bytes = bytes.get(..MAX_BLOCK_BYTES).unwrap_or(bytes);
        let header = decode_header(bytes).filter(|_| bytes.len() >= MIN_BLOCK_BYTES);
        let Some(header) = header else {
            self.store.counters.add(Counter::PullBlocksIgnored, 1);
            return Ok(());
        };
        let Some(block) = self.admit(env, &header, bytes.len(), held_off) else {
            return Ok(());
        };
        let key = BlobKey::Block(block.hash);
        // No bytes but these are the block's: appending to others would damage it.
        self.store.blobs.remove(&key);
        self.store.blobs.append(&key, bytes)?;
        self.store.enqueue(&key, block)
    }

    fn take_staged(&mut self, env: &impl Env, length: u32) -> Result<(), StoreError> {
        let mut bytes = [0; millrace_core::block::HEADER_BYTES];
        let stored = self.store.blobs.length(&BlobKey::Staged);
        let is_whole = stored == Some(length) && length as usize >= MIN_BLOCK_BYTES;
        if is_whole {
            self.store.blobs.read(&BlobKey::Staged, 0, &mut bytes)?;
        }
        let header = decode_header(&bytes).filter(|_| is_whole);
        let mut held_off = self.held_off(env);
        let block =
            header.and_then(|header| self.admit(env, &header, length as usize, &mut held_off));
        match block {
            Some(block) => self.store.enqueue(&BlobKey::Staged, block),
            None => {
                self.store.blobs.remove(&BlobKey::Staged);
                Ok(())
            }
        }
    }

    /// Judges whether a pulled block is wanted and finds room, and counts it.
    fn admit(
        &mut self,
        env: &impl Env,
        header: &Header,
        length: usize,
        held_off: &mut BTreeSet<BlockHash>,
    ) -> Option<Delivered> {
        let hash = header.block_hash();
        if held_off.contains(&hash) || held_off.contains(&header.prev_blockhash) {
            // Once its header is known, the source is told not to send it.
            self.take_headers(env, std::slice::from_ref(header));
            held_off.insert(hash);
            self.store.counters.add(Counter::PullBlocksIgnored, 1);
            return None;
        }
        if self.store.is_known(&hash) {
            self.store.counters.add(Counter::BlocksKnown, 1);
            return None;
        }
        let (blocks, bytes) = self.free();
        let size = u32::try_from(length).ok()?;
        let is_refused = self.store.rejections.refused(&hash).is_some();
        if is_refused {
            // One with a bad header is in no tree: the source does not know that it is settled.
            self.copies.note_refused(env.now(), hash);
        }
        let has_room = blocks > 0 && bytes >= Bytes::new(u64::from(size));
        if !(is_refused || has_room) {
            self.store.counters.add(Counter::PulledNoRoom, 1);
        }
        if is_refused || !has_room {
            self.store.counters.add(Counter::PullBlocksIgnored, 1);
            return None;
        }
        self.copies.note_pulled(&self.store, hash);
        self.store.counters.add(Counter::BlocksPulled, 1);
        self.store
            .counters
            .add(Counter::BytesDelivered, u64::from(size));
        Some(Delivered {
            hash,
            size,
            source: Source::Pull,
        })
    }
}

fn decode_reply(bytes: &[u8]) -> Result<Reply, String> {
    let mut limits = DecoderConfig::new();
    limits
        .set_decoding_quota(DECODING_QUOTA)
        .set_skipping_quota(SKIPPING_QUOTA)
        .set_full_error_message(false);
    let response: GetSuccessorsResponse = candid::decode_one_with_config(bytes, &limits)
        .map_err(|error| format!("the reply is no get_successors response: {error:#}"))?;
    let plain = |list: Vec<ByteBuf>| list.into_iter().map(ByteBuf::into_vec).collect();
    Ok(match response {
        GetSuccessorsResponse::Complete(complete) => Reply::Complete {
            blocks: plain(complete.blocks),
            next: plain(complete.next),
        },
        GetSuccessorsResponse::Partial(partial) => Reply::Partial {
            partial_block: partial.partial_block.into_vec(),
            next: plain(partial.next),
            remaining_follow_ups: partial.remaining_follow_ups,
        },
        GetSuccessorsResponse::FollowUp(bytes) => Reply::FollowUp(bytes.into_vec()),
    })
}
