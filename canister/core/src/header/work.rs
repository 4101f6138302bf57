//! Cumulative proof of work: a 256-bit sum that saturates instead of overflowing.

use std::fmt;

use bitcoin::Target;

/// Work of a chain: the expected number of hashes that went into it.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainWork {
    // Field order makes the derived comparison numeric.
    high: u128,
    low: u128,
}

impl ChainWork {
    /// No work.
    pub const ZERO: Self = Self { high: 0, low: 0 };
    /// The largest representable work.
    pub const MAX: Self = Self {
        high: u128::MAX,
        low: u128::MAX,
    };

    /// Returns the work of one block with `target`: 2^256 / (target + 1).
    pub fn of(target: Target) -> Self {
        Self::from_be_bytes(target.to_work().to_be_bytes())
    }

    /// Reads a big-endian 256-bit number.
    pub fn from_be_bytes(bytes: [u8; 32]) -> Self {
        let number = |half: &[u8]| {
            half.iter()
                .fold(0u128, |sum, byte| (sum << 8) | u128::from(*byte))
        };
        let (high, low) = bytes.split_at(16);
        Self {
            high: number(high),
            low: number(low),
        }
    }

    /// Returns the big-endian 256-bit number.
    pub fn to_be_bytes(self) -> [u8; 32] {
        crate::bytes::fixed(&[&self.high.to_be_bytes(), &self.low.to_be_bytes()])
    }

    /// Returns the sum, or [`Self::MAX`] when it exceeds 256 bits.
    pub fn saturating_add(self, other: Self) -> Self {
        let (low, carry) = self.low.overflowing_add(other.low);
        self.high
            .checked_add(other.high)
            .and_then(|high| high.checked_add(u128::from(carry)))
            .map_or(Self::MAX, |high| Self { high, low })
    }
}

impl fmt::Display for ChainWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}{:032x}", self.high, self.low)
    }
}

impl fmt::Debug for ChainWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChainWork({self})")
    }
}
