//! The check of a block by itself, in one pass over its bytes.
//!
//! The rules and errors are those of [`millrace_core::scan::ScannedBlock`], which is made for Wasm and
//! collects what the canister needs; here only the verdict counts. Hashing uses the processor's SHA
//! instructions where it has them.

use bitcoin::TxMerkleNode;
use bitcoin::hashes::{Hash, HashEngine, sha256d};
use bitcoin::{BlockHash, Txid};
use millrace_core::block::{
    BlockError, HEADER_BYTES, MAX_BASE_BYTES, MAX_BLOCK_BYTES, decode_header,
};

use super::ReceivedBlock;
use super::error::PayloadError;
use super::walk::{Malformed, Walker};

/// Bytes of the smallest transaction, which bound how many a block can hold.
const MIN_TRANSACTION_BYTES: usize = 60;

/// Size of a transaction that reads as two concatenated merkle nodes.
const MERKLE_PAIR_BYTES: usize = 64;

impl ReceivedBlock {
    /// Takes a `block` message's payload. Whatever its transactions are, it is told apart by its header:
    /// the verdict says what else is wrong.
    ///
    /// Costs a double SHA-256 of all bytes without witness data, and a sort of the transactions' ids.
    ///
    /// # Errors
    /// [`PayloadError`] if there is no header.
    pub fn of(bytes: Vec<u8>) -> Result<Self, PayloadError> {
        let header = decode_header(&bytes).ok_or(PayloadError::Ends {
            field: "header",
            length: bytes.len(),
        })?;
        Ok(Self {
            hash: header.block_hash(),
            header,
            verdict: check(&bytes),
            bytes,
        })
    }
}

/// Checks a block by itself: bounds, structure, merkle root, disguises (CVE-2012-2459).
///
/// # Errors
/// [`BlockError`]; see [`BlockError::condemns_header`].
pub fn check(bytes: &[u8]) -> Result<(), BlockError> {
    let length = bytes.len();
    if length > MAX_BLOCK_BYTES {
        return Err(BlockError::TooLong { length });
    }
    let header = decode_header(bytes).ok_or(BlockError::NoHeader { length })?;
    let hash = header.block_hash();
    let found = collect(bytes, hash)?;
    let root = merkle_root(found.txids.clone());
    let got = TxMerkleNode::from_byte_array(root.root);
    if got != header.merkle_root {
        return Err(BlockError::MerkleRoot {
            hash,
            expected: header.merkle_root,
            got,
        });
    }
    if root.is_mutated {
        return Err(BlockError::Mutated { hash });
    }
    if found.base_bytes > MAX_BASE_BYTES {
        let bytes = found.base_bytes;
        return Err(BlockError::BaseTooLarge { hash, bytes });
    }
    if !found.starts_with_coinbase {
        // Inner nodes of a merkle tree pass as transactions of this size, and practically never start
        // with something that reads as a coinbase.
        if found.has_merkle_pair {
            return Err(BlockError::Mutated { hash });
        }
        let first = found.txids.first().copied().unwrap_or_default();
        let txid = Txid::from_byte_array(first);
        return Err(BlockError::FirstNotCoinbase { hash, txid });
    }
    match repeated(found.txids) {
        Some(txid) => Err(BlockError::DuplicateTransaction { hash, txid }),
        None => Ok(()),
    }
}

/// What a pass over the transactions finds.
struct Found {
    txids: Vec<[u8; 32]>,
    base_bytes: usize,
    starts_with_coinbase: bool,
    has_merkle_pair: bool,
}

fn collect(bytes: &[u8], hash: BlockHash) -> Result<Found, BlockError> {
    let malformed = |reason: Malformed| BlockError::Malformed {
        hash,
        reason: reason.to_string(),
    };
    let mut walker = Walker::new(bytes, HEADER_BYTES);
    let count = walker.number().map_err(malformed)?;
    if count == 0 {
        return Err(BlockError::Empty { hash });
    }
    let most = bytes.len() / MIN_TRANSACTION_BYTES;
    let mut found = Found {
        txids: Vec::with_capacity(usize::try_from(count).unwrap_or(most).min(most)),
        base_bytes: walker.offset(),
        starts_with_coinbase: false,
        has_merkle_pair: false,
    };
    for index in 0..count {
        let transaction = walker.transaction().map_err(malformed)?;
        let base_bytes = transaction.base_bytes();
        found.base_bytes += base_bytes;
        found.has_merkle_pair |= base_bytes == MERKLE_PAIR_BYTES;
        found.starts_with_coinbase |= index == 0 && transaction.is_coinbase;
        found.txids.push(transaction.txid().to_byte_array());
    }
    let used = walker.offset();
    match bytes.len() - used {
        0 => Ok(found),
        trailing => Err(BlockError::TrailingBytes {
            hash,
            used,
            trailing,
        }),
    }
}

/// A merkle root and whether the list is a disguise of a shorter one.
struct MerkleRoot {
    root: [u8; 32],
    is_mutated: bool,
}

/// Computes the root over ids, of which there is at least one.
///
/// An odd level repeats its last node, so a list whose tail is written out twice has the same root. No
/// honest list holds two equal nodes as a pair, which gives the disguise away.
fn merkle_root(mut level: Vec<[u8; 32]>) -> MerkleRoot {
    let mut is_mutated = false;
    while level.len() > 1 {
        let (pairs, last) = level.as_chunks::<2>();
        is_mutated |= pairs.iter().any(|[left, right]| left == right);
        let repeated = last.first().map(|last| [*last, *last]);
        level = pairs.iter().chain(&repeated).map(parent).collect();
    }
    MerkleRoot {
        root: level.first().copied().unwrap_or_default(),
        is_mutated,
    }
}

fn parent(pair: &[[u8; 32]; 2]) -> [u8; 32] {
    let mut engine = sha256d::Hash::engine();
    engine.input(pair.as_flattened());
    sha256d::Hash::from_engine(engine).to_byte_array()
}

/// Returns the least id that is there twice.
fn repeated(mut txids: Vec<[u8; 32]>) -> Option<Txid> {
    txids.sort_unstable();
    let mut pairs = txids.array_windows::<2>();
    let [twice, _] = pairs.find(|[one, next]| one == next)?;
    Some(Txid::from_byte_array(*twice))
}
