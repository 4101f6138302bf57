//! Finds the first height at which two histories differ.

use millrace_core::Height;

/// A binary search over heights. What differs once is taken to differ from there on: a set of coins does
/// not become right again, except by the chance that just the wrong ones are spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Search {
    /// The lowest height that may be the first.
    low: u32,
    /// A height that differs.
    high: u32,
}

impl Search {
    /// Starts where `differs` is known to differ and nothing below `lowest` can be asked for.
    pub const fn new(lowest: Height, differs: Height) -> Self {
        Self {
            low: lowest.get(),
            high: differs.get(),
        }
    }

    /// Returns the height to compare next; `None` when [`Search::first`] is known. At most 32 are asked for.
    pub const fn next(&self) -> Option<Height> {
        if self.low >= self.high {
            return None;
        }
        Some(Height::new(self.low + (self.high - self.low) / 2))
    }

    /// Takes in whether `height` differs.
    pub const fn answer(&mut self, height: Height, differs: bool) {
        if differs {
            self.high = height.get();
        } else {
            self.low = height.get() + 1;
        }
    }

    /// Returns the first height that differs, as far as could be asked for.
    pub const fn first(&self) -> Height {
        Height::new(self.high)
    }
}
