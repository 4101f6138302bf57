//! A tree of blocks kept whole in memory, from which any branch can be taken out again.

use std::collections::HashMap;

use bitcoin::{Block, BlockHash, Work};

use crate::coins::CoinSet;

/// Blocks by hash, all descending from one genesis block.
pub struct BlockTree {
    genesis: BlockHash,
    nodes: HashMap<BlockHash, Node>,
}

struct Node {
    block: Block,
    height: u32,
    work: Work,
}

impl BlockTree {
    /// Starts from a genesis block.
    pub fn new(genesis: Block) -> Self {
        let hash = genesis.block_hash();
        let work = genesis.header.work();
        let node = Node {
            block: genesis,
            height: 0,
            work,
        };
        Self {
            genesis: hash,
            nodes: HashMap::from([(hash, node)]),
        }
    }

    /// Starts from the first of `blocks` and adds the others in order.
    pub fn of_chain(blocks: impl IntoIterator<Item = Block>) -> Self {
        let mut blocks = blocks.into_iter();
        let mut tree = Self::new(blocks.next().expect("a chain has a genesis block"));
        for block in blocks {
            tree.insert(block);
        }
        tree
    }

    /// Adds a block whose parent is there and returns its hash.
    pub fn insert(&mut self, block: Block) -> BlockHash {
        let parent = self.node(block.header.prev_blockhash);
        let node = Node {
            height: parent.height + 1,
            work: parent.work + block.header.work(),
            block,
        };
        let hash = node.block.block_hash();
        self.nodes.insert(hash, node);
        hash
    }

    /// The genesis block's hash.
    pub fn genesis(&self) -> BlockHash {
        self.genesis
    }

    /// The block with this hash.
    pub fn block(&self, hash: BlockHash) -> &Block {
        &self.node(hash).block
    }

    /// The block's height.
    pub fn height(&self, hash: BlockHash) -> u32 {
        self.node(hash).height
    }

    /// The work of the chain that ends at the block.
    pub fn work(&self, hash: BlockHash) -> Work {
        self.node(hash).work
    }

    /// The blocks from genesis to `tip`, genesis first.
    pub fn branch(&self, tip: BlockHash) -> Vec<&Block> {
        let mut blocks = vec![self.block(tip)];
        while blocks[blocks.len() - 1].block_hash() != self.genesis {
            let parent = blocks[blocks.len() - 1].header.prev_blockhash;
            blocks.push(self.block(parent));
        }
        blocks.reverse();
        blocks
    }

    /// The block `height` above genesis on the chain that ends at `tip`.
    pub fn ancestor(&self, tip: BlockHash, height: u32) -> BlockHash {
        let mut hash = tip;
        while self.height(hash) > height {
            hash = self.block(hash).header.prev_blockhash;
        }
        hash
    }

    /// The coins at `tip`, recomputed from genesis.
    pub fn coins_at(&self, tip: BlockHash) -> CoinSet {
        CoinSet::of_chain(self.branch(tip)).expect("blocks of a test chain spend what exists")
    }

    fn node(&self, hash: BlockHash) -> &Node {
        self.nodes
            .get(&hash)
            .unwrap_or_else(|| panic!("block {hash} is not in the tree"))
    }
}
