//! The chains that the official canister's published benchmarks are stated for. They spend immature
//! coinbases, so they are for `block_validation = proof_of_work`.

use bitcoin::block::Header;
use bitcoin::{Block, Network, OutPoint, ScriptBuf, Transaction, Txid, constants};

use crate::mining::{self, BlockPlan};

/// What each output is worth.
const SATOSHI: u64 = 1_000;

/// Scripts of outputs that are not the address's start here.
const OTHERS: u64 = 1 << 40;

/// `Chain(B, T, O, A)`: B blocks. Each coinbase has T-1 outputs, of which the first A pay one address.
/// From the second block on, T-1 transactions each spend one output of the previous coinbase and make
/// O outputs; the first A of the block's pay the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// B: blocks on genesis.
    pub blocks: u32,
    /// T: transactions of a block, the coinbase included. A coinbase has one output at least.
    pub transactions: u32,
    /// O: outputs of a transaction.
    pub outputs: u32,
    /// A: outputs of a block, and of a coinbase, that pay the address.
    pub to_address: u32,
}

impl Shape {
    /// `Chain(B, T, O, A)`.
    pub const fn new(blocks: u32, transactions: u32, outputs: u32, to_address: u32) -> Self {
        Self {
            blocks,
            transactions,
            outputs,
            to_address,
        }
    }

    /// The blocks, lowest first.
    pub const fn chain(self) -> Chain {
        Chain {
            shape: self,
            tip: None,
            height: 0,
            coinbase: None,
            tag: OTHERS,
        }
    }
}

/// The script of the address.
pub fn address_script() -> ScriptBuf {
    mining::script(0)
}

/// Makes the blocks of a [`Shape`], one after the other.
#[derive(Clone, Debug)]
pub struct Chain {
    shape: Shape,
    tip: Option<Header>,
    height: u32,
    coinbase: Option<(Txid, u32)>,
    tag: u64,
}

impl Chain {
    /// The header the next block goes on.
    fn tip(&self) -> Header {
        self.tip
            .unwrap_or_else(|| constants::genesis_block(Network::Regtest).header)
    }

    fn outputs(&mut self, count: u32, to_address: &mut u32) -> Vec<bitcoin::TxOut> {
        (0..count)
            .map(|_| {
                if *to_address > 0 {
                    *to_address -= 1;
                    return mining::pay(&address_script(), SATOSHI);
                }
                self.tag += 1;
                mining::pay(&mining::script(self.tag), SATOSHI)
            })
            .collect()
    }

    /// One more block that spends every output of the newest coinbase in one transaction, and makes as
    /// many: the workload "insert block". Its parent is a block whose coinbase has `count` outputs.
    pub fn spend_at_once(&mut self, count: u32) -> [Block; 2] {
        let coinbase = self.outputs(count, &mut 0);
        let parent = self.mine(coinbase, Vec::new());
        let txid = parent.txdata[0].compute_txid();
        let inputs: Vec<OutPoint> = (0..count).map(|vout| OutPoint { txid, vout }).collect();
        let outputs = self.outputs(count, &mut 0);
        let spend = mining::spend(&inputs, outputs);
        let coinbase = self.outputs(1, &mut 0);
        let block = self.mine(coinbase, vec![spend]);
        [parent, block]
    }

    fn mine(&mut self, coinbase: Vec<bitcoin::TxOut>, transactions: Vec<Transaction>) -> Block {
        self.height += 1;
        let outputs = u32::try_from(coinbase.len()).expect("a coinbase of a few thousand outputs");
        let plan = BlockPlan {
            coinbase,
            transactions,
            time: None,
        };
        let block = mining::assemble(&self.tip(), self.height, self.height.into(), plan);
        self.coinbase = Some((block.txdata[0].compute_txid(), outputs));
        self.tip = Some(block.header);
        block
    }
}

impl Iterator for Chain {
    type Item = Block;

    fn next(&mut self) -> Option<Block> {
        if self.height == self.shape.blocks {
            return None;
        }
        let per_block = self.shape.transactions.saturating_sub(1);
        let mut transactions = Vec::new();
        if let Some((txid, outputs)) = self.coinbase {
            let mut to_address = self.shape.to_address;
            for vout in 0..per_block.min(outputs) {
                let outputs = self.outputs(self.shape.outputs, &mut to_address);
                transactions.push(mining::spend(&[OutPoint { txid, vout }], outputs));
            }
        }
        let mut to_address = self.shape.to_address;
        let coinbase = self.outputs(per_block.max(1), &mut to_address);
        Some(self.mine(coinbase, transactions))
    }
}

/// One coinbase-only block on each of these headers, beside whatever follows them.
pub fn forks(parents: impl IntoIterator<Item = (Header, u32)>) -> Vec<Block> {
    let fork = |(parent, height): (Header, u32)| {
        // No chain has this extra nonce: it is above every height.
        let extra_nonce = u64::MAX - u64::from(height);
        let plan = BlockPlan::paying(&mining::script(OTHERS - 1));
        mining::assemble(&parent, height + 1, extra_nonce, plan)
    };
    parents.into_iter().map(fork).collect()
}
