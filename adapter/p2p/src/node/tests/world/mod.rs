//! A simulated network: peers with a latency, a line and a character, and a consumer of blocks.
//!
//! Every peer sends its messages one after the other over its own line. All choices come from one
//! seed, time from the events.

mod behaviour;
mod peers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bitcoin::BlockHash;
use bitcoin::block::Header;
use millrace_core::header::ChainWork;
use millrace_core::{Network, UnixSeconds};

pub use behaviour::Behaviour;
pub use peers::SimPeer;

use super::chain::{START, genesis, mine_chain};
use super::stubs::{StubBook, StubRelay};
use crate::address::PeerAddress;
use crate::headers::HeaderTree;
use crate::message::Message;
use crate::node::chance::Chance;
use crate::node::{
    CloseReason, Command, ConnectError, Event, Node, NodeConfig, Notice, Now, PeerId,
};

/// The honest chain, without the genesis block.
#[derive(Debug)]
pub struct Chain {
    pub headers: Vec<Header>,
    pub heights: BTreeMap<BlockHash, u32>,
    pub sizes: Vec<usize>,
}

impl Chain {
    /// Mines `count` blocks of `smallest` to `largest` bytes.
    pub fn new(count: u32, smallest: usize, largest: usize, seed: u64) -> Arc<Self> {
        let mut chance = Chance::new(seed);
        let headers = mine_chain(genesis(), count, START, seed);
        let heights = (1..)
            .zip(&headers)
            .map(|(height, header)| (header.block_hash(), height))
            .collect();
        let span = (largest - smallest + 1) as u64;
        let sizes = (0..count)
            .map(|_| smallest + chance.below(span) as usize)
            .collect();
        Arc::new(Self {
            headers,
            heights,
            sizes,
        })
    }

    pub fn bytes(&self) -> u64 {
        self.sizes.iter().map(|size| *size as u64).sum()
    }

    pub fn hash_at(&self, height: u32) -> BlockHash {
        self.headers[height as usize - 1].block_hash()
    }
}

/// What happens at a time.
#[derive(Debug)]
enum Due {
    ToNode(Event),
    ToPeer(PeerId, Message),
    /// The consumer has room again.
    Consumer,
}

/// A run.
pub struct World {
    pub seed: u64,
    pub chain: Arc<Chain>,
    pub node: Node,
    pub book: StubBook,
    peers: BTreeMap<PeerAddress, SimPeer>,
    connections: BTreeMap<PeerId, PeerAddress>,
    due: BTreeMap<(Duration, u64), Due>,
    next_number: u64,
    pub now: Duration,
    pub budget: u64,
    /// Blocks that the consumer wants at a time.
    pub wants: u32,
    /// How long the consumer takes for a block.
    pub consumer_pause: Duration,
    is_consuming: bool,
    asked: u32,
    delivered: BTreeSet<u32>,
    consumed: u32,
    pub banned: Vec<(PeerAddress, String)>,
    pub gone: Vec<(Duration, PeerAddress, String)>,
    pub waited: Vec<String>,
    pub most_bytes: u64,
    pub most_stored: usize,
    pub fetched: u64,
    /// The most bytes that chains without enough work took.
    pub presync_bytes: usize,
    /// A digest of all commands, to compare runs.
    pub digest: u64,
    ticks_at_once: u32,
}

impl World {
    pub fn new(seed: u64, chain: &Arc<Chain>, peers: Vec<SimPeer>) -> Self {
        let fixed = peers.iter().map(|peer| peer.address).collect();
        Self::with(seed, chain, peers, |config| {
            config.fixed_peers = fixed;
            config.only_fixed = true;
        })
    }

    pub fn with(
        seed: u64,
        chain: &Arc<Chain>,
        peers: Vec<SimPeer>,
        configure: impl FnOnce(&mut NodeConfig),
    ) -> Self {
        let mut config = NodeConfig {
            network: Network::Regtest,
            minimum_chain_work: ChainWork::ZERO,
            fixed_peers: Vec::new(),
            only_fixed: false,
            outbound_peers: 8,
            v2_transport: true,
            reaches_onion: false,
            block_bytes_max: 64_000_000,
            user_agent: "/millrace:test/".to_owned(),
            seed,
        };
        configure(&mut config);
        let budget = config.block_bytes_max;
        let book = StubBook::default();
        let node = Node::new(
            config,
            HeaderTree::new(Network::Regtest),
            Box::new(book.clone()),
            Box::new(StubRelay::default()),
        );
        Self {
            seed,
            chain: Arc::clone(chain),
            node,
            book,
            peers: peers.into_iter().map(|peer| (peer.address, peer)).collect(),
            connections: BTreeMap::new(),
            due: BTreeMap::new(),
            next_number: 0,
            now: Duration::ZERO,
            budget,
            wants: 64,
            consumer_pause: Duration::ZERO,
            is_consuming: false,
            asked: 0,
            delivered: BTreeSet::new(),
            consumed: 0,
            banned: Vec::new(),
            gone: Vec::new(),
            waited: Vec::new(),
            most_bytes: 0,
            most_stored: 0,
            fetched: 0,
            presync_bytes: 0,
            digest: 0,
            ticks_at_once: 0,
        }
    }

    /// Runs until the consumer has every block, and returns when that was.
    pub fn sync(&mut self, limit: Duration) -> Duration {
        self.step(Event::Tick);
        while self.consumed < self.chain.headers.len() as u32 {
            assert!(
                self.now < limit,
                "seed {}: {} of {} blocks after {limit:?}; {:#?}; gone: {:#?}",
                self.seed,
                self.consumed,
                self.chain.headers.len(),
                self.node.standing(self.time()),
                self.gone
            );
            self.turn();
        }
        self.now
    }

    pub fn time(&self) -> Now {
        Now {
            elapsed: self.now,
            unix: UnixSeconds::new(START.get() + self.now.as_secs()),
        }
    }

    /// Lets the next thing happen.
    fn turn(&mut self) {
        let wake = self.node.wake_at();
        let next = self.due.first_key_value().map(|(key, _)| *key);
        match next {
            Some(key) if key.0 <= wake => {
                self.now = self.now.max(key.0);
                self.ticks_at_once = 0;
                match self.due.remove(&key) {
                    Some(Due::ToNode(event)) => self.arrive(event),
                    Some(Due::ToPeer(id, message)) => self.peer_hears(id, message),
                    Some(Due::Consumer) => self.consume(),
                    None => {}
                }
            }
            _ => {
                assert!(wake < Duration::MAX, "seed {}: nothing is due", self.seed);
                self.ticks_at_once = if wake <= self.now {
                    self.ticks_at_once + 1
                } else {
                    0
                };
                assert!(
                    self.ticks_at_once < 10,
                    "seed {}: ticks without end at {:?}",
                    self.seed,
                    self.now
                );
                self.now = self.now.max(wake);
                self.step(Event::Tick);
            }
        }
    }

    fn arrive(&mut self, event: Event) {
        // What was on its way when the connection was closed does not arrive.
        let is_heard = match &event {
            Event::Received { peer, .. } | Event::Closed { peer, .. } => {
                self.connections.contains_key(peer)
            }
            _ => true,
        };
        if !is_heard {
            return;
        }
        if let Event::Received {
            message: Message::Block(block),
            ..
        } = &event
        {
            self.fetched += block.bytes.len() as u64;
        }
        if let Event::Closed { peer, .. } = &event {
            self.connections.remove(peer);
        }
        self.step(event);
    }

    fn step(&mut self, event: Event) {
        let commands = self.node.on(self.time(), event);
        for command in commands {
            self.note(&command);
            self.carry_out(command);
        }
        let bytes = self.node.download.bytes_held + self.node.download.bytes_asked;
        self.most_bytes = self.most_bytes.max(bytes);
        let peers = self.node.peers.values();
        let presyncs = peers.filter_map(|peer| peer.chain.presync.as_ref());
        let presync_bytes = presyncs.map(|presync| presync.held_bytes()).sum();
        self.presync_bytes = self.presync_bytes.max(presync_bytes);
        self.most_stored = self.most_stored.max(self.node.headers().len());
        assert!(
            bytes <= self.budget,
            "seed {}: {bytes} bytes at {:?}",
            self.seed,
            self.now
        );
        assert_eq!(self.node.headers().orphans(), 0, "seed {}", self.seed);
        self.want();
    }

    fn note(&mut self, command: &Command) {
        let text = match command {
            Command::Deliver(hash, _) => format!("{hash}"),
            other => format!("{other:?}"),
        };
        for byte in text.bytes().chain(self.now.as_nanos().to_le_bytes()) {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Connect { peer, address, .. } => self.connect(peer, address),
            Command::Send(peer, message) => {
                let latency = self.latency(peer);
                self.later(latency, Due::ToPeer(peer, message));
            }
            Command::Close(peer, reason) => {
                assert_ne!(reason, CloseReason::Done, "nothing is done yet");
                self.connections.remove(&peer);
            }
            Command::Deliver(hash, _) => {
                let height = self.chain.heights[&hash];
                assert!(
                    self.delivered.insert(height),
                    "seed {}: block {height} twice",
                    self.seed
                );
                if self.consumer_pause == Duration::ZERO {
                    self.take_all();
                } else if !self.is_consuming {
                    self.is_consuming = true;
                    self.later(self.consumer_pause, Due::Consumer);
                }
            }
            Command::CannotDeliver(hash, reason) => {
                panic!("seed {}: {hash} is not delivered: {reason}", self.seed)
            }
            Command::Notify(Notice::PeerBanned(address, _, reason)) => {
                self.banned.push((address, reason));
            }
            Command::Notify(Notice::PeerGone(_, address, reason)) => {
                self.gone.push((self.now, address, reason));
            }
            Command::Notify(Notice::Waiting(Some(reason))) => self.waited.push(reason),
            Command::FindSeeds => {
                let addresses = self.peers.keys().copied().collect();
                let wait = Duration::from_millis(200);
                self.later(wait, Due::ToNode(Event::SeedsFound(addresses)));
            }
            Command::ChainChanged { .. } | Command::Report(..) | Command::Notify(_) => {}
        }
    }

    fn connect(&mut self, id: PeerId, address: PeerAddress) {
        let Some(peer) = self.peers.get_mut(&address) else {
            let error = ConnectError::Unreachable {
                reason: "nobody is there".to_owned(),
            };
            let wait = Duration::from_secs(5);
            return self.later(wait, Due::ToNode(Event::ConnectFailed { peer: id, error }));
        };
        peer.connected(self.now);
        let wait = peer.latency * 2;
        self.connections.insert(id, address);
        let transport = crate::node::TransportVersion::V2;
        self.later(
            wait,
            Due::ToNode(Event::Connected {
                peer: id,
                transport,
            }),
        );
    }

    fn peer_hears(&mut self, id: PeerId, message: Message) {
        let Some(peer) = self
            .connections
            .get(&id)
            .and_then(|address| self.peers.get_mut(address))
        else {
            return;
        };
        let replies = peer.hear(self.now, &self.chain, message);
        for (at, reply) in replies {
            let event = match reply {
                Some(message) => Event::Received { peer: id, message },
                None => Event::Closed {
                    peer: id,
                    reason: "connection reset".to_owned(),
                },
            };
            self.at(at, Due::ToNode(event));
        }
    }

    /// The consumer keeps a number of blocks wanted, in the order of the chain.
    fn want(&mut self) {
        // The best chain may be a liar's for a while.
        let most = (self.chain.headers.len() as u32).min(self.consumed + self.wants);
        let is_known = |height: &u32| {
            let hash = self.chain.hash_at(*height);
            self.node.headers().height_of(hash).is_some()
        };
        let end = (self.asked + 1..=most).take_while(is_known).last();
        let end = end.unwrap_or(self.asked);
        if self.asked < end {
            let hashes = (self.asked + 1..=end)
                .map(|height| self.chain.hash_at(height))
                .collect();
            self.asked = end;
            self.step(Event::Want(hashes));
        }
    }

    fn consume(&mut self) {
        if self.delivered.remove(&(self.consumed + 1)) {
            self.consumed += 1;
        }
        self.later(self.consumer_pause, Due::Consumer);
        self.want();
    }

    fn take_all(&mut self) {
        while self.delivered.remove(&(self.consumed + 1)) {
            self.consumed += 1;
        }
    }

    fn latency(&self, id: PeerId) -> Duration {
        self.connections
            .get(&id)
            .and_then(|address| self.peers.get(address))
            .map_or(Duration::ZERO, |peer| peer.latency)
    }

    fn later(&mut self, wait: Duration, due: Due) {
        self.at(self.now + wait, due);
    }

    fn at(&mut self, at: Duration, due: Due) {
        self.next_number += 1;
        self.due.insert((at, self.next_number), due);
    }
}
