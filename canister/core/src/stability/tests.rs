//! The stability rule on hand-computed trees and against a recursive reference.

use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash;
use bitcoin::{CompactTarget, TxMerkleNode};
use proptest::prelude::*;

use super::*;
use crate::header::{ChainWork, HeaderContext, PeriodStart, TrustedHeader};
use crate::tree::{MAX_TREE_NODES, NODE_RECORD_BYTES, NodeRecord};
use crate::units::Height;

/// A block of a made-up tree: the position of its parent, its difficulty, whether it is connected.
type Planned = (usize, u128, bool);

/// Name, the root's difficulty, the blocks, the threshold and the position of the stable child.
type Case = (&'static str, u128, Vec<Planned>, u32, Option<usize>);

/// Compact targets of exact difficulty on mainnet and testnets.
fn bits_of(difficulty: u128) -> u32 {
    match difficulty {
        1 => 0x1d00_ffff,
        2 => 0x1c7f_ff80,
        4 => 0x1c3f_ffc0,
        8 => 0x1c1f_ffe0,
        other => panic!("no bits for difficulty {other}"),
    }
}

/// Builds a tree without mining, through its stored form. Returns it with the hash of each block.
fn tree_of(root_difficulty: u128, plan: &[Planned], network: Network) -> (Tree, Vec<BlockHash>) {
    let mut hashes: Vec<(BlockHash, u32)> = Vec::new();
    let mut records = Vec::new();
    let root = (usize::MAX, root_difficulty, true);
    for (position, (parent, difficulty, is_connected)) in
        std::iter::once(&root).chain(plan).enumerate()
    {
        let (parent_hash, height) = hashes
            .get(*parent)
            .map_or((BlockHash::all_zeros(), 0), |(hash, height)| {
                (*hash, height + 1)
            });
        let bits = CompactTarget::from_consensus(bits_of(*difficulty));
        let header = Header {
            version: Version::ONE,
            prev_blockhash: parent_hash,
            merkle_root: TxMerkleNode::all_zeros(),
            time: 0,
            bits,
            nonce: u32::try_from(position).unwrap(),
        };
        let context = HeaderContext::trusted(&TrustedHeader {
            header,
            height: Height::new(height),
            chain_work: ChainWork::ZERO,
            earlier_times: Vec::new(),
            period: PeriodStart { time: 0, bits },
            last_regular_bits: bits,
        });
        let mut bytes = [0; NODE_RECORD_BYTES];
        bytes[..208].copy_from_slice(&context.encode());
        bytes[208..216].copy_from_slice(&(position as u64 + 1).to_le_bytes());
        bytes[216..224].copy_from_slice(&(position as u64 + 1).to_le_bytes());
        bytes[224] = if *is_connected { 2 } else { 0 };
        records.push(NodeRecord::decode(&bytes).unwrap());
        hashes.push((header.block_hash(), height));
    }
    let restored = Tree::restore(&hashes[0].0, records, network, MAX_TREE_NODES).unwrap();
    assert!(restored.dropped.is_empty());
    (
        restored.tree,
        hashes.into_iter().map(|(hash, _)| hash).collect(),
    )
}

/// Returns the position of the stable child in the plan, counted from 1.
fn stable_at(root: u128, plan: &[Planned], threshold: u32, network: Network) -> Option<usize> {
    let (tree, hashes) = tree_of(root, plan, network);
    let child = stable_child(&tree, threshold, network)?;
    hashes.iter().position(|hash| *hash == child)
}

#[test]
fn difficulty_decides_on_mainnet() {
    let linear = |difficulties: &[u128]| -> Vec<Planned> {
        difficulties
            .iter()
            .enumerate()
            .map(|(parent, difficulty)| (parent, *difficulty, true))
            .collect()
    };
    let cases: Vec<Case> = vec![
        ("only a root", 1, vec![], 1, None),
        (
            "as many blocks as the threshold",
            1,
            linear(&[1, 1, 1]),
            3,
            Some(1),
        ),
        ("one block too few", 1, linear(&[1, 1]), 3, None),
        (
            "a harder root needs more",
            4,
            linear(&[1, 1, 4, 4]),
            3,
            None,
        ),
        ("hard blocks count more", 4, linear(&[4, 8]), 3, Some(1)),
        (
            "an equal branch blocks",
            1,
            vec![(0, 1, true), (0, 1, true), (1, 1, true), (2, 1, true)],
            1,
            None,
        ),
        (
            "a lead of the threshold suffices",
            1,
            vec![(0, 1, true), (0, 1, true), (2, 1, true), (3, 1, true)],
            2,
            Some(2),
        ),
        (
            "a lead below it does not",
            1,
            vec![(0, 1, true), (0, 1, true), (2, 1, true)],
            2,
            None,
        ),
        (
            "a fork above the child is no rival",
            1,
            vec![(0, 1, true), (1, 1, true), (1, 1, true), (3, 1, true)],
            3,
            Some(1),
        ),
        (
            "the harder branch wins over the longer one",
            1,
            vec![(0, 8, true), (0, 1, true), (2, 1, true), (3, 1, true)],
            5,
            Some(1),
        ),
        (
            "headers alone prove nothing",
            1,
            vec![(0, 1, true), (1, 1, false), (2, 1, false)],
            2,
            None,
        ),
        (
            "a rival known by its header does not block",
            1,
            vec![(0, 1, true), (1, 1, true), (0, 1, false)],
            2,
            Some(1),
        ),
    ];
    for (name, root, plan, threshold, expected) in cases {
        assert_eq!(
            stable_at(root, &plan, threshold, Network::Mainnet),
            expected,
            "{name}"
        );
    }
}

#[test]
fn depth_decides_on_test_networks_when_difficulty_cannot() {
    let chain = |length: usize| -> Vec<Planned> { (0..length).map(|n| (n, 1, true)).collect() };
    // With threshold 144 the limit at 405 blocks is 500 - 356 * 405 / 1500 = 404 deep.
    let stable = |length, threshold, network| stable_at(8, &chain(length), threshold, network);
    for network in [Network::Testnet4, Network::Testnet3, Network::Regtest] {
        assert_eq!(stable(404, 144, network), Some(1), "{network}");
    }
    assert_eq!(stable(403, 144, Network::Testnet4), None);
    assert_eq!(stable(404, 144, Network::Mainnet), None);
    assert_eq!(stable(404, 144, Network::Signet), None);
    // A threshold above 499 hardly lowers it.
    assert_eq!(stable(499, 10_000, Network::Testnet4), None);
    assert_eq!(stable(500, 10_000, Network::Testnet4), Some(1));
    // A rival of depth 100 must be led by the limit too.
    let mut forked = chain(404);
    forked.push((0, 1, true));
    forked.extend((405..504).map(|parent| (parent, 1, true)));
    assert_eq!(stable_at(8, &forked, 144, Network::Testnet4), None);
}

#[test]
fn the_depth_limit_falls_from_500_to_the_threshold() {
    let cases = [
        (144, 0, 500),
        (144, 750, 322),
        (144, 1_500, 144),
        (144, 9_999, 144),
        (1_000, 1_500, 499),
        (0, 1_500, 0),
    ];
    for (threshold, blocks, limit) in cases {
        assert_eq!(
            depth_limit(Network::Regtest, threshold, blocks),
            Some(limit),
            "{threshold} {blocks}"
        );
    }
    assert_eq!(depth_limit(Network::Mainnet, 144, 1_500), None);
}

/// Largest difficulty sum and depth from `node` to a leaf, by the definition.
fn deepest(plan: &[Planned], node: usize) -> (u128, u64) {
    let children = plan
        .iter()
        .enumerate()
        .filter(|(_, (parent, _, _))| *parent == node)
        .map(|(at, _)| deepest(plan, at + 1));
    let (sum, depth) = children.fold((0, 0), |best, child| {
        (best.0.max(child.0), best.1.max(child.1))
    });
    (sum + plan[node - 1].1, depth + 1)
}

proptest! {
    #[test]
    fn the_rule_equals_its_definition(
        root in prop::sample::select(vec![1u128, 2, 4]),
        blocks in proptest::collection::vec(
            (any::<prop::sample::Index>(), prop::sample::select(vec![1u128, 2, 4, 8])),
            0..30,
        ),
        threshold in 1u32..6,
    ) {
        let plan: Vec<Planned> = blocks
            .iter()
            .enumerate()
            .map(|(at, (parent, difficulty))| (parent.index(at + 1), *difficulty, true))
            .collect();
        let mut sums: Vec<(u128, usize)> = (1..=plan.len())
            .filter(|node| plan[node - 1].0 == 0)
            .map(|node| (deepest(&plan, node).0, node))
            .collect();
        sums.sort();
        let required = root * u128::from(threshold);
        let expected = match sums[..] {
            [] => None,
            [(best, node)] => (best >= required).then_some(node),
            [.., (second, _), (best, node)] => (best >= required && best - second >= required).then_some(node),
        };
        prop_assert_eq!(stable_at(root, &plan, threshold, Network::Mainnet), expected);
        // Trees this small never reach a depth limit.
        prop_assert_eq!(stable_at(root, &plan, threshold, Network::Testnet4), expected);
    }
}
