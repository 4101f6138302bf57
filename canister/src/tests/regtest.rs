//! A regtest chain made for one test: blocks with chosen transactions, and a purse to pay with.

use std::cell::Cell;

use bitcoin::absolute::LockTime;
use bitcoin::consensus::deserialize;
use bitcoin::transaction::Version;
use bitcoin::{
    Address, Amount, Block, Network, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut,
    Witness,
};
use millrace_candid::{InitConfig, InitNetwork, official};

use super::setup::*;
use crate::Env;
use crate::guard::Payment;

/// Whose coins the tests ask for.
pub const OWNER: &str = "mzK2FFDEhxqHcmrJw1ysqFkVyhUULo45hZ";

/// An address of mainnet.
pub const MAINNET_ADDRESS: &str = "12higDjoCCNXSA95xZMWUdPvXNmkAduhWv";

/// Cycles attached to a call.
pub struct Purse {
    pub attached: u128,
    pub taken: Cell<u128>,
}

impl Purse {
    pub fn with(attached: u128) -> Self {
        Self {
            attached,
            taken: Cell::new(0),
        }
    }
}

impl Payment for Purse {
    fn available(&self) -> u128 {
        self.attached - self.taken.get()
    }

    fn accept(&self, cycles: u128) {
        self.taken
            .set(self.taken.get() + cycles.min(self.available()));
    }
}

/// Prices that tell the endpoints apart.
pub fn prices() -> official::Fees {
    official::Fees {
        get_utxos_base: 1_000,
        get_utxos_cycles_per_ten_instructions: 1,
        get_utxos_maximum: 1_000_000_000,
        get_balance: 20,
        get_balance_maximum: 200,
        get_current_fee_percentiles: 30,
        get_current_fee_percentiles_maximum: 300,
        send_transaction_base: 500,
        send_transaction_per_byte: 7,
        get_block_headers_base: 2_000,
        get_block_headers_cycles_per_ten_instructions: 1,
        get_block_headers_maximum: 3_000,
    }
}

/// A regtest canister that `adapter` feeds.
pub fn regtest() -> InitConfig {
    InitConfig {
        network: Some(InitNetwork::Regtest),
        ..pushed()
    }
}

pub fn owner_script() -> ScriptBuf {
    let address: Address<_> = OWNER.parse().unwrap();
    address
        .require_network(Network::Regtest)
        .unwrap()
        .script_pubkey()
}

pub fn genesis() -> Block {
    bitcoin::constants::genesis_block(Network::Regtest)
}

fn input(previous_output: OutPoint, script_sig: ScriptBuf) -> TxIn {
    TxIn {
        previous_output,
        script_sig,
        sequence: Sequence::MAX,
        witness: Witness::new(),
    }
}

/// A transaction that spends `inputs` and pays `values` to the owner.
pub fn payment(inputs: &[OutPoint], values: &[u64]) -> Transaction {
    Transaction {
        version: Version::ONE,
        lock_time: LockTime::ZERO,
        input: inputs
            .iter()
            .map(|outpoint| input(*outpoint, ScriptBuf::new()))
            .collect(),
        output: values
            .iter()
            .map(|value| TxOut {
                value: Amount::from_sat(*value),
                script_pubkey: owner_script(),
            })
            .collect(),
    }
}

/// A block on `parent` at `height` whose coinbase pays `values` to the owner. `salt` tells siblings
/// apart.
pub fn block(
    parent: &Block,
    height: u32,
    salt: u8,
    values: &[u64],
    transactions: &[Transaction],
) -> Block {
    let mut coinbase = payment(&[], values);
    let mut mark = vec![4];
    mark.extend(height.to_le_bytes());
    mark.extend([1, salt]);
    coinbase.input = vec![input(OutPoint::null(), ScriptBuf::from_bytes(mark))];
    let mut block = Block {
        header: parent.header,
        txdata: vec![coinbase],
    };
    block.txdata.extend_from_slice(transactions);
    block.header.prev_blockhash = parent.block_hash();
    block.header.time = parent.header.time + 600;
    block.header.nonce = 0;
    deserialize(&remined(block)).unwrap()
}

/// `count` blocks on the genesis block; the coinbase of each pays the owner 1,000 satoshi times its
/// height.
pub fn chain(count: u32) -> Vec<Block> {
    let mut parent = genesis();
    let grow = |height: u32| {
        parent = block(&parent, height, 0, &[u64::from(height) * 1_000], &[]);
        parent.clone()
    };
    (1..=count).map(grow).collect()
}

/// The first output of a block's coinbase.
pub fn coinbase_coin(block: &Block) -> OutPoint {
    OutPoint {
        txid: block.txdata[0].compute_txid(),
        vout: 0,
    }
}

impl Canister {
    pub fn feed_blocks(&mut self, blocks: &[Block]) {
        let bytes: Vec<Vec<u8>> = blocks.iter().map(bitcoin::consensus::serialize).collect();
        self.feed(&bytes);
    }

    /// Makes headers known whose blocks are missing, as a source's `next` does.
    pub fn announce(&mut self, blocks: &[Block]) {
        let now = self.world.now();
        for block in blocks {
            let tree = &mut self.app.store.tree;
            tree.insert_header(&block.header, now).unwrap();
        }
        self.app.store.flush_tree();
    }
}
