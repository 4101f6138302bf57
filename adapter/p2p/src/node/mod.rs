//! Decides what to say to which peer.
//!
//! The node is a state machine: the shell reports events with the time, and carries out the commands
//! that come back.
//!
//! | module | does |
//! |---|---|
//! | `handshake` | starts a connection: `version`, what both sides can do, `verack` |
//! | `headers_sync`, `presync`, `chain`, `locator` | headers first, with bounded memory against floods |
//! | `download`, `blocks`, `staller` | blocks: the window, the budget, who serves what, who holds everything up |
//! | `connections`, `pause` | whom to connect to, and when |
//! | `limits` | what a peer may send that nobody asked for |
//! | `ports` | what is needed of the address book and of transaction relay |
//! | `standing` | where the node stands, and why nothing moves |

mod announcements;
mod api;
mod blocks;
mod chain;
mod chance;
mod connections;
mod download;
mod handshake;
mod headers_sync;
mod limits;
mod locator;
mod pause;
mod peer;
mod ports;
mod presync;
mod staller;
mod standing;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

pub use api::{
    CloseReason, Command, ConnectError, ConnectionKind, Event, NodeConfig, Notice, Now, PeerId,
    PeerSummary, RelayOutcome, RelayTransaction, Standing, TransportVersion, WireError,
};
pub use ports::{AddressSource, TransactionRelay};

use self::chance::Chance;
use self::connections::Connections;
use self::download::Download;
use self::handshake::HANDSHAKE_TIMEOUT;
use self::headers_sync::HeaderSync;
use self::peer::{PING_INTERVAL, PONG_TIMEOUT, Peer, Stage};
use self::standing::WaitWatch;
use crate::headers::HeaderTree;
use crate::message::Message;
use crate::relay::{RelayCommand, RelayEvent};

/// The node; see the module's documentation.
///
/// Equal configurations, headers and events give equal commands.
pub struct Node {
    config: NodeConfig,
    headers: HeaderTree,
    book: Box<dyn AddressSource>,
    transactions: Box<dyn TransactionRelay>,
    // Sorted, because the order reaches decisions.
    peers: BTreeMap<PeerId, Peer>,
    sync: HeaderSync,
    download: Download,
    connections: Connections,
    wait: WaitWatch,
    chance: Chance,
    now: Now,
    commands: Vec<Command>,
    is_stopped: bool,
}

impl Node {
    /// Starts without a connection. `headers` are those known from an earlier run.
    pub fn new(
        config: NodeConfig,
        headers: HeaderTree,
        book: Box<dyn AddressSource>,
        transactions: Box<dyn TransactionRelay>,
    ) -> Self {
        Self {
            headers,
            book,
            transactions,
            peers: BTreeMap::new(),
            sync: HeaderSync::default(),
            download: Download::new(config.block_bytes_max),
            connections: Connections::new(&config.fixed_peers),
            wait: WaitWatch::default(),
            chance: Chance::new(config.seed),
            now: Now {
                elapsed: Duration::ZERO,
                unix: millrace_core::UnixSeconds::ZERO,
            },
            commands: Vec::new(),
            is_stopped: false,
            config,
        }
    }

    /// Returns the headers and the best chain.
    pub const fn headers(&self) -> &HeaderTree {
        &self.headers
    }

    /// Returns the address book.
    pub fn book(&self) -> &dyn AddressSource {
        self.book.as_ref()
    }

    /// Reacts to an event. Costs O(peers), and for a message at most O(its entries), besides the
    /// rules for each header; each block that comes or is lost costs O(window) at worst.
    pub fn on(&mut self, now: Now, event: Event) -> Vec<Command> {
        if self.is_stopped {
            return Vec::new();
        }
        self.now = Now {
            elapsed: self.now.elapsed.max(now.elapsed),
            unix: now.unix,
        };
        self.react(event);
        if !self.is_stopped {
            self.advance();
        }
        std::mem::take(&mut self.commands)
    }

    /// Returns when the next [`Event::Tick`] is due; an earlier one changes nothing.
    pub fn wake_at(&self) -> Duration {
        if self.is_stopped {
            return Duration::MAX;
        }
        let stall = self.download.stall;
        let staller = stall.map(|stall| stall.since.saturating_add(self.download.stall_timeout));
        let peers = self.peers.values().map(peer_due).min();
        [
            staller,
            peers,
            Some(self.transactions.wake_at()),
            self.headers_due(),
            self.blocks_due(),
            self.connections_due(),
            self.waiting_due(),
            self.download.retry_at,
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(Duration::MAX)
    }

    fn react(&mut self, event: Event) {
        match event {
            Event::Tick => {}
            Event::Connected { peer, transport } => self.on_connected(peer, transport),
            Event::ConnectFailed { peer, error } => self.on_connect_failed(peer, error),
            Event::Received { peer, message } => self.on_message(peer, message),
            Event::Broken { peer, error } => self.misbehaved(peer, error.to_string()),
            Event::Closed { peer, reason } => self.gone(peer, CloseReason::Lost { reason }),
            Event::SeedsFound(addresses) => self.on_seeds(&addresses),
            Event::Want(hashes) => self.on_want(hashes),
            Event::Relay(transactions) => self.relay(RelayEvent::Add(transactions)),
            Event::Forget(txids) => self.relay(RelayEvent::Forget(txids)),
            Event::Stop => self.stop(),
        }
    }

    fn stop(&mut self) {
        let ids: Vec<PeerId> = self.peers.keys().copied().collect();
        for id in ids {
            self.close(id, CloseReason::Done);
        }
        self.is_stopped = true;
    }

    fn on_message(&mut self, id: PeerId, message: Message) {
        let now = self.now.elapsed;
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.heard_at = now;
        if !was_asked(peer, &message)
            && let Err(reason) = peer.traffic.unasked(now, &message)
        {
            return self.misbehaved(id, reason);
        }
        match message {
            Message::Version(version) => self.on_version(id, version),
            Message::Verack => self.on_verack(id),
            Message::WtxidRelay | Message::SendAddrV2 => self.on_feature(id, &message),
            Message::FeeFilter(rate) if !peer.is_ready() => peer.fee_filter = Some(rate),
            // Bitcoin Core ignores the rest, too, until the handshake is over.
            _ if !peer.is_ready() => {}
            message => self.on_ready_message(id, message),
        }
    }

    fn on_ready_message(&mut self, id: PeerId, message: Message) {
        match message {
            Message::Ping(number) => self.send(id, Message::Pong(number)),
            Message::Pong(number) => self.on_pong(id, number),
            Message::Headers(headers) => self.on_headers(id, &headers),
            Message::Inv(inventory) => self.on_inventory(id, inventory),
            Message::Block(block) => self.on_block(id, *block),
            Message::NotFound(inventory) => self.on_not_found(id, &inventory),
            Message::Addr(addresses) => self.on_addresses(id, &addresses),
            Message::FeeFilter(rate) => self.relay(RelayEvent::FeeFilter { peer: id, rate }),
            Message::GetData(inventory) => self.relay(RelayEvent::Wanted {
                peer: id,
                inventory,
            }),
            // Nothing is served but transactions, and announcements come as they come.
            Message::Version(_)
            | Message::Verack
            | Message::WtxidRelay
            | Message::SendAddrV2
            | Message::SendHeaders
            | Message::GetHeaders { .. }
            | Message::GetAddr
            | Message::Tx(_)
            | Message::Other { .. } => {}
        }
    }

    fn on_pong(&mut self, id: PeerId, number: u64) {
        let now = self.now.elapsed;
        if let Some(peer) = self.peers.get_mut(&id)
            && let Some((_, sent_at)) = peer.ping.open.filter(|(open, _)| *open == number)
        {
            let took = now.saturating_sub(sent_at);
            peer.ping.best = Some(peer.ping.best.map_or(took, |best| best.min(took)));
            peer.ping.open = None;
        }
    }

    /// Does what is due by now.
    fn advance(&mut self) {
        let ids: Vec<PeerId> = self.peers.keys().copied().collect();
        for id in ids {
            self.check_peer(id);
        }
        self.check_staller();
        self.keep_connections();
        self.ask_headers();
        self.ask_blocks();
        if self.transactions.wake_at() <= self.now.elapsed {
            self.relay(RelayEvent::Tick);
        }
        self.watch_waiting();
    }

    fn check_peer(&mut self, id: PeerId) {
        let now = self.now.elapsed;
        let Some(peer) = self.peers.get(&id) else {
            return;
        };
        if peer.is_ready() {
            self.check_ping(id);
            self.check_chain(id);
            self.check_blocks(id);
            return;
        }
        if now.saturating_sub(peer.stage_since) >= HANDSHAKE_TIMEOUT {
            let what = match peer.stage {
                Stage::Connecting => "could not be reached",
                _ => "did not finish the handshake",
            };
            let reason = format!("{what} within {} s", HANDSHAKE_TIMEOUT.as_secs());
            self.close(id, CloseReason::Slow { reason });
        }
    }

    fn check_ping(&mut self, id: PeerId) {
        let now = self.now.elapsed;
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if let Some((_, sent_at)) = peer.ping.open {
            if now.saturating_sub(sent_at) >= PONG_TIMEOUT {
                let reason = format!("answered no ping for {} s", PONG_TIMEOUT.as_secs());
                self.close(id, CloseReason::Slow { reason });
            }
            return;
        }
        if peer.ping.next_at <= now {
            let number = self.chance.next();
            peer.ping.open = Some((number, now));
            peer.ping.next_at = now.saturating_add(PING_INTERVAL);
            self.send(id, Message::Ping(number));
        }
    }

    fn ready_peers(&self) -> impl Iterator<Item = (PeerId, &Peer)> + Clone {
        let peers = self.peers.iter().filter(|(_, peer)| peer.is_ready());
        peers.map(|(id, peer)| (*id, peer))
    }

    fn send(&mut self, id: PeerId, message: Message) {
        self.commands.push(Command::Send(id, message));
    }

    fn notify(&mut self, notice: Notice) {
        self.commands.push(Command::Notify(notice));
    }

    fn relay(&mut self, event: RelayEvent) {
        for command in self.transactions.on(self.now, event) {
            match command {
                RelayCommand::Send(id, message) => {
                    if self.peers.get(&id).is_some_and(Peer::is_ready) {
                        self.send(id, message);
                    }
                }
                RelayCommand::Report(txid, outcome) => {
                    self.commands.push(Command::Report(txid, outcome));
                }
            }
        }
    }
}

/// Returns whether a message answers a question of ours, whose number is bounded already.
fn was_asked(peer: &Peer, message: &Message) -> bool {
    match message {
        Message::Headers(_) => peer.chain.asked.is_some(),
        Message::Block(block) => peer.serving.requests.contains_key(&block.hash),
        Message::Pong(number) => peer.ping.open.is_some_and(|(open, _)| open == *number),
        _ => false,
    }
}

/// Returns when something is due for a peer alone: its handshake, ping, headers or chain.
fn peer_due(peer: &Peer) -> Duration {
    if !peer.is_ready() {
        return peer.stage_since.saturating_add(HANDSHAKE_TIMEOUT);
    }
    let ping = match peer.ping.open {
        Some((_, sent_at)) => sent_at.saturating_add(PONG_TIMEOUT),
        None => peer.ping.next_at,
    };
    let headers = peer.chain.asked.map(|asked| asked.deadline);
    [Some(ping), headers, peer.chain.lag_due()]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(Duration::MAX)
}
