//! Whom transactions are announced to, and how.

use std::collections::BTreeMap;

use crate::node::PeerId;

/// Peers that are announced to, at most; further ones are passed over.
pub const MAX_PEERS: usize = 256;

#[derive(Clone, Copy, Debug)]
struct Peer {
    wtxid_relay: bool,
    /// In satoshi per 1,000 virtual bytes.
    fee_filter: u64,
}

/// The ready peers.
#[derive(Clone, Debug, Default)]
pub(super) struct Peers {
    ready: BTreeMap<PeerId, Peer>,
}

impl Peers {
    /// Takes in a peer; false if it is known, or one too many.
    pub(super) fn insert(&mut self, peer: PeerId, wtxid_relay: bool) -> bool {
        if self.ready.len() >= MAX_PEERS || self.ready.contains_key(&peer) {
            return false;
        }
        let state = Peer {
            wtxid_relay,
            fee_filter: 0,
        };
        self.ready.insert(peer, state);
        true
    }

    pub(super) fn remove(&mut self, peer: PeerId) {
        self.ready.remove(&peer);
    }

    pub(super) fn contains(&self, peer: PeerId) -> bool {
        self.ready.contains_key(&peer)
    }

    pub(super) fn set_fee_filter(&mut self, peer: PeerId, rate: u64) {
        if let Some(state) = self.ready.get_mut(&peer) {
            state.fee_filter = rate;
        }
    }

    pub(super) fn lowest_fee_filter(&self) -> Option<u64> {
        self.ready.values().map(|peer| peer.fee_filter).min()
    }

    /// Returns the peers, and whether each wants announcements by wtxid.
    pub(super) fn iter(&self) -> impl Iterator<Item = (PeerId, bool)> {
        self.ready
            .iter()
            .map(|(peer, state)| (*peer, state.wtxid_relay))
    }
}
