//! Growing pauses after failures, with jitter so that several adapters do not retry in step.

use std::time::Duration;

/// Pauses that double from a first to a longest one.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
    /// State of a xorshift generator; never zero.
    seed: u64,
}

impl Backoff {
    /// Usual pause after the first failure, before jitter.
    pub const FIRST: Duration = Duration::from_millis(500);
    /// Usual longest pause, before jitter.
    pub const LONGEST: Duration = Duration::from_secs(30);

    /// Starts without failures, with the usual pauses. Equal seeds give equal pauses.
    pub const fn new(seed: u64) -> Self {
        Self::between(Self::FIRST, Self::LONGEST, seed)
    }

    /// Starts without failures, with pauses that double from `first` to `longest`.
    pub const fn between(first: Duration, longest: Duration, seed: u64) -> Self {
        Self {
            first,
            longest,
            failures: 0,
            seed: if seed == 0 { 1 } else { seed },
        }
    }

    /// Counts a failure and returns how long to pause: 50 % to 150 % of the doubled pause.
    pub fn fail(&mut self) -> Duration {
        let doublings = self.failures.min(6);
        self.failures = self.failures.saturating_add(1);
        let pause = self.first.saturating_mul(1 << doublings).min(self.longest);
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        let percent = u32::try_from(self.seed % 101)
            .unwrap_or(0)
            .saturating_add(50);
        pause.saturating_mul(percent) / 100
    }

    /// Forgets past failures.
    pub const fn succeed(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_start_over_after_success() {
        let mut backoff = Backoff::new(7);
        let mut expected = Backoff::FIRST;
        for _ in 0..12 {
            let pause = backoff.fail();
            assert!(
                pause >= expected / 2 && pause <= expected * 3 / 2,
                "{pause:?}"
            );
            expected = (expected * 2).min(Backoff::LONGEST);
        }
        backoff.succeed();
        assert!(backoff.fail() <= Backoff::FIRST * 3 / 2);
    }

    #[test]
    fn equal_seeds_give_equal_pauses_and_others_differ() {
        let pauses = |seed| {
            let mut backoff = Backoff::new(seed);
            (0..8).map(|_| backoff.fail()).collect::<Vec<_>>()
        };
        assert_eq!(pauses(3), pauses(3));
        assert_ne!(pauses(3), pauses(4));
    }
}
