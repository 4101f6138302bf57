//! Large blocks that Bitcoin Core accepts, scripts and all: regtest's cheap proof of work, and coins that anyone
//! can spend with a witness as large as a signature and a key.

use std::collections::VecDeque;

use bitcoin::absolute::LockTime;
use bitcoin::block::Header;
use bitcoin::opcodes::all::{OP_2DROP, OP_PUSHNUM_1};
use bitcoin::script::Builder;
use bitcoin::{
    Block, Network, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness, transaction,
};

use crate::mining::{BlockPlan, assemble, pay};

/// Blocks after which a coinbase's outputs can be spent.
const MATURITY: u32 = 100;

/// Coins that are spent and made anew all the time.
const COINS: usize = 16_000;

/// Outputs of a transaction that splits a coinbase.
const SPLIT: usize = 4_000;

/// Amount of each of these coins, in satoshi.
const SATOSHI: u64 = 100_000;

/// Transactions of a large block: 400 bytes each, 1.6 MB and just under 4,000,000 weight units together.
pub const LARGE: usize = 4_100;

/// Blocks before the first large one can be made.
pub const PREPARING: u32 = MATURITY + (COINS / SPLIT) as u32;

/// See the module's documentation. The same calls give the same bytes on every machine.
pub struct SpendableChain {
    tip: Header,
    height: u32,
    script: ScriptBuf,
    witness: Witness,
    coins: VecDeque<OutPoint>,
    /// Outputs of coinbases that will be split, oldest first.
    coinbases: VecDeque<(OutPoint, u64)>,
}

impl Default for SpendableChain {
    fn default() -> Self {
        Self::new()
    }
}

impl SpendableChain {
    /// Starts at regtest's genesis block.
    pub fn new() -> Self {
        let condition = Builder::new()
            .push_opcode(OP_2DROP)
            .push_opcode(OP_PUSHNUM_1)
            .into_script();
        let witness = [vec![0x30; 72], vec![0x02; 33], condition.to_bytes()];
        Self {
            tip: bitcoin::constants::genesis_block(Network::Regtest).header,
            height: 0,
            script: condition.to_p2wsh(),
            witness: Witness::from_slice(&witness),
            coins: VecDeque::new(),
            coinbases: VecDeque::new(),
        }
    }

    /// The next block: while there are no coins one that prepares them, then one of `transactions` payments.
    pub fn next_block(&mut self, transactions: usize) -> Block {
        let transactions = match self.height < PREPARING {
            true if self.height >= MATURITY => vec![self.split()],
            true => Vec::new(),
            false => (0..transactions).map(|_| self.pay()).collect(),
        };
        self.height += 1;
        // Halvings every 150 blocks would leave nothing to claim after a while.
        let claimed = if self.height <= MATURITY {
            5_000_000_000
        } else {
            0
        };
        let plan = BlockPlan {
            coinbase: vec![pay(&self.script, claimed)],
            transactions,
            time: None,
        };
        let block = assemble(&self.tip, self.height, 0, plan);
        self.tip = block.header;
        if claimed > 0 {
            let txid = block.txdata[0].compute_txid();
            self.coinbases
                .push_back((OutPoint { txid, vout: 0 }, claimed));
        }
        block
    }

    fn split(&mut self) -> Transaction {
        let (spent, _) = self
            .coinbases
            .pop_front()
            .expect("there are more than are split");
        let outputs = (0..SPLIT).map(|_| pay(&self.script, SATOSHI)).collect();
        self.spend(&[spent], outputs)
    }

    fn pay(&mut self) -> Transaction {
        let spent = [(); 2].map(|()| self.coins.pop_front().expect("as many are made as spent"));
        let outputs = (0..2).map(|_| pay(&self.script, SATOSHI)).collect();
        self.spend(&spent, outputs)
    }

    fn spend(&mut self, spent: &[OutPoint], output: Vec<TxOut>) -> Transaction {
        let input = spent.iter().map(|outpoint| TxIn {
            previous_output: *outpoint,
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: self.witness.clone(),
        });
        let made = output.len();
        let transaction = Transaction {
            version: transaction::Version::TWO,
            lock_time: LockTime::ZERO,
            input: input.collect(),
            output,
        };
        let txid = transaction.compute_txid();
        let made =
            (0..u32::try_from(made).expect("a few thousand")).map(|vout| OutPoint { txid, vout });
        self.coins.extend(made);
        transaction
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::Weight;

    use super::*;
    use crate::coins::CoinSet;

    #[test]
    fn large_blocks_are_nearly_as_heavy_as_allowed_and_spend_what_is_there() {
        let mut chain = SpendableChain::new();
        let mut blocks = vec![bitcoin::constants::genesis_block(Network::Regtest)];
        for _ in 0..PREPARING + 3 {
            blocks.push(chain.next_block(LARGE));
        }
        CoinSet::of_chain(&blocks).expect("every input is there");
        for block in &blocks[PREPARING as usize + 1..] {
            assert_eq!(block.txdata.len(), LARGE + 1);
            assert!(block.weight() <= Weight::MAX_BLOCK, "{}", block.weight());
            assert!(block.total_size() > 1_600_000, "{}", block.total_size());
            assert!(block.check_merkle_root() && block.check_witness_commitment());
        }
    }
}
