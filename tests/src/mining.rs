//! Mines regtest blocks with real proof of work: chains, forks, spends and blocks of any size.

use bitcoin::absolute::LockTime;
use bitcoin::block::{Header, Version};
use bitcoin::consensus::Params;
use bitcoin::hashes::Hash;
use bitcoin::script::Builder;
use bitcoin::{
    Amount, Block, BlockHash, Network, OutPoint, Script, ScriptBuf, Sequence, Transaction, TxIn,
    TxMerkleNode, TxOut, Witness, transaction,
};

use crate::tree::BlockTree;

/// Seconds between mined blocks, as on mainnet.
const BLOCK_INTERVAL_SECONDS: u32 = 600;

/// What BIP141 commits with besides the witness root: the coinbase's only witness item.
const WITNESS_RESERVED_VALUE: [u8; 32] = [0; 32];

/// What a block is to contain.
#[derive(Clone, Debug, Default)]
pub struct BlockPlan {
    /// The coinbase's outputs.
    pub coinbase: Vec<TxOut>,
    /// Transactions after the coinbase, in order.
    pub transactions: Vec<Transaction>,
    /// The header's time; ten minutes after the parent's when absent.
    pub time: Option<u32>,
}

impl BlockPlan {
    /// A block whose whole subsidy goes to one script.
    pub fn paying(script: &Script) -> Self {
        Self {
            coinbase: vec![pay(script, Amount::from_int_btc(50).to_sat())],
            ..Self::default()
        }
    }

    /// Adds a transaction.
    pub fn with(mut self, transaction: Transaction) -> Self {
        self.transactions.push(transaction);
        self
    }
}

/// An output of `satoshi` to `script`.
pub fn pay(script: &Script, satoshi: u64) -> TxOut {
    TxOut {
        value: Amount::from_sat(satoshi),
        script_pubkey: script.to_owned(),
    }
}

/// A transaction that spends `inputs` into `outputs`. Signatures are not needed: nobody runs scripts.
pub fn spend(inputs: &[OutPoint], outputs: Vec<TxOut>) -> Transaction {
    spend_with_witness(inputs, outputs, &[])
}

/// Like [`spend`], with `witness` as the first input's only witness item unless it is empty.
pub fn spend_with_witness(inputs: &[OutPoint], outputs: Vec<TxOut>, witness: &[u8]) -> Transaction {
    let mut input: Vec<TxIn> = inputs
        .iter()
        .map(|outpoint| TxIn {
            previous_output: *outpoint,
            sequence: Sequence::MAX,
            ..TxIn::default()
        })
        .collect();
    if !witness.is_empty() {
        input[0].witness.push(witness);
    }
    Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input,
        output: outputs,
    }
}

/// A distinct pay-to-witness-public-key-hash script for every `tag`.
pub fn script(tag: u64) -> ScriptBuf {
    let mut hash = [0x5a; 20];
    hash[..8].copy_from_slice(&tag.to_le_bytes());
    ScriptBuf::new_p2wpkh(&bitcoin::WPubkeyHash::from_byte_array(hash))
}

/// The outpoint of a block's transaction.
pub fn output_of(block: &Block, transaction: usize, vout: u32) -> OutPoint {
    OutPoint {
        txid: block.txdata[transaction].compute_txid(),
        vout,
    }
}

/// A growing tree of regtest blocks.
pub struct Miner {
    /// Every block mined, and genesis.
    pub tree: BlockTree,
    /// Makes coinbases differ where height and outputs are the same on two forks.
    extra_nonce: u64,
}

impl Default for Miner {
    fn default() -> Self {
        Self::new()
    }
}

impl Miner {
    /// Starts at regtest's genesis block.
    pub fn new() -> Self {
        Self {
            tree: BlockTree::new(bitcoin::constants::genesis_block(Network::Regtest)),
            extra_nonce: 0,
        }
    }

    /// Mines one block on `parent`, keeps it and returns its hash.
    pub fn mine(&mut self, parent: BlockHash, plan: BlockPlan) -> BlockHash {
        let block = self.build(parent, plan);
        self.tree.insert(block)
    }

    /// Mines `count` blocks on `parent`, each paying `script`, and returns the last one's hash.
    pub fn mine_many(&mut self, parent: BlockHash, count: u32, script: &Script) -> BlockHash {
        (0..count).fold(parent, |tip, _| self.mine(tip, BlockPlan::paying(script)))
    }

    /// Mines one block on `parent` without keeping it: for blocks that are to be broken afterwards.
    pub fn build(&mut self, parent: BlockHash, plan: BlockPlan) -> Block {
        self.extra_nonce += 1;
        let height = self.tree.height(parent) + 1;
        let parent = self.tree.block(parent).header;
        assemble(&parent, height, self.extra_nonce, plan)
    }

    /// The blocks above genesis up to `tip`, lowest first.
    pub fn chain(&self, tip: BlockHash) -> Vec<&Block> {
        self.tree.branch(tip).split_off(1)
    }
}

/// Mines the block `height` above genesis that follows `parent` and holds what `plan` says.
///
/// `extra_nonce` makes coinbases differ where height and outputs are the same.
pub fn assemble(parent: &Header, height: u32, extra_nonce: u64, plan: BlockPlan) -> Block {
    let mut txdata = vec![coinbase(height, extra_nonce, plan.coinbase)];
    txdata.extend(plan.transactions);
    let header = Header {
        version: Version::from_consensus(0x2000_0000),
        prev_blockhash: parent.block_hash(),
        merkle_root: TxMerkleNode::all_zeros(),
        time: plan.time.unwrap_or(parent.time + BLOCK_INTERVAL_SECONDS),
        bits: parent.bits,
        nonce: 0,
    };
    let mut block = Block { header, txdata };
    commit_to_witnesses(&mut block);
    block.header.merkle_root = block.compute_merkle_root().expect("there is a coinbase");
    solve(&mut block.header);
    block
}

/// Tries nonces until the header meets its own target: about two tries on regtest.
pub fn solve(header: &mut Header) {
    let target = header.target();
    debug_assert!(target <= Params::REGTEST.max_attainable_target);
    while header.validate_pow(target).is_err() {
        header.nonce += 1;
    }
}

fn coinbase(height: u32, extra_nonce: u64, output: Vec<TxOut>) -> Transaction {
    let script_sig = Builder::new()
        .push_int(i64::from(height))
        .push_slice(extra_nonce.to_le_bytes())
        .into_script();
    Transaction {
        version: transaction::Version::ONE,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::null(),
            script_sig,
            sequence: Sequence::MAX,
            witness: Witness::new(),
        }],
        output,
    }
}

/// Adds BIP141's commitment output where a transaction carries witness data.
fn commit_to_witnesses(block: &mut Block) {
    let has_witness = block.txdata.iter().any(|transaction| {
        transaction
            .input
            .iter()
            .any(|input| !input.witness.is_empty())
    });
    if !has_witness {
        return;
    }
    block.txdata[0].input[0].witness = Witness::from_slice(&[WITNESS_RESERVED_VALUE]);
    let root = block.witness_root().expect("there is a coinbase");
    let commitment = Block::compute_witness_commitment(&root, &WITNESS_RESERVED_VALUE);
    let mut data = [0; 36];
    data[..4].copy_from_slice(&[0xaa, 0x21, 0xa9, 0xed]);
    data[4..].copy_from_slice(commitment.as_byte_array());
    let output = TxOut {
        value: Amount::ZERO,
        script_pubkey: ScriptBuf::new_op_return(data),
    };
    block.txdata[0].output.push(output);
}

#[cfg(test)]
mod tests {
    use bitcoin::consensus::serialize;

    use super::*;

    #[test]
    fn mined_blocks_meet_their_target_and_commit_to_their_contents() {
        let mut miner = Miner::new();
        let funded = miner.mine(miner.tree.genesis(), BlockPlan::paying(&script(1)));
        let coin = output_of(miner.tree.block(funded), 0, 0);
        let payment = spend_with_witness(&[coin], vec![pay(&script(2), 7)], &[9; 1_000]);
        let tip = miner.mine(funded, BlockPlan::default().with(payment));
        for block in miner.chain(tip) {
            let target = block.header.target();
            block.header.validate_pow(target).expect("work is done");
            assert!(block.check_merkle_root());
            assert!(block.check_witness_commitment());
        }
        let coins = miner.tree.coins_at(tip);
        assert_eq!(coins.coin(&coin), None);
        assert_eq!(coins.by_script()[&script(2)].len(), 1);
    }

    #[test]
    fn the_same_plan_on_the_same_parent_gives_another_block() {
        let mut miner = Miner::new();
        let genesis = miner.tree.genesis();
        let first = miner.mine(genesis, BlockPlan::paying(&script(1)));
        let second = miner.mine(genesis, BlockPlan::paying(&script(1)));
        assert_ne!(first, second);
    }

    #[test]
    fn witness_data_makes_blocks_larger_than_one_ingress_message() {
        let mut miner = Miner::new();
        let funded = miner.mine(miner.tree.genesis(), BlockPlan::paying(&script(1)));
        let coin = output_of(miner.tree.block(funded), 0, 0);
        let large = spend_with_witness(&[coin], vec![pay(&script(2), 7)], &vec![1; 3_500_000]);
        let block = miner.build(funded, BlockPlan::default().with(large));
        assert!(serialize(&block).len() > 2 * 1_024 * 1_024);
        assert!(block.weight().to_wu() <= 4_000_000);
    }
}
