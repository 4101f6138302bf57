//! Growing pauses between attempts at a configured peer.

use std::time::Duration;

use super::chance::Chance;

/// Pause after the first failure, before jitter.
pub(super) const FIRST: Duration = Duration::from_secs(1);
/// Longest pause, before jitter.
pub(super) const LONGEST: Duration = Duration::from_secs(5 * 60);

/// Doubles pauses from [`FIRST`] to [`LONGEST`].
#[derive(Clone, Debug, Default)]
pub(super) struct Pause {
    failures: u32,
}

impl Pause {
    /// Counts a failure and returns how long to wait: 50 % to 150 % of the doubled pause, so that
    /// several adapters do not retry in step.
    pub fn fail(&mut self, chance: &mut Chance) -> Duration {
        let pause = FIRST.saturating_mul(1 << self.failures.min(9)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let percent = u32::try_from(chance.below(101)).unwrap_or(0) + 50;
        pause.saturating_mul(percent) / 100
    }

    /// Forgets past failures.
    pub const fn succeed(&mut self) {
        self.failures = 0;
    }
}
