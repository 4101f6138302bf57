//! How a connection starts: `version`, what both sides can do, `verack`.

use std::time::Duration;

use bitcoin::p2p::ServiceFlags;

use super::Node;
use super::api::{CloseReason, ConnectionKind, Notice, PeerId};
use super::peer::{Ping, Stage};
use crate::message::{Message, Version};
use crate::relay::RelayEvent;

/// The protocol version that the adapter speaks: the one of BIP339.
pub(super) const PROTOCOL_VERSION: u32 = 70_016;
/// The lowest protocol version of a peer: from here on `ping` has a number and `version` says
/// whether transactions are wanted (BIP31, BIP37). Headers, witness data and addresses of newer kinds are
/// matters of services and of messages of their own.
pub(super) const MIN_PROTOCOL_VERSION: u32 = 70_001;
/// The protocol version from which on peers know `wtxidrelay` and `sendaddrv2` (BIP339, BIP155).
const FEATURES_VERSION: u32 = 70_016;
/// How long a connection may take to open, and again to finish its handshake.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(60);

/// Returns whether a peer serves every block.
pub(super) fn serves_all_blocks(services: u64) -> bool {
    ServiceFlags::from(services).has(ServiceFlags::NETWORK)
}

/// Judges what a peer says of itself. `own_nonces` are those of our own open connections.
///
/// # Errors
/// Why the peer is of no use.
pub(super) fn judge(version: &Version, own_nonces: &[u64]) -> Result<(), CloseReason> {
    let useless = |reason: String| Err(CloseReason::Useless { reason });
    if own_nonces.contains(&version.nonce) {
        return useless("is this adapter itself".to_owned());
    }
    if version.version < MIN_PROTOCOL_VERSION {
        return useless(format!(
            "speaks protocol version {}, at least {MIN_PROTOCOL_VERSION} is needed",
            version.version
        ));
    }
    let services = ServiceFlags::from(version.services);
    let serves = services.has(ServiceFlags::NETWORK) || services.has(ServiceFlags::NETWORK_LIMITED);
    if !serves || !services.has(ServiceFlags::WITNESS) {
        return useless(format!(
            "offers {services}, needed are NETWORK or NETWORK_LIMITED, and WITNESS"
        ));
    }
    Ok(())
}

impl Node {
    /// Says who we are, as the side that connects does first.
    pub(super) fn introduce(&mut self, id: PeerId) {
        let nonce = self.chance.next();
        let start_height = i32::try_from(self.headers.tip_height().get()).unwrap_or(i32::MAX);
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.stage = Stage::AwaitsVersion;
        peer.stage_since = self.now.elapsed;
        peer.nonce = nonce;
        let version = Version {
            version: PROTOCOL_VERSION,
            services: ServiceFlags::NONE.to_u64(),
            time: i64::try_from(self.now.unix.get()).unwrap_or(i64::MAX),
            nonce,
            user_agent: self.config.user_agent.clone(),
            start_height,
            relay: peer.kind != ConnectionKind::Feeler,
        };
        self.send(id, Message::Version(version));
    }

    pub(super) fn on_version(&mut self, id: PeerId, version: Version) {
        let own_nonces: Vec<u64> = self
            .peers
            .values()
            .filter(|peer| peer.stage != Stage::Connecting)
            .map(|peer| peer.nonce)
            .collect();
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if peer.stage != Stage::AwaitsVersion {
            return self.misbehaved(id, "sent a second version".to_owned());
        }
        if let Err(reason) = judge(&version, &own_nonces) {
            return self.close(id, reason);
        }
        peer.stage = Stage::AwaitsVerack;
        peer.version = version.version;
        peer.services = version.services;
        peer.user_agent = version.user_agent;
        peer.start_height = u32::try_from(version.start_height).unwrap_or(0);
        if version.version >= FEATURES_VERSION {
            self.send(id, Message::WtxidRelay);
            self.send(id, Message::SendAddrV2);
        }
        self.send(id, Message::Verack);
    }

    /// Takes in a wish that must be uttered between `version` and `verack`.
    pub(super) fn on_feature(&mut self, id: PeerId, message: &Message) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if peer.stage != Stage::AwaitsVerack {
            let name = if *message == Message::WtxidRelay {
                "wtxidrelay"
            } else {
                "sendaddrv2"
            };
            return self.misbehaved(id, format!("sent {name} outside of the handshake"));
        }
        if *message == Message::WtxidRelay {
            peer.wtxid_relay = true;
        }
    }

    pub(super) fn on_verack(&mut self, id: PeerId) {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if peer.stage != Stage::AwaitsVerack {
            return self.misbehaved(id, "sent verack out of turn".to_owned());
        }
        peer.stage = Stage::Ready;
        peer.stage_since = now.elapsed;
        peer.ping = Ping::new(now.elapsed);
        let (kind, address) = (peer.kind, peer.address);
        let (services, wtxid_relay) = (peer.services, peer.wtxid_relay);
        let notice = Notice::PeerReady(id, address, peer.user_agent.clone());
        let fee_filter = peer.fee_filter;
        self.book.succeeded(now.unix, address, services);
        if kind == ConnectionKind::Feeler {
            return self.close(id, CloseReason::Done);
        }
        self.notify(notice);
        self.send(id, Message::SendHeaders);
        if !self.config.only_fixed {
            self.send(id, Message::GetAddr);
        }
        self.relay(RelayEvent::PeerReady {
            peer: id,
            wtxid_relay,
        });
        // BIP133 lets the filter come before the handshake is over.
        if let Some(rate) = fee_filter {
            self.relay(RelayEvent::FeeFilter { peer: id, rate });
        }
        self.download.is_dirty = true;
    }
}
