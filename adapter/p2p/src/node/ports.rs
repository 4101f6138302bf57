//! What the node needs of the address book and of transaction relay.

use std::time::Duration;

use bitcoin::Txid;
use bitcoin::p2p::message_blockdata::Inventory;
use millrace_core::UnixSeconds;

use super::api::{Now, PeerId, RelayOutcome, RelayTransaction};
use crate::address::PeerAddress;
use crate::message::{KnownAddress, Message};

/// What an address is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A connection to stay.
    Outbound,
    /// A short one, to an address never connected to.
    Feeler,
}

/// The address book, as the node sees it.
pub trait AddressSource: Send {
    /// Takes in addresses told by `source`; `None` stands for the network's seeds.
    fn add(&mut self, now: UnixSeconds, source: Option<PeerAddress>, addresses: &[KnownAddress]);
    /// Returns an address to connect to, if there is one: not banned, not connected, and for
    /// [`Purpose::Outbound`] of a network group that no address of `connected` belongs to.
    fn select(
        &mut self,
        now: UnixSeconds,
        purpose: Purpose,
        connected: &[PeerAddress],
        reaches_onion: bool,
    ) -> Option<PeerAddress>;
    /// A connection is tried.
    fn attempted(&mut self, now: UnixSeconds, address: PeerAddress);
    /// A handshake succeeded.
    fn succeeded(&mut self, now: UnixSeconds, address: PeerAddress, services: u64);
    /// No connection, or none of use.
    fn failed(&mut self, now: UnixSeconds, address: PeerAddress);
    /// Keeps an address from being selected for a time.
    fn ban(&mut self, now: UnixSeconds, address: PeerAddress, time: Duration);
    /// Returns how many addresses there are.
    fn len(&self) -> usize;
    /// Returns whether there is no address.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Returns how many addresses are banned.
    fn banned(&self, now: UnixSeconds) -> usize;
}

/// What happened, as far as transactions are concerned.
#[derive(Clone, Debug)]
pub enum RelayEvent {
    /// Transactions to relay from now on.
    Add(Vec<RelayTransaction>),
    /// Transactions that need no relaying any more.
    Forget(Vec<Txid>),
    /// A peer finished its handshake.
    PeerReady {
        /// The peer.
        peer: PeerId,
        /// Whether it announces and wants transactions by wtxid (BIP339).
        wtxid_relay: bool,
    },
    /// A connection ended.
    PeerGone(PeerId),
    /// A peer announced transactions.
    Announced {
        /// The peer.
        peer: PeerId,
        /// The transactions.
        inventory: Vec<Inventory>,
    },
    /// A peer wants transactions.
    Wanted {
        /// The peer.
        peer: PeerId,
        /// The transactions.
        inventory: Vec<Inventory>,
    },
    /// A peer changed the lowest fee rate it wants (BIP133).
    FeeFilter {
        /// The peer.
        peer: PeerId,
        /// In satoshi per 1,000 virtual bytes.
        rate: u64,
    },
    /// [`TransactionRelay::wake_at`] is reached.
    Tick,
}

/// What transaction relay asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum RelayCommand {
    /// Send a message.
    Send(PeerId, Message),
    /// Tell what became of a transaction.
    Report(Txid, RelayOutcome),
}

/// Transaction relay, as the node sees it.
pub trait TransactionRelay: Send {
    /// Reacts to an event.
    fn on(&mut self, now: Now, event: RelayEvent) -> Vec<RelayCommand>;
    /// Returns when the next [`RelayEvent::Tick`] is due.
    fn wake_at(&self) -> Duration;
    /// Returns how many transactions are relayed.
    fn len(&self) -> usize;
    /// Returns whether nothing is relayed.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
