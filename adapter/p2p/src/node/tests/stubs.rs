//! An address book and a relay that only remember.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use core::net::Ipv4Addr;
use millrace_core::UnixSeconds;

use crate::address::{Host, PeerAddress};
use crate::book::Purpose;
use crate::message::KnownAddress;
use crate::node::{AddressSource, Now, TransactionRelay};
use crate::relay::{RelayCommand, RelayEvent};

/// Returns an address of a network group.
pub fn address(group: u8, host: u8) -> PeerAddress {
    PeerAddress {
        host: Host::V4(Ipv4Addr::new(20 + group, 1, 1, host)),
        port: 18_444,
    }
}

fn group(address: &PeerAddress) -> u8 {
    match address.host {
        Host::V4(address) => address.octets()[0],
        _ => 0,
    }
}

#[derive(Debug, Default)]
pub struct BookState {
    pub addresses: BTreeSet<PeerAddress>,
    pub banned: BTreeMap<PeerAddress, Duration>,
    pub attempted_at: BTreeMap<PeerAddress, u64>,
    pub succeeded: Vec<PeerAddress>,
    pub failed: Vec<PeerAddress>,
    /// Whether groups may meet.
    pub mixes_groups: bool,
}

/// A book without buckets, shared with the test.
#[derive(Clone, Debug, Default)]
pub struct StubBook(pub Arc<Mutex<BookState>>);

impl StubBook {
    pub fn with(addresses: impl IntoIterator<Item = PeerAddress>) -> Self {
        let book = Self::default();
        book.0.lock().unwrap().addresses.extend(addresses);
        book
    }

    /// Whether connections must be of different groups.
    pub fn is_grouped(&self, is_grouped: bool) {
        self.0.lock().unwrap().mixes_groups = !is_grouped;
    }
}

impl AddressSource for StubBook {
    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    fn add(&mut self, _: UnixSeconds, _: Option<PeerAddress>, addresses: &[KnownAddress]) {
        let mut state = self.0.lock().unwrap();
        state
            .addresses
            .extend(addresses.iter().map(|known| known.address));
    }

    fn select(
        &mut self,
        now: UnixSeconds,
        _: Purpose,
        connected: &[PeerAddress],
        _: bool,
    ) -> Option<PeerAddress> {
        let state = self.0.lock().unwrap();
        state
            .addresses
            .iter()
            .find(|address| {
                let tried = state.attempted_at.get(address);
                !state.banned.contains_key(address)
                    && tried.is_none_or(|tried| tried + 60 <= now.get())
                    && !connected.contains(address)
                    && (state.mixes_groups
                        || connected.iter().all(|other| group(other) != group(address)))
            })
            .copied()
    }

    fn attempted(&mut self, now: UnixSeconds, address: PeerAddress) {
        let mut state = self.0.lock().unwrap();
        state.attempted_at.insert(address, now.get());
    }

    fn succeeded(&mut self, _: UnixSeconds, address: PeerAddress, _: u64) {
        self.0.lock().unwrap().succeeded.push(address);
    }

    fn failed(&mut self, _: UnixSeconds, address: PeerAddress) {
        self.0.lock().unwrap().failed.push(address);
    }

    fn ban(&mut self, _: UnixSeconds, address: PeerAddress, time: Duration) {
        self.0.lock().unwrap().banned.insert(address, time);
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap().addresses.len()
    }

    fn banned(&self, _: UnixSeconds) -> usize {
        self.0.lock().unwrap().banned.len()
    }
}

/// A relay that answers as told and remembers what it heard.
#[derive(Clone, Debug, Default)]
pub struct StubRelay {
    pub heard: Arc<Mutex<Vec<RelayEvent>>>,
    pub answers: Arc<Mutex<Vec<RelayCommand>>>,
}

impl TransactionRelay for StubRelay {
    fn on(&mut self, _: Now, event: RelayEvent) -> Vec<RelayCommand> {
        self.heard.lock().unwrap().push(event);
        std::mem::take(&mut self.answers.lock().unwrap())
    }

    fn wake_at(&self) -> Duration {
        Duration::MAX
    }

    fn len(&self) -> usize {
        0
    }
}
