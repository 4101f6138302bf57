//! A regtest chain made in the test: true headers, one transaction in each block.

use std::collections::HashMap;

use bitcoin::absolute::LockTime;
use bitcoin::block::{Header, Version};
use bitcoin::consensus::serialize;
use bitcoin::transaction::Version as TransactionVersion;
use bitcoin::{
    Amount, Block, BlockHash, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness,
};
use millrace_core::Network;

/// A chain and what was mined beside it.
pub struct FakeChain {
    /// The best chain, from genesis on.
    pub best: Vec<Block>,
    pub all: HashMap<BlockHash, Block>,
    mined: u32,
}

impl FakeChain {
    pub fn new() -> Self {
        let genesis = Network::Regtest.genesis_block();
        Self {
            all: HashMap::from([(genesis.block_hash(), genesis.clone())]),
            best: vec![genesis],
            mined: 0,
        }
    }

    /// Mines blocks on the best chain and returns them.
    pub fn mine(&mut self, blocks: u32) -> Vec<Block> {
        (0..blocks).map(|_| self.mine_one()).collect()
    }

    /// Replaces the last blocks by others and returns these.
    pub fn reorganise(&mut self, depth: u32, blocks: u32) -> Vec<Block> {
        assert!(blocks > depth, "only more work wins");
        self.best.truncate(self.best.len() - depth as usize);
        self.mine(blocks)
    }

    pub fn height_of(&self, hash: BlockHash) -> Option<usize> {
        self.best
            .iter()
            .position(|block| block.block_hash() == hash)
    }

    fn mine_one(&mut self) -> Block {
        self.mined += 1;
        let parent = self.best.last().expect("genesis at least").header;
        let mut block = Block {
            header: Header {
                version: Version::TWO,
                prev_blockhash: parent.block_hash(),
                merkle_root: bitcoin::hashes::Hash::all_zeros(),
                time: parent.time + 600,
                bits: parent.bits,
                nonce: 0,
            },
            txdata: vec![coinbase(self.mined)],
        };
        block.header.merkle_root = block.compute_merkle_root().expect("it has a transaction");
        while block.header.validate_pow(block.header.target()).is_err() {
            block.header.nonce += 1;
        }
        self.all.insert(block.block_hash(), block.clone());
        self.best.push(block.clone());
        block
    }

    pub fn bytes(&self) -> Vec<Vec<u8>> {
        self.best.iter().map(serialize).collect()
    }
}

/// Returns a coinbase that differs from all others, with witness data.
fn coinbase(number: u32) -> Transaction {
    Transaction {
        version: TransactionVersion::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::null(),
            script_sig: ScriptBuf::from([&[4][..], &number.to_le_bytes()].concat()),
            sequence: Sequence::MAX,
            witness: Witness::from_slice(&[[0; 32]]),
        }],
        output: vec![TxOut {
            value: Amount::from_sat(u64::from(number)),
            script_pubkey: ScriptBuf::from(vec![0x51; number as usize % 200]),
        }],
    }
}
