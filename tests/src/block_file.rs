//! Reads a file of framed blocks: network magic, length, block, as in Bitcoin Core's `blk*.dat`.
//!
//! Deliberately simple and apart from the adapter's reader, which it is used to judge.

use std::path::{Path, PathBuf};

use bitcoin::Block;
use bitcoin::consensus::deserialize;
use thiserror::Error;

/// Mainnet's message start.
pub const MAINNET_MAGIC: [u8; 4] = [0xf9, 0xbe, 0xb4, 0xd9];

/// Bytes of magic and length before each block.
const FRAME_BYTES: usize = 8;

/// The blocks of a file in file order.
#[derive(Debug)]
pub struct BlockFile {
    /// The complete blocks.
    pub blocks: Vec<Block>,
    /// Bytes of a cut-off record at the end.
    pub trailing_bytes: usize,
}

/// Why a file cannot be read.
#[derive(Debug, Error)]
#[allow(
    missing_docs,
    reason = "fields repeat the value at fault and where it is"
)]
pub enum BlockFileError {
    /// The file system refused.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        path: PathBuf,
        source: std::io::Error,
    },
    /// A record of another network, or no record at all.
    #[error("offset {offset}: expected the magic {expected:02x?}, found {found:02x?}")]
    WrongMagic {
        offset: usize,
        expected: [u8; 4],
        found: Vec<u8>,
    },
    /// A complete record that is no block.
    #[error("offset {offset}: not a block: {source}")]
    NotABlock {
        offset: usize,
        source: bitcoin::consensus::encode::Error,
    },
}

/// Reads every complete block of a mainnet file.
///
/// # Errors
/// The file is unreadable, or a record in it is no mainnet block.
pub fn read_mainnet(path: &Path) -> Result<BlockFile, BlockFileError> {
    let bytes = std::fs::read(path).map_err(|source| BlockFileError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    parse(&bytes, MAINNET_MAGIC)
}

/// Decodes every complete block of a file's bytes; a record that reaches beyond the end is cut off.
///
/// # Errors
/// A record has another magic, or holds no block.
pub fn parse(bytes: &[u8], magic: [u8; 4]) -> Result<BlockFile, BlockFileError> {
    let mut blocks = Vec::new();
    let mut offset = 0;
    loop {
        let rest = &bytes[offset..];
        let Some(frame) = rest.get(..FRAME_BYTES) else {
            break;
        };
        if frame[..4] != magic {
            return Err(BlockFileError::WrongMagic {
                offset,
                expected: magic,
                found: frame[..4].to_vec(),
            });
        }
        let length = u32::from_le_bytes([frame[4], frame[5], frame[6], frame[7]]);
        let Some(body) = rest[FRAME_BYTES..].get(..length as usize) else {
            break;
        };
        let block =
            deserialize(body).map_err(|source| BlockFileError::NotABlock { offset, source })?;
        blocks.push(block);
        offset += FRAME_BYTES + body.len();
    }
    Ok(BlockFile {
        blocks,
        trailing_bytes: bytes.len() - offset,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifacts;

    #[test]
    fn the_mainnet_file_holds_the_first_4522_blocks_and_a_cut_off_record() {
        let file = read_mainnet(&artifacts::mainnet_blocks()).expect("the fixture is readable");
        assert_eq!(file.blocks.len(), 4_522);
        assert_eq!(file.trailing_bytes, 39);
        assert_eq!(
            file.blocks[4_521].block_hash().to_string(),
            "00000000ac08f7d984f6b36027395e654a5f1e3bb006cd9df9c60b9897ea4c40"
        );
    }

    #[test]
    fn another_networks_record_is_named_with_its_offset() {
        let error = parse(&[0x0b, 0x11, 0x09, 0x07, 0, 0, 0, 0], MAINNET_MAGIC)
            .expect_err("testnet3's magic is not mainnet's");
        assert!(error.to_string().starts_with("offset 0: "), "{error}");
    }

    #[test]
    fn a_record_that_is_no_block_is_an_error() {
        let mut bytes = MAINNET_MAGIC.to_vec();
        bytes.extend([3, 0, 0, 0, 1, 2, 3]);
        let error = parse(&bytes, MAINNET_MAGIC).expect_err("three bytes are no block");
        assert!(
            matches!(error, BlockFileError::NotABlock { offset: 0, .. }),
            "{error}"
        );
    }
}
