//! A chain of made-up blocks with true headers, and a canister that keeps to the contract.

use std::collections::{HashMap, HashSet, VecDeque};

use bitcoin::block::{Header, Version};
use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, TxMerkleNode};
use millrace_core::{Height, Network};

use super::simulation::Random;
use crate::engine::{
    BlockRef, FeedView, HalfReceived, Part, PartOutcome, Receipt, Rejection, RejectionKind,
};

/// Regtest blocks from genesis on: a header with work, and filling.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Headers in chain order, then those of other branches.
    pub headers: Vec<Header>,
    /// Header and size of every block.
    blocks: HashMap<BlockHash, (Header, usize)>,
    length: usize,
}

impl Chain {
    pub fn linear(length: usize, size: impl Fn(usize) -> usize) -> Self {
        let genesis = Network::Regtest.genesis_block().header;
        let mut chain = Self {
            headers: vec![genesis],
            blocks: HashMap::from([(genesis.block_hash(), (genesis, 285))]),
            length: 0,
        };
        chain.extend(length, 0, size);
        chain
    }

    pub fn random(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0xc4a1);
        let length = 1 + random.below(400) as usize;
        let mut sizes: Vec<usize> = (0..=length)
            .map(|_| 200 + random.below(2_000) as usize)
            .collect();
        for _ in 0..random.below(6) {
            let at = random.below(length as u64) as usize;
            sizes[at] = 100_000 + random.below(700_000) as usize;
        }
        Self::linear(length, |height| sizes[height])
    }

    fn extend(&mut self, length: usize, branch: u8, size: impl Fn(usize) -> usize) {
        for _ in 0..length {
            let parent = self.headers[self.length];
            self.length += 1;
            let mut header = Header {
                version: Version::TWO,
                prev_blockhash: parent.block_hash(),
                merkle_root: TxMerkleNode::from_byte_array([branch; 32]),
                time: parent.time + 1,
                bits: parent.bits,
                nonce: 0,
            };
            while !header.target().is_met_by(header.block_hash()) {
                header.nonce += 1;
            }
            self.headers.push(header);
            let block = (header, size(self.length));
            self.blocks.insert(header.block_hash(), block);
        }
    }

    pub fn fork(&self, after: usize, length: usize) -> Self {
        let mut fork = self.truncated(after);
        fork.extend(length, 1, |_| 300);
        fork
    }

    pub fn truncated(&self, length: usize) -> Self {
        let mut chain = self.clone();
        chain.headers.truncate(length + 1);
        chain.length = length;
        chain
    }

    pub fn without_beginning(&self, length: usize) -> Self {
        let mut chain = self.clone();
        chain.headers.drain(..=length);
        chain
    }

    pub fn with(&self, other: &Self) -> Self {
        let mut both = self.clone();
        let own: HashSet<BlockHash> = self.headers.iter().map(Header::block_hash).collect();
        let others = other.headers.iter();
        both.headers
            .extend(others.filter(|header| !own.contains(&header.block_hash())));
        both.blocks.extend(&other.blocks);
        both
    }

    pub fn hash(&self, height: usize) -> BlockHash {
        self.headers[height].block_hash()
    }

    pub fn tip(&self) -> BlockHash {
        self.hash(self.length)
    }

    pub fn block(&self, hash: BlockHash) -> Option<Vec<u8>> {
        let (header, size) = self.blocks.get(&hash)?;
        let mut bytes = serialize(header);
        bytes.resize(*size, 0xb1);
        Some(bytes)
    }

    pub fn bytes_after_genesis(&self) -> u64 {
        let hashes = self.headers[1..=self.length].iter();
        hashes
            .map(|header| self.blocks[&header.block_hash()].1 as u64)
            .sum()
    }
}

/// A canister that keeps to the contract of `btc.did`.
#[derive(Clone, Debug)]
pub struct Model {
    pub network: Network,
    pub knows_genesis: bool,
    pub is_syncing: bool,
    pub queue_bytes_max: u64,
    pub queue_blocks_max: u32,
    pub connects_per_heartbeat: usize,
    pub block_bytes_max: u32,
    pub parts_max: u32,
    pub anchor_height: usize,
    /// Whether blocks in parts find no room, however much the queue has: other adapters' beginnings
    /// take it.
    pub is_assembly_full: bool,
    /// Whether the next message finds no room for any of its parts.
    pub is_next_push_without_room: bool,
    /// Blocks that break a rule on connecting.
    pub bad: HashSet<BlockHash>,
    // The rest is the canister's own state, public so that tests can vary the settings above.
    pub connected: Vec<BlockRef>,
    pub heights: HashMap<BlockHash, Height>,
    pub queue: VecDeque<Vec<u8>>,
    pub pending: VecDeque<Vec<u8>>,
    /// Blocks queued or pending.
    pub waiting: HashSet<BlockHash>,
    /// Blocks that are pending: drained, their parents known.
    pub drained: HashSet<BlockHash>,
    /// Beginnings of blocks, of each adapter by itself.
    pub halves: HashMap<(usize, BlockHash), Vec<u8>>,
    pub sizes: HashMap<(usize, BlockHash), u32>,
    /// The adapter that is heard.
    pub caller: usize,
    pub invalid: HashSet<BlockHash>,
    pub rejections: VecDeque<Rejection>,
}

impl Default for Model {
    fn default() -> Self {
        let genesis = BlockRef {
            hash: Network::Regtest.genesis_block().block_hash(),
            height: Height::ZERO,
        };
        Self {
            network: Network::Regtest,
            knows_genesis: true,
            is_syncing: true,
            queue_bytes_max: 8_000_000,
            queue_blocks_max: 1_000,
            connects_per_heartbeat: 200,
            block_bytes_max: 4_000_000,
            parts_max: 500,
            anchor_height: 0,
            is_assembly_full: false,
            is_next_push_without_room: false,
            bad: HashSet::new(),
            connected: vec![genesis],
            heights: HashMap::from([(genesis.hash, genesis.height)]),
            queue: VecDeque::new(),
            pending: VecDeque::new(),
            waiting: HashSet::new(),
            drained: HashSet::new(),
            halves: HashMap::new(),
            sizes: HashMap::new(),
            caller: 0,
            invalid: HashSet::new(),
            rejections: VecDeque::new(),
        }
    }
}

impl Model {
    pub fn random(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0xca15);
        Self {
            queue_bytes_max: 800_000 + random.below(3_000_000),
            queue_blocks_max: 1 + random.below(200) as u32,
            connects_per_heartbeat: 1 + random.below(100) as usize,
            parts_max: 1 + random.below(200) as u32,
            ..Self::default()
        }
    }

    pub fn holding(mut self, chain: &Chain, height: usize) -> Self {
        for height in 1..=height {
            let block = BlockRef {
                hash: chain.hash(height),
                height: Height::new(height as u32),
            };
            self.heights.insert(block.hash, block.height);
            self.connected.push(block);
        }
        self
    }

    pub fn begin(&mut self, chain: &Chain, height: usize, received: usize) {
        let hash = chain.hash(height);
        let mut bytes = chain.block(hash).expect("the chain has the block");
        self.sizes.insert((0, hash), bytes.len() as u32);
        bytes.truncate(received);
        self.halves.insert((0, hash), bytes);
    }

    /// The connected block with the most work: on regtest the highest, the first of its height.
    pub fn tip(&self) -> BlockRef {
        let highest = self.connected.iter().map(|block| block.height).max();
        *self
            .connected
            .iter()
            .find(|block| Some(block.height) == highest)
            .expect("genesis is connected")
    }

    fn knows(&self, hash: &BlockHash) -> bool {
        self.heights.contains_key(hash) || self.waiting.contains(hash)
    }

    fn free_bytes(&self) -> u64 {
        let used: usize = self.queue.iter().chain(&self.pending).map(Vec::len).sum();
        self.queue_bytes_max.saturating_sub(used as u64)
    }

    fn free_blocks(&self) -> u32 {
        let used = self.queue.len() + self.pending.len();
        self.queue_blocks_max.saturating_sub(used as u32)
    }

    pub fn feed_state(&self, locator: &[BlockHash]) -> FeedView {
        assert!(locator.len() <= 64, "the contract's limit");
        let common = locator.iter().find(|hash| self.knows(hash));
        let common = common.filter(|_| self.knows_genesis).map(|hash| BlockRef {
            hash: *hash,
            // A queued block has no height yet.
            height: self.heights.get(hash).copied().unwrap_or_default(),
        });
        FeedView {
            network: self.network,
            is_syncing: self.is_syncing,
            anchor: self.connected[self.anchor_height],
            tip: self.tip(),
            best_header: self.tip(),
            common,
            free_bytes: self.free_bytes(),
            free_blocks: self.free_blocks(),
            message_bytes_max: 200_000,
            parts_max: self.parts_max,
            block_bytes_max: self.block_bytes_max,
            half_received: self
                .halves
                .iter()
                .filter(|((caller, _), _)| *caller == self.caller)
                .map(|(key, bytes)| HalfReceived {
                    hash: key.1,
                    size: self.sizes[key],
                    received: bytes.len() as u32,
                })
                .collect(),
            pending_blocks: (self.pending.len() + self.queue.len()) as u32,
            rejections: self.rejections.iter().cloned().collect(),
        }
    }

    pub fn push(&mut self, parts: Vec<Part>) -> Receipt {
        assert!(
            parts.len() <= self.parts_max as usize,
            "the contract's limit"
        );
        let bytes: usize = parts.iter().map(|part| part.bytes.len() + 46).sum();
        assert!(bytes <= 200_000, "the contract's limit, got {bytes}");
        let outcomes = if std::mem::take(&mut self.is_next_push_without_room) {
            vec![PartOutcome::NoRoom; parts.len()]
        } else {
            parts.into_iter().map(|part| self.push_part(part)).collect()
        };
        Receipt {
            outcomes,
            free_bytes: self.free_bytes(),
            free_blocks: self.free_blocks(),
            tip: self.tip(),
        }
    }

    fn push_part(&mut self, part: Part) -> PartOutcome {
        if self.knows(&part.hash) {
            return PartOutcome::Known;
        }
        if self.invalid.contains(&part.hash) {
            return PartOutcome::Refused {
                reason: "refused before".to_owned(),
            };
        }
        let key = (self.caller, part.hash);
        if part.offset == 0 {
            let is_whole = part.bytes.len() as u64 == u64::from(part.size);
            if self.free_blocks() == 0
                || self.free_bytes() < u64::from(part.size)
                || (self.is_assembly_full && !is_whole)
            {
                return PartOutcome::NoRoom;
            }
            self.halves.insert(key, Vec::new());
            self.sizes.insert(key, part.size);
        }
        let received = self.halves.get(&key).map_or(0, Vec::len) as u32;
        if received != part.offset {
            return PartOutcome::ContinueAt { offset: received };
        }
        let half = self.halves.entry(key).or_default();
        half.extend(&part.bytes);
        let received = half.len() as u32;
        if received < part.size {
            return PartOutcome::Incomplete { received };
        }
        let header = header_of(half).expect("the first 80 bytes are a header");
        assert_eq!(header.block_hash(), part.hash, "bytes arrive in order");
        let mut block = self.halves.remove(&key).expect("just extended");
        if self.free_blocks() == 0 || self.free_bytes() < u64::from(part.size) {
            block.truncate(part.offset as usize);
            self.halves.insert(key, block);
            return PartOutcome::NoRoom;
        }
        self.waiting.insert(part.hash);
        self.queue.push_back(block);
        PartOutcome::Queued
    }

    /// Forgets beginnings of blocks, as a canister may under pressure.
    pub fn forget_halves(&mut self) {
        self.halves.clear();
    }

    pub fn heartbeat(&mut self) {
        while let Some(block) = self.queue.pop_front() {
            let header = header_of(&block).expect("checked when it was pushed");
            let parent = header.prev_blockhash;
            if self.invalid.contains(&parent) {
                self.invalid.insert(header.block_hash());
                self.reject(
                    header.block_hash(),
                    RejectionKind::InvalidAncestor,
                    "parent is invalid",
                );
            } else if self.heights.contains_key(&parent) || self.drained.contains(&parent) {
                self.drained.insert(header.block_hash());
                self.pending.push_back(block);
            } else {
                self.unknown_parent(&header);
            }
        }
        for _ in 0..self.connects_per_heartbeat {
            let Some(block) = self.pending.pop_front() else {
                return;
            };
            let header = header_of(&block).expect("checked when it was pushed");
            let hash = header.block_hash();
            self.drained.remove(&hash);
            match self.heights.get(&header.prev_blockhash) {
                _ if self.bad.contains(&hash) => {
                    self.invalid.insert(hash);
                    self.reject(hash, RejectionKind::InvalidBlock, "breaks a rule");
                }
                None => {
                    self.invalid.insert(hash);
                    self.reject(hash, RejectionKind::InvalidAncestor, "parent is invalid");
                }
                Some(height) => {
                    let height = height.next();
                    self.waiting.remove(&hash);
                    self.heights.insert(hash, height);
                    self.connected.push(BlockRef { hash, height });
                }
            }
        }
    }

    fn unknown_parent(&mut self, header: &Header) {
        let reason = format!("it follows {}", header.prev_blockhash);
        self.reject(header.block_hash(), RejectionKind::UnknownParent, &reason);
    }

    fn reject(&mut self, hash: BlockHash, kind: RejectionKind, reason: &str) {
        self.waiting.remove(&hash);
        self.rejections.push_front(Rejection {
            hash,
            height: None,
            kind,
            reason: reason.to_owned(),
        });
        self.rejections.truncate(16);
    }
}

fn header_of(block: &[u8]) -> Option<Header> {
    millrace_core::block::decode_header(block.get(..80)?)
}
