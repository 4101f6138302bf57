//! What a scan keeps of a block: a few dozen bytes for each transaction, input and output.

use bitcoin::{OutPoint, Txid};

use crate::script::ScriptKey;

const OP_HASH160: u8 = 0xa9;
const OP_EQUAL: u8 = 0x87;

/// A transaction, as far as a block's rules and its change of the UTXO set need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScannedTransaction {
    /// Where it begins in the block.
    pub offset: u32,
    /// Its length with witness data, in bytes.
    pub bytes: u32,
    /// Its length without, in bytes.
    pub base_bytes: u32,
    /// Its lock-time.
    pub lock_time: u32,
    /// Index of its first coin among the block's.
    pub first_coin: u32,
    /// Sum of all its outputs, in satoshi.
    pub output_satoshi: u128,
    /// Whether it creates coins from nothing.
    pub is_coinbase: bool,
    /// Whether its inputs switch the lock-time off.
    pub ignores_lock_time: bool,
}

impl ScannedTransaction {
    /// Returns the virtual size (BIP141): a quarter of the weight, rounded up.
    pub const fn virtual_bytes(&self) -> u64 {
        (self.base_bytes as u64 * 3 + self.bytes as u64).div_ceil(4)
    }
}

/// An input of a transaction that is no coinbase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScannedInput {
    /// Id of the transaction that made the coin it spends.
    pub txid: Txid,
    /// Index of that coin among the transaction's outputs.
    pub vout: u32,
    /// Index of the spending transaction in the block.
    pub transaction: u32,
    /// Its sequence number; where the transaction's version gives it no meaning, the one that
    /// locks nothing (BIP68).
    pub sequence: u32,
    /// Cost of signature operations should the coin be locked by P2SH.
    pub p2sh_sigop_cost: u32,
    /// Signature operations of the last witness item, should the coin be locked by P2WSH.
    pub witness_sigops: u32,
}

impl ScannedInput {
    /// Returns what it spends.
    pub const fn outpoint(&self) -> OutPoint {
        OutPoint {
            txid: self.txid,
            vout: self.vout,
        }
    }

    /// Returns the cost of signature operations that spending a coin so locked adds (BIP16,
    /// BIP141). Where witness data is left out, its part counts nothing.
    ///
    /// Counted at every height, as Bitcoin Core does since the forks are buried.
    pub const fn sigop_cost(&self, lock: Lock) -> u32 {
        match lock {
            Lock::ScriptHash => self.p2sh_sigop_cost,
            Lock::WitnessKeyHash => 1,
            Lock::WitnessScriptHash => self.witness_sigops,
            Lock::Other => 0,
        }
    }
}

/// An output that some input may spend one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScannedCoin {
    /// Index of its transaction in the block.
    pub transaction: u32,
    /// Its index among the transaction's outputs.
    pub vout: u32,
    /// Its amount in satoshi.
    pub satoshi: u64,
    /// Where its script begins in the block.
    pub script_offset: u32,
    /// Length of its script in bytes.
    pub script_bytes: u32,
    /// Key of its script.
    pub script: ScriptKey,
    /// What kind of script that is.
    pub lock: Lock,
    /// Whether a coinbase makes it.
    pub coinbase: bool,
}

/// What locks a coin, as far as signature operations go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// P2SH (BIP16).
    ScriptHash,
    /// P2WPKH (BIP141).
    WitnessKeyHash,
    /// P2WSH (BIP141).
    WitnessScriptHash,
    /// Any other script: spending it counts nothing.
    Other,
}

impl Lock {
    /// Returns the kind of an output script.
    pub fn of(script: &[u8]) -> Self {
        match (script.len(), script) {
            (23, [OP_HASH160, 20, .., OP_EQUAL]) => Self::ScriptHash,
            (22, [0, 20, ..]) => Self::WitnessKeyHash,
            (34, [0, 32, ..]) => Self::WitnessScriptHash,
            _ => Self::Other,
        }
    }
}

/// How the input script of a coinbase starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoinbaseStart {
    /// Index of the transaction in the block.
    pub transaction: u32,
    /// Length of the script in bytes.
    pub script_bytes: u32,
    /// Its first bytes; zeros follow a shorter one.
    pub start: [u8; 8],
}

/// What the block's witness data is, as far as its commitment needs it (BIP141).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScannedWitness {
    /// The hash in the coinbase's last output that is a commitment.
    pub commitment: Option<[u8; 32]>,
    /// Items in the witness of the coinbase's first input.
    pub nonce_items: u32,
    /// Length of the first of them, in bytes.
    pub nonce_bytes: u32,
    /// That item, if it has 32 bytes.
    pub nonce: [u8; 32],
    /// The first transaction with a witness.
    pub first: Option<u32>,
}
