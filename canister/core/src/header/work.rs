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

    /// Reads up to 64 hexadecimal digits of a big-endian number, with or without `0x` before them;
    /// `None` for anything else.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        if !is_hex || !(1..=64).contains(&digits.len()) {
            return None;
        }
        let (high, low) = digits.split_at(digits.len().saturating_sub(32));
        let number = |half: &str| match half {
            "" => Some(0),
            half => u128::from_str_radix(half, 16).ok(),
        };
        Some(Self {
            high: number(high)?,
            low: number(low)?,
        })
    }

    /// Returns the number of binary digits of the work, 0 for none: one more each time a chain's
    /// work doubles.
    pub const fn bits(self) -> u32 {
        if self.high > 0 {
            256 - self.high.leading_zeros()
        } else {
            128 - self.low.leading_zeros()
        }
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
