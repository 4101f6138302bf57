//! Chains that come back, and the contexts put together from lean nodes.

use bitcoin::hashes::Hash;
use bitcoin::{CompactTarget, TxMerkleNode};

use super::*;

/// Later than every fixture.
const LATER: UnixSeconds = UnixSeconds::new(1_790_000_000);

/// Reads a fixture of plain headers.
fn plain(fixture: &str) -> Vec<Header> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures/headers")
        .join(fixture);
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    bytes
        .chunks_exact(80)
        .map(|header| decode_header(header).expect("a header"))
        .collect()
}

/// Mines a chain on regtest's genesis block; `branch` makes it one of its own.
pub(super) fn mined(count: u32, branch: u8) -> Vec<Header> {
    let genesis = Network::Regtest.genesis_block().header;
    let mut parent = genesis.block_hash();
    (1..=count)
        .map(|height| {
            let mut header = Header {
                prev_blockhash: parent,
                merkle_root: TxMerkleNode::from_byte_array([branch; 32]),
                time: genesis.time + height,
                bits: CompactTarget::from_consensus(0x207f_ffff),
                nonce: 0,
                ..genesis
            };
            while !header.target().is_met_by(header.block_hash()) {
                header.nonce += 1;
            }
            parent = header.block_hash();
            header
        })
        .collect()
}

/// Real chains, which cross retargets, and use the 20-minute rule on the test networks.
fn chains() -> Vec<(Network, Vec<Header>)> {
    let from_genesis = |mut headers: Vec<Header>, network: Network| {
        headers.retain(|header| *header != network.genesis_block().header);
        (network, headers)
    };
    vec![
        from_genesis(real(), Network::Mainnet),
        from_genesis(plain("testnet3_1_2100.bin"), Network::Testnet3),
        from_genesis(plain("testnet4_0_100.bin"), Network::Testnet4),
        from_genesis(plain("signet_0_2015.bin"), Network::Signet),
        (Network::Regtest, mined(100, 0)),
    ]
}

#[test]
fn a_restored_chain_is_the_one_that_was_judged() {
    for (network, headers) in chains() {
        let mut judged = HeaderTree::new(network);
        judged.accept(&headers, LATER);
        let mut restored = HeaderTree::restore(network, headers.iter().copied());
        let height = u32::try_from(headers.len()).expect("small");
        assert_eq!(judged.tip_height(), Height::new(height), "{network}");
        assert_eq!(restored.tip_height(), judged.tip_height(), "{network}");
        assert_eq!(restored.tip_time(), judged.tip_time());
        assert_eq!(restored.best_work(), judged.best_work());
        for height in (0..=height).map(Height::new) {
            assert_eq!(restored.hash_at(height), judged.hash_at(height));
            assert_eq!(restored.header_at(height), judged.header_at(height));
        }
        assert_eq!(restored.accept(&headers, LATER), Accepted::default());
    }
}

#[test]
fn contexts_put_together_are_those_that_were_accepted() {
    for (network, headers) in chains() {
        let mut tree = HeaderTree::restore(network, headers.iter().copied());
        tree.latest = (0, HeaderContext::genesis(network));
        let mut context = HeaderContext::genesis(network);
        for (header, position) in headers.iter().zip(1..) {
            context = context
                .accept(header, network, LATER)
                .expect("a real header");
            assert_eq!(
                tree.context_at(position),
                Some(context),
                "{network} at {}",
                context.height()
            );
        }
    }
}

#[test]
fn a_restored_chain_goes_on_and_gives_way() {
    let (real, alternate) = (real(), alternate());
    let mut tree = HeaderTree::restore(Network::Mainnet, real[1..=1_000].iter().copied());
    let accepted = tree.accept(&real[1_001..2_000], NOW);
    assert_eq!(accepted.changed_from, Some(Height::new(1_001)));
    tree.accept(&alternate, NOW);
    assert_eq!(tree.tip_hash(), alternate[2_015].block_hash());
    assert_eq!(tree.refuse(alternate[0].block_hash()), Some(Height::new(1)));
    assert_eq!(tree.tip_hash(), real[1_999].block_hash());
}

#[test]
fn headers_that_do_not_begin_at_genesis_are_not_restored() {
    let tree = HeaderTree::restore(Network::Mainnet, real()[2..].iter().copied());
    assert!(tree.is_empty());
    let tree = HeaderTree::restore(Network::Signet, real()[1..].iter().copied());
    assert!(tree.is_empty());
    assert!(HeaderTree::restore(Network::Signet, []).is_empty());
}
