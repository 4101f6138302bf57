//! Blocks that adapters push: what is wanted, and taking parts in.

use std::collections::BTreeMap;

use bitcoin::BlockHash;
use candid::Principal;
use ic_stable_structures::Memory;
use millrace_candid::{
    BlockPart, FeedError, FeedState, FeedStateArgs, HalfReceived, PartError, PartOutcome,
    PushReceipt, Rejection,
};
use millrace_core::assembly::{AssemblyKey, Part, Progress, PusherId};
use millrace_core::block::{HEADER_BYTES, MAX_BLOCK_BYTES, decode_header};
use millrace_core::header::check_own_work;
use millrace_core::tree::BlockStatus;
use millrace_core::{Bytes, Height};
use millrace_store::StoreError;
use millrace_store::blobs::BlobKey;
use millrace_store::cells::Counter;
use millrace_store::queue::{Delivered, Source};

use crate::{App, Env, convert};

/// Hashes of a locator, at most: enough to thin out over any chain.
pub const MAX_LOCATOR: usize = 64;

/// Candid bytes of one push, at most: an ingress message holds 2 MiB with its envelope.
pub const MAX_MESSAGE_BYTES: u32 = 1_900_000;

/// Parts of one push, at most: each costs below 1 M instructions besides its bytes.
pub const MAX_PARTS: usize = 512;

impl<M: Memory> App<M> {
    /// Tells an adapter what is there and what is wanted.
    ///
    /// # Errors
    /// [`FeedError`].
    pub fn feed_state(
        &self,
        caller: Principal,
        args: &FeedStateArgs,
    ) -> Result<FeedState, FeedError> {
        self.authorise(caller)?;
        if args.locator.len() > MAX_LOCATOR {
            return Err(FeedError::LocatorTooLong {
                given: convert::length(args.locator.len()),
                max: MAX_LOCATOR as u32,
            });
        }
        let locator = args.locator.iter().map(|bytes| convert::block_hash(bytes));
        let locator = locator.collect::<Result<Vec<_>, _>>();
        let locator = locator.map_err(|given_bytes| FeedError::MalformedHash {
            given_bytes,
            expected_bytes: convert::HASH_BYTES as u32,
        })?;
        let queued = self.queued_heights().map_err(internal)?;
        let common = locator.iter().find_map(|hash| {
            let height = self
                .known_height(hash)
                .or_else(|| queued.get(hash).copied());
            height.map(|height| convert::block_id(*hash, height))
        });
        let tree = &self.store.tree;
        let (tip, tip_height) = self.tip();
        let best_header = tree.best_header_tip();
        let (free_blocks, free_bytes) = self.free();
        Ok(FeedState {
            chain: convert::chain(self.store.network()),
            syncing: convert::flag(self.config.is_syncing),
            anchor: convert::block_id(tree.root_hash(), self.store.anchor_height()),
            tip: convert::block_id(tip, tip_height),
            best_header: convert::block_id(best_header, self.height(&best_header)),
            common,
            free_bytes: free_bytes.get(),
            free_blocks,
            max_message_bytes: MAX_MESSAGE_BYTES,
            max_parts: MAX_PARTS as u32,
            max_block_bytes: MAX_BLOCK_BYTES as u32,
            half_received: self.half_received(caller),
            pending_blocks: self.store.held().0,
            recent_rejections: self.recent_rejections(),
        })
    }

    /// Takes in parts of blocks, in order. Parts do not affect each other; pushing again what is
    /// there changes nothing.
    ///
    /// # Errors
    /// [`FeedError`]; nothing was taken in then.
    pub fn push_blocks(
        &mut self,
        env: &impl Env,
        caller: Principal,
        parts: &[BlockPart],
    ) -> Result<PushReceipt, FeedError> {
        if let Err(error) = self.authorise(caller) {
            self.store.counters.add(Counter::PushesUnauthorised, 1);
            self.store.flush();
            return Err(error);
        }
        if !self.config.is_syncing {
            return Err(FeedError::SyncingDisabled);
        }
        if parts.len() > MAX_PARTS {
            return Err(FeedError::TooManyParts {
                given: convert::length(parts.len()),
                max: MAX_PARTS as u32,
            });
        }
        let pusher = PusherId::new(caller.as_slice())
            .ok_or_else(|| FeedError::Internal("the caller's name is too long".to_owned()))?;
        let mut outcomes = Vec::with_capacity(parts.len());
        for part in parts {
            let outcome = self.push_part(env, pusher, part);
            match &outcome {
                PartOutcome::Rejected(_) => self.store.counters.add(Counter::PartsRejected, 1),
                PartOutcome::NoRoom => self.store.counters.add(Counter::PartsNoRoom, 1),
                PartOutcome::Known => self.store.counters.add(Counter::BlocksKnown, 1),
                PartOutcome::Queued | PartOutcome::Incomplete { .. } => {}
            }
            outcomes.push(outcome);
        }
        self.store.flush();
        let (free_blocks, free_bytes) = self.free();
        let (tip, height) = self.tip();
        Ok(PushReceipt {
            outcomes,
            free_bytes: free_bytes.get(),
            free_blocks,
            tip: convert::block_id(tip, height),
        })
    }

    fn authorise(&self, caller: Principal) -> Result<(), FeedError> {
        if self.is_adapter(&caller) {
            Ok(())
        } else {
            Err(FeedError::NotAnAdapter { caller })
        }
    }

    fn push_part(&mut self, env: &impl Env, pusher: PusherId, part: &BlockPart) -> PartOutcome {
        let hash = match convert::block_hash(&part.hash) {
            Ok(hash) => hash,
            Err(given_bytes) => {
                return PartOutcome::Rejected(PartError::MalformedHash {
                    given_bytes,
                    expected_bytes: convert::HASH_BYTES as u32,
                });
            }
        };
        let key = AssemblyKey { pusher, hash };
        if self.store.is_known(&hash) {
            // A copy begun before the block came another way is of no use.
            let stale = self.store.assembly.discard(|other| other.hash == hash);
            self.store.forget_halves(&stale);
            return PartOutcome::Known;
        }
        match self.check_header(hash, part) {
            Ok(()) => {}
            Err(error) => return PartOutcome::Rejected(error),
        }
        match self.take_part(env, &key, part) {
            Ok(outcome) => outcome,
            Err(error) => {
                self.note_block_fault(env, "storing a part", &error);
                PartOutcome::NoRoom
            }
        }
    }

    /// Refuses blocks that were refused for good or are known to be invalid, and headers that cheap
    /// checks show to be false.
    fn check_header(&self, hash: BlockHash, part: &BlockPart) -> Result<(), PartError> {
        if let Some(rejection) = self.store.rejections.refused(&hash) {
            return Err(PartError::InvalidBlock {
                kind: Some(convert::wire_kind(rejection.kind)),
                reason: rejection.reason,
            });
        }
        let status = self.store.tree.get(&hash).map(|node| node.status());
        if let Some(BlockStatus::Invalid(reason)) = status {
            return Err(PartError::InvalidBlock {
                kind: Some(convert::wire_kind(convert::rejection_kind(reason))),
                reason: reason.to_string(),
            });
        }
        if part.offset == 0 && part.bytes.len() >= HEADER_BYTES {
            return self.check_first_bytes(hash, &part.bytes);
        }
        Ok(())
    }

    fn check_first_bytes(&self, hash: BlockHash, bytes: &[u8]) -> Result<(), PartError> {
        let network = self.store.network();
        let Some(header) = decode_header(bytes) else {
            return Err(PartError::EmptyPart);
        };
        let computed = header.block_hash();
        if computed != hash {
            return Err(PartError::HeaderHashMismatch {
                computed: convert::hash(computed),
            });
        }
        check_own_work(&header, network)
            .map(|_| ())
            .map_err(|error| PartError::InsufficientWork {
                reason: error.to_string(),
            })
    }

    fn take_part(
        &mut self,
        env: &impl Env,
        key: &AssemblyKey,
        part: &BlockPart,
    ) -> Result<PartOutcome, StoreError> {
        let (blocks, bytes) = self.free();
        let has_room = blocks > 0 && bytes >= Bytes::new(u64::from(part.size));
        let core_part = Part {
            hash: key.hash,
            size: part.size,
            offset: part.offset,
            length: convert::length(part.bytes.len()),
        };
        // Judged on a copy: a part that is in order but finds no room in the queue must stay the
        // next one expected.
        let mut judged = self.store.assembly.clone();
        let accepted = match judged.offer(env.now(), key.pusher, &core_part) {
            Ok(accepted) => accepted,
            Err(error) => {
                return Ok(
                    convert::part_error(error).map_or(PartOutcome::NoRoom, PartOutcome::Rejected)
                );
            }
        };
        if let Progress::Repeated { received } = accepted.progress {
            return Ok(PartOutcome::Incomplete { received });
        }
        if !has_room {
            return Ok(PartOutcome::NoRoom);
        }
        self.store.forget_halves(&accepted.discarded);
        if let Err(error) = self.store.blobs.append(&BlobKey::Half(*key), &part.bytes) {
            // The halves that made room are gone, although nothing came into their place.
            self.store
                .assembly
                .discard(|half| accepted.discarded.contains(half));
            return Err(error);
        }
        self.store.assembly = judged;
        self.store.save_half(key);
        match accepted.progress {
            Progress::Repeated { received } | Progress::Incomplete { received } => {
                Ok(PartOutcome::Incomplete { received })
            }
            Progress::Complete => self.complete(key, part.size),
        }
    }

    /// Puts a whole block into the queue.
    fn complete(&mut self, key: &AssemblyKey, size: u32) -> Result<PartOutcome, StoreError> {
        let half = BlobKey::Half(*key);
        let mut bytes = [0; HEADER_BYTES];
        self.store.blobs.read(&half, 0, &mut bytes)?;
        if let Err(error) = self.check_first_bytes(key.hash, &bytes) {
            self.store.forget_halves(&[*key]);
            return Ok(PartOutcome::Rejected(error));
        }
        let block = Delivered {
            hash: key.hash,
            size,
            source: Source::Push,
        };
        self.store.enqueue(&half, block)?;
        self.store.counters.add(Counter::BlocksPushed, 1);
        self.store
            .counters
            .add(Counter::BytesDelivered, u64::from(size));
        Ok(PartOutcome::Queued)
    }

    fn half_received(&self, caller: Principal) -> Vec<HalfReceived> {
        let Some(pusher) = PusherId::new(caller.as_slice()) else {
            return Vec::new();
        };
        self.store
            .assembly
            .half_received(pusher)
            .map(|(hash, size, received)| HalfReceived {
                hash: convert::hash(hash),
                size,
                received,
            })
            .collect()
    }

    pub(crate) fn recent_rejections(&self) -> Vec<Rejection> {
        self.store
            .rejections
            .newest_first()
            .map(convert::rejection)
            .collect()
    }

    /// Returns the height of a block that is held, connected or stable.
    fn known_height(&self, hash: &BlockHash) -> Option<Height> {
        let node = self.store.tree.get(hash).filter(|node| {
            matches!(
                node.status(),
                BlockStatus::BodyHeld | BlockStatus::Connected
            )
        });
        node.map(|node| node.context().height())
            .or_else(|| self.store.stable_height(hash))
    }

    /// Returns the heights of queued blocks that follow known ones. Costs one read for each
    /// queued block.
    fn queued_heights(&self) -> Result<BTreeMap<BlockHash, Height>, StoreError> {
        let mut heights: BTreeMap<BlockHash, Height> = BTreeMap::new();
        for delivered in self.store.queue.iter() {
            let hash = delivered?.hash;
            let mut bytes = [0; HEADER_BYTES];
            self.store
                .blobs
                .read(&BlobKey::Block(hash), 0, &mut bytes)?;
            let Some(header) = decode_header(&bytes) else {
                continue;
            };
            let parent = header.prev_blockhash;
            let parent = self
                .known_height(&parent)
                .or_else(|| heights.get(&parent).copied());
            if let Some(parent) = parent {
                heights.insert(hash, parent.next());
            }
        }
        Ok(heights)
    }
}

fn internal(error: StoreError) -> FeedError {
    FeedError::Internal(error.to_string())
}
