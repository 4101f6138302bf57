//! Whom to connect to next.

use std::collections::BTreeSet;

use millrace_core::{Network, UnixSeconds};

use super::entry::Entry;
use super::table::{Place, Which};
use super::{AddressBook, Purpose, are_useful};
use crate::address::{NetworkGroup, PeerAddress};

/// An address is not tried again so soon: 1 minute.
const PAUSE_SECONDS: u64 = 60;
/// An address tried so lately is unlikely to be chosen: 10 minutes.
const LATELY_SECONDS: u64 = 10 * 60;
/// Failures that make an address less likely to be chosen; more make no difference.
const MAX_WEIGHING_FAILURES: u32 = 8;
/// Random draws before the tables are gone through in order.
const MAX_DRAWS: u32 = 100;
/// Addresses that wait for a place among the tried ones, at most.
const MAX_COLLISIONS: usize = 10;
/// An address that worked so lately keeps its place untested: 4 hours.
const PROVEN_SECONDS: u64 = 4 * 60 * 60;
/// An address whose test has not ended after so long loses its place: 40 minutes.
const TEST_SECONDS: u64 = 40 * 60;

/// An address that succeeded and whose place among the tried ones is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Collision {
    challenger: PeerAddress,
    since: u64,
}

/// What a selection must avoid.
struct Avoid<'a> {
    now: u64,
    connected: &'a [PeerAddress],
    groups: BTreeSet<NetworkGroup>,
    reaches_onion: bool,
}

impl AddressBook {
    /// Returns an address to connect to, if there is one.
    ///
    /// Avoided are addresses that are connected, banned, were tried within the last minute, lack
    /// the services of a node that serves blocks, or take a proxy that is not there; and for
    /// [`Purpose::Outbound`] those of the groups of `connected`, except on regtest. Buckets are
    /// chosen alike whether full or not; within them, addresses that failed or were tried lately
    /// are less likely. If there is an address that is not to be avoided, one is returned.
    ///
    /// Costs O(buckets) for each of at most 100 draws, then O(addresses).
    pub fn select(
        &mut self,
        now: UnixSeconds,
        purpose: Purpose,
        connected: &[PeerAddress],
        reaches_onion: bool,
    ) -> Option<PeerAddress> {
        self.settle_collisions(now.get());
        let has_groups = purpose == Purpose::Outbound && self.network != Network::Regtest;
        let avoid = Avoid {
            now: now.get(),
            connected,
            groups: connected
                .iter()
                .filter(|_| has_groups)
                .map(PeerAddress::group)
                .collect(),
            reaches_onion,
        };
        if purpose == Purpose::Feeler {
            let to_test = self.to_test();
            if let Some(address) = to_test
                .into_iter()
                .find(|one| self.is_eligible(one, &avoid))
            {
                return Some(address);
            }
            return self.draw(Which::New, &avoid);
        }
        let first = match (self.tables.len(Which::New), self.tables.len(Which::Tried)) {
            (0, _) => Which::Tried,
            (_, 0) => Which::New,
            _ if self.chance.below(2) == 0 => Which::New,
            _ => Which::Tried,
        };
        let second = match first {
            Which::New => Which::Tried,
            Which::Tried => Which::New,
        };
        self.draw(first, &avoid)
            .or_else(|| self.draw(second, &avoid))
    }

    fn draw(&mut self, which: Which, avoid: &Avoid<'_>) -> Option<PeerAddress> {
        let buckets = self.tables.used_buckets(which);
        let mut eagerness = 1_000_000u64;
        for _ in 0..MAX_DRAWS {
            let index = *buckets.get(self.chance.below(buckets.len()))?;
            let bucket = self.tables.bucket(which, index);
            let (_, address) = bucket.get(self.chance.below(bucket.len()))?;
            let address = *address;
            if !self.is_eligible(&address, avoid) {
                continue;
            }
            let odds = self
                .entries
                .get(&address)
                .map_or(0, |entry| odds(entry, avoid.now));
            if self
                .chance
                .happens(odds.saturating_mul(eagerness) / 1_000_000)
            {
                return Some(address);
            }
            eagerness = eagerness.saturating_mul(6) / 5;
        }
        // Nearly everything is to be avoided: take the first that is not, from anywhere on.
        let start = self.chance.below(buckets.len());
        let (before, after) = buckets.split_at_checked(start)?;
        after
            .iter()
            .chain(before)
            .flat_map(|index| self.tables.bucket(which, *index))
            .map(|(_, address)| *address)
            .find(|address| self.is_eligible(address, avoid))
    }

    fn is_eligible(&self, address: &PeerAddress, avoid: &Avoid<'_>) -> bool {
        let Some(entry) = self.entries.get(address) else {
            return false;
        };
        let was_just_tried =
            entry.attempted != 0 && entry.attempted.saturating_add(PAUSE_SECONDS) > avoid.now;
        !was_just_tried
            && are_useful(entry.services)
            && (avoid.reaches_onion || !address.is_onion())
            && !avoid.groups.contains(&address.group())
            && !avoid.connected.contains(address)
            && !self.is_banned(UnixSeconds::new(avoid.now), *address)
    }

    /// Notes that an address wants a place that is taken.
    pub(super) fn note_collision(&mut self, now: u64, challenger: PeerAddress) {
        let is_known = self
            .collisions
            .iter()
            .any(|collision| collision.challenger == challenger);
        if !is_known && self.collisions.len() < MAX_COLLISIONS {
            self.collisions.push(Collision {
                challenger,
                since: now,
            });
        }
    }

    /// Returns the addresses whose place another wants.
    fn to_test(&self) -> Vec<PeerAddress> {
        self.collisions
            .iter()
            .filter_map(|collision| {
                let place = Place::tried(self.chance.seed, &collision.challenger);
                self.tables.at(place)
            })
            .collect()
    }

    /// Gives places to challengers whose occupant failed, and sends those away whose occupant works.
    pub(super) fn settle_collisions(&mut self, now: u64) {
        for collision in core::mem::take(&mut self.collisions) {
            let challenger = collision.challenger;
            let waits = self
                .entries
                .get(&challenger)
                .is_some_and(|entry| !entry.is_tried);
            if !waits {
                continue;
            }
            let place = Place::tried(self.chance.seed, &challenger);
            let occupant = self.tables.at(place);
            let Some((address, entry)) =
                occupant.and_then(|address| Some((address, self.entries.get(&address)?)))
            else {
                self.move_to_tried(challenger, place);
                continue;
            };
            if entry.succeeded.saturating_add(PROVEN_SECONDS) > now {
                continue;
            }
            let failed = entry.failed >= collision.since;
            if failed || collision.since.saturating_add(TEST_SECONDS) <= now {
                self.demote(address);
                self.move_to_tried(challenger, place);
            } else {
                self.collisions.push(collision);
            }
        }
    }
}

/// Returns in how many of 1,000,000 draws an address should be taken.
fn odds(entry: &Entry, now: u64) -> u64 {
    let mut odds = 1_000_000u64;
    if entry.attempted != 0 && entry.attempted.saturating_add(LATELY_SECONDS) > now {
        odds /= 100;
    }
    for _ in 0..entry.failures.min(MAX_WEIGHING_FAILURES) {
        odds = odds * 2 / 3;
    }
    odds
}
