//! The first page of the region: what it is.
//!
//! ```text
//! offset size
//!      0    4  magic "MRST"
//!      4    2  version, u16 LE
//!      6   58  reserved
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

/// Checks that the region holds runs of this version; an empty one is given its first page.
///
/// # Errors
/// [`StoreError::Damaged`] when something else is there, or a newer version;
/// [`StoreError::OutOfMemory`].
pub fn open<M: Memory>(memory: &M) -> Result<(), StoreError> {
    if memory.size() == 0 {
        return create(memory);
    }
    let mut bytes = [0; SUPERBLOCK_BYTES];
    EXTENT.read(memory, 0, &mut bytes)?;
    let mut input = Input::new("superblock of runs", &bytes);
    let magic: [u8; 4] = input.array()?;
    let version = u16::from_le_bytes(input.array()?);
    if magic != MAGIC || version != VERSION {
        return Err(input.damaged(format!("it begins with {magic:02x?}, version {version}")));
    }
    Ok(())
}

fn create<M: Memory>(memory: &M) -> Result<(), StoreError> {
    if memory.grow(1) < 0 {
        return Err(StoreError::OutOfMemory { pages: 0 });
    }
    let bytes: [u8; SUPERBLOCK_BYTES] = join(&[&MAGIC, &VERSION.to_le_bytes()]);
    EXTENT.write(memory, 0, &bytes)
}

#[cfg(test)]
mod tests {
    use ic_stable_structures::VectorMemory;

    use super::*;

    #[test]
    fn it_is_made_once_and_refuses_what_is_something_else() {
        let memory = VectorMemory::default();
        assert_eq!(open(&memory), Ok(()));
        let written = memory.borrow().clone();
        assert_eq!(open(&memory), Ok(()));
        assert_eq!(*memory.borrow(), written);
        memory.write(4, &[2]);
        assert!(open(&memory).is_err(), "a newer version");
        memory.write(0, b"else");
        assert!(open(&memory).is_err());
    }
}
