//! The header tree on real headers in awkward orders.

use std::fs;
use std::path::Path;

use bitcoin::block::Header;
use millrace_core::block::decode_header;

use super::*;

const NOW: UnixSeconds = UnixSeconds::new(1_700_000_000);

/// Reads the headers of a fixture of framed blocks.
fn headers_of(fixture: &str) -> Vec<Header> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures")
        .join(fixture);
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut headers = Vec::new();
    let mut rest = bytes.as_slice();
    while let Some((head, body)) = rest.split_at_checked(8) {
        let size = u32::from_le_bytes(head[4..].try_into().expect("four bytes")) as usize;
        let Some(block) = body.get(..size) else { break };
        headers.push(decode_header(&block[..80]).expect("a header"));
        rest = &body[size..];
    }
    headers
}

fn real() -> Vec<Header> {
    headers_of("blocktools/1M.dat")
}

fn alternate() -> Vec<Header> {
    headers_of("bitcoin-core/mainnet_alt_blocks_1_2016.dat")
}

fn tree(headers: &[Header]) -> HeaderTree {
    let mut tree = HeaderTree::new(Network::Mainnet);
    tree.accept(headers, NOW);
    tree
}

#[test]
fn real_headers_in_any_order_make_the_same_chain() {
    let headers = real();
    let mut reversed = headers.clone();
    reversed.reverse();
    // Strides of 5 visit every header once, since 5 and 4,522 have no common factor.
    let strided: Vec<Header> = (0..headers.len())
        .map(|index| headers[index * 5 % headers.len()])
        .collect();
    for order in [&headers, &reversed, &strided] {
        let tree = tree(order);
        assert_eq!(tree.len(), 4_522);
        assert_eq!(tree.orphans(), 0);
        assert_eq!(tree.tip_height(), Height::new(4_521));
        assert_eq!(
            tree.tip_hash().to_string(),
            "00000000ac08f7d984f6b36027395e654a5f1e3bb006cd9df9c60b9897ea4c40"
        );
    }
}

#[test]
fn the_branch_with_most_work_wins_and_the_change_is_named() {
    let (real, alternate) = (real(), alternate());
    let mut tree = tree(&real[..=1_000]);
    let accepted = tree.accept(&alternate, NOW);
    assert_eq!(accepted.joined, 2_016);
    assert_eq!(accepted.changed_from, Some(Height::new(1)));
    assert_eq!(tree.tip_hash(), alternate[2_015].block_hash());
    let accepted = tree.accept(&real, NOW);
    assert_eq!(accepted.changed_from, Some(Height::new(1)));
    assert_eq!(tree.tip_hash(), real[4_521].block_hash());
    assert!(!tree.is_on_best_chain(alternate[0].block_hash()));
    assert_eq!(
        tree.height_of(alternate[0].block_hash()),
        Some(Height::new(1))
    );
}

#[test]
fn headers_seen_before_change_nothing() {
    let real = real();
    let mut tree = tree(&real);
    assert_eq!(tree.accept(&real, NOW), Accepted::default());
}

#[test]
fn headers_without_a_parent_wait_for_it() {
    let real = real();
    let mut tree = tree(&real[100..200]);
    assert_eq!((tree.len(), tree.orphans()), (1, 100));
    tree.accept(&real[..100], NOW);
    assert_eq!((tree.len(), tree.orphans()), (200, 0));
}

#[test]
fn a_header_that_breaks_a_rule_is_refused_alone() {
    let real = real();
    let mut headers = real[..20].to_vec();
    let mut bad = real[20];
    bad.nonce ^= 1;
    headers.push(bad);
    let mut tree = HeaderTree::new(Network::Mainnet);
    let accepted = tree.accept(&headers, NOW);
    assert_eq!(accepted.joined, 19);
    assert!(matches!(
        accepted.refused.as_slice(),
        [HeaderError::InsufficientWork { .. }]
    ));
    tree.accept(&real[20..30], NOW);
    assert_eq!(tree.tip_height(), Height::new(29));
}

#[test]
fn a_header_ahead_of_the_clock_is_judged_again_later() {
    let real = real();
    let mut tree = HeaderTree::new(Network::Mainnet);
    let early = UnixSeconds::new(u64::from(real[5].time) - 2 * 60 * 60);
    let accepted = tree.accept(&real[..=6], early);
    assert_eq!(tree.tip_height(), Height::new(5));
    assert!(accepted.refused.iter().all(HeaderError::is_transient));
    tree.accept(&[], NOW);
    assert_eq!(tree.tip_height(), Height::new(6));
}

#[test]
fn a_refused_block_takes_its_descendants_with_it() {
    let (real, alternate) = (real(), alternate());
    let mut tree = tree(&real);
    tree.accept(&alternate, NOW);
    let changed = tree.refuse(real[1_500].block_hash());
    assert_eq!(changed, Some(Height::new(1)));
    assert_eq!(tree.tip_hash(), alternate[2_015].block_hash());
    let changed = tree.refuse(alternate[1_600].block_hash());
    assert_eq!(changed, Some(Height::new(1_601)));
    assert_eq!(tree.tip_hash(), alternate[1_599].block_hash());
    assert_eq!(tree.refuse(real[4_000].block_hash()), None);
}

#[test]
fn children_of_a_refused_block_never_join_the_best_chain() {
    let real = real();
    let mut tree = tree(&real[..100]);
    tree.refuse(real[90].block_hash());
    assert_eq!(tree.tip_height(), Height::new(89));
    let accepted = tree.accept(&real[100..], NOW);
    assert_eq!(accepted.changed_from, None);
    assert_eq!(tree.tip_height(), Height::new(89));
}

#[test]
fn a_required_block_rules_out_heavier_branches() {
    let (real, alternate) = (real(), alternate());
    let mut tree = tree(&real);
    tree.accept(&alternate, NOW);
    assert_eq!(tree.require(real[50].block_hash()), None);
    let changed = tree.require(alternate[49].block_hash());
    assert_eq!(changed, Some(Height::new(1)));
    assert_eq!(tree.tip_hash(), alternate[2_015].block_hash());
}

#[test]
fn a_required_block_that_comes_later_rules_from_then_on() {
    let (real, alternate) = (real(), alternate());
    let mut tree = tree(&real);
    assert_eq!(tree.require(alternate[49].block_hash()), None);
    assert_eq!(tree.tip_hash(), real[4_521].block_hash());
    tree.accept(&alternate, NOW);
    assert_eq!(tree.tip_hash(), alternate[2_015].block_hash());
}
