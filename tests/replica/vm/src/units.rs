//! Units of the IC's accounting, as types that cannot be mixed.

use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};

use serde::{Deserialize, Serialize};

/// Bytes in one operating-system page, the IC's unit of dirty and accessed memory.
pub const OS_PAGE_BYTES: u64 = 4_096;

/// Bytes in one Wasm page, the unit of `memory.grow` and `stable64_grow`.
pub const WASM_PAGE_BYTES: u64 = 65_536;

macro_rules! unit {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(0);

            /// Returns the bare number.
            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }

            /// Returns the sum, or the largest value when it does not fit.
            #[must_use]
            pub const fn saturating_add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }

            /// Returns the difference, or zero when `other` is larger.
            #[must_use]
            pub const fn saturating_sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }

            /// Returns the difference, or nothing when `other` is larger.
            #[must_use]
            pub fn checked_sub(self, other: Self) -> Option<Self> {
                self.0.checked_sub(other.0).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }
        }

        impl AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                self.0 = self.0.saturating_add(other.0);
            }
        }

        impl Sub for $name {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                Self(self.0 - other.0)
            }
        }

        impl SubAssign for $name {
            fn sub_assign(&mut self, other: Self) {
                self.0 -= other.0;
            }
        }
    };
}

unit!(
    /// Metered Wasm instructions, in the IC's cost table's unit.
    Instructions,
    u64
);
unit!(
    /// Cycles, the IC's currency for computation.
    Cycles,
    u128
);
unit!(
    /// A number of 4 KiB pages.
    OsPages,
    u64
);

impl OsPages {
    /// Returns the size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0.saturating_mul(OS_PAGE_BYTES)
    }
}
