//! When a log line about progress is due.

use std::time::Duration;

use crate::engine::{Progress, Waiting};

/// How long between lines while blocks flow, or while something keeps them from flowing.
const INTERVAL: Duration = Duration::from_secs(60);
/// How long between lines while there is nothing to do.
const IDLE_INTERVAL: Duration = Duration::from_secs(600);
/// Blocks after which a line comes early.
const BLOCKS: u32 = 1_000;
/// How long between lines at least: the chain's first blocks come by thousands in a second.
const INTERVAL_MIN: Duration = Duration::from_secs(10);

/// What the last line said.
#[derive(Debug, Default)]
pub struct Schedule {
    logged: Option<(Duration, Progress)>,
}

impl Schedule {
    /// Returns whether a line is due, which then counts as written.
    pub fn is_due(&mut self, elapsed: Duration, progress: &Progress) -> bool {
        if !self.judge(elapsed, progress) {
            return false;
        }
        self.logged = Some((elapsed, *progress));
        true
    }

    fn judge(&self, elapsed: Duration, progress: &Progress) -> bool {
        let Some((at, before)) = self.logged else {
            return elapsed >= INTERVAL_MIN;
        };
        let since = elapsed.saturating_sub(at);
        let height = progress.canister_height.unwrap_or_default();
        let blocks = height.saturating_sub(before.canister_height.unwrap_or_default());
        if blocks.get() >= BLOCKS && since >= INTERVAL_MIN {
            return true;
        }
        let is_idle = progress.waiting == Some(Waiting::NewBlocks)
            && before.waiting == progress.waiting
            && before.canister_height == progress.canister_height;
        since >= if is_idle { IDLE_INTERVAL } else { INTERVAL }
    }
}
