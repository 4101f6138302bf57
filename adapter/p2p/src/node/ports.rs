//! What the node needs of the address book and of transaction relay.

use std::time::Duration;

use millrace_core::UnixSeconds;

use super::api::Now;
use crate::address::PeerAddress;
use crate::book::{AddressBook, Purpose};
use crate::message::KnownAddress;
use crate::relay::{Relay, RelayCommand, RelayEvent};

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
    /// Returns the book as bytes, to be kept for another run.
    fn encode(&self) -> Vec<u8>;
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

impl AddressSource for AddressBook {
    fn add(&mut self, now: UnixSeconds, source: Option<PeerAddress>, addresses: &[KnownAddress]) {
        let source = source.map(|source| source.group());
        Self::add(self, now, source, addresses);
    }

    fn select(
        &mut self,
        now: UnixSeconds,
        purpose: Purpose,
        connected: &[PeerAddress],
        reaches_onion: bool,
    ) -> Option<PeerAddress> {
        Self::select(self, now, purpose, connected, reaches_onion)
    }

    fn attempted(&mut self, now: UnixSeconds, address: PeerAddress) {
        Self::attempted(self, now, address);
    }

    fn succeeded(&mut self, now: UnixSeconds, address: PeerAddress, services: u64) {
        Self::succeeded(self, now, address, services);
    }

    fn failed(&mut self, now: UnixSeconds, address: PeerAddress) {
        Self::failed(self, now, address);
    }

    fn ban(&mut self, now: UnixSeconds, address: PeerAddress, time: Duration) {
        Self::ban(self, now, address, time);
    }

    fn len(&self) -> usize {
        Self::len(self)
    }

    fn banned(&self, now: UnixSeconds) -> usize {
        Self::banned(self, now)
    }

    fn encode(&self) -> Vec<u8> {
        Self::encode(self)
    }
}

impl TransactionRelay for Relay {
    fn on(&mut self, now: Now, event: RelayEvent) -> Vec<RelayCommand> {
        Self::on(self, now, event)
    }

    fn wake_at(&self) -> Duration {
        Self::wake_at(self)
    }

    fn len(&self) -> usize {
        Self::len(self)
    }
}
