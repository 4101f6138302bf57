//! A simulated peer: what it answers, and when its line has carried that.

use std::time::Duration;

use bitcoin::block::Header;
use bitcoin::hashes::Hash;
use bitcoin::p2p::ServiceFlags;
use bitcoin::p2p::message_blockdata::Inventory;
use bitcoin::{BlockHash, TxMerkleNode};
use millrace_core::block::BlockError;

use super::Chain;
use super::behaviour::Behaviour;
use crate::address::PeerAddress;
use crate::message::{KnownAddress, MAX_HEADERS, Message, ReceivedBlock, Version};
use crate::node::tests::chain::{START, genesis, mine_chain};
use crate::node::tests::stubs;

/// Messages with the time they arrive; `None` stands for the end of the connection.
pub type Replies = Vec<(Duration, Option<Message>)>;

/// A simulated peer.
#[derive(Debug)]
pub struct SimPeer {
    pub address: PeerAddress,
    pub latency: Duration,
    pub bytes_per_second: u64,
    pub behaviour: Behaviour,
    pub services: u64,
    /// When its line is free again.
    free_at: Duration,
    blocks_sent: u32,
    salt: u64,
    flood: Vec<Header>,
}

impl SimPeer {
    pub fn new(number: u8, latency_ms: u64, bytes_per_second: u64, behaviour: Behaviour) -> Self {
        let services = ServiceFlags::NETWORK | ServiceFlags::WITNESS;
        Self {
            address: stubs::address(number, number),
            latency: Duration::from_millis(latency_ms),
            bytes_per_second,
            behaviour,
            services: services.to_u64(),
            free_at: Duration::ZERO,
            blocks_sent: 0,
            salt: u64::from(number) << 32,
            flood: Vec::new(),
        }
    }

    pub fn connected(&mut self, now: Duration) {
        self.free_at = now;
    }

    /// Answers a message.
    pub fn hear(&mut self, now: Duration, chain: &Chain, message: Message) -> Replies {
        let answers = match message {
            Message::Version(_) if self.behaviour == Behaviour::Mute => Vec::new(),
            Message::Version(_) => self.introduce(chain),
            Message::Verack => self.greet(),
            _ if self.behaviour == Behaviour::Silent => Vec::new(),
            Message::Ping(number) => vec![Some(Message::Pong(number))],
            Message::GetHeaders { locator, .. } => self.headers(chain, &locator),
            Message::GetData(inventory) => self.blocks(chain, &inventory),
            _ => Vec::new(),
        };
        answers
            .into_iter()
            .map(|answer| (self.carry(now, answer.as_ref()), answer))
            .collect()
    }

    /// Returns when a message has come through the line.
    fn carry(&mut self, now: Duration, message: Option<&Message>) -> Duration {
        let bytes = message.map_or(0, payload_bytes);
        let nanos = bytes * 1_000_000_000 / self.bytes_per_second;
        self.free_at = self.free_at.max(now) + Duration::from_nanos(nanos);
        self.free_at + self.latency
    }

    fn introduce(&self, chain: &Chain) -> Vec<Option<Message>> {
        let version = Version {
            version: 70_016,
            services: self.services,
            time: START.get() as i64,
            nonce: self.salt + 1,
            user_agent: "/sim/".to_owned(),
            start_height: chain.headers.len() as i32,
            relay: true,
        };
        vec![
            Some(Message::Version(version)),
            Some(Message::WtxidRelay),
            Some(Message::SendAddrV2),
            Some(Message::Verack),
        ]
    }

    fn greet(&self) -> Vec<Option<Message>> {
        match self.behaviour {
            Behaviour::FloodsAddresses => (0..50).map(|_| Some(addresses())).collect(),
            Behaviour::Chatters => (0..20_000)
                .map(|_| {
                    Some(Message::Other {
                        command: "chatter".to_owned(),
                        bytes: 10,
                    })
                })
                .collect(),
            _ => Vec::new(),
        }
    }

    fn headers(&mut self, chain: &Chain, locator: &[BlockHash]) -> Vec<Option<Message>> {
        let headers = match self.behaviour {
            Behaviour::StallsHeaders => return Vec::new(),
            Behaviour::HidesHeaders => Vec::new(),
            Behaviour::FloodsHeaders => self.flood(locator),
            Behaviour::UnconnectedHeaders => {
                self.salt += 1;
                let nowhere = BlockHash::from_byte_array([7; 32]);
                mine_chain(nowhere, 5, START, self.salt)
            }
            Behaviour::WorthlessHeaders => {
                let mut headers = mine_chain(genesis(), 5, START, self.salt);
                while headers[4].target().is_met_by(headers[4].block_hash()) {
                    headers[4].nonce += 1;
                }
                headers
            }
            _ => {
                let known = locator.iter().find_map(|hash| chain.heights.get(hash));
                let start = known.copied().unwrap_or(0) as usize;
                let end = chain.headers.len().min(start + MAX_HEADERS);
                chain.headers[start..end].to_vec()
            }
        };
        vec![Some(Message::Headers(headers))]
    }

    /// Chains of two full messages, one after the other from the genesis block. They end a day
    /// before now, so that as much work as theirs never looks recent.
    fn flood(&mut self, locator: &[BlockHash]) -> Vec<Header> {
        let end = START.get() - 24 * 60 * 60;
        let count = MAX_HEADERS as u32;
        let asked = locator.first().copied();
        let half = self.flood.get(MAX_HEADERS - 1);
        if half.is_some_and(|half| asked == Some(half.block_hash())) {
            return self.flood.split_off(MAX_HEADERS);
        }
        self.salt += 1;
        let end = millrace_core::UnixSeconds::new(end);
        let chain = mine_chain(genesis(), 2 * count, end, self.salt);
        self.flood = chain;
        self.flood[..MAX_HEADERS].to_vec()
    }

    fn blocks(&mut self, chain: &Chain, inventory: &[Inventory]) -> Vec<Option<Message>> {
        let mut answers = Vec::new();
        for item in inventory {
            let Inventory::WitnessBlock(hash) = item else {
                panic!("{item:?} is not asked for");
            };
            // Nobody has the blocks of a flood of headers.
            let Some(height) = chain.heights.get(hash).copied() else {
                continue;
            };
            match self.behaviour {
                Behaviour::StallsBlocks => continue,
                Behaviour::StallsAfter(count) if self.blocks_sent >= count => continue,
                Behaviour::NotFound => {
                    answers.push(Some(Message::NotFound(vec![*item])));
                    continue;
                }
                Behaviour::Vanishes => return vec![None],
                _ => {}
            }
            self.blocks_sent += 1;
            answers.push(Some(self.block(chain, height, *hash)));
            if let Behaviour::Flaky(count) = self.behaviour
                && self.blocks_sent.is_multiple_of(count)
            {
                answers.push(None);
                return answers;
            }
        }
        answers
    }

    fn block(&self, chain: &Chain, height: u32, hash: BlockHash) -> Message {
        let header = chain.headers[height as usize - 1];
        let root = TxMerkleNode::from_byte_array([1; 32]);
        let verdict = match self.behaviour {
            Behaviour::BadBlocks => Err(BlockError::MerkleRoot {
                hash,
                expected: header.merkle_root,
                got: root,
            }),
            Behaviour::MutatedBlocks => Err(BlockError::Mutated { hash }),
            Behaviour::EmptyBlocks => Err(BlockError::Empty { hash }),
            _ => Ok(()),
        };
        let (hash, header) = if self.behaviour == Behaviour::WrongBlocks {
            let other = chain.headers[chain.headers.len() - height as usize];
            (other.block_hash(), other)
        } else {
            (hash, header)
        };
        Message::Block(Box::new(ReceivedBlock {
            hash,
            header,
            bytes: vec![0; chain.sizes[height as usize - 1]],
            verdict,
        }))
    }
}

fn addresses() -> Message {
    let known = (0..1_000_u32).map(|number| KnownAddress {
        time: 0,
        services: 9,
        address: stubs::address(200 + (number / 256) as u8, (number % 256) as u8),
    });
    Message::Addr(known.collect())
}

/// Returns roughly how many bytes a message takes.
pub fn payload_bytes(message: &Message) -> u64 {
    let bytes = match message {
        Message::Headers(headers) => headers.len() * 81,
        Message::Block(block) => block.bytes.len(),
        Message::Addr(addresses) => addresses.len() * 30,
        _ => 0,
    };
    24 + bytes as u64
}
