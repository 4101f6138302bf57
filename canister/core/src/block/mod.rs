//! Turns bytes into a block whose structure holds: bounds, coinbase, merkle root, unique
//! transactions.
//!
//! These rules need nothing but the block. They are as lenient as the official canister where
//! tests rely on it: further coinbase-like transactions and created value pass. What the block
//! does to the UTXO set is [`crate::delta`]'s question.

pub(crate) mod merkle;
mod place;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use bitcoin::block::Header;
use bitcoin::consensus::deserialize_partial;
use bitcoin::hashes::Hash;
use bitcoin::{Block, BlockHash, Transaction, TxMerkleNode, Txid, VarInt};

use merkle::merkle_root;

pub use place::TransactionPlace;

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

/// Size of a transaction that reads as two concatenated merkle nodes.
const MERKLE_PAIR_BYTES: usize = 64;

/// A block that passed all structure rules, with its ids computed once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedBlock {
    hash: BlockHash,
    block: Block,
    txids: Vec<Txid>,
}

/// Why bytes are no acceptable block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// More bytes than any block has; nothing was decoded.
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
        /// What the decoder found.
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
    /// The block is heavier than BIP141 allows.
    #[error("block {hash} weighs {weight} units, at most {MAX_BLOCK_WEIGHT} are allowed")]
    TooHeavy {
        /// The block.
        hash: BlockHash,
        /// Its weight units.
        weight: u64,
    },
}

impl BlockError {
    /// Returns whether the header itself is proven bad, so that its hash may be remembered as
    /// invalid.
    ///
    /// Every other error can be made by whoever carries the block, by damaging the body of a
    /// good one: remembering the hash would let one liar block the real block. The weight counts
    /// among those because witness data is not under the merkle root.
    pub const fn condemns_header(&self) -> bool {
        matches!(
            self,
            Self::BaseTooLarge { .. }
                | Self::FirstNotCoinbase { .. }
                | Self::DuplicateTransaction { .. }
        )
    }
}

impl CheckedBlock {
    /// Decodes and checks a block.
    ///
    /// Costs one double SHA-256 per transaction and per merkle node; memory is bounded by a
    /// small multiple of [`MAX_BLOCK_BYTES`].
    ///
    /// # Errors
    /// [`BlockError`] names the broken rule; see [`BlockError::condemns_header`].
    pub fn decode(bytes: &[u8]) -> Result<Self, BlockError> {
        let length = bytes.len();
        if length > MAX_BLOCK_BYTES {
            return Err(BlockError::TooLong { length });
        }
        let hash = decode_header(bytes)
            .ok_or(BlockError::NoHeader { length })?
            .block_hash();
        let (block, used) =
            deserialize_partial::<Block>(bytes).map_err(|error| BlockError::Malformed {
                hash,
                reason: error.to_string(),
            })?;
        if used != length {
            return Err(BlockError::TrailingBytes {
                hash,
                used,
                trailing: length.saturating_sub(used),
            });
        }
        Self::check(block)
    }

    /// Checks a block decoded elsewhere.
    ///
    /// # Errors
    /// [`BlockError`] names the broken rule.
    pub fn check(block: Block) -> Result<Self, BlockError> {
        let hash = block.block_hash();
        let Some(first) = block.txdata.first() else {
            return Err(BlockError::Empty { hash });
        };
        let txids: Vec<Txid> = block.txdata.iter().map(Transaction::compute_txid).collect();
        let root = merkle_root(txids.iter().map(|txid| txid.to_byte_array()).collect());
        let got = TxMerkleNode::from_byte_array(root.root);
        if got != block.header.merkle_root {
            return Err(BlockError::MerkleRoot {
                hash,
                expected: block.header.merkle_root,
                got,
            });
        }
        if root.mutated {
            return Err(BlockError::Mutated { hash });
        }
        check_size(&block, hash)?;
        if !first.is_coinbase() {
            return Err(no_coinbase(&block, hash, first.compute_txid()));
        }
        let mut seen = BTreeSet::new();
        if let Some(txid) = txids.iter().find(|txid| !seen.insert(**txid)) {
            return Err(BlockError::DuplicateTransaction { hash, txid: *txid });
        }
        Ok(Self { hash, block, txids })
    }

    /// Returns the hash that names the block.
    pub const fn hash(&self) -> BlockHash {
        self.hash
    }

    /// Returns the header.
    pub const fn header(&self) -> &Header {
        &self.block.header
    }

    /// Returns the transactions in block order with their ids; never empty.
    pub fn transactions(&self) -> impl ExactSizeIterator<Item = (&Txid, &Transaction)> {
        self.txids.iter().zip(&self.block.txdata)
    }

    /// Returns the transaction at `index` with its id.
    pub fn transaction(&self, index: usize) -> Option<(&Txid, &Transaction)> {
        Some((self.txids.get(index)?, self.block.txdata.get(index)?))
    }

    /// Gives the decoded block away.
    #[cfg(test)]
    pub(crate) fn into_block(self) -> Block {
        self.block
    }
}

/// Asked once the merkle root holds, so that a size without witness data is the header's own.
fn check_size(block: &Block, hash: BlockHash) -> Result<(), BlockError> {
    let counts = VarInt::from(block.txdata.len()).size();
    let transactions: usize = block.txdata.iter().map(Transaction::base_size).sum();
    let bytes = HEADER_BYTES + counts + transactions;
    if bytes > MAX_BASE_BYTES {
        return Err(BlockError::BaseTooLarge { hash, bytes });
    }
    let weight = block.weight().to_wu();
    if weight > MAX_BLOCK_WEIGHT {
        return Err(BlockError::TooHeavy { hash, weight });
    }
    Ok(())
}

/// Reads the header at the front of a block or a header message, or `None` when `bytes` is
/// shorter than [`HEADER_BYTES`]. Any 80 bytes read as a header; nothing is judged.
pub fn decode_header(bytes: &[u8]) -> Option<Header> {
    bitcoin::consensus::deserialize(bytes.get(..HEADER_BYTES)?).ok()
}

/// A list of inner merkle nodes passes as transactions of 64 bytes, and practically never starts
/// with something that reads as a coinbase; such a list says nothing about the header.
fn no_coinbase(block: &Block, hash: BlockHash, txid: Txid) -> BlockError {
    let is_disguise = block
        .txdata
        .iter()
        .any(|transaction| transaction.base_size() == MERKLE_PAIR_BYTES);
    if is_disguise {
        BlockError::Mutated { hash }
    } else {
        BlockError::FirstNotCoinbase { hash, txid }
    }
}
