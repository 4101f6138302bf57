//! The merkle root of a transaction list, with the check for CVE-2012-2459.

use bitcoin::hashes::{Hash, HashEngine, sha256d};

/// A merkle root and whether the list is a disguise of a shorter one.
pub(crate) struct MerkleRoot {
    pub(crate) root: [u8; 32],
    pub(crate) mutated: bool,
}

/// Computes the root over `leaves`, transaction ids in hashing order; an empty list has an all-zero root.
///
/// An odd level repeats its last node, so a list whose tail is written out twice has the same
/// root. No honest list holds two equal nodes as a pair, which is what gives the disguise away.
pub(crate) fn merkle_root(leaves: Vec<[u8; 32]>) -> MerkleRoot {
    let mut level = leaves;
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
    MerkleRoot {
        root: level.first().copied().unwrap_or_default(),
        mutated,
    }
}

/// Returns the node above two others, which is also how a witness commitment is made (BIP141).
pub(crate) fn parent(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    let mut engine = sha256d::Hash::engine();
    engine.input(left);
    engine.input(right);
    sha256d::Hash::from_engine(engine).to_byte_array()
}
