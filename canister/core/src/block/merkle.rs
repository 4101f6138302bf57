//! The merkle root of a transaction list, with the check for CVE-2012-2459.

use bitcoin::hashes::{Hash, HashEngine, sha256d};

use crate::sha256::{BLOCK_BYTES, Digest, LANES, parents};

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
        let (pairs, last) = level.as_chunks::<2>();
        mutated |= pairs.iter().any(|[left, right]| left == right);
        let repeated = last.first().map(|last| [*last, *last]);
        let pairs: Vec<&[Digest; 2]> = pairs.iter().chain(&repeated).collect();
        let mut above = Vec::with_capacity(pairs.len());
        for four in pairs.chunks(LANES) {
            let mut blocks = [[0; BLOCK_BYTES]; LANES];
            for (block, pair) in blocks.iter_mut().zip(four) {
                block.copy_from_slice(pair.as_flattened());
            }
            above.extend(parents(blocks.each_ref()).iter().take(four.len()));
        }
        level = above;
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
