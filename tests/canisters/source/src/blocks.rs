//! The loaded blocks, by hash and by parent.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

/// Bytes of a block header.
pub const HEADER_BYTES: usize = 80;

/// Bytes of magic and length before each block of a file.
const FRAME_BYTES: usize = 8;

/// A block's hash in internal byte order.
pub type Hash = [u8; 32];

/// Blocks by hash and by parent.
#[derive(Default)]
pub struct Blocks {
    bytes: HashMap<Hash, Vec<u8>>,
    children: HashMap<Hash, Vec<Hash>>,
}

impl Blocks {
    /// Adds a serialised block; one shorter than a header is left out.
    pub fn insert(&mut self, bytes: Vec<u8>) {
        let Some(header) = bytes.get(..HEADER_BYTES) else {
            return;
        };
        let hash: Hash = Sha256::digest(Sha256::digest(header)).into();
        let mut parent = [0; 32];
        parent.copy_from_slice(&header[4..36]);
        if self.bytes.insert(hash, bytes).is_none() {
            self.children.entry(parent).or_default().push(hash);
        }
    }

    /// Adds every whole block of a framed file.
    pub fn insert_framed(&mut self, file: &[u8]) {
        let mut rest = file;
        while let Some(frame) = rest.get(..FRAME_BYTES) {
            let length = u32::from_le_bytes([frame[4], frame[5], frame[6], frame[7]]) as usize;
            let Some(block) = rest.get(FRAME_BYTES..FRAME_BYTES + length) else {
                break;
            };
            self.insert(block.to_vec());
            rest = &rest[FRAME_BYTES + length..];
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The block with this hash.
    pub fn get(&self, hash: &Hash) -> Option<&[u8]> {
        self.bytes.get(hash).map(Vec::as_slice)
    }

    /// The blocks on top of this one, in the order they were loaded.
    pub fn children(&self, hash: &Hash) -> &[Hash] {
        self.children.get(hash).map_or(&[], Vec::as_slice)
    }
}
