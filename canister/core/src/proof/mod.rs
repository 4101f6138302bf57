//! Judges proofs that a transaction is in a block whose header is known.
//!
//! Two forms: the merkle block of `gettxoutproof` (BIP37), and a plain branch of siblings from
//! the transaction to the root.
//!
//! **What a proof cannot show by itself.** An inner node of the tree is the hash of 64 bytes, and
//! so is the id of a transaction of 64 bytes. With a branch that is too short an inner node
//! passes as a transaction id; and a miner who grinds a 64-byte transaction can continue a branch
//! below it, to a transaction that is in no block. The guard is the number of transactions, which
//! fixes the length of every branch: both functions take it as `transactions`, for a block that
//! is held, and refuse a proof of another shape. Without it, ask for a proof of the coinbase as
//! well: at position 0 its branch must be as long.

#[cfg(test)]
mod tests;

use bitcoin::block::Header;
use bitcoin::consensus::deserialize_partial;
use bitcoin::hashes::Hash;
use bitcoin::merkle_tree::{MerkleBlock, MerkleBlockError};
use bitcoin::{BlockHash, TxMerkleNode, Txid};

use crate::block::MAX_BLOCK_WEIGHT;
use crate::block::merkle::parent;
use crate::causes::with_causes;

/// Least weight of a transaction: 60 bytes outside of witness data.
const MIN_TRANSACTION_WEIGHT: u64 = 240;

/// Most transactions a block can have.
pub const MAX_BLOCK_TRANSACTIONS: u64 = MAX_BLOCK_WEIGHT / MIN_TRANSACTION_WEIGHT;

/// Longest branch: the height of the tree over [`MAX_BLOCK_TRANSACTIONS`].
pub const MAX_BRANCH_NODES: usize = MAX_BLOCK_TRANSACTIONS.next_power_of_two().ilog2() as usize;

/// Longest merkle block looked at, in bytes: one that shows every transaction of the largest
/// block has about 540,000.
pub const MAX_MERKLE_BLOCK_BYTES: usize = 600_000;

/// A transaction shown to be in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProvenTransaction {
    /// Its id.
    pub txid: Txid,
    /// Its index in the block; the coinbase has 0.
    pub position: u32,
}

/// A decoded merkle block, not judged yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MerkleBlockProof {
    block: MerkleBlock,
}

/// Why a proof shows nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// More bytes than any merkle block has; nothing was decoded.
    #[error("merkle block has {length} bytes, at most {MAX_MERKLE_BLOCK_BYTES} are allowed")]
    TooLong {
        /// Bytes given.
        length: usize,
    },
    /// The bytes do not decode.
    #[error("merkle block of {length} bytes does not decode: {reason}")]
    Malformed {
        /// Bytes given.
        length: usize,
        /// What the decoder found.
        reason: String,
    },
    /// Bytes follow the flags.
    #[error("merkle block ends after {used} bytes, {trailing} more follow")]
    TrailingBytes {
        /// Bytes of the merkle block proper.
        used: usize,
        /// Bytes after it.
        trailing: usize,
    },
    /// The proof is for another block.
    #[error("proof is for block {got}, not {expected}")]
    OtherBlock {
        /// The block the proof starts with.
        got: BlockHash,
        /// The block asked for.
        expected: BlockHash,
    },
    /// The proof's number of transactions is not that of the block.
    #[error("proof is for a block of {got} transactions, the block has {expected}")]
    TransactionCount {
        /// Transactions the proof speaks of.
        got: u32,
        /// Transactions of the block.
        expected: u32,
    },
    /// Flags and hashes do not describe a tree with the block's merkle root.
    #[error(
        "merkle block over {transactions} transactions with {hashes} hashes and {flags} flags \
         is no proof: {reason}"
    )]
    Tree {
        /// Transactions the proof speaks of.
        transactions: u32,
        /// Hashes it holds.
        hashes: usize,
        /// Flag bits it holds, padding included.
        flags: usize,
        /// The broken rule.
        reason: MerkleBlockError,
    },
    /// The tree holds, but marks no transaction.
    #[error("merkle block marks no transaction")]
    NothingProven,
    /// The branch has more siblings than any tree has levels.
    #[error("branch has {length} siblings, at most {MAX_BRANCH_NODES} are possible")]
    BranchTooLong {
        /// Siblings given.
        length: usize,
    },
    /// The position does not exist in a block.
    #[error("position {position} is not below {limit}, the transactions there can be")]
    Position {
        /// The position given.
        position: u32,
        /// First position that is too high.
        limit: u64,
    },
    /// The branch is not as long as those of the block.
    #[error(
        "branch has {got} siblings, in a block of {transactions} transactions it has {expected}"
    )]
    BranchLength {
        /// Siblings given.
        got: usize,
        /// Levels below the root of the block's tree.
        expected: usize,
        /// Transactions of the block.
        transactions: u32,
    },
    /// A node equals its left sibling: only the copy that fills an odd level does (CVE-2012-2459),
    /// and the position is one that does not exist.
    #[error("sibling {level} of the branch equals its own node: position {position} is a copy")]
    Duplicate {
        /// Index of the sibling, the lowest being 0.
        level: usize,
        /// The position given.
        position: u32,
    },
    /// The proof leads to another root.
    #[error("proof of {txid} leads to merkle root {got}, the block has {expected}")]
    Root {
        /// The transaction.
        txid: Txid,
        /// Root the proof leads to.
        got: TxMerkleNode,
        /// Root in the header.
        expected: TxMerkleNode,
    },
}

impl MerkleBlockProof {
    /// Decodes the bytes that `gettxoutproof` gives, so that the header can be looked up by
    /// [`Self::block_hash`].
    ///
    /// # Errors
    /// [`ProofError::TooLong`], [`ProofError::Malformed`] or [`ProofError::TrailingBytes`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ProofError> {
        let length = bytes.len();
        if length > MAX_MERKLE_BLOCK_BYTES {
            return Err(ProofError::TooLong { length });
        }
        let decoded = deserialize_partial::<MerkleBlock>(bytes);
        let (block, used) = decoded.map_err(|error| ProofError::Malformed {
            length,
            reason: with_causes(&error),
        })?;
        if used != length {
            return Err(ProofError::TrailingBytes {
                used,
                trailing: length.saturating_sub(used),
            });
        }
        Ok(Self { block })
    }

    /// Returns the block the proof is for.
    pub fn block_hash(&self) -> BlockHash {
        self.block.header.block_hash()
    }

    /// Returns the transactions the proof shows to be in the block of `header`, a header the
    /// caller trusts, in block order; never none. `transactions` is their number where known.
    ///
    /// Costs one double SHA-256 per hash of the proof.
    ///
    /// # Errors
    /// [`ProofError`] names the broken rule.
    pub fn verify(
        &self,
        header: &Header,
        transactions: Option<u32>,
    ) -> Result<Vec<ProvenTransaction>, ProofError> {
        let (got, expected) = (self.block_hash(), header.block_hash());
        if got != expected {
            return Err(ProofError::OtherBlock { got, expected });
        }
        let tree = &self.block.txn;
        let count = tree.num_transactions();
        if let Some(expected) = transactions.filter(|expected| *expected != count) {
            let got = count;
            return Err(ProofError::TransactionCount { got, expected });
        }
        let (mut txids, mut positions) = (Vec::new(), Vec::new());
        self.block
            .extract_matches(&mut txids, &mut positions)
            .map_err(|reason| ProofError::Tree {
                transactions: count,
                hashes: tree.hashes().len(),
                flags: tree.bits().len(),
                reason,
            })?;
        if txids.is_empty() {
            return Err(ProofError::NothingProven);
        }
        let pairs = txids.into_iter().zip(positions);
        Ok(pairs
            .map(|(txid, position)| ProvenTransaction { txid, position })
            .collect())
    }
}

/// Checks that `siblings`, from the lowest level to the one below the root, lead from `txid` at
/// `position` to the merkle root of `header`, a header the caller trusts. `transactions` is the
/// number of the block's transactions where known.
///
/// Costs one double SHA-256 per sibling.
///
/// # Errors
/// [`ProofError`] names the broken rule.
pub fn verify_branch(
    header: &Header,
    txid: Txid,
    position: u32,
    siblings: &[[u8; 32]],
    transactions: Option<u32>,
) -> Result<ProvenTransaction, ProofError> {
    check_branch_shape(position, siblings.len(), transactions)?;
    let mut node = txid.to_byte_array();
    for (level, sibling) in siblings.iter().enumerate() {
        let is_right = (position >> level) & 1 == 1;
        if is_right && node == *sibling {
            return Err(ProofError::Duplicate { level, position });
        }
        node = if is_right {
            parent(sibling, &node)
        } else {
            parent(&node, sibling)
        };
    }
    let got = TxMerkleNode::from_byte_array(node);
    if got != header.merkle_root {
        return Err(ProofError::Root {
            txid,
            got,
            expected: header.merkle_root,
        });
    }
    Ok(ProvenTransaction { txid, position })
}

fn check_branch_shape(
    position: u32,
    length: usize,
    transactions: Option<u32>,
) -> Result<(), ProofError> {
    if length > MAX_BRANCH_NODES {
        return Err(ProofError::BranchTooLong { length });
    }
    if let Some(transactions) = transactions {
        let levels = transactions.checked_next_power_of_two();
        let expected = levels.map_or(u32::BITS, u32::ilog2) as usize;
        if length != expected {
            return Err(ProofError::BranchLength {
                got: length,
                expected,
                transactions,
            });
        }
    }
    let limit = transactions.map_or(1 << length, u64::from);
    if u64::from(position) >= limit {
        return Err(ProofError::Position { position, limit });
    }
    Ok(())
}
