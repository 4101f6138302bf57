//! Random choices from a seed.

use bitcoin::hashes::{Hash, HashEngine, siphash24};

/// A stream of numbers that a seed determines and that nobody without the seed can foresee
/// (SipHash-2-4 of a counter).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chance {
    pub(crate) seed: u64,
    /// Numbers drawn so far.
    pub(crate) drawn: u64,
}

impl Chance {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { seed, drawn: 0 }
    }

    /// Returns a number below `end`, or 0 if `end` is 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let drawn = self.drawn.to_le_bytes();
        self.drawn = self.drawn.wrapping_add(1);
        let number = keyed_hash(self.seed, "draw", &[&drawn]);
        // The remainder favours small numbers by less than `end` in 2^64.
        let rest = number.checked_rem(end as u64).unwrap_or(0);
        usize::try_from(rest).unwrap_or(0)
    }

    /// Returns true in so many of 1,000,000 cases.
    pub(crate) fn happens(&mut self, in_a_million: u64) -> bool {
        (self.below(1_000_000) as u64) < in_a_million
    }
}

/// Returns a hash of fields that nobody without the seed can foresee. Fields must be of constant
/// size, or be told apart by `purpose`.
pub(crate) fn keyed_hash(seed: u64, purpose: &str, fields: &[&[u8]]) -> u64 {
    let mut engine = siphash24::HashEngine::with_keys(seed, 0);
    engine.input(purpose.as_bytes());
    for field in fields {
        engine.input(field);
    }
    siphash24::Hash::from_engine(engine).as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_stream_and_covers_the_range() {
        let draw = |seed| {
            let mut chance = Chance::new(seed);
            (0..1_000).map(|_| chance.below(10)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        for number in 0..10 {
            let count = draw(1).into_iter().filter(|drawn| *drawn == number).count();
            assert!((50..200).contains(&count), "{number}: {count}");
        }
        assert_eq!(Chance::new(1).below(0), 0);
    }

    #[test]
    fn odds_are_kept() {
        let mut chance = Chance::new(7);
        let count = (0..10_000).filter(|_| chance.happens(250_000)).count();
        assert!((2_200..2_800).contains(&count), "{count}");
        assert!(!chance.happens(0));
        assert!(chance.happens(1_000_000));
    }
}
