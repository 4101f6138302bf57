//! Keeps what the node finds out for another run: headers, addresses and bans.

use std::time::Duration;

use millrace_core::Height;

use super::NetworkNode;
use crate::state::{State, StateError};

/// How long a changed chain may wait to be kept; what is lost with it is fetched again.
const HEADERS_INTERVAL: Duration = Duration::from_secs(2);

/// How often the address book is kept.
const BOOK_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// See the module's documentation.
pub struct Keeper {
    state: State,
    /// The lowest height at which the chain changed since it was kept.
    changed_from: Option<Height>,
    headers_due: Duration,
    book_due: Duration,
    /// Whether the last attempt failed, which was said then.
    is_failing: bool,
}

impl Keeper {
    /// Keeps into an open folder.
    pub const fn new(state: State) -> Self {
        Self {
            state,
            changed_from: None,
            headers_due: Duration::ZERO,
            book_due: BOOK_INTERVAL,
            is_failing: false,
        }
    }

    /// Takes note that the best chain changed from a height on.
    pub(super) fn chain_changed(&mut self, from: Height) {
        let lowest = self.changed_from.map_or(from, |lowest| lowest.min(from));
        self.changed_from = Some(lowest);
    }

    /// Returns when [`Keeper::keep`] has something to do.
    pub(super) fn due(&self) -> Duration {
        match self.changed_from {
            Some(_) => self.headers_due.min(self.book_due),
            None => self.book_due,
        }
    }

    /// Keeps what is due. Waits for the disk.
    pub(super) fn keep(&mut self, now: Duration, node: &impl NetworkNode) {
        let mut result = Ok(());
        if let Some(from) = self.changed_from.filter(|_| self.headers_due <= now) {
            self.headers_due = now.saturating_add(HEADERS_INTERVAL);
            result = self.state.save_headers(node.headers(), from);
            if result.is_ok() {
                self.changed_from = None;
            }
        }
        if self.book_due <= now {
            self.book_due = now.saturating_add(BOOK_INTERVAL);
            result = result.and(self.state.save_book(&node.encoded_book()));
        }
        self.tell(result);
    }

    /// Keeps everything, at the end.
    pub(super) fn finish(&mut self, node: &impl NetworkNode) {
        self.headers_due = Duration::ZERO;
        self.book_due = Duration::ZERO;
        self.keep(Duration::ZERO, node);
    }

    fn tell(&mut self, result: Result<(), StateError>) {
        match result {
            Ok(()) => self.is_failing = false,
            Err(error) if !self.is_failing => {
                self.is_failing = true;
                tracing::warn!("what is known of the network is not kept: {error}");
            }
            Err(_) => {}
        }
    }
}
