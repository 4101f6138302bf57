//! How fast a source is: its blocks are fetched, checked and packed as for a canister, and dropped.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bitcoin::BlockHash;
use millrace_core::block::{HEADER_BYTES, MAX_BLOCK_BYTES, decode_header};
use millrace_core::{Height, Network};
use rustix::time::{ClockId, clock_gettime};

use crate::engine::{BlockRef, FeedView, Part, PartOutcome, Receipt};
use crate::sink::{Sink, SinkError};

#[cfg(test)]
mod tests;

/// What a receipt says is free: more than any engine sends before the next one.
const ROOM_BYTES: u64 = 1 << 30;
const ROOM_BLOCKS: u32 = 100_000;

/// Parts of one message.
const PARTS_MAX: u32 = 10_000;

/// A canister that takes everything at once and keeps nothing but hashes and heights.
#[derive(Clone, Debug)]
pub struct NullSink {
    network: Network,
    message_bytes_max: u32,
    taken: Arc<Mutex<Taken>>,
}

/// What a [`NullSink`] was given.
#[derive(Clone, Debug)]
pub struct Taken {
    heights: HashMap<BlockHash, Height>,
    /// Blocks that overtook their parents, by these.
    early: HashMap<BlockHash, BlockHash>,
    /// The highest block.
    pub tip: BlockRef,
    /// Bytes of blocks.
    pub bytes: u64,
    /// Whole blocks.
    pub blocks: u64,
}

impl NullSink {
    /// Starts with the genesis block.
    pub fn new(network: Network, message_bytes_max: u32) -> Self {
        let tip = BlockRef {
            hash: network.genesis_block().block_hash(),
            height: Height::ZERO,
        };
        Self {
            network,
            message_bytes_max,
            taken: Arc::new(Mutex::new(Taken {
                heights: HashMap::from([(tip.hash, tip.height)]),
                early: HashMap::new(),
                tip,
                bytes: 0,
                blocks: 0,
            })),
        }
    }

    /// Returns what it was given so far.
    pub fn taken(&self) -> Taken {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // Counters hold whatever a panic elsewhere left.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn take(&mut self, part: &Part) -> PartOutcome {
        let length = u32::try_from(part.bytes.len()).unwrap_or(u32::MAX);
        self.bytes = self.bytes.saturating_add(u64::from(length));
        if part.offset == 0
            && let Some(header) = part.bytes.get(..HEADER_BYTES).and_then(decode_header)
        {
            self.place(header.prev_blockhash, part.hash);
        }
        let end = part.offset.saturating_add(length);
        if end < part.size {
            return PartOutcome::Incomplete { received: end };
        }
        self.blocks += 1;
        PartOutcome::Queued
    }

    /// Finds a block's height, and those of blocks that came before it. Pushes overtake one another.
    fn place(&mut self, parent: BlockHash, block: BlockHash) {
        self.early.insert(parent, block);
        let mut parent = parent;
        while let Some(height) = self.heights.get(&parent).map(|height| height.next()) {
            let Some(block) = self.early.remove(&parent) else {
                return;
            };
            self.heights.insert(block, height);
            if height > self.tip.height {
                self.tip = BlockRef {
                    hash: block,
                    height,
                };
            }
            parent = block;
        }
    }
}

impl Sink for NullSink {
    async fn feed_state(&self, locator: Vec<BlockHash>) -> Result<FeedView, SinkError> {
        let taken = self.lock();
        let known = |hash: &BlockHash| {
            let height = taken.heights.get(hash).copied();
            height.map(|height| BlockRef {
                hash: *hash,
                height,
            })
        };
        Ok(FeedView {
            network: self.network,
            is_syncing: true,
            anchor: BlockRef {
                hash: self.network.genesis_block().block_hash(),
                height: Height::ZERO,
            },
            tip: taken.tip,
            best_header: taken.tip,
            common: locator.iter().find_map(known),
            free_bytes: ROOM_BYTES,
            free_blocks: ROOM_BLOCKS,
            message_bytes_max: self.message_bytes_max,
            parts_max: PARTS_MAX,
            block_bytes_max: u32::try_from(MAX_BLOCK_BYTES).unwrap_or(u32::MAX),
            half_received: Vec::new(),
            pending_blocks: 0,
            rejections: Vec::new(),
        })
    }

    async fn push(&self, parts: Vec<Part>) -> Result<Receipt, SinkError> {
        let mut taken = self.lock();
        Ok(Receipt {
            outcomes: parts.iter().map(|part| taken.take(part)).collect(),
            free_bytes: ROOM_BYTES,
            free_blocks: ROOM_BLOCKS,
            tip: taken.tip,
        })
    }

    fn argument_bytes_max(&self) -> u32 {
        self.message_bytes_max
    }
}

/// How fast a source was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// Blocks.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Time it took.
    pub elapsed: Duration,
    /// Processor time of this process, all threads together.
    pub processor: Duration,
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = self.bytes as f64 / 1e6;
        let per_second = |time: Duration| megabytes / time.as_secs_f64().max(1e-9);
        writeln!(f, "blocks           {}", self.blocks)?;
        writeln!(f, "bytes            {}", self.bytes)?;
        writeln!(f, "seconds          {:.3}", self.elapsed.as_secs_f64())?;
        writeln!(f, "cpu_seconds      {:.3}", self.processor.as_secs_f64())?;
        writeln!(f, "mb_per_second    {:.1}", per_second(self.elapsed))?;
        let per_gigabyte = self.processor.as_secs_f64() / (megabytes / 1e3).max(1e-9);
        writeln!(f, "cpu_s_per_gb     {per_gigabyte:.2}")
    }
}

/// Returns the processor time that this process has used.
pub fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}
