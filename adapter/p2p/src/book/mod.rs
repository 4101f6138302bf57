//! The address book: whom to connect to next.
//!
//! Anybody may tell a node of any number of addresses. If they could fill the book, they could
//! surround the node and decide what it sees (an eclipse). So the book has two tables of bounded
//! buckets, after the design of Bitcoin Core's address manager:
//!
//! | table | holds | buckets | an address's bucket depends on |
//! |---|---|---|---|
//! | new | addresses that somebody told of | 1,024 of 64 | its group and the group of who told of it; one source reaches 64 buckets |
//! | tried | addresses that a connection succeeded to | 256 of 64 | its group, which reaches 8 buckets |
//!
//! Buckets and places in them follow from hashes keyed by a seed, so nobody outside can aim. An
//! address has one place. Where the place of a new address is taken, the older one stays unless
//! it has become worthless (old, or failing again and again); where the place of one that was just tried is taken,
//! a feeler tests the older one before it has to go.
//!
//! The same seed and the same calls give the same answers.

mod bans;
mod codec;
mod entry;
mod select;
mod table;

#[cfg(test)]
mod tests;

use core::time::Duration;
use std::collections::BTreeMap;

use bitcoin::p2p::ServiceFlags;
use millrace_core::{Network, UnixSeconds};

use crate::address::{NetworkGroup, PeerAddress};
use crate::chance::Chance;
use crate::message::KnownAddress;

use bans::Bans;
pub use bans::MAX_BANS;
pub use codec::BookError;
pub use entry::BookEntry;
use entry::Entry;
use select::Collision;
pub use table::{NEW_BUCKETS, PLACES_PER_BUCKET, TRIED_BUCKETS};
use table::{Place, Tables};

/// Gossip is believed to be so much older than it says: whoever passes it on did not just see the
/// address.
const GOSSIP_PENALTY_SECONDS: u64 = 2 * 60 * 60;
/// What a time in the future, or one before Bitcoin, is taken for: this long ago.
const IMPLAUSIBLE_AGE_SECONDS: u64 = 5 * 24 * 60 * 60;
/// Clocks may differ by so much.
const MAX_AHEAD_SECONDS: u64 = 10 * 60;
/// A moment before Bitcoin.
const FIRST_PLAUSIBLE_SECONDS: u64 = 1_230_000_000;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To stay: prefers addresses that worked before as often as not, and groups not connected to.
    Outbound,
    /// To see whether an address works: those never tried, and those whose place in the table of
    /// tried ones another address wants.
    Feeler,
}

/// The address book; see the module's documentation.
#[derive(Clone, Debug, PartialEq)]
pub struct AddressBook {
    network: Network,
    chance: Chance,
    entries: BTreeMap<PeerAddress, Entry>,
    tables: Tables,
    bans: Bans,
    /// Addresses that succeeded and whose place among the tried ones is taken.
    collisions: Vec<Collision>,
    /// When a connection last succeeded, in seconds since 1970.
    last_success: u64,
}

impl AddressBook {
    /// Starts with no addresses. The seed must be secret and should never change: it decides where
    /// addresses go.
    pub fn new(network: Network, seed: u64) -> Self {
        Self {
            network,
            chance: Chance::new(seed),
            entries: BTreeMap::new(),
            tables: Tables::new(),
            bans: Bans::new(network),
            collisions: Vec::new(),
            last_success: 0,
        }
    }

    /// Returns how many addresses there are, at most 81,920.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether there are no addresses.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns every address and what is known of it, in a fixed order.
    pub fn entries(&self) -> impl Iterator<Item = BookEntry> {
        self.entries
            .iter()
            .map(|(address, entry)| entry.describe(*address))
    }

    /// Takes in addresses that somebody told of and returns how many were new and found a place.
    ///
    /// `source` is the group of the peer that told, `None` for the user and DNS seeds: then every
    /// address vouches for itself. Addresses that may not be dialled
    /// ([`PeerAddress::may_be_dialled`]) are left out. Costs O(log n) each.
    pub fn add(
        &mut self,
        now: UnixSeconds,
        source: Option<NetworkGroup>,
        addresses: &[KnownAddress],
    ) -> usize {
        let network = self.network;
        addresses
            .iter()
            .filter(|known| known.address.may_be_dialled(network))
            .filter(|known| self.add_one(now.get(), source, known))
            .count()
    }

    fn add_one(&mut self, now: u64, source: Option<NetworkGroup>, known: &KnownAddress) -> bool {
        let penalty = source.map_or(0, |_| GOSSIP_PENALTY_SECONDS);
        let seen = plausible_time(now, u64::from(known.time)).saturating_sub(penalty);
        if let Some(entry) = self.entries.get_mut(&known.address) {
            entry.seen = entry.seen.max(seen);
            // Gossip can add services to those of an address, never take the ones it showed itself.
            entry.services |= known.services;
            return false;
        }
        let source = source.unwrap_or_else(|| known.address.group());
        let place = Place::new(self.chance.seed, &known.address, source);
        if let Some(occupant) = self.tables.at(place) {
            let is_terrible = self
                .entries
                .get(&occupant)
                .is_none_or(|entry| entry.is_terrible(now));
            if !is_terrible {
                return false;
            }
            self.remove(occupant);
        }
        let entry = Entry::new(known.services, seen, source);
        self.tables.put(place, known.address);
        self.entries.insert(known.address, entry);
        true
    }

    /// Notes that a connection is being tried.
    pub fn attempted(&mut self, now: UnixSeconds, address: PeerAddress) {
        if let Some(entry) = self.entries.get_mut(&address) {
            entry.attempted = now.get();
        }
    }

    /// Notes that a connection succeeded up to the end of the handshake, and what the peer offers.
    /// Addresses that are not in the book are passed over.
    pub fn succeeded(&mut self, now: UnixSeconds, address: PeerAddress, services: u64) {
        let now = now.get();
        self.last_success = self.last_success.max(now);
        let Some(entry) = self.entries.get_mut(&address) else {
            return;
        };
        entry.attempted = now;
        entry.succeeded = now;
        entry.seen = entry.seen.max(now);
        entry.services = services;
        entry.failures = 0;
        if !entry.is_tried {
            self.promote(now, address);
        }
        self.settle_collisions(now);
    }

    /// Notes that a connection failed.
    ///
    /// It counts against the address once between two successes of any address: without that,
    /// an hour without internet would make the whole book worthless.
    pub fn failed(&mut self, now: UnixSeconds, address: PeerAddress) {
        if let Some(entry) = self.entries.get_mut(&address) {
            entry.attempted = now.get();
            entry.failed = now.get();
            if entry.counted <= self.last_success {
                entry.counted = now.get().max(self.last_success.saturating_add(1));
                entry.failures = entry.failures.saturating_add(1);
            }
        }
        self.settle_collisions(now.get());
    }

    /// Keeps an address, and all others of its host, from being selected for a time. For IPv6 the
    /// host is its /64; on regtest, whose nodes share a host, it is the address alone.
    ///
    /// At most [`MAX_BANS`] are kept; the one that ends first makes room.
    pub fn ban(&mut self, now: UnixSeconds, address: PeerAddress, for_time: Duration) {
        self.bans.add(now.get(), address, for_time.as_secs());
    }

    /// Returns whether an address is banned.
    pub fn is_banned(&self, now: UnixSeconds, address: PeerAddress) -> bool {
        self.bans.ends(address).is_some_and(|end| end > now.get())
    }

    /// Returns how many hosts are banned.
    pub fn banned(&self, now: UnixSeconds) -> usize {
        self.bans.count(now.get())
    }

    /// Moves an address to the table of tried ones, or notes whose place it wants.
    fn promote(&mut self, now: u64, address: PeerAddress) {
        let place = Place::tried(self.chance.seed, &address);
        if let Some(occupant) = self.tables.at(place) {
            let is_terrible = self
                .entries
                .get(&occupant)
                .is_none_or(|entry| entry.is_terrible(now));
            if !is_terrible {
                self.note_collision(now, address);
                return;
            }
            self.remove(occupant);
        }
        self.move_to_tried(address, place);
    }

    fn move_to_tried(&mut self, address: PeerAddress, place: Place) {
        let Some(entry) = self.entries.get_mut(&address) else {
            return;
        };
        let former = Place::new(self.chance.seed, &address, entry.source);
        entry.is_tried = true;
        self.tables.take(former);
        self.tables.put(place, address);
    }

    /// Moves an address back among the new ones if its place there is empty, and out of the book
    /// otherwise.
    fn demote(&mut self, address: PeerAddress) {
        let Some(mut entry) = self.entries.get(&address).copied() else {
            return;
        };
        self.remove(address);
        entry.is_tried = false;
        let place = self.place_of(&address, &entry);
        if self.tables.at(place).is_none() {
            self.tables.put(place, address);
            self.entries.insert(address, entry);
        }
    }

    fn place_of(&self, address: &PeerAddress, entry: &Entry) -> Place {
        if entry.is_tried {
            Place::tried(self.chance.seed, address)
        } else {
            Place::new(self.chance.seed, address, entry.source)
        }
    }

    fn remove(&mut self, address: PeerAddress) {
        if let Some(entry) = self.entries.remove(&address) {
            let place = self.place_of(&address, &entry);
            self.tables.take(place);
        }
    }
}

/// Returns whether a peer's services make it worth a connection: it serves blocks, all or recent
/// ones, with witness data. Nothing is known of addresses from DNS, which say 0.
fn are_useful(services: u64) -> bool {
    let flags = ServiceFlags::from(services);
    let serves_blocks =
        flags.has(ServiceFlags::NETWORK) || flags.has(ServiceFlags::NETWORK_LIMITED);
    services == 0 || (serves_blocks && flags.has(ServiceFlags::WITNESS))
}

const fn plausible_time(now: u64, time: u64) -> u64 {
    if time < FIRST_PLAUSIBLE_SECONDS || time > now.saturating_add(MAX_AHEAD_SECONDS) {
        now.saturating_sub(IMPLAUSIBLE_AGE_SECONDS)
    } else {
        time
    }
}
