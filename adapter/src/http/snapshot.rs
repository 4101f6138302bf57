//! What a running adapter tells of itself: a copy of where it stands, published at each step.

use std::time::Duration;

use millrace_core::{Height, Network};
use millrace_p2p::node::{ConnectionKind, PeerSummary, RelayOutcome, Standing, TransportVersion};
use serde_json::{Value, json};

use crate::engine::{Notice, Progress, Waiting};
use crate::progress::Pace;

/// What does not change while the adapter runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The Bitcoin network.
    pub network: Network,
    /// The canister that is fed.
    pub canister: String,
    /// The replica it is on.
    pub replica_url: String,
    /// The kind of source: `p2p`, `rest`, `rpc` or `blocks`.
    pub source: &'static str,
    /// Blocks the canister may be behind and still be healthy.
    pub healthy_lag_blocks: u32,
    /// How long it may be further behind, or say nothing.
    pub healthy_lag: Duration,
}

/// What happened since the start, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Calls to the canister that failed.
    pub call_failures: u64,
    /// Times something had to be pushed again.
    pub set_backs: u64,
    /// Blocks that the canister did not take, or that could not be read.
    pub blocks_given_up: u64,
    /// Times the best chain became another one.
    pub reorganisations: u64,
    /// Headers of the source that break a rule.
    pub headers_refused: u64,
    /// Oddities and errors of the source.
    pub source_remarks: u64,
}

/// What became of transactions, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayCounters {
    /// Reports of peers that fetched one.
    pub announced: u64,
    /// Reports that one came back from a peer it was not sent to.
    pub seen: u64,
    /// Reports that one cannot be relayed.
    pub rejected: u64,
}

/// One peer, for people.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerRow {
    /// Where it is.
    pub address: String,
    /// What the connection is for.
    pub kind: &'static str,
    /// How bytes travel: `v1` or `v2`.
    pub transport: &'static str,
    /// Its software, as it says.
    pub user_agent: String,
    /// The height it says it has.
    pub height: u32,
    /// How long it has been connected.
    pub connected: Duration,
    /// Its best round trip.
    pub ping: Option<Duration>,
    /// Blocks on their way from it.
    pub in_flight: u32,
    /// Blocks it brought.
    pub blocks: u64,
    /// Bytes of blocks it brought.
    pub block_bytes: u64,
}

/// Where the peer-to-peer network stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PeerTable {
    /// Peers with a finished handshake.
    pub peers: Vec<PeerRow>,
    /// Height of the best headers.
    pub height: u32,
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

/// Where a running adapter stands. Times are counted from its start.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// What does not change.
    pub about: About,
    /// When this was published.
    pub at: Duration,
    /// What the engine says; absent at first.
    pub progress: Option<Progress>,
    /// How fast it goes.
    pub pace: Pace,
    /// Since when the engine waits for what it waits for.
    pub waiting_since: Duration,
    /// When the canister was last known to be near enough to the source's best block.
    pub caught_up_at: Option<Duration>,
    /// What happened so far.
    pub counters: Counters,
    /// Where the peer-to-peer network stands, if that is the source.
    pub peers: Option<PeerTable>,
    /// What became of transactions.
    pub relay: RelayCounters,
}

impl Snapshot {
    /// Starts with nothing known.
    pub fn new(about: About) -> Self {
        Self {
            about,
            at: Duration::ZERO,
            progress: None,
            pace: Pace::default(),
            waiting_since: Duration::ZERO,
            caught_up_at: None,
            counters: Counters::default(),
            peers: None,
            relay: RelayCounters::default(),
        }
    }

    /// Takes over where the engine stands.
    pub fn record(&mut self, at: Duration, progress: Progress, pace: Pace) {
        let waiting = self.progress.and_then(|before| before.waiting);
        if waiting != progress.waiting || self.progress.is_none() {
            self.waiting_since = at;
        }
        self.at = at;
        self.progress = Some(progress);
        self.pace = pace;
        if self.is_near() {
            self.caught_up_at = Some(at);
        }
    }

    /// Counts what a notice tells of.
    pub fn count(&mut self, notice: &Notice) {
        let counters = &mut self.counters;
        let counter = match notice {
            Notice::CallFailed { .. } => &mut counters.call_failures,
            Notice::SetBack { .. } => &mut counters.set_backs,
            Notice::BlockGivenUp { .. } => &mut counters.blocks_given_up,
            Notice::Reorganised { .. } => &mut counters.reorganisations,
            Notice::HeaderRefused(_) => &mut counters.headers_refused,
            Notice::SourceRemark(_) => &mut counters.source_remarks,
            _ => return,
        };
        *counter = counter.saturating_add(1);
    }

    /// Counts what became of a transaction.
    pub fn count_relayed(&mut self, outcome: &RelayOutcome) {
        let counter = match outcome {
            RelayOutcome::Announced { .. } => &mut self.relay.announced,
            RelayOutcome::Seen => &mut self.relay.seen,
            RelayOutcome::Rejected { .. } => &mut self.relay.rejected,
        };
        *counter = counter.saturating_add(1);
    }

    /// Returns how many blocks the canister is behind the source, once both are known.
    pub fn lag(&self) -> Option<u32> {
        let progress = self.progress?;
        let height = progress.canister_height?;
        Some(progress.source_height.saturating_sub(height).get())
    }

    /// Returns how many blocks the source is behind the canister: another adapter has a better one.
    pub fn source_lag(&self) -> Option<u32> {
        let progress = self.progress?;
        let height = progress.canister_height?;
        Some(height.saturating_sub(progress.source_height).get())
    }

    /// Returns whether both sides answer and are near each other.
    fn is_near(&self) -> bool {
        let waiting = self.progress.and_then(|progress| progress.waiting);
        let is_blind = matches!(
            waiting,
            Some(Waiting::Indexing | Waiting::Unreachable | Waiting::SyncingDisabled)
        );
        let is_alone = self
            .peers
            .as_ref()
            .is_some_and(|table| table.peers.is_empty());
        let is_within =
            |lag: Option<u32>| lag.is_some_and(|lag| lag <= self.about.healthy_lag_blocks);
        !is_blind && !is_alone && is_within(self.lag()) && is_within(self.source_lag())
    }

    /// Returns the snapshot for machines. Keys are stable. `now` is the time of asking.
    pub fn to_json(&self, now: Duration) -> Value {
        let progress = self.progress;
        let waiting = progress.and_then(|progress| progress.waiting);
        let seconds = |since: Duration| now.saturating_sub(since).as_secs();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "chain": self.about.network.to_string(),
            "canister": self.about.canister,
            "replica_url": self.about.replica_url,
            "source": self.about.source,
            "uptime_seconds": now.as_secs(),
            "source_height": progress.map(|progress| progress.source_height.get()),
            "source_time": progress.map(|progress| progress.source_time.get()),
            "canister_height": progress.and_then(|progress| progress.canister_height).map(Height::get),
            "pushed_height": progress.map(|progress| progress.pushed_height.get()),
            "lag_blocks": self.lag(),
            "waiting": waiting.map(|waiting| waiting.to_string()),
            "waiting_kind": waiting.map(Waiting::name),
            "waiting_seconds": waiting.map(|_| seconds(self.waiting_since)),
            "megabytes_per_second": self.pace.megabytes_per_second,
            "blocks_per_second": self.pace.blocks_per_second,
            "seconds_left": self.pace.left.map(|left| left.as_secs()),
            "acknowledged_blocks": progress.map(|progress| progress.acknowledged_blocks),
            "acknowledged_bytes": progress.map(|progress| progress.acknowledged_bytes),
            "pushed_blocks": progress.map(|progress| progress.pushed_blocks),
            "pushed_bytes": progress.map(|progress| progress.pushed_bytes),
            "pushes_in_flight": progress.map(|progress| progress.in_flight),
            "held_bytes": progress.map(|progress| progress.held_bytes),
            "queue_free_bytes": progress.map(|progress| progress.free_bytes),
            "queue_free_blocks": progress.map(|progress| progress.free_blocks),
            "pending_blocks": progress.map(|progress| progress.pending_blocks),
            "peers": self.peers.as_ref().map(|table| table.peers.len()),
        })
    }

    /// Returns the peers for machines: `null` where the source has none. Keys are stable.
    pub fn peers_json(&self) -> Value {
        let Some(table) = &self.peers else {
            return json!({ "source": self.about.source, "peers": null });
        };
        json!({
            "source": self.about.source,
            "peers": table.peers.iter().map(PeerRow::to_json).collect::<Vec<_>>(),
            "height": table.height,
            "addresses": table.addresses,
            "banned": table.banned,
            "waiting": table.waiting,
        })
    }
}

impl PeerTable {
    /// Takes over where the node stands. `name` writes a peer's address.
    pub fn new(standing: &Standing, name: impl Fn(&PeerSummary) -> String) -> Self {
        let row = |peer| PeerRow::new(peer, name(peer));
        Self {
            peers: standing.peers.iter().map(row).collect(),
            height: standing.height.get(),
            addresses: standing.addresses,
            banned: standing.banned,
            blocks_held: standing.blocks_held,
            bytes_held: standing.bytes_held,
            in_flight: standing.in_flight,
            transactions: standing.transactions,
            waiting: standing.waiting.clone(),
        }
    }
}

impl PeerRow {
    fn new(peer: &PeerSummary, address: String) -> Self {
        Self {
            address,
            kind: match peer.kind {
                ConnectionKind::Fixed => "fixed",
                ConnectionKind::Outbound => "outbound",
                ConnectionKind::Rescue => "rescue",
                ConnectionKind::Feeler => "feeler",
            },
            transport: match peer.transport {
                TransportVersion::V1 => "v1",
                TransportVersion::V2 => "v2",
            },
            user_agent: peer.user_agent.clone(),
            height: peer.height.get(),
            connected: peer.connected_for,
            ping: peer.ping,
            in_flight: peer.in_flight,
            blocks: peer.blocks,
            block_bytes: peer.block_bytes,
        }
    }

    fn to_json(&self) -> Value {
        let ping = self
            .ping
            .map(|ping| u64::try_from(ping.as_millis()).unwrap_or(u64::MAX));
        json!({
            "address": self.address,
            "kind": self.kind,
            "transport": self.transport,
            "user_agent": self.user_agent,
            "height": self.height,
            "connected_seconds": self.connected.as_secs(),
            "ping_ms": ping,
            "in_flight": self.in_flight,
            "blocks": self.blocks,
            "block_bytes": self.block_bytes,
        })
    }
}
