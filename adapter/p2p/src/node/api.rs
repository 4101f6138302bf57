//! What the node is told and what it asks for.

use std::time::Duration;

use bitcoin::{BlockHash, Txid};
use millrace_core::header::ChainWork;
use millrace_core::{Height, Network, UnixSeconds};

use crate::address::PeerAddress;
use crate::message::Message;

/// What the node must know beforehand.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The Bitcoin network.
    pub network: Network,
    /// Work that a chain must have before it is believed to be the network's.
    pub minimum_chain_work: ChainWork,
    /// Peers to stay connected to, whatever the address book says.
    pub fixed_peers: Vec<PeerAddress>,
    /// Whether only [`NodeConfig::fixed_peers`] are connected to.
    pub only_fixed: bool,
    /// Outbound connections wanted besides fixed peers and feelers.
    pub outbound_peers: u32,
    /// Whether BIP324 is tried first.
    pub v2_transport: bool,
    /// Whether onion services can be reached.
    pub reaches_onion: bool,
    /// Bytes of blocks at hand and on their way, at most; but one block always.
    pub block_bytes_max: u64,
    /// The user agent (BIP14).
    pub user_agent: String,
    /// Seed of every random choice.
    pub seed: u64,
}

/// The time of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Since any fixed moment; never runs backwards.
    pub elapsed: Duration,
    /// The calendar time.
    pub unix: UnixSeconds,
}

/// Names a connection, or an attempt at one. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u64);

/// How bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportVersion {
    /// In the clear.
    V1,
    /// Encrypted (BIP324).
    V2,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionKind {
    /// A configured peer.
    Fixed,
    /// A peer of the address book.
    Outbound,
    /// One more, because the tip is old.
    Rescue,
    /// A short one, to see whether an address is good.
    Feeler,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The network refused, or nobody answered in time.
    #[error("cannot connect: {reason}")]
    Unreachable {
        /// The system's or the proxy's words.
        reason: String,
    },
    /// The BIP324 handshake failed; version 1 may succeed.
    #[error("encrypted handshake failed: {reason}")]
    V2Refused {
        /// What went wrong.
        reason: String,
    },
}

/// Why bytes are no message. The connection cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The bytes break the protocol.
    #[error("{reason}")]
    Broken {
        /// The value and the rule it breaks.
        reason: String,
    },
}

/// Why a connection was ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// The peer ended it, or the network did.
    #[error("{reason}")]
    Lost {
        /// The system's words.
        reason: String,
    },
    /// The peer sent what no honest peer sends.
    #[error("misbehaved: {reason}")]
    Misbehaved {
        /// What it sent.
        reason: String,
    },
    /// The peer was too slow, or silent.
    #[error("{reason}")]
    Slow {
        /// With what.
        reason: String,
    },
    /// The peer is of no use.
    #[error("{reason}")]
    Useless {
        /// Why.
        reason: String,
    },
    /// It did what it was for, or the node stops.
    #[error("no longer needed")]
    Done,
}

/// A transaction to relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayTransaction {
    /// Its id.
    pub txid: Txid,
    /// Its consensus serialisation.
    pub bytes: Vec<u8>,
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelayOutcome {
    /// So many peers have fetched it.
    Announced {
        /// Peers, each counted once.
        peers: u32,
    },
    /// A peer that it was not sent to announced it: it travels.
    Seen,
    /// It cannot be relayed.
    Rejected {
        /// Why.
        reason: String,
    },
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// Time passed: `Node::wake_at` is reached.
    Tick,
    /// A connection is open, and its transport's handshake over.
    Connected {
        /// The connection.
        peer: PeerId,
        /// How bytes travel.
        transport: TransportVersion,
    },
    /// There is no connection.
    ConnectFailed {
        /// The attempt.
        peer: PeerId,
        /// Why.
        error: ConnectError,
    },
    /// A peer sent a message.
    Received {
        /// The peer.
        peer: PeerId,
        /// The message.
        message: Message,
    },
    /// A peer sent no message.
    Broken {
        /// The peer.
        peer: PeerId,
        /// What is wrong.
        error: WireError,
    },
    /// A connection ended without [`Command::Close`].
    Closed {
        /// The connection.
        peer: PeerId,
        /// The system's words.
        reason: String,
    },
    /// The answer to [`Command::FindSeeds`]; empty if there was none.
    SeedsFound(Vec<PeerAddress>),
    /// Blocks that are needed now, in the order of need. Each is answered once with
    /// [`Command::Deliver`] or [`Command::CannotDeliver`].
    Want(Vec<BlockHash>),
    /// Transactions to relay from now on; those known change nothing.
    Relay(Vec<RelayTransaction>),
    /// Transactions that need no relaying any more: confirmed or expired.
    Forget(Vec<Txid>),
    /// The adapter stops: connections are closed.
    Stop,
}

/// What the shell must do.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Open a connection.
    Connect {
        /// Its name.
        peer: PeerId,
        /// Where to.
        address: PeerAddress,
        /// Which transport to try. After [`ConnectError::V2Refused`] the node decides about version 1.
        transport: TransportVersion,
    },
    /// Send a message.
    Send(PeerId, Message),
    /// End a connection. [`Event::Closed`] does not follow.
    Close(PeerId, CloseReason),
    /// Ask the network's DNS seeds.
    FindSeeds,
    /// Hand a wanted block over.
    Deliver(BlockHash, Vec<u8>),
    /// A wanted block is on no chain the node knows, or broken by its own header's proof.
    CannotDeliver(BlockHash, String),
    /// The best chain changed from a height on.
    ChainChanged {
        /// The lowest new height.
        from: Height,
    },
    /// Tell the canister what became of a transaction.
    Report(Txid, RelayOutcome),
    /// Tell the user.
    Notify(Notice),
}

/// What is worth a line in the log.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// A peer finished its handshake.
    PeerReady(PeerId, PeerAddress, String),
    /// A connection ended, or was never made.
    PeerGone(PeerId, PeerAddress, String),
    /// A peer may not come back for a time.
    PeerBanned(PeerAddress, Duration, String),
    /// Headers arrive.
    HeadersProgress {
        /// Height of the best header.
        height: Height,
    },
    /// Why nothing moves, or nothing any more.
    Waiting(Option<String>),
}

/// A peer, for people.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerSummary {
    /// The connection.
    pub peer: PeerId,
    /// Where to.
    pub address: PeerAddress,
    /// What for.
    pub kind: ConnectionKind,
    /// How bytes travel.
    pub transport: TransportVersion,
    /// Its software.
    pub user_agent: String,
    /// The height it says it has.
    pub height: Height,
    /// How long it has been connected.
    pub connected_for: Duration,
    /// Its best round trip, if any was measured.
    pub ping: Option<Duration>,
    /// Blocks on their way.
    pub in_flight: u32,
    /// Blocks it brought.
    pub blocks: u64,
    /// Bytes of blocks it brought.
    pub block_bytes: u64,
}

/// Where the node stands, for people.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// Height of the best chain.
    pub height: Height,
    /// Connections with a finished handshake.
    pub peers: Vec<PeerSummary>,
    /// Addresses in the book.
    pub addresses: u32,
    /// Addresses banned.
    pub banned: u32,
    /// Blocks at hand.
    pub blocks_held: u32,
    /// Their bytes.
    pub bytes_held: u64,
    /// Blocks on their way.
    pub in_flight: u32,
    /// Transactions being relayed.
    pub transactions: u32,
    /// Why nothing moves.
    pub waiting: Option<String>,
}
