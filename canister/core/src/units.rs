//! Quantities with a unit, so that a height is never added to a byte count by accident.

use std::fmt;

/// Declares a counter newtype with checked and saturating maths.
macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident($inner:ty), $unit:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($inner);

        impl $name {
            /// Nothing of this quantity.
            pub const ZERO: Self = Self(0);
            /// The largest representable amount.
            pub const MAX: Self = Self(<$inner>::MAX);

            /// Wraps a plain number.
            pub const fn new(value: $inner) -> Self {
                Self(value)
            }

            /// Returns the plain number.
            pub const fn get(self) -> $inner {
                self.0
            }

            /// Returns the sum, or `None` when it does not fit.
            pub const fn checked_add(self, other: Self) -> Option<Self> {
                match self.0.checked_add(other.0) {
                    Some(sum) => Some(Self(sum)),
                    None => None,
                }
            }

            /// Returns the difference, or `None` when `other` is larger.
            pub const fn checked_sub(self, other: Self) -> Option<Self> {
                match self.0.checked_sub(other.0) {
                    Some(rest) => Some(Self(rest)),
                    None => None,
                }
            }

            /// Returns the sum, or [`Self::MAX`] when it does not fit.
            pub const fn saturating_add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }

            /// Returns the difference, or [`Self::ZERO`] when `other` is larger.
            pub const fn saturating_sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!("{}", $unit), self.0)
            }
        }
    };
}

quantity! {
    /// Distance of a block from the genesis block, which has height 0.
    Height(u32), ""
}
quantity! {
    /// A length or capacity in bytes.
    Bytes(u64), " bytes"
}
quantity! {
    /// Executed WebAssembly instructions, as the Internet Computer counts them.
    Instructions(u64), " instructions"
}
quantity! {
    /// Memory pages of 4 KiB, the unit in which the Internet Computer counts writes.
    Pages(u64), " pages"
}
quantity! {
    /// Seconds since 1970-01-01 00:00 UTC.
    UnixSeconds(u64), " s"
}
quantity! {
    /// A fee per room taken, in thousandths of a satoshi per virtual byte.
    FeeRate(u64), " millisatoshi per vbyte"
}

impl Height {
    /// Returns the height of a child of the block at this height.
    ///
    /// Saturates at `u32::MAX`, some 80,000 years away.
    pub const fn next(self) -> Self {
        self.saturating_add(Self(1))
    }
}

impl Bytes {
    /// Returns the length of a slice; lengths always fit 64 bits.
    pub const fn of(slice: &[u8]) -> Self {
        Self(slice.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_differences_report_or_saturate_at_the_ends() {
        assert_eq!(
            Bytes::new(2).checked_add(Bytes::new(3)),
            Some(Bytes::new(5))
        );
        assert_eq!(Bytes::MAX.checked_add(Bytes::new(1)), None);
        assert_eq!(Pages::new(1).checked_sub(Pages::new(2)), None);
        assert_eq!(
            Instructions::new(1).saturating_sub(Instructions::new(2)),
            Instructions::ZERO
        );
        assert_eq!(Height::MAX.next(), Height::MAX);
    }

    #[test]
    fn display_names_the_unit() {
        assert_eq!(Bytes::new(7).to_string(), "7 bytes");
        assert_eq!(Height::new(7).to_string(), "7");
    }
}
