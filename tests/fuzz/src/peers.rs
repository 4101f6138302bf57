//! The node between peers that say anything at any time.

use std::time::Duration;

use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, Txid};
use millrace_core::header::ChainWork;
use millrace_core::{Network, UnixSeconds};
use millrace_p2p::book::AddressBook;
use millrace_p2p::headers::HeaderTree;
use millrace_p2p::message::{Message, Version, decode};
use millrace_p2p::node::{
    Command, ConnectError, Event, Node, NodeConfig, Now, PeerId, RelayTransaction,
    TransportVersion, WireError,
};
use millrace_p2p::relay::Relay;

use crate::messages::COMMANDS;

/// Bytes of blocks that the node may hold.
const BUDGET: u64 = 100_000;

/// Commands that one event may bring: more would be an answer out of proportion.
const MAX_COMMANDS: usize = 2_000;

/// Steps of one run.
const MAX_STEPS: usize = 500;

/// A schedule of events, two to four bytes each, with payloads of messages among them.
pub fn node(data: &[u8]) {
    let mut world = World::new();
    let mut bytes = data;
    for _ in 0..MAX_STEPS {
        let Some((action, rest)) = bytes.split_first() else {
            break;
        };
        bytes = world.act(*action, rest);
    }
    world.tell(Event::Stop);
}

struct World {
    node: Node,
    now: Now,
    /// Connections asked for and not closed.
    peers: Vec<PeerId>,
}

impl World {
    fn new() -> Self {
        let network = Network::Regtest;
        let peer = "127.0.0.1:1".parse::<std::net::SocketAddr>();
        let peer = peer.expect("an address");
        let config = NodeConfig {
            network,
            minimum_chain_work: ChainWork::ZERO,
            fixed_peers: vec![(peer.ip(), peer.port()).into()],
            only_fixed: false,
            outbound_peers: 3,
            v2_transport: true,
            reaches_onion: false,
            block_bytes_max: BUDGET,
            user_agent: "/millrace:fuzz/".to_owned(),
            seed: 1,
        };
        let headers = HeaderTree::new(network);
        let book = AddressBook::new(network, 1);
        Self {
            node: Node::new(config, headers, Box::new(book), Box::new(Relay::new(1))),
            now: Now {
                elapsed: Duration::ZERO,
                unix: UnixSeconds::new(1_800_000_000),
            },
            peers: Vec::new(),
        }
    }

    /// Does what a byte says, with further ones as arguments; returns those left.
    fn act<'a>(&mut self, action: u8, rest: &'a [u8]) -> &'a [u8] {
        let (argument, rest) = rest
            .split_first()
            .map_or((0, rest), |(one, rest)| (*one, rest));
        let peer = match self.peers.len() {
            0 => PeerId(u64::from(argument)),
            count => self.peers[usize::from(argument) % count],
        };
        match action % 10 {
            0 => {
                let step = Duration::from_millis(1 << (argument % 24));
                self.now.elapsed = self.now.elapsed.saturating_add(step);
                self.tell(Event::Tick);
            }
            1 => {
                let transport = match argument % 2 {
                    0 => TransportVersion::V1,
                    _ => TransportVersion::V2,
                };
                self.tell(Event::Connected { peer, transport });
            }
            2 => {
                self.peers.retain(|other| *other != peer);
                let reason = "fuzzed".to_owned();
                let error = match argument % 2 {
                    0 => ConnectError::Unreachable { reason },
                    _ => ConnectError::V2Refused { reason },
                };
                self.tell(Event::ConnectFailed { peer, error });
            }
            3 => {
                self.peers.retain(|other| *other != peer);
                let reason = "fuzzed".to_owned();
                self.tell(Event::Closed { peer, reason });
            }
            4 => {
                let message = Message::Version(Version {
                    version: 70_016,
                    services: 0b1001 | u64::from(argument >> 4),
                    time: 0,
                    nonce: u64::from(argument),
                    user_agent: "/fuzz/".to_owned(),
                    start_height: i32::from(argument),
                    relay: true,
                });
                self.tell(Event::Received { peer, message });
                let message = Message::Verack;
                self.tell(Event::Received { peer, message });
            }
            5 => {
                let hash = match argument % 2 {
                    0 => Network::Regtest.genesis_block().block_hash(),
                    _ => BlockHash::from_byte_array([argument; 32]),
                };
                self.tell(Event::Want(vec![hash]));
            }
            6 => self.tell(Event::Relay(vec![RelayTransaction {
                txid: Txid::from_byte_array([argument; 32]),
                bytes: rest.iter().take(100).copied().collect(),
            }])),
            7 => {
                let reason = "fuzzed".to_owned();
                let error = WireError::Broken { reason };
                self.tell(Event::Broken { peer, error });
            }
            _ => return self.receive(peer, rest),
        }
        rest
    }

    /// Hands a message over whose payload follows.
    fn receive<'a>(&mut self, peer: PeerId, rest: &'a [u8]) -> &'a [u8] {
        let [choice, high, low, rest @ ..] = rest else {
            return &[];
        };
        let command = COMMANDS[usize::from(*choice) % COMMANDS.len()];
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (payload, rest) = rest.split_at(length.min(rest.len()));
        if let Ok(message) = decode(command, payload.to_vec()) {
            self.tell(Event::Received { peer, message });
        }
        rest
    }

    fn tell(&mut self, event: Event) {
        let commands = self.node.on(self.now, event);
        assert!(
            commands.len() <= MAX_COMMANDS,
            "{} commands",
            commands.len()
        );
        for command in commands {
            match command {
                Command::Connect { peer, .. } => {
                    assert!(!self.peers.contains(&peer), "a name is used twice");
                    self.peers.push(peer);
                }
                Command::Close(peer, _) => self.peers.retain(|other| *other != peer),
                Command::FindSeeds => assert!(self.peers.len() < 100, "{:?}", self.peers),
                _ => {}
            }
        }
        let standing = self.node.standing(self.now);
        assert!(standing.bytes_held <= BUDGET + 4_000_000);
        assert!(self.peers.len() < 100, "{} connections", self.peers.len());
    }
}
