//! Relative lock-times of inputs (BIP68).

use crate::units::Height;

/// Switches the lock off.
const DISABLE: u32 = 1 << 31;
/// Tells a lock in time from one in blocks.
const BY_TIME: u32 = 1 << 22;
/// The bits that hold the lock's length.
const LENGTH: u32 = 0xffff;
/// Seconds of one unit of a lock in time, as a shift: 512.
const UNIT_SHIFT: u32 = 9;

/// How long an input must wait after its coin was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RelativeLock {
    /// Not at all.
    None,
    /// This many blocks after the coin's.
    Blocks(u32),
    /// This many seconds of median time past after that of the coin's block's parent.
    Seconds(u32),
}

impl RelativeLock {
    /// Reads the lock of an input whose transaction's version gives it a meaning.
    pub(super) const fn from_sequence(sequence: u32) -> Self {
        if sequence & DISABLE != 0 {
            return Self::None;
        }
        let length = sequence & LENGTH;
        if sequence & BY_TIME == 0 {
            Self::Blocks(length)
        } else {
            Self::Seconds(length << UNIT_SHIFT)
        }
    }
}

/// Returns the height whose median time past a lock in time counts from: the block before the
/// coin's.
pub(super) const fn time_base(coin_height: Height) -> Height {
    coin_height.saturating_sub(Height::new(1))
}
