//! The reference's chains have the numbers the reference states.

use bitcoin::{Block, Network, constants};

use super::reference::{Shape, address_script, forks};
use crate::coins::CoinSet;

fn coins(blocks: &[Block]) -> CoinSet {
    let genesis = constants::genesis_block(Network::Regtest);
    CoinSet::of_chain(std::iter::once(&genesis).chain(blocks)).expect("every input exists")
}

#[test]
fn an_address_has_its_outputs_of_every_block() {
    for (to_address, utxos) in [(3, 30), (100, 1_000)] {
        let blocks: Vec<Block> = Shape::new(10, 150, 3, to_address).chain().collect();
        let owners = coins(&blocks).by_script();
        assert_eq!(owners[&address_script()].len(), utxos);
        assert!(blocks.iter().skip(1).all(|block| block.txdata.len() == 150));
        assert!(blocks.iter().all(|block| block.check_merkle_root()));
    }
}

#[test]
fn a_chain_of_coinbases_has_one_output_each() {
    let blocks: Vec<Block> = Shape::new(20, 1, 1, 0).chain().collect();
    assert_eq!(blocks.len(), 20);
    assert_eq!(coins(&blocks).len(), 21);
}

#[test]
fn a_block_spends_the_coinbase_before_it_at_once() {
    let mut chain = Shape::new(5, 1, 1, 0).chain();
    let mut blocks: Vec<Block> = chain.by_ref().collect();
    blocks.extend(chain.spend_at_once(1_000));
    let last = &blocks[6];
    assert_eq!(last.txdata.len(), 2);
    assert_eq!(last.txdata[1].input.len(), 1_000);
    assert_eq!(coins(&blocks).len(), 6 + 1_000 + 1);
}

#[test]
fn forks_stand_beside_the_chain() {
    let blocks: Vec<Block> = Shape::new(5, 1, 1, 0).chain().collect();
    let parents = (1..)
        .zip(&blocks)
        .map(|(height, block)| (block.header, height));
    let beside = forks(parents.take(4));
    for (fork, pair) in beside.iter().zip(blocks.windows(2)) {
        assert_eq!(fork.header.prev_blockhash, pair[0].block_hash());
        assert_ne!(fork.block_hash(), pair[1].block_hash());
    }
    assert_eq!(beside.len(), 4);
}
