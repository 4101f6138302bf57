//! Numbers from a seed: SplitMix64, whose outputs never change with a dependency's version.

/// The golden ratio as a 64-bit fraction, SplitMix64's increment.
const INCREMENT: u64 = 0x9e37_79b9_7f4a_7c15;

/// A stream of numbers.
#[derive(Clone, Debug)]
pub struct Random(u64);

/// Scrambles a number; SplitMix64's output function.
pub const fn scrambled(number: u64) -> u64 {
    let mut z = number;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Random {
    /// The stream of a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The stream of one thing (such as a script) under a seed.
    pub const fn of(seed: u64, thing: u64) -> Self {
        Self(scrambled(seed ^ thing.wrapping_mul(INCREMENT)))
    }

    /// The next 64 bits.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(INCREMENT);
        scrambled(self.0)
    }

    /// A number below `bound`, which is at least 1. Its bias is below 2^-32 for the bounds used here.
    pub const fn below(&mut self, bound: u64) -> u64 {
        let product = (self.next() as u128) * (bound as u128);
        (product >> 64) as u64
    }

    /// An index into something of `length` items, at least 1.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("it is below a length")
    }

    /// Whether a thing happens that does so `permille` times in a thousand.
    pub const fn happens(&mut self, permille: u64) -> bool {
        self.below(1_000) < permille
    }

    /// A power of two with a long tail: 1 half of the time, 2 a quarter, and so on up to `2^limit`.
    pub fn tail(&mut self, limit: u32) -> usize {
        1 << self.next().trailing_ones().min(limit)
    }

    /// A number from 1 to `max`, each doubling of it as likely as the next: many small ones, and a long tail.
    pub fn spread(&mut self, max: u64) -> u64 {
        let bits = u64::from(max.max(1).ilog2()) + 1;
        let low = 1 << self.below(bits);
        (low + self.below(low)).min(max.max(1))
    }

    /// Fills bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }

    /// An array of bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// A vector of bytes.
    pub fn vector(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.fill(&mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers published with SplitMix64's reference implementation for the seed 1234567.
    #[test]
    fn numbers_are_those_of_the_published_generator() {
        let mut random = Random::new(1_234_567);
        let numbers: Vec<u64> = (0..3).map(|_| random.next()).collect();
        assert_eq!(
            numbers,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }

    #[test]
    fn bounded_numbers_stay_in_bounds_and_reach_both_ends() {
        let mut random = Random::new(7);
        let numbers: Vec<u64> = (0..1_000).map(|_| random.below(5)).collect();
        for wanted in 0..5 {
            assert!(numbers.contains(&wanted), "{wanted}");
        }
        assert!(numbers.iter().all(|number| *number < 5));
        let spread: Vec<u64> = (0..10_000).map(|_| random.spread(300)).collect();
        assert!(spread.iter().all(|number| (1..=300).contains(number)));
        let small = spread.iter().filter(|number| **number <= 16).count();
        assert!((4_000..6_500).contains(&small), "{small}");
        let tails: Vec<usize> = (0..1_000).map(|_| random.tail(3)).collect();
        assert!(tails.iter().all(|tail| [1, 2, 4, 8].contains(tail)));
    }
}
