//! Whom to connect to, and when.

use std::collections::BTreeSet;
use std::time::Duration;

use bitcoin::p2p::ServiceFlags;

use super::Node;
use super::api::{
    CloseReason, Command, ConnectError, ConnectionKind, Notice, PeerId, TransportVersion,
};
use super::pause::Pause;
use super::peer::{Peer, Stage};
use crate::address::PeerAddress;
use crate::book::Purpose;
use crate::message::{KnownAddress, MAX_ADDRESSES};
use crate::relay::RelayEvent;

/// Connections being opened at a time, at most.
const MAX_ATTEMPTS: usize = 8;
/// How often an address is tried for its own sake.
const FEELER_INTERVAL: Duration = Duration::from_secs(2 * 60);
/// How long a peer that misbehaved may not come back.
pub(super) const BAN_TIME: Duration = Duration::from_secs(24 * 60 * 60);
/// How long there may be no peer before the seeds are asked.
const LONELY_TIME: Duration = Duration::from_secs(60);
/// Pause between questions to the seeds.
const SEEDS_PAUSE: Duration = Duration::from_secs(60);
/// Addresses of seeds taken in at a time, at most.
const MAX_SEEDS: usize = 1_000;
/// How often the book is asked again after it had nothing.
const SELECT_PAUSE: Duration = Duration::from_secs(1);
/// Age of the tip, by our clock, at which one more peer is looked for.
pub(super) const STALE_TIP: Duration = Duration::from_secs(30 * 60);
/// Pause between such searches.
const RESCUE_INTERVAL: Duration = Duration::from_secs(10 * 60);
/// How long the new peer has to show something before the worst one goes.
const RESCUE_TRIAL: Duration = Duration::from_secs(60);
/// How long a configured peer must have served for its failures to be forgotten.
const GOOD_TIME: Duration = Duration::from_secs(60);

/// How long a configured peer that was too slow or misbehaved has to wait while others serve.
const FAULT_PAUSE: Duration = Duration::from_secs(60);

/// A configured peer.
#[derive(Clone, Debug)]
struct FixedPeer {
    address: PeerAddress,
    peer: Option<PeerId>,
    pause: Pause,
    next_at: Duration,
}

/// What is known of connections beyond the peers themselves.
#[derive(Clone, Debug)]
pub(super) struct Connections {
    fixed: Vec<FixedPeer>,
    next_id: u64,
    select_at: Duration,
    feeler_at: Option<Duration>,
    /// Since when there has been no ready peer.
    lonely_since: Option<Duration>,
    seeds_at: Option<Duration>,
    rescue_at: Duration,
    /// Why the last attempt failed, and whose it was.
    pub last_failure: Option<(PeerAddress, String)>,
}

impl Connections {
    pub fn new(fixed: &[PeerAddress]) -> Self {
        // An address that is configured twice is one peer.
        let addresses: BTreeSet<PeerAddress> = fixed.iter().copied().collect();
        let fixed = addresses.into_iter().map(|address| FixedPeer {
            address,
            peer: None,
            pause: Pause::default(),
            next_at: Duration::ZERO,
        });
        Self {
            fixed: fixed.collect(),
            next_id: 0,
            select_at: Duration::ZERO,
            feeler_at: None,
            lonely_since: None,
            seeds_at: None,
            rescue_at: Duration::ZERO,
            last_failure: None,
        }
    }
}

impl Node {
    /// Opens and closes connections as it is time to.
    pub(super) fn keep_connections(&mut self) {
        self.note_loneliness();
        self.connect_fixed();
        if self.config.only_fixed {
            return;
        }
        self.ask_seeds();
        self.connect_outbound();
        self.send_feeler();
        self.rescue();
    }

    /// Returns when [`Node::keep_connections`] is next worth a call.
    pub(super) fn connections_due(&self) -> Option<Duration> {
        let connections = &self.connections;
        let fixed = connections
            .fixed
            .iter()
            .filter(|fixed| fixed.peer.is_none())
            .map(|fixed| fixed.next_at)
            .min()
            .filter(|_| self.attempts() < MAX_ATTEMPTS);
        if self.config.only_fixed {
            return fixed;
        }
        let has_room = self.attempts() < MAX_ATTEMPTS;
        let select = (self.missing_outbound() > 0 && has_room).then_some(connections.select_at);
        let feeler = connections
            .feeler_at
            .filter(|_| self.missing_outbound() == 0 && has_room)
            .map(|at| at.max(connections.select_at));
        let trial = self
            .ready_peers()
            .filter(|(_, peer)| peer.kind == ConnectionKind::Rescue)
            .map(|(_, peer)| peer.stage_since.saturating_add(RESCUE_TRIAL))
            .min();
        [
            fixed,
            select,
            feeler,
            trial,
            self.seeds_due(),
            self.rescue_due(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn note_loneliness(&mut self) {
        let is_lonely = self.ready_peers().next().is_none();
        let now = self.now.elapsed;
        self.connections.lonely_since =
            is_lonely.then(|| self.connections.lonely_since.unwrap_or(now));
    }

    fn connect_fixed(&mut self) {
        let now = self.now.elapsed;
        for index in 0..self.connections.fixed.len() {
            if self.attempts() >= MAX_ATTEMPTS {
                return;
            }
            let Some(fixed) = self.connections.fixed.get(index) else {
                return;
            };
            if fixed.peer.is_some() || fixed.next_at > now {
                continue;
            }
            let address = fixed.address;
            let id = self.connect(address, ConnectionKind::Fixed, self.first_transport());
            if let Some(fixed) = self.connections.fixed.get_mut(index) {
                fixed.peer = Some(id);
            }
        }
    }

    fn connect_outbound(&mut self) {
        while self.missing_outbound() > 0 {
            if !self.connect_from_book(Purpose::Outbound, ConnectionKind::Outbound) {
                return;
            }
        }
    }

    fn send_feeler(&mut self) {
        let now = self.now.elapsed;
        if self.missing_outbound() > 0 {
            return;
        }
        match self.connections.feeler_at {
            None => self.connections.feeler_at = Some(now.saturating_add(FEELER_INTERVAL)),
            Some(at) if at <= now => {
                if self.connect_from_book(Purpose::Feeler, ConnectionKind::Feeler) {
                    // Not in step with others, so that observers cannot tell feelers by their time.
                    let jitter = self.chance.below(FEELER_INTERVAL.as_secs() / 2);
                    let pause = FEELER_INTERVAL * 3 / 4 + Duration::from_secs(jitter);
                    self.connections.feeler_at = Some(now.saturating_add(pause));
                }
            }
            Some(_) => {}
        }
    }

    /// Connects to an address of the book; returns whether there was one.
    fn connect_from_book(&mut self, purpose: Purpose, kind: ConnectionKind) -> bool {
        let now = self.now;
        if self.connections.select_at > now.elapsed || self.attempts() >= MAX_ATTEMPTS {
            return false;
        }
        let connected: Vec<PeerAddress> = self.peers.values().map(|peer| peer.address).collect();
        let reaches_onion = self.config.reaches_onion;
        let found = self
            .book
            .select(now.unix, purpose, &connected, reaches_onion);
        if let Some(address) = found {
            self.book.attempted(now.unix, address);
            self.connect(address, kind, self.first_transport());
            return true;
        }
        self.connections.select_at = now.elapsed.saturating_add(SELECT_PAUSE);
        false
    }

    fn connect(
        &mut self,
        address: PeerAddress,
        kind: ConnectionKind,
        transport: TransportVersion,
    ) -> PeerId {
        let id = PeerId(self.connections.next_id);
        self.connections.next_id += 1;
        let peer = Peer::new(address, kind, transport, self.now.elapsed);
        self.peers.insert(id, peer);
        self.commands.push(Command::Connect {
            peer: id,
            address,
            transport,
        });
        id
    }

    const fn first_transport(&self) -> TransportVersion {
        if self.config.v2_transport {
            TransportVersion::V2
        } else {
            TransportVersion::V1
        }
    }

    pub(super) fn on_connected(&mut self, id: PeerId, transport: TransportVersion) {
        let Some(peer) = self.peers.get_mut(&id) else {
            // Given up meanwhile; the shell was told to close it.
            return;
        };
        if peer.stage != Stage::Connecting {
            return;
        }
        peer.transport = transport;
        peer.heard_at = self.now.elapsed;
        self.introduce(id);
    }

    pub(super) fn on_connect_failed(&mut self, id: PeerId, error: ConnectError) {
        let Some(peer) = self.peers.get(&id) else {
            return;
        };
        let (address, kind, transport) = (peer.address, peer.kind, peer.transport);
        let is_refused = matches!(error, ConnectError::V2Refused { .. });
        if is_refused && transport == TransportVersion::V2 {
            self.peers.remove(&id);
            let next = self.connect(address, kind, TransportVersion::V1);
            self.fixed_slot(id, Some(next));
            return;
        }
        self.gone(
            id,
            CloseReason::Lost {
                reason: error.to_string(),
            },
        );
    }

    fn fixed_slot(&mut self, id: PeerId, next: Option<PeerId>) {
        let slot = self.connections.fixed.iter_mut();
        if let Some(fixed) = slot.into_iter().find(|fixed| fixed.peer == Some(id)) {
            fixed.peer = next;
        }
    }

    /// Ends a connection because of what the peer sent. Whoever is not configured may not come
    /// back for a time.
    pub(super) fn misbehaved(&mut self, id: PeerId, reason: String) {
        self.close(id, CloseReason::Misbehaved { reason });
    }

    /// Ends a connection.
    pub(super) fn close(&mut self, id: PeerId, reason: CloseReason) {
        if self.peers.contains_key(&id) {
            self.commands.push(Command::Close(id, reason.clone()));
            self.gone(id, reason);
        }
    }

    /// Forgets a connection.
    pub(super) fn gone(&mut self, id: PeerId, reason: CloseReason) {
        self.release_requests(id);
        let Some(peer) = self.peers.remove(&id) else {
            return;
        };
        if self.download.stall.is_some_and(|stall| stall.peer == id) {
            self.download.stall = None;
        }
        self.download.is_dirty = true;
        let text = reason.to_string();
        let is_wanted_end = reason == CloseReason::Done;
        if peer.is_ready() {
            self.relay(RelayEvent::PeerGone(id));
        } else if !is_wanted_end {
            self.connections.last_failure = Some((peer.address, text.clone()));
        }
        if !is_wanted_end {
            self.notify(Notice::PeerGone(id, peer.address, text.clone()));
        }
        if peer.kind == ConnectionKind::Fixed {
            return self.fixed_gone(id, &peer, &reason);
        }
        let unix = self.now.unix;
        if matches!(reason, CloseReason::Misbehaved { .. }) {
            self.book.ban(unix, peer.address, BAN_TIME);
            self.notify(Notice::PeerBanned(peer.address, BAN_TIME, text));
        } else if !peer.is_ready() || is_at_fault(&reason) {
            self.book.failed(unix, peer.address);
        }
    }

    fn fixed_gone(&mut self, id: PeerId, peer: &Peer, reason: &CloseReason) {
        let now = self.now.elapsed;
        let served = now.saturating_sub(peer.stage_since);
        let was_good =
            peer.is_ready() && served >= GOOD_TIME && matches!(reason, CloseReason::Lost { .. });
        let others_serve = self.ready_peers().next().is_some();
        let slots = self.connections.fixed.iter_mut();
        if let Some(fixed) = slots.into_iter().find(|fixed| fixed.peer == Some(id)) {
            if was_good {
                fixed.pause.succeed();
            }
            fixed.peer = None;
            let mut pause = fixed.pause.fail(&mut self.chance);
            // Otherwise it would come back to stall again before the others are done.
            if is_at_fault(reason) && others_serve {
                pause = pause.max(FAULT_PAUSE);
            }
            fixed.next_at = now.saturating_add(pause);
        }
    }

    fn attempts(&self) -> usize {
        let attempts = self.peers.values().filter(|peer| !peer.is_ready());
        attempts.count()
    }

    fn missing_outbound(&self) -> usize {
        let outbound = self
            .peers
            .values()
            .filter(|peer| peer.kind == ConnectionKind::Outbound)
            .count();
        usize::try_from(self.config.outbound_peers)
            .unwrap_or(usize::MAX)
            .saturating_sub(outbound)
    }

    fn seeds_due(&self) -> Option<Duration> {
        let lonely_at = self.connections.lonely_since?.saturating_add(LONELY_TIME);
        let at = if self.book.is_empty() {
            Duration::ZERO
        } else {
            lonely_at
        };
        let pause_over = self
            .connections
            .seeds_at
            .map_or(Duration::ZERO, |asked| asked.saturating_add(SEEDS_PAUSE));
        Some(at.max(pause_over))
    }

    fn ask_seeds(&mut self) {
        let now = self.now.elapsed;
        if self.seeds_due().is_some_and(|at| at <= now) {
            self.connections.seeds_at = Some(now);
            self.commands.push(Command::FindSeeds);
        }
    }

    pub(super) fn on_seeds(&mut self, addresses: &[PeerAddress]) {
        let services = (ServiceFlags::NETWORK | ServiceFlags::WITNESS).to_u64();
        let time = u32::try_from(self.now.unix.get()).unwrap_or(u32::MAX);
        let known: Vec<KnownAddress> = addresses
            .iter()
            .take(MAX_SEEDS)
            .map(|address| KnownAddress {
                time,
                services,
                address: *address,
            })
            .collect();
        self.book.add(self.now.unix, None, &known);
        self.connections.select_at = self.now.elapsed;
    }

    pub(super) fn on_addresses(&mut self, id: PeerId, addresses: &[KnownAddress]) {
        if addresses.len() > MAX_ADDRESSES {
            let reason = format!(
                "sent {} addresses at once, at most {MAX_ADDRESSES} are allowed",
                addresses.len()
            );
            return self.misbehaved(id, reason);
        }
        let now = self.now;
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let taken = peer.traffic.addresses(now.elapsed, addresses.len());
        let source = peer.address;
        if let Some(addresses) = addresses.get(..taken).filter(|_| taken > 0) {
            self.book.add(now.unix, Some(source), addresses);
        }
    }

    fn is_rescuing(&self) -> bool {
        let mut peers = self.peers.values();
        peers.any(|peer| peer.kind == ConnectionKind::Rescue)
    }

    fn rescue_due(&self) -> Option<Duration> {
        // Blocks of a regtest come when somebody wants them.
        let is_regtest = self.config.network == millrace_core::Network::Regtest;
        if is_regtest || self.is_rescuing() || self.ready_peers().next().is_none() {
            return None;
        }
        if self.attempts() >= MAX_ATTEMPTS {
            return None;
        }
        let stale_at = self.sync.tip_at.saturating_add(STALE_TIP);
        let connections = &self.connections;
        Some(
            stale_at
                .max(connections.rescue_at)
                .max(connections.select_at),
        )
    }

    /// Looks for one more peer while the tip is old, and lets the worst one go for it.
    fn rescue(&mut self) {
        let now = self.now.elapsed;
        if self.rescue_due().is_some_and(|at| at <= now)
            && self.connect_from_book(Purpose::Outbound, ConnectionKind::Rescue)
        {
            self.connections.rescue_at = now.saturating_add(RESCUE_INTERVAL);
        }
        let tried = self.ready_peers().find(|(_, peer)| {
            peer.kind == ConnectionKind::Rescue
                && peer.stage_since.saturating_add(RESCUE_TRIAL) <= now
        });
        let Some(rescue) = tried.map(|(id, _)| id) else {
            return;
        };
        if let Some(peer) = self.peers.get_mut(&rescue) {
            peer.kind = ConnectionKind::Outbound;
        }
        let outbound = self
            .ready_peers()
            .filter(|(_, peer)| peer.kind == ConnectionKind::Outbound);
        let limit = usize::try_from(self.config.outbound_peers).unwrap_or(usize::MAX);
        if outbound.clone().count() <= limit {
            return;
        }
        // Whoever told of a new block longest ago goes; of several, the youngest connection.
        let worst = outbound
            .min_by_key(|(id, peer)| (peer.chain.news_at, std::cmp::Reverse(*id)))
            .map(|(id, _)| id);
        if let Some(worst) = worst {
            let reason = "told of no new block for longer than the others".to_owned();
            self.close(worst, CloseReason::Useless { reason });
        }
    }
}

fn is_at_fault(reason: &CloseReason) -> bool {
    matches!(
        reason,
        CloseReason::Misbehaved { .. } | CloseReason::Slow { .. } | CloseReason::Useless { .. }
    )
}
