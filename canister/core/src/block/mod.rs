//! The bounds of a block, its merkle root, and what can be wrong with its structure.
//!
//! These rules need nothing but the block; [`crate::scan`] applies them. They are as lenient as the
//! official canister where tests rely on it: further coinbase-like transactions and created value
//! pass. What the block does to the UTXO set is [`crate::connect`]'s question.

pub(crate) mod merkle;

#[cfg(test)]
mod tests;

use bitcoin::block::Header;
use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, TxMerkleNode, Txid};

/// Heaviest block allowed, in weight units (BIP141).
pub const MAX_BLOCK_WEIGHT: u64 = 4_000_000;

/// Longest block allowed without its witness data, in bytes: such a byte weighs four units.
pub const MAX_BASE_BYTES: usize = 1_000_000;

/// Longest block allowed, in bytes: a byte weighs at least one unit.
pub const MAX_BLOCK_BYTES: usize = 4_000_000;

/// Shortest possible block: a header and a transaction count.
pub const MIN_BLOCK_BYTES: usize = HEADER_BYTES + 1;

/// Size of a header on the wire.
pub const HEADER_BYTES: usize = 80;

/// Why bytes are no acceptable block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// More bytes than any block has; nothing was read.
    #[error("block has {length} bytes, at most {MAX_BLOCK_BYTES} are allowed")]
    TooLong {
        /// Bytes given.
        length: usize,
    },
    /// Fewer bytes than a header.
    #[error("block has {length} bytes, a header alone has {HEADER_BYTES}")]
    NoHeader {
        /// Bytes given.
        length: usize,
    },
    /// The bytes after the header do not decode.
    #[error("block {hash} does not decode: {reason}")]
    Malformed {
        /// Hash of the header the bytes start with.
        hash: BlockHash,
        /// What the scan found.
        reason: String,
    },
    /// Bytes follow the last transaction.
    #[error("block {hash} ends after {used} bytes, {trailing} more follow")]
    TrailingBytes {
        /// The block.
        hash: BlockHash,
        /// Bytes of the block proper.
        used: usize,
        /// Bytes after it.
        trailing: usize,
    },
    /// The block has no transactions.
    #[error("block {hash} has no transactions")]
    Empty {
        /// The block.
        hash: BlockHash,
    },
    /// The transactions do not hash to the header's merkle root.
    #[error("block {hash} has merkle root {expected}, its transactions hash to {got}")]
    MerkleRoot {
        /// The block.
        hash: BlockHash,
        /// Root in the header.
        expected: TxMerkleNode,
        /// Root of the transactions given.
        got: TxMerkleNode,
    },
    /// The transaction list is a disguise of another list with the same root (CVE-2012-2459, or
    /// a 64-byte transaction that is really two merkle nodes).
    #[error("block {hash} has a mutated transaction list with the right merkle root")]
    Mutated {
        /// The block.
        hash: BlockHash,
    },
    /// The first transaction creates no coins.
    #[error("block {hash} starts with {txid}, which is not a coinbase")]
    FirstNotCoinbase {
        /// The block.
        hash: BlockHash,
        /// Its first transaction.
        txid: Txid,
    },
    /// One transaction appears twice.
    #[error("duplicate transaction {txid} in block {hash}")]
    DuplicateTransaction {
        /// The block.
        hash: BlockHash,
        /// The repeated transaction.
        txid: Txid,
    },
    /// The block is too large even without its witness data (BIP141).
    #[error(
        "block {hash} has {bytes} bytes without witness data, \
         at most {MAX_BASE_BYTES} are allowed"
    )]
    BaseTooLarge {
        /// The block.
        hash: BlockHash,
        /// Its size without witness data, in bytes.
        bytes: usize,
    },
}

impl BlockError {
    /// Returns whether the header itself is proven bad, so that its hash may be remembered as
    /// invalid.
    ///
    /// Every other error can be made by whoever carries the block, by damaging the body of a
    /// good one: remembering the hash would let one liar block the real block.
    pub const fn condemns_header(&self) -> bool {
        matches!(
            self,
            Self::BaseTooLarge { .. }
                | Self::FirstNotCoinbase { .. }
                | Self::DuplicateTransaction { .. }
        )
    }
}

/// Returns the 80 bytes of a header as blocks begin with them.
pub fn encode_header(header: &Header) -> [u8; HEADER_BYTES] {
    let mut out = [0; HEADER_BYTES];
    out[..4].copy_from_slice(&header.version.to_consensus().to_le_bytes());
    out[4..36].copy_from_slice(header.prev_blockhash.as_byte_array());
    out[36..68].copy_from_slice(header.merkle_root.as_byte_array());
    out[68..72].copy_from_slice(&header.time.to_le_bytes());
    out[72..76].copy_from_slice(&header.bits.to_consensus().to_le_bytes());
    out[76..].copy_from_slice(&header.nonce.to_le_bytes());
    out
}

/// Reads the header at the front of a block or a header message, or `None` when `bytes` is
/// shorter than [`HEADER_BYTES`]. Any 80 bytes read as a header; nothing is judged.
pub fn decode_header(bytes: &[u8]) -> Option<Header> {
    bitcoin::consensus::deserialize(bytes.get(..HEADER_BYTES)?).ok()
}
