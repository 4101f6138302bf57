//! What the node knows of one connection.

use std::collections::BTreeMap;
use std::time::Duration;

use bitcoin::BlockHash;
use millrace_core::Height;

use super::api::{ConnectionKind, TransportVersion};
use super::chain::PeerChain;
use super::limits::Traffic;
use crate::address::PeerAddress;

/// How often a peer is asked for a sign of life.
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(2 * 60);
/// How long a peer may owe a `pong`.
pub(super) const PONG_TIMEOUT: Duration = Duration::from_secs(20 * 60);

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The shell opens it.
    Connecting,
    /// Our `version` is sent.
    AwaitsVersion,
    /// Theirs is accepted.
    AwaitsVerack,
    /// The handshake is over.
    Ready,
}

/// Signs of life.
#[derive(Clone, Debug)]
pub(super) struct Ping {
    /// The number a `pong` must have, and when it was sent.
    pub open: Option<(u64, Duration)>,
    /// When the next one is due.
    pub next_at: Duration,
    /// The best round trip.
    pub best: Option<Duration>,
}

impl Ping {
    /// Starts with a ping at once: its time is the first thing to know of a peer.
    pub const fn new(now: Duration) -> Self {
        Self {
            open: None,
            next_at: now,
            best: None,
        }
    }
}

/// A block on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// Its height.
    pub height: Height,
    /// When it was asked for.
    pub asked_at: Duration,
    /// Bytes it is expected to have, as counted in the budget.
    pub bytes: u64,
}

/// Blocks from one peer.
#[derive(Clone, Debug, Default)]
pub(super) struct Serving {
    /// On their way, at most [`super::download::MAX_IN_FLIGHT`].
    pub requests: BTreeMap<BlockHash, Request>,
    /// Since when the oldest request is the peer's next to answer.
    pub downloading_since: Duration,
    /// When the last block came.
    pub last_at: Option<Duration>,
    /// How long a block takes, averaged over the last ones; zero if unknown.
    pub pace: Duration,
    /// Blocks that the peer said it does not have, and until when it is not asked again.
    pub lacks: BTreeMap<BlockHash, Duration>,
    /// `notfound` answers since the last block.
    pub refusals: u32,
    /// Blocks that had to be fetched elsewhere, since the last block.
    pub overtaken: u32,
    /// Blocks it brought.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A connection, or an attempt at one.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub address: PeerAddress,
    pub kind: ConnectionKind,
    pub transport: TransportVersion,
    pub stage: Stage,
    /// When [`Peer::stage`]'s waiting began; for a ready peer, when it became ready.
    pub stage_since: Duration,
    pub nonce: u64,
    pub version: u32,
    pub services: u64,
    pub user_agent: String,
    pub start_height: u32,
    pub wtxid_relay: bool,
    pub fee_filter: Option<u64>,
    pub ping: Ping,
    pub traffic: Traffic,
    /// When the last message came.
    pub heard_at: Duration,
    pub chain: PeerChain,
    pub serving: Serving,
}

impl Peer {
    pub fn new(
        address: PeerAddress,
        kind: ConnectionKind,
        transport: TransportVersion,
        now: Duration,
    ) -> Self {
        Self {
            address,
            kind,
            transport,
            stage: Stage::Connecting,
            stage_since: now,
            nonce: 0,
            version: 0,
            services: 0,
            user_agent: String::new(),
            start_height: 0,
            wtxid_relay: false,
            fee_filter: None,
            ping: Ping::new(now),
            traffic: Traffic::new(now),
            heard_at: now,
            chain: PeerChain::default(),
            serving: Serving::default(),
        }
    }

    pub fn is_ready(&self) -> bool {
        self.stage == Stage::Ready
    }
}
