//! Decides when the root of the unstable tree is final: the official difficulty-based rule.
//!
//! Let T be the root's difficulty times the threshold. The root's child with the largest sum of
//! difficulties down to a leaf is stable when that sum reaches T and leads every other child's
//! sum by at least T. Only connected blocks count: what was never connected proves nothing.
//!
//! On test networks difficulty can fall to the minimum, and then T would take a hopelessly long
//! chain. There the child is also stable when its depth reaches a limit and leads the runner-up's
//! depth by that limit; the limit falls as the tree grows, so the tree stays bounded.

use std::collections::BTreeMap;

use bitcoin::BlockHash;

use crate::network::Network;
use crate::tree::{BlockStatus, Tree};

/// Depth limit on test networks for a tree without blocks.
const TEST_DEPTH_LIMIT: u64 = 500;

/// Number of blocks from which the depth limit on test networks no longer falls.
const TEST_FULL_BLOCKS: u64 = 1_500;

/// The deepest connected chain below one child of the root.
#[derive(Clone, Copy, Debug, Default)]
struct Branch {
    /// Largest sum of difficulties from the child to a leaf, both included.
    difficulty: u128,
    /// Largest number of blocks from the child to a leaf, both included.
    depth: u64,
}

/// Returns the child of the root that is stable, so that the root may retire, if there is one.
///
/// `threshold` is the number of blocks of the root's difficulty that must follow; ties go to the
/// child seen first. Visits each node of the tree once: O(n log n), n at most the tree's
/// capacity. Call it after a block was connected or the root moved.
pub fn stable_child(tree: &Tree, threshold: u32, network: Network) -> Option<BlockHash> {
    let root = tree.root()?;
    let required = root.difficulty().saturating_mul(u128::from(threshold));
    let branches = branches(tree);
    let (child, best) = branches.iter().copied().reduce(|best, other| {
        if other.1.difficulty > best.1.difficulty {
            other
        } else {
            best
        }
    })?;
    let runner_up = branches
        .iter()
        .filter(|(hash, _)| *hash != child)
        .map(|(_, branch)| *branch)
        .reduce(|best, other| {
            if other.difficulty > best.difficulty {
                other
            } else {
                best
            }
        });
    let by_difficulty = best.difficulty >= required
        && runner_up
            .is_none_or(|second| best.difficulty.saturating_sub(second.difficulty) >= required);
    let by_depth = depth_limit(network, threshold, tree.connected_count()).is_some_and(|limit| {
        let second = runner_up.map_or(0, |second| second.depth);
        // A lead of the limit implies a depth of the limit.
        best.depth.saturating_sub(second) >= limit
    });
    (by_difficulty || by_depth).then_some(child)
}

/// Returns the depth limit of a test network with `blocks` in its tree; none on mainnet.
///
/// Falls linearly from [`TEST_DEPTH_LIMIT`] for an empty tree to the threshold (at most
/// [`TEST_DEPTH_LIMIT`] - 1) at [`TEST_FULL_BLOCKS`].
fn depth_limit(network: Network, threshold: u32, blocks: usize) -> Option<u64> {
    if !network.allows_min_difficulty() {
        return None;
    }
    let lowest = u64::from(threshold).min(TEST_DEPTH_LIMIT - 1);
    let blocks = u64::try_from(blocks).map_or(TEST_FULL_BLOCKS, |n| n.min(TEST_FULL_BLOCKS));
    let fall = (TEST_DEPTH_LIMIT - lowest).saturating_mul(blocks) / TEST_FULL_BLOCKS;
    Some(TEST_DEPTH_LIMIT.saturating_sub(fall))
}

/// Returns the root's connected children in first-seen order, each with its deepest chain.
fn branches(tree: &Tree) -> Vec<(BlockHash, Branch)> {
    let root = tree.root_hash();
    let mut sums: BTreeMap<BlockHash, u128> = BTreeMap::new();
    let mut branches: Vec<(BlockHash, Branch)> = Vec::new();
    for (node, depth) in tree.preorder(|node| node.status() == BlockStatus::Connected) {
        let parent = node.context().header().prev_blockhash;
        if parent == root {
            branches.push((node.hash(), Branch::default()));
        }
        let above = sums.get(&parent).copied().unwrap_or(0);
        let sum = above.saturating_add(node.difficulty());
        sums.insert(node.hash(), sum);
        if let Some((_, branch)) = branches.last_mut() {
            branch.difficulty = branch.difficulty.max(sum);
            branch.depth = branch.depth.max(depth as u64 + 1);
        }
    }
    branches
}

#[cfg(test)]
mod tests;
