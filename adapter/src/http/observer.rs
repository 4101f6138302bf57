//! Publishes where the adapter stands.

use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_p2p::node::RelayOutcome;
use tokio::sync::watch;

use super::snapshot::{About, PeerTable, Snapshot};
use crate::engine::{Notice, Progress};
use crate::progress::Pace;

/// Where parts of the adapter tell how they stand. Clones tell the same snapshot. Telling never waits.
#[derive(Clone, Debug)]
pub struct Observer {
    started: Instant,
    snapshot: Arc<watch::Sender<Snapshot>>,
}

impl Observer {
    /// Begins; the adapter starts now.
    pub fn new(about: About) -> Self {
        Self {
            started: Instant::now(),
            snapshot: Arc::new(watch::Sender::new(Snapshot::new(about))),
        }
    }

    /// Returns the time since the start.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Returns the newest snapshot.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot.borrow().clone()
    }

    /// Tells where the engine stands.
    pub fn progress(&self, progress: Progress, pace: Pace) {
        let at = self.elapsed();
        self.snapshot
            .send_modify(|snapshot| snapshot.record(at, progress, pace));
    }

    /// Tells what happened in the engine.
    pub fn notice(&self, notice: &Notice) {
        self.snapshot.send_modify(|snapshot| snapshot.count(notice));
    }

    /// Tells where the peer-to-peer network stands.
    pub fn peers(&self, table: PeerTable) {
        self.snapshot
            .send_modify(|snapshot| snapshot.peers = Some(table));
    }

    /// Tells what became of a transaction.
    pub fn relayed(&self, outcome: &RelayOutcome) {
        self.snapshot
            .send_modify(|snapshot| snapshot.count_relayed(outcome));
    }
}
