//! Which block hashes to show the canister, and the search for the last block it has.
//!
//! A locator has at most 64 entries, so on a long chain the first answer only narrows down where
//! the canister stands. The search asks again with entries spread evenly over the gap: two
//! questions settle 4,096 blocks, four settle 16 million.

use millrace_core::Height;

/// Entries of a locator, the contract's limit.
pub const MAX_LOCATOR: usize = 64;

/// Entries that follow one another without a gap at the newest end.
const DENSE: u32 = 16;

/// Returns heights from `top` down: the first ones consecutive, then with doubling gaps, genesis
/// last.
pub fn thinning(top: Height) -> Vec<Height> {
    let mut heights = Vec::with_capacity(MAX_LOCATOR);
    let mut height = top.get();
    let mut step = 1;
    while height > 0 && heights.len() < MAX_LOCATOR - 1 {
        heights.push(Height::new(height));
        if heights.len() >= DENSE as usize {
            step *= 2;
        }
        height = height.saturating_sub(step);
    }
    heights.push(Height::ZERO);
    heights
}

/// A search for the last block the canister has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Search {
    /// The highest block known to be there.
    low: Height,
    /// The lowest block known to be missing, or the one after the chain's last.
    high: Height,
    /// Whether an answer has narrowed it yet.
    is_narrowed: bool,
}

impl Search {
    /// Starts a search over a chain that ends at `tip`.
    pub fn new(tip: Height) -> Self {
        Self {
            low: Height::ZERO,
            high: tip.next(),
            is_narrowed: false,
        }
    }

    /// Returns the heights to ask about, newest first.
    pub fn question(&self) -> Vec<Height> {
        if !self.is_narrowed {
            return thinning(self.high.saturating_sub(Height::new(1)));
        }
        let low = u64::from(self.low.get());
        let gap = u64::from(self.high.get()).saturating_sub(low);
        // `low` and genesis come last: the canister may have dropped `low` since, and genesis is
        // there always.
        let entries = (MAX_LOCATOR as u64 - 2).min(gap.saturating_sub(1));
        let mut heights: Vec<Height> = (1..=entries)
            .rev()
            .filter_map(|entry| u32::try_from(low + gap * entry / (entries + 1)).ok())
            .filter(|height| *height > self.low.get())
            .map(Height::new)
            .collect();
        heights.dedup();
        heights.push(self.low);
        if self.low > Height::ZERO {
            heights.push(Height::ZERO);
        }
        heights
    }

    /// Takes in that `common` is the first of `asked` that the canister has, and returns the
    /// result if it is certain now.
    pub fn answer(&mut self, asked: &[Height], common: Height) -> Option<Height> {
        let missing = asked.iter().rev().find(|height| **height > common);
        self.high = missing.copied().unwrap_or(self.high).max(common.next());
        self.low = common;
        self.is_narrowed = true;
        (self.low.next() >= self.high).then_some(self.low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_locators_are_bounded_and_end_at_genesis() {
        for top in [0, 1, 15, 16, 17, 63, 64, 1_000, 4_521, 1_000_000, u32::MAX] {
            let heights = thinning(Height::new(top));
            assert!(heights.len() <= MAX_LOCATOR, "{top}: {}", heights.len());
            assert_eq!(heights.first(), Some(&Height::new(top)), "{top}");
            assert_eq!(heights.last(), Some(&Height::ZERO), "{top}");
            assert!(heights.windows(2).all(|pair| pair[0] > pair[1]), "{top}");
        }
    }

    #[test]
    fn the_search_goes_back_when_the_canister_has_dropped_blocks_meanwhile() {
        let mut search = Search::new(Height::new(4_521));
        let mut there = 3_000;
        let mut found = None;
        for _ in 0..8 {
            let asked = search.question();
            assert!(asked.len() <= MAX_LOCATOR);
            assert_eq!(asked.last(), Some(&Height::ZERO));
            let common = asked.iter().find(|height| height.get() <= there);
            found = search.answer(&asked, *common.expect("genesis is there"));
            there = 100;
        }
        assert_eq!(found, Some(Height::new(100)));
    }

    #[test]
    fn the_search_finds_every_position_within_five_questions() {
        for tip in [0, 1, 2, 63, 64, 65, 4_521, 1_000_000, 20_000_000] {
            for there in [0, 1, 17, 2_000, 4_520, 4_521, 777_777, 999_999, 19_999_999] {
                if there > tip {
                    continue;
                }
                let mut search = Search::new(Height::new(tip));
                let found = (0..5).find_map(|_| {
                    let asked = search.question();
                    assert!(asked.len() <= MAX_LOCATOR);
                    let common = asked.iter().find(|height| height.get() <= there);
                    search.answer(&asked, *common.expect("the last entry is there"))
                });
                assert_eq!(found, Some(Height::new(there)), "tip {tip}, there {there}");
            }
        }
    }
}
