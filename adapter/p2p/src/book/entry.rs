//! What is known of one address.

use crate::address::{NetworkGroup, PeerAddress};

/// An address that nobody has mentioned for so long is given up: 30 days.
const HORIZON_SECONDS: u64 = 30 * 24 * 60 * 60;
/// Failures after which an address that never worked is given up.
const MAX_FAILURES_NEVER_WORKED: u32 = 3;
/// Failures after which an address is given up that worked, but not for [`WORKED_SECONDS`].
const MAX_FAILURES: u32 = 10;
const WORKED_SECONDS: u64 = 7 * 24 * 60 * 60;
/// An address is not judged so soon after an attempt, whose end may not be known.
const PENDING_SECONDS: u64 = 60;

/// An address and what is known of it, for people. Times are in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BookEntry {
    /// The address.
    pub address: PeerAddress,
    /// What it offers; see [`bitcoin::p2p::ServiceFlags`].
    pub services: u64,
    /// When it was last heard of.
    pub seen: u64,
    /// When a connection was last tried; 0 for never.
    pub attempted: u64,
    /// When a connection last succeeded; 0 for never.
    pub succeeded: u64,
    /// Failures since then.
    pub failures: u32,
    /// Whether it is in the table of tried addresses.
    pub is_tried: bool,
}

/// Times are in seconds since 1970; 0 stands for never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) services: u64,
    pub(super) seen: u64,
    /// Who first told of it: decides its place among the new ones.
    pub(super) source: NetworkGroup,
    pub(super) attempted: u64,
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    /// When a failure was last counted.
    pub(super) counted: u64,
    pub(super) failures: u32,
    pub(super) is_tried: bool,
}

impl Entry {
    pub(super) const fn new(services: u64, seen: u64, source: NetworkGroup) -> Self {
        Self {
            services,
            seen,
            source,
            attempted: 0,
            succeeded: 0,
            failed: 0,
            counted: 0,
            failures: 0,
            is_tried: false,
        }
    }

    /// Returns whether the address is not worth its place any more.
    pub(super) const fn is_terrible(&self, now: u64) -> bool {
        if self.attempted != 0 && self.attempted.saturating_add(PENDING_SECONDS) >= now {
            return false;
        }
        let is_old = self.seen.saturating_add(HORIZON_SECONDS) < now;
        let never_worked = self.succeeded == 0 && self.failures >= MAX_FAILURES_NEVER_WORKED;
        let works_no_more =
            self.succeeded.saturating_add(WORKED_SECONDS) < now && self.failures >= MAX_FAILURES;
        is_old || never_worked || works_no_more
    }

    pub(super) const fn describe(&self, address: PeerAddress) -> BookEntry {
        BookEntry {
            address,
            services: self.services,
            seen: self.seen,
            attempted: self.attempted,
            succeeded: self.succeeded,
            failures: self.failures,
            is_tried: self.is_tried,
        }
    }
}
