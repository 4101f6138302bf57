//! A block without its witness data, as nodes before BIP141 know it.

use bitcoin::BlockHash;
use millrace_core::block::{BlockError, HEADER_BYTES, MAX_BLOCK_BYTES, decode_header};

use super::walk::{Malformed, Walker};

/// Returns a serialised block without its witness data: the same header, the same ids, about half the
/// bytes.
///
/// The block is only walked over, not judged; [`super::check_block`] does that. Costs one copy.
///
/// # Errors
/// [`BlockError`] when the bytes have not the structure of a block: [`BlockError::TooLong`],
/// [`BlockError::NoHeader`], [`BlockError::Malformed`] or [`BlockError::TrailingBytes`].
pub fn strip_witness(block: &[u8]) -> Result<Vec<u8>, BlockError> {
    let length = block.len();
    if length > MAX_BLOCK_BYTES {
        return Err(BlockError::TooLong { length });
    }
    let header = decode_header(block).ok_or(BlockError::NoHeader { length })?;
    let hash = header.block_hash();
    let malformed = |reason| malformed(hash, reason);
    let mut walker = Walker::new(block, HEADER_BYTES);
    let count = walker.number().map_err(malformed)?;
    let mut stripped = Vec::with_capacity(length);
    stripped.extend_from_slice(block.get(..walker.offset()).unwrap_or_default());
    for _ in 0..count {
        let transaction = walker.transaction().map_err(malformed)?;
        for part in transaction.base() {
            stripped.extend_from_slice(part);
        }
    }
    let used = walker.offset();
    if used != length {
        return Err(BlockError::TrailingBytes {
            hash,
            used,
            trailing: length - used,
        });
    }
    stripped.shrink_to_fit();
    Ok(stripped)
}

fn malformed(hash: BlockHash, reason: Malformed) -> BlockError {
    BlockError::Malformed {
        hash,
        reason: reason.to_string(),
    }
}
