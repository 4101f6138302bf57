//! Hosts that may not be connected to for a time.

use std::collections::BTreeMap;

use core::net::Ipv6Addr;
use millrace_core::Network;

use crate::address::{Host, PeerAddress};

/// Bans that are kept, at most.
pub const MAX_BANS: usize = 10_000;

/// When bans end, in seconds since 1970, by host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bans {
    network: Network,
    ends: BTreeMap<PeerAddress, u64>,
}

impl Bans {
    pub(super) const fn new(network: Network) -> Self {
        Self {
            network,
            ends: BTreeMap::new(),
        }
    }

    /// Bans for some seconds from now on; a ban that ends later stays.
    pub(super) fn add(&mut self, now: u64, address: PeerAddress, seconds: u64) {
        self.ends.retain(|_, end| *end > now);
        self.restore(address, now.saturating_add(seconds));
    }

    /// Takes in a ban whose end is known.
    pub(super) fn restore(&mut self, address: PeerAddress, end: u64) {
        let key = self.key(address);
        let known = self.ends.entry(key).or_insert(end);
        *known = (*known).max(end);
        if self.ends.len() > MAX_BANS {
            let first = self.ends.iter().min_by_key(|(_, end)| **end);
            if let Some(key) = first.map(|(key, _)| *key) {
                self.ends.remove(&key);
            }
        }
    }

    /// Returns when an address's ban ends or ended, if one is known.
    pub(super) fn ends(&self, address: PeerAddress) -> Option<u64> {
        self.ends.get(&self.key(address)).copied()
    }

    pub(super) fn count(&self, now: u64) -> usize {
        self.ends.values().filter(|end| **end > now).count()
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (&PeerAddress, &u64)> {
        self.ends.iter()
    }

    /// What stands for all addresses of a host.
    fn key(&self, address: PeerAddress) -> PeerAddress {
        if self.network == Network::Regtest {
            return address;
        }
        let host = match address.host {
            // Whoever has one address of a /64 has all.
            Host::V6(host) => {
                let [first, second, third, fourth, ..] = host.segments();
                Host::V6(Ipv6Addr::new(first, second, third, fourth, 0, 0, 0, 0))
            }
            host => host,
        };
        PeerAddress { host, port: 0 }
    }
}
