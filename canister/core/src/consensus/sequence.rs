//! Relative lock-times of inputs (BIP68).

use bitcoin::{Sequence, Transaction};

use crate::units::Height;

/// The lowest transaction version whose sequence numbers are relative lock-times. Versions are
/// compared without sign.
const FIRST_VERSION: u32 = 2;
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
pub(crate) enum RelativeLock {
    /// Not at all.
    None,
    /// This many blocks after the coin's.
    Blocks(u32),
    /// This many seconds of median time past after that of the coin's block's parent.
    Seconds(u32),
}

impl RelativeLock {
    /// Reads the lock of one input.
    pub(super) fn of(transaction: &Transaction, sequence: Sequence) -> Self {
        let version = transaction.version.0.cast_unsigned();
        if version < FIRST_VERSION {
            return Self::None;
        }
        Self::from_sequence(sequence.to_consensus_u32())
    }

    /// Reads the lock of an input whose transaction's version gives it a meaning.
    pub(crate) const fn from_sequence(sequence: u32) -> Self {
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
pub(crate) const fn time_base(coin_height: Height) -> Height {
    coin_height.saturating_sub(Height::new(1))
}
