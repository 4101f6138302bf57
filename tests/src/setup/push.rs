//! The adapter's part in tests: cuts blocks into parts and pushes them under back-pressure.

use std::collections::VecDeque;

use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;
use bitcoin::{Block, BlockHash};
use candid::Principal;
use millrace_candid::{
    BlockPart, FeedStateArgs, FeedStateResult, PartOutcome, PushBlocksResult, PushReceipt,
};
use serde_bytes::ByteBuf;

use super::Setup;

/// Bytes of a block in one part: leaves room for Candid and the ingress envelope in 2 MiB.
const CHUNK_BYTES: usize = 1_500_000;

/// Candid bytes of a part besides its block's, generously.
const PART_OVERHEAD_BYTES: usize = 100;

/// The whole block as one part.
pub fn part(block: &Block) -> BlockPart {
    parts_of(block, usize::MAX).remove(0)
}

/// The block cut into parts of at most `chunk_bytes`.
pub fn parts_of(block: &Block, chunk_bytes: usize) -> Vec<BlockPart> {
    let bytes = serialize(block);
    let hash = block.block_hash().to_byte_array();
    let size = u32::try_from(bytes.len()).expect("a block has at most 4 MB");
    let mut offset = 0;
    let mut parts = Vec::new();
    for chunk in bytes.chunks(chunk_bytes.min(bytes.len())) {
        parts.push(BlockPart {
            hash: ByteBuf::from(hash),
            size,
            offset,
            bytes: ByteBuf::from(chunk),
        });
        offset += u32::try_from(chunk.len()).expect("a chunk is no larger than its block");
    }
    parts
}

impl Setup {
    /// Pushes parts in one message.
    ///
    /// # Errors
    /// The canister's own.
    pub fn push_parts(&self, sender: Principal, parts: &[BlockPart]) -> PushBlocksResult {
        self.update(sender, "push_blocks", (parts,))
            .unwrap_or_else(|reject| panic!("push_blocks is rejected: {reject}"))
    }

    /// Pushes one part alone and returns what became of it.
    pub fn push_part(&self, part: BlockPart) -> PartOutcome {
        let mut receipt = self
            .push_parts(self.adapter, &[part])
            .expect("the adapter may push");
        assert_eq!(receipt.outcomes.len(), 1, "one outcome for one part");
        receipt.outcomes.remove(0)
    }

    /// Asks what is wanted.
    ///
    /// # Errors
    /// The canister's own.
    pub fn feed_state_with(&self, sender: Principal, locator: Vec<BlockHash>) -> FeedStateResult {
        let locator = locator
            .into_iter()
            .map(|hash| ByteBuf::from(hash.to_byte_array()))
            .collect();
        self.query(sender, "feed_state", (FeedStateArgs { locator },))
            .unwrap_or_else(|reject| panic!("feed_state is rejected: {reject}"))
    }

    /// Pushes blocks in order until the canister has taken all, running rounds when it has no room.
    pub fn push<'a>(&self, blocks: impl IntoIterator<Item = &'a Block>) {
        let feed = self.feed_state().expect("the adapter may ask");
        let mut waiting: VecDeque<BlockPart> = blocks
            .into_iter()
            .flat_map(|block| parts_of(block, CHUNK_BYTES))
            .collect();
        while !waiting.is_empty() {
            let count = fitting(
                &waiting,
                feed.max_message_bytes as usize,
                feed.max_parts as usize,
            );
            let message = &waiting.make_contiguous()[..count];
            let receipt = self
                .push_parts(self.adapter, message)
                .expect("the adapter may push");
            let taken = taken(&receipt);
            waiting.drain(..taken);
            if taken < count {
                self.pic.tick();
            }
        }
    }
}

/// How many of the waiting parts fit into one message; at least one.
fn fitting(waiting: &VecDeque<BlockPart>, bytes_max: usize, parts_max: usize) -> usize {
    let mut bytes = 0;
    let count = waiting
        .iter()
        .take(parts_max)
        .take_while(|part| {
            bytes += part.bytes.len() + PART_OVERHEAD_BYTES;
            bytes <= bytes_max
        })
        .count();
    count.max(1)
}

/// How many parts the canister needs no more, counted up to the first it had no room for.
fn taken(receipt: &PushReceipt) -> usize {
    receipt
        .outcomes
        .iter()
        .take_while(|outcome| match outcome {
            PartOutcome::Queued | PartOutcome::Incomplete { .. } | PartOutcome::Known => true,
            PartOutcome::NoRoom => false,
            PartOutcome::Rejected(error) => panic!("a good part is rejected: {error:?}"),
        })
        .count()
}
