//! The first page of the region: what it is, and the numbers that belong to all changes.
//!
//! ```text
//! offset size
//!      0    4  magic "MRST"
//!      4    2  version, u16 LE
//!      6    2  reserved
//!      8    8  next change id
//!     16    8  stable coins
//!     24   40  reserved
//! ```

use ic_stable_structures::Memory;

use super::extent::Extent;
use super::number::Input;
use crate::StoreError;
use crate::record::join;

const SUPERBLOCK_BYTES: usize = 64;
const MAGIC: [u8; 4] = *b"MRST";
const VERSION: u16 = 1;

const EXTENT: Extent = Extent {
    start: 0,
    length: SUPERBLOCK_BYTES as u64,
};

/// See the module's documentation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Superblock {
    /// The id of the next change; ids are never used again.
    pub next_change: u64,
    /// Number of stable coins.
    pub stable_coins: u64,
}

impl Superblock {
    /// Reads the superblock; that of an empty region is all zero.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when something else is there, or a newer version.
    pub fn read<M: Memory>(memory: &M) -> Result<Self, StoreError> {
        if memory.size() == 0 {
            return Ok(Self::default());
        }
        let mut bytes = [0; SUPERBLOCK_BYTES];
        EXTENT.read(memory, 0, &mut bytes)?;
        let mut input = Input::new("superblock of runs", &bytes);
        let magic: [u8; 4] = input.array()?;
        let version = u16::from_le_bytes(input.array()?);
        let _reserved: [u8; 2] = input.array()?;
        if magic != MAGIC || version != VERSION {
            return Err(input.damaged(format!("it begins with {magic:02x?}, version {version}")));
        }
        Ok(Self {
            next_change: u64::from_le_bytes(input.array()?),
            stable_coins: u64::from_le_bytes(input.array()?),
        })
    }

    /// Writes the superblock; memory grows when it is empty.
    ///
    /// # Errors
    /// [`StoreError::OutOfMemory`].
    pub fn write<M: Memory>(&self, memory: &M) -> Result<(), StoreError> {
        if memory.size() == 0 && memory.grow(1) < 0 {
            return Err(StoreError::OutOfMemory { pages: 0 });
        }
        let bytes: [u8; SUPERBLOCK_BYTES] = join(&[
            &MAGIC,
            &VERSION.to_le_bytes(),
            &[0; 2],
            &self.next_change.to_le_bytes(),
            &self.stable_coins.to_le_bytes(),
        ]);
        EXTENT.write(memory, 0, &bytes)
    }
}

#[cfg(test)]
mod tests {
    use ic_stable_structures::VectorMemory;

    use super::*;

    #[test]
    fn it_reads_back_and_refuses_what_is_something_else() {
        let memory = VectorMemory::default();
        assert_eq!(Superblock::read(&memory), Ok(Superblock::default()));
        let superblock = Superblock {
            next_change: 7,
            stable_coins: u64::MAX,
        };
        superblock.write(&memory).unwrap();
        assert_eq!(Superblock::read(&memory), Ok(superblock));
        memory.write(4, &[2]);
        assert!(Superblock::read(&memory).is_err(), "a newer version");
        memory.write(0, b"else");
        assert!(Superblock::read(&memory).is_err());
    }
}
