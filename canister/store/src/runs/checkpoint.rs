//! What a merge under way must remember to go on after an upgrade.
//!
//! ```text
//! slot, 8 KiB behind the range of the script run being written
//! offset size
//!      0    4  magic "MCKP"
//!      4    4  length of the state, 0 before the first one was saved
//!      8       state
//! ```
//!
//! The state is written by the parts of a merge for themselves, in the order in which they read it;
//! all numbers are little endian. Whatever waited on the heap for a whole page is in the run's range
//! by then.

use ic_stable_structures::Memory;

use super::extent::Extent;
use super::key::{Digest, OutpointKey, Place, SCRIPT_KEY_BYTES, ScriptKey};
use super::number::Input;
use super::script_entry::BalanceChange;
use crate::StoreError;

/// Bytes of a slot: each writer's state has one leaf at most, besides some hundred bytes.
pub const SLOT_BYTES: u64 = 8_192;

const MAGIC: [u8; 4] = *b"MCKP";
const HEAD_BYTES: usize = 8;
const WHAT: &str = "checkpoint of a merge";

/// Writes a state, or that there is none yet.
///
/// # Errors
/// [`StoreError::BeyondEnd`] when it is longer than the slot.
pub fn write<M: Memory>(memory: &M, slot: Extent, state: &[u8]) -> Result<(), StoreError> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + state.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&(state.len() as u32).to_le_bytes());
    bytes.extend_from_slice(state);
    slot.write(memory, 0, &bytes)
}

/// Reads the last state; empty when none was saved.
///
/// # Errors
/// [`StoreError::Damaged`].
pub fn read<M: Memory>(memory: &M, slot: Extent) -> Result<Vec<u8>, StoreError> {
    let mut head = [0; HEAD_BYTES];
    slot.read(memory, 0, &mut head)?;
    let mut input = Input::new(WHAT, &head);
    let magic: [u8; 4] = input.array()?;
    let length = u32::from_le_bytes(input.array()?);
    if magic != MAGIC || u64::from(length) > SLOT_BYTES - HEAD_BYTES as u64 {
        return Err(input.damaged(format!("it begins with {magic:02x?}, length {length}")));
    }
    let mut state = vec![0; length as usize];
    slot.read(memory, HEAD_BYTES as u64, &mut state)?;
    Ok(state)
}

/// Starts to read a state.
pub const fn input(state: &[u8]) -> Input<'_> {
    Input::new(WHAT, state)
}

/// A value that is part of a state.
pub(super) trait Saved: Sized {
    /// Appends the value.
    fn save(&self, out: &mut Vec<u8>);

    /// Reads it back.
    fn restore(input: &mut Input<'_>) -> Result<Self, StoreError>;
}

macro_rules! saved_numbers {
    ($($number:ty),*) => {$(
        impl Saved for $number {
            fn save(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn restore(input: &mut Input<'_>) -> Result<Self, StoreError> {
                input.array().map(Self::from_le_bytes)
            }
        }
    )*};
}

saved_numbers!(u8, u16, u32, u64, i64, i128);

impl Saved for bool {
    fn save(&self, out: &mut Vec<u8>) {
        u8::from(*self).save(out);
    }

    fn restore(input: &mut Input<'_>) -> Result<Self, StoreError> {
        match input.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(input.damaged(format!("{other} for yes or no"))),
        }
    }
}

impl<T: Saved> Saved for Option<T> {
    fn save(&self, out: &mut Vec<u8>) {
        self.is_some().save(out);
        if let Some(value) = self {
            value.save(out);
        }
    }

    fn restore(input: &mut Input<'_>) -> Result<Self, StoreError> {
        let is_some = bool::restore(input)?;
        is_some.then(|| T::restore(input)).transpose()
    }
}

impl Saved for Vec<u8> {
    fn save(&self, out: &mut Vec<u8>) {
        (self.len() as u32).save(out);
        out.extend_from_slice(self);
    }

    fn restore(input: &mut Input<'_>) -> Result<Self, StoreError> {
        let length = u32::restore(input)? as usize;
        input.bytes(length).map(<[u8]>::to_vec)
    }
}

impl Saved for Digest {
    fn save(&self, out: &mut Vec<u8>) {
        self.prefix.save(out);
        self.bits.save(out);
    }

    fn restore(input: &mut Input<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            prefix: u64::restore(input)?,
            bits: u64::restore(input)?,
        })
    }
}

impl Saved for OutpointKey {
    fn save(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_bytes());
    }

    fn restore(input: &mut Input<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            txid: input.array()?,
            vout: u32::restore(input)?,
        })
    }
}

impl Saved for ScriptKey {
    fn save(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }

    fn restore(input: &mut Input<'_>) -> Result<Self, StoreError> {
        input.array::<SCRIPT_KEY_BYTES>().map(Self)
    }
}

impl Saved for Place {
    fn save(&self, out: &mut Vec<u8>) {
        self.height().get().save(out);
        self.outpoint.save(out);
    }

    fn restore(input: &mut Input<'_>) -> Result<Self, StoreError> {
        let height = millrace_core::Height::new(u32::restore(input)?);
        Ok(Self::new(height, OutpointKey::restore(input)?))
    }
}

impl Saved for BalanceChange {
    fn save(&self, out: &mut Vec<u8>) {
        self.satoshi.save(out);
        self.coins.save(out);
    }

    fn restore(input: &mut Input<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            satoshi: i128::restore(input)?,
            coins: i64::restore(input)?,
        })
    }
}
