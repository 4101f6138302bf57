//! Several adapters on one canister, without double work.
//!
//! Adapters know nothing of one another; the canister's receipts tell. A block that an adapter pushes for
//! the first time and that is known by then came from a rival. So the adapter yields: it pushes nothing as
//! long as the canister's state changes, which is the rival's work or its queue being drained, and goes on
//! as soon as nothing has changed for [`RIVAL_PATIENCE`]. There is nobody to elect and nobody to miss:
//! each adapter decides by itself, at moments that its seed sets apart from the others'.
//!
//! An adapter that came second stays second: it gives the rival the same time with each new block, until a
//! block of its own is the first one.

use std::time::Duration;

use super::backoff::Backoff;
use super::feed::{BlockRef, FeedView};
use super::{Engine, Now};

/// How long a canister must stand still before an adapter that came second goes on, before jitter of a
/// half. Longer than a block in two or three pushes takes on a subnet, or the slower of two adapters would
/// be overtaken in the middle of its work; short beside the ten minutes between blocks.
pub const RIVAL_PATIENCE: Duration = Duration::from_secs(8);

/// How long between looks at a canister that a rival feeds.
pub const RIVAL_POLL: Duration = Duration::from_secs(1);

/// What changes when anybody feeds the canister.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    tip: BlockRef,
    free_bytes: u64,
    free_blocks: u32,
    pending_blocks: u32,
}

impl Seen {
    const fn of(view: &FeedView) -> Self {
        Self {
            tip: view.tip,
            free_bytes: view.free_bytes,
            free_blocks: view.free_blocks,
            pending_blocks: view.pending_blocks,
        }
    }
}

/// A pause in favour of a rival.
#[derive(Clone, Copy, Debug)]
struct Yielding {
    seen: Option<Seen>,
    quiet_since: Duration,
    patience: Duration,
}

/// What is known of other adapters.
#[derive(Clone, Debug)]
pub(super) struct Rivals {
    is_second: bool,
    yielding: Option<Yielding>,
    patience: Backoff,
}

impl Rivals {
    /// Starts with no rival known.
    pub(super) const fn new(seed: u64) -> Self {
        Self {
            is_second: false,
            yielding: None,
            patience: Backoff::between(RIVAL_PATIENCE, RIVAL_PATIENCE, seed),
        }
    }

    /// Returns whether nothing is to be pushed or read, because a rival does it.
    pub(super) const fn is_yielding(&self) -> bool {
        self.yielding.is_some()
    }

    fn start_yielding(&mut self, now: Now) {
        if self.yielding.is_none() {
            self.yielding = Some(Yielding {
                seen: None,
                quiet_since: now.elapsed,
                patience: self.patience.fail(),
            });
        }
    }

    /// Takes note of the canister's state; returns whether it has stood still for long enough.
    fn ends_with(&mut self, now: Now, seen: Seen) -> bool {
        let Some(yielding) = &mut self.yielding else {
            return false;
        };
        if yielding.seen != Some(seen) {
            let is_first_look = yielding.seen.is_none();
            yielding.seen = Some(seen);
            if !is_first_look {
                yielding.quiet_since = now.elapsed;
            }
        }
        let is_over = now.elapsed.saturating_sub(yielding.quiet_since) >= yielding.patience;
        if is_over {
            self.yielding = None;
        }
        is_over
    }
}

impl Engine {
    /// Takes note that a block was known when this adapter pushed it for the first time.
    pub(super) fn rival_was_first(&mut self, now: Now) {
        self.rivals.is_second = true;
        self.rivals.start_yielding(now);
        self.ask_by(now.elapsed.saturating_add(RIVAL_POLL));
    }

    /// Takes note that this adapter brought a block that nobody had brought.
    pub(super) const fn own_block_was_first(&mut self) {
        self.rivals.is_second = false;
    }

    /// Leaves new blocks to the rival for a time, if there is one.
    pub(super) fn yield_new_blocks(&mut self, now: Now) {
        if self.rivals.is_second && self.search.is_none() {
            self.rivals.start_yielding(now);
            self.ask_by(now.elapsed.saturating_add(RIVAL_POLL));
        }
    }

    /// Goes on where the canister is now, once it has stood still for long enough.
    pub(super) fn watch_rivals(&mut self, now: Now) {
        let Some(seen) = self.view.as_ref().map(Seen::of) else {
            return;
        };
        if self.rivals.ends_with(now, seen) {
            self.locate(now);
        }
    }
}
