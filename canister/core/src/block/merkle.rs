//! The merkle root of a transaction list, with the check for CVE-2012-2459.

use bitcoin::hashes::{Hash, HashEngine, sha256d};
use bitcoin::{TxMerkleNode, Txid};

/// A merkle root and whether the list is a disguise of a shorter one.
pub(super) struct MerkleRoot {
    pub(super) root: TxMerkleNode,
    pub(super) mutated: bool,
}

/// Computes the root of `txids`; an empty list has an all-zero root.
///
/// An odd level repeats its last node, so a list whose tail is written out twice has the same
/// root. No honest list holds two equal nodes as a pair, which is what gives the disguise away.
pub(super) fn merkle_root(txids: &[Txid]) -> MerkleRoot {
    let mut level: Vec<[u8; 32]> = txids.iter().map(|txid| txid.to_byte_array()).collect();
    let mut mutated = false;
    while level.len() > 1 {
        level = level
            .chunks(2)
            .filter_map(|pair| {
                let (left, right) = (pair.first()?, pair.get(1));
                mutated |= Some(left) == right;
                Some(parent(left, right.unwrap_or(left)))
            })
            .collect();
    }
    let root = level.first().copied().unwrap_or_default();
    MerkleRoot {
        root: TxMerkleNode::from_byte_array(root),
        mutated,
    }
}

fn parent(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    let mut engine = sha256d::Hash::engine();
    engine.input(left);
    engine.input(right);
    sha256d::Hash::from_engine(engine).to_byte_array()
}
