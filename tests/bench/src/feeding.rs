//! Feeds blocks as an adapter does, and sums up what taking them in costs.

use anyhow::{Result, bail};
use bitcoin::Block;
use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;
use candid::encode_one;
use millrace_candid::{
    BlockPart, FeedError, FeedState, FeedStateArgs, FeedStateResult, PartOutcome, PushReceipt,
};
use millrace_subnet::UsageRecord;
use serde_bytes::ByteBuf;

use crate::canister::{Canister, succeeded};
use crate::counts::{Counts, is_idle};

/// Rounds after which work that should end never will.
const ROUNDS_MAX: u32 = 100_000;

/// Bytes of blocks in one message: leaves room for Candid below `max_message_bytes`.
const MESSAGE_BYTES: usize = 1_890_000;

/// Candid bytes of a part besides its block's, generously.
const PART_BYTES: usize = 100;

/// Parts of one message.
const PARTS_MAX: usize = 500;

impl Canister {
    /// What the canister tells an adapter that has nothing.
    ///
    /// # Errors
    /// The canister does not answer its adapter.
    pub fn feed_state(&mut self) -> Result<FeedState> {
        let answer: FeedStateResult = self.ask("feed_state", (FeedStateArgs::default(),))?;
        match answer {
            Ok(state) => Ok(state),
            Err(error) => bail!("feed_state: {error:?}"),
        }
    }

    /// Pushes a block alone, waits until all work is done, and returns what that cost.
    ///
    /// # Errors
    /// The canister does not take the block.
    pub fn take_in(&mut self, block: &Block) -> Result<Counts> {
        self.take_in_all(std::slice::from_ref(block))
    }

    /// Pushes blocks, as many in a message as fit and as fast as there is room, waits until all work
    /// is done, and returns what that cost.
    ///
    /// # Errors
    /// The canister does not take the blocks.
    pub fn take_in_all(&mut self, blocks: &[Block]) -> Result<Counts> {
        self.records()?;
        let mut counts = Counts::default();
        let mut waiting: Vec<BlockPart> = blocks.iter().flat_map(parts).rev().collect();
        while !waiting.is_empty() {
            let message = next_message(&mut waiting);
            let receipt = self.push(&message)?;
            let taken = taken(&receipt)?;
            let back = message.into_iter().skip(taken).rev();
            let before = waiting.len();
            waiting.extend(back);
            if waiting.len() > before {
                self.tick();
            }
            counts.join(&Counts::of_work(&self.records()?));
        }
        counts.join(&self.settle()?);
        let Some(last) = blocks.last() else {
            return Ok(counts);
        };
        let state = self.feed_state()?;
        if state.tip.hash.as_slice() != last.block_hash().to_byte_array() {
            bail!(
                "block {} did not become the tip; refused: {:?}",
                last.block_hash(),
                state.recent_rejections
            );
        }
        Ok(counts)
    }

    /// Pushes blocks that do not become the tip.
    ///
    /// # Errors
    /// The canister does not take the blocks.
    pub fn take_in_forks(&mut self, blocks: &[Block]) -> Result<()> {
        for block in blocks {
            let receipt = self.push(&parts(block))?;
            if taken(&receipt)? < receipt.outcomes.len() {
                bail!("there is no room for a fork of one small block");
            }
            self.settle()?;
        }
        Ok(())
    }

    /// Runs rounds until the best header has this height, and returns what they cost, idle heartbeats
    /// left out.
    ///
    /// # Errors
    /// It does not get there.
    pub fn until_headers(&mut self, height: u32) -> Result<Counts> {
        let mut counts = Counts::default();
        for _ in 0..100 {
            self.tick();
            counts.join(&Counts::of_work(&self.records()?));
            if self.feed_state()?.best_header.height >= height {
                return Ok(counts);
            }
        }
        bail!("the best header does not get to height {height}")
    }

    fn push(&mut self, parts: &[BlockPart]) -> Result<PushReceipt> {
        let reply = self.update("push_blocks", encode_one(parts)?)?;
        succeeded::<PushReceipt, FeedError>(&reply)
    }

    /// Runs rounds until a heartbeat finds nothing to do, and returns what they cost.
    ///
    /// # Errors
    /// That does not come.
    pub fn settle(&mut self) -> Result<Counts> {
        let mut counts = Counts::default();
        for _ in 0..ROUNDS_MAX {
            self.tick();
            let records = self.records()?;
            counts.join(&Counts::of_work(&records));
            if records.iter().any(is_idle) && self.feed_state()?.pending_blocks == 0 {
                return Ok(counts);
            }
        }
        bail!("work does not end within {ROUNDS_MAX} rounds")
    }

    /// The record of an idle heartbeat.
    ///
    /// # Errors
    /// There is none within a few rounds.
    pub fn idle_heartbeat(&mut self) -> Result<UsageRecord> {
        self.settle()?;
        for _ in 0..10 {
            self.tick();
            if let Some(record) = self.records()?.into_iter().find(is_idle) {
                return Ok(record);
            }
        }
        bail!("no heartbeat is idle")
    }
}

/// The parts in which a block is pushed.
pub fn parts(block: &Block) -> Vec<BlockPart> {
    let bytes = serialize(block);
    let hash = ByteBuf::from(block.block_hash().to_byte_array());
    let size = u32::try_from(bytes.len()).expect("a block has at most 4 MB");
    let mut offset = 0;
    let mut parts = Vec::new();
    for chunk in bytes.chunks(MESSAGE_BYTES - PART_BYTES) {
        parts.push(BlockPart {
            hash: hash.clone(),
            size,
            offset,
            bytes: ByteBuf::from(chunk),
        });
        offset += u32::try_from(chunk.len()).expect("no longer than its block");
    }
    parts
}

/// Takes as many parts as fit into a message off the end of `waiting`, where the next ones are.
fn next_message(waiting: &mut Vec<BlockPart>) -> Vec<BlockPart> {
    let mut message = Vec::new();
    let mut bytes = 0;
    while let Some(part) = waiting.last() {
        bytes += part.bytes.len() + PART_BYTES;
        if !message.is_empty() && (bytes > MESSAGE_BYTES || message.len() == PARTS_MAX) {
            break;
        }
        message.extend(waiting.pop());
    }
    message
}

/// How many parts the canister needs no more, counted up to the first it had no room for.
///
/// # Errors
/// A part is refused.
pub fn taken(receipt: &PushReceipt) -> Result<usize> {
    for (index, outcome) in receipt.outcomes.iter().enumerate() {
        match outcome {
            PartOutcome::Queued | PartOutcome::Incomplete { .. } | PartOutcome::Known => {}
            PartOutcome::NoRoom => return Ok(index),
            PartOutcome::Rejected(error) => bail!("a good block is refused: {error:?}"),
        }
    }
    Ok(receipt.outcomes.len())
}

#[cfg(test)]
mod tests {
    use bitcoin::constants::genesis_block;
    use millrace_candid::{BlockId, PartError};

    use super::*;

    fn part(bytes: usize) -> BlockPart {
        BlockPart {
            hash: ByteBuf::new(),
            size: 0,
            offset: 0,
            bytes: ByteBuf::from(vec![0; bytes]),
        }
    }

    #[test]
    fn a_message_holds_as_many_parts_as_fit_and_one_at_least() {
        let mut waiting = vec![part(10), part(MESSAGE_BYTES), part(900_000), part(900_000)];
        let lengths = |parts: &[BlockPart]| -> Vec<usize> {
            parts.iter().map(|part| part.bytes.len()).collect()
        };
        assert_eq!(lengths(&next_message(&mut waiting)), [900_000, 900_000]);
        assert_eq!(lengths(&next_message(&mut waiting)), [MESSAGE_BYTES]);
        assert_eq!(lengths(&next_message(&mut waiting)), [10]);
        let mut many: Vec<BlockPart> = (0..PARTS_MAX + 1).map(|_| part(1)).collect();
        assert_eq!(next_message(&mut many).len(), PARTS_MAX);
    }

    #[test]
    fn parts_of_a_block_are_the_block() {
        let block = genesis_block(bitcoin::Network::Regtest);
        let parts = parts(&block);
        assert_eq!(parts.len(), 1);
        assert_eq!(parts[0].bytes.as_slice(), serialize(&block));
        assert_eq!(parts[0].size as usize, parts[0].bytes.len());
    }

    #[test]
    fn parts_count_as_taken_up_to_the_first_without_room_and_a_refusal_is_an_error() {
        let receipt = |outcomes| PushReceipt {
            outcomes,
            free_bytes: 0,
            free_blocks: 0,
            tip: BlockId {
                hash: ByteBuf::new(),
                height: 0,
            },
        };
        let some = receipt(vec![
            PartOutcome::Queued,
            PartOutcome::NoRoom,
            PartOutcome::Queued,
        ]);
        assert_eq!(taken(&some).expect("nothing is refused"), 1);
        let refused = receipt(vec![PartOutcome::Rejected(PartError::EmptyPart)]);
        let error = taken(&refused).expect_err("a part is refused").to_string();
        assert!(error.contains("EmptyPart"), "{error}");
    }
}
