//! The recorded chains, read once for all tests of this binary.

use std::sync::OnceLock;

use bitcoin::{Block, BlockHash, ScriptBuf};
use millrace_tests::tree::BlockTree;
use millrace_tests::{artifacts, block_file};

/// Mainnet blocks 0 to 4521.
pub fn mainnet() -> &'static [Block] {
    static BLOCKS: OnceLock<Vec<Block>> = OnceLock::new();
    BLOCKS.get_or_init(|| read(&artifacts::mainnet_blocks()))
}

/// The alternate mainnet branch: heights 1 to 2016 at indices 0 to 2015.
pub fn alternate() -> &'static [Block] {
    static BLOCKS: OnceLock<Vec<Block>> = OnceLock::new();
    BLOCKS.get_or_init(|| read(&artifacts::alternate_blocks()))
}

/// The script every block of the alternate branch pays.
pub fn alternate_script() -> ScriptBuf {
    alternate()[0].txdata[0].output[0].script_pubkey.clone()
}

/// Both chains in one tree.
pub fn both() -> BlockTree {
    let mut tree = BlockTree::of_chain(mainnet().iter().cloned());
    for block in alternate() {
        tree.insert(block.clone());
    }
    tree
}

/// The hash of the last of some blocks.
pub fn last_hash(blocks: &[Block]) -> BlockHash {
    blocks[blocks.len() - 1].block_hash()
}

fn read(path: &std::path::Path) -> Vec<Block> {
    block_file::read_mainnet(path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .blocks
}
