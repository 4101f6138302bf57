//! A node with hand-made peers, for one rule at a time.

use std::time::Duration;

use bitcoin::block::Header;
use bitcoin::p2p::ServiceFlags;
use bitcoin::p2p::message_blockdata::Inventory;
use bitcoin::{BlockHash, hashes::Hash};
use millrace_core::block::BlockError;
use millrace_core::header::ChainWork;
use millrace_core::{Network, UnixSeconds};

use super::chain::START;
use super::stubs::{StubBook, StubRelay, address};
use crate::address::PeerAddress;
use crate::headers::HeaderTree;
use crate::message::{Message, ReceivedBlock, Version};
use crate::node::{CloseReason, Command, Event, Node, NodeConfig, Now, PeerId, TransportVersion};

/// Services of a full node.
pub fn full() -> u64 {
    (ServiceFlags::NETWORK | ServiceFlags::WITNESS).to_u64()
}

pub fn version() -> Version {
    Version {
        version: 70_016,
        services: full(),
        time: START.get() as i64,
        nonce: 1,
        user_agent: "/rig/".to_owned(),
        start_height: 0,
        relay: true,
    }
}

pub struct Rig {
    pub node: Node,
    pub book: StubBook,
    pub relay: StubRelay,
    pub elapsed: Duration,
    /// Whether peers answer pings.
    pub answers_pings: bool,
}

impl Rig {
    /// A node with so many fixed peers, that are being connected.
    pub fn fixed(count: u8) -> Self {
        let (rig, commands) = Self::with(|config| {
            config.fixed_peers = (0..count).map(|number| address(number, 0)).collect();
            config.only_fixed = true;
        });
        assert_eq!(connects(&commands).len(), usize::from(count));
        rig
    }

    pub fn with(configure: impl FnOnce(&mut NodeConfig)) -> (Self, Vec<Command>) {
        Self::with_book(StubBook::default(), configure)
    }

    pub fn with_book(
        book: StubBook,
        configure: impl FnOnce(&mut NodeConfig),
    ) -> (Self, Vec<Command>) {
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
            seed: 7,
        };
        configure(&mut config);
        let relay = StubRelay::default();
        let node = Node::new(
            config,
            HeaderTree::new(Network::Regtest),
            Box::new(book.clone()),
            Box::new(relay.clone()),
        );
        let mut rig = Self {
            node,
            book,
            relay,
            elapsed: Duration::ZERO,
            answers_pings: true,
        };
        let commands = rig.tick();
        (rig, commands)
    }

    pub fn now(&self) -> Now {
        Now {
            elapsed: self.elapsed,
            unix: UnixSeconds::new(START.get() + self.elapsed.as_secs()),
        }
    }

    pub fn on(&mut self, event: Event) -> Vec<Command> {
        let commands = self.node.on(self.now(), event);
        for command in &commands {
            if let Command::Send(PeerId(peer), Message::Ping(number)) = command
                && self.answers_pings
            {
                self.says(*peer, Message::Pong(*number));
            }
        }
        commands
    }

    pub fn tick(&mut self) -> Vec<Command> {
        self.on(Event::Tick)
    }

    /// Lets time pass with a tick whenever one is due.
    pub fn pass(&mut self, seconds: u64) -> Vec<Command> {
        let end = self.elapsed + Duration::from_secs(seconds);
        let mut commands = Vec::new();
        for _ in 0..100_000 {
            if self.node.wake_at() > end {
                break;
            }
            self.elapsed = self.elapsed.max(self.node.wake_at());
            commands.extend(self.tick());
        }
        self.elapsed = end;
        commands.extend(self.tick());
        commands
    }

    pub fn says(&mut self, peer: u64, message: Message) -> Vec<Command> {
        let peer = PeerId(peer);
        self.on(Event::Received { peer, message })
    }

    pub fn connected(&mut self, peer: u64) -> Vec<Command> {
        self.on(Event::Connected {
            peer: PeerId(peer),
            transport: TransportVersion::V2,
        })
    }

    /// Connects a peer and finishes its handshake.
    pub fn ready(&mut self, peer: u64) -> Vec<Command> {
        self.ready_with(peer, version())
    }

    pub fn ready_with(&mut self, peer: u64, version: Version) -> Vec<Command> {
        let mut commands = self.connected(peer);
        commands.extend(self.says(peer, Message::Version(version)));
        commands.extend(self.says(peer, Message::Verack));
        commands
    }
}

pub fn sent(commands: &[Command], peer: u64) -> Vec<&Message> {
    let messages = commands.iter().filter_map(|command| match command {
        Command::Send(id, message) if *id == PeerId(peer) => Some(message),
        _ => None,
    });
    messages.collect()
}

/// Returns which blocks a peer was asked for.
pub fn asked(commands: &[Command], peer: u64) -> Vec<BlockHash> {
    let mut hashes = Vec::new();
    for message in sent(commands, peer) {
        if let Message::GetData(inventory) = message {
            for item in inventory {
                let Inventory::WitnessBlock(hash) = item else {
                    panic!("{item:?}");
                };
                hashes.push(*hash);
            }
        }
    }
    hashes
}

pub fn closed(commands: &[Command], peer: u64) -> Option<&CloseReason> {
    commands.iter().find_map(|command| match command {
        Command::Close(id, reason) if *id == PeerId(peer) => Some(reason),
        _ => None,
    })
}

pub fn connects(commands: &[Command]) -> Vec<(u64, PeerAddress, TransportVersion)> {
    let connects = commands.iter().filter_map(|command| match command {
        Command::Connect {
            peer,
            address,
            transport,
        } => Some((peer.0, *address, *transport)),
        _ => None,
    });
    connects.collect()
}

pub fn asks_headers(commands: &[Command], peer: u64) -> bool {
    let messages = sent(commands, peer);
    messages
        .iter()
        .any(|message| matches!(message, Message::GetHeaders { .. }))
}

pub fn block(header: &Header, bytes: usize, verdict: Result<(), BlockError>) -> Message {
    Message::Block(Box::new(ReceivedBlock {
        hash: header.block_hash(),
        header: *header,
        bytes: vec![0; bytes],
        verdict,
    }))
}

pub fn misbehaved(commands: &[Command], peer: u64) -> bool {
    matches!(closed(commands, peer), Some(CloseReason::Misbehaved { .. }))
}

pub fn nowhere() -> BlockHash {
    BlockHash::from_byte_array([9; 32])
}
