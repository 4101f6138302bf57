//! Which block hashes to show a peer.

use bitcoin::BlockHash;
use millrace_core::Height;

use crate::headers::HeaderTree;

/// Hashes that follow one another without a gap at the newest end.
const DENSE: usize = 10;

/// Returns hashes of the best chain from `top` down: the first ones consecutive, then with
/// doubling gaps, the genesis block last. At most 43 hashes at any height.
pub(super) fn locator(tree: &HeaderTree, top: Height) -> Vec<BlockHash> {
    let mut hashes = Vec::with_capacity(DENSE + 32);
    let mut height = top.min(tree.tip_height()).get();
    let mut step = 1_u32;
    while height > 0 {
        hashes.extend(tree.hash_at(Height::new(height)));
        if hashes.len() >= DENSE {
            step = step.saturating_mul(2);
        }
        height = height.saturating_sub(step);
    }
    hashes.extend(tree.hash_at(Height::ZERO));
    hashes
}
