//! Transactions, scripts and marks that made-up blocks are made of.

use bitcoin::absolute::LockTime;
use bitcoin::hashes::Hash;
use bitcoin::script::Builder;
use bitcoin::{
    Amount, Block, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, transaction as tx,
};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::mine::Kind;
use crate::model::{Coin, Coins};

/// Scripts that coins are paid to.
pub const SCRIPTS: u64 = 10;

/// Spends one to three coins, takes them out of `coins` and puts what it makes in.
pub(crate) fn spend_some(
    coins: &mut Coins,
    height: u32,
    kind: Kind,
    rng: &mut ChaCha8Rng,
) -> Option<Transaction> {
    let mut inputs = Vec::new();
    let mut value = 0u64;
    for _ in 0..rng.random_range(1..4) {
        if coins.is_empty() {
            break;
        }
        let at = rng.random_range(0..coins.len());
        let outpoint = coins.keys().nth(at).copied()?;
        value = value.checked_add(coins.remove(&outpoint)?.value)?;
        inputs.push(outpoint);
    }
    if inputs.is_empty() {
        return None;
    }
    let fee = rng.random_range(0..=value.min(10_000));
    let count = match kind {
        Kind::Surge => rng.random_range(1..16),
        Kind::Large => 120,
        _ => rng.random_range(1..5),
    };
    let share = (value - fee) / count;
    let mut output: Vec<TxOut> = (0..count).map(|_| pay(rng, share)).collect();
    if rng.random_ratio(1, 10) {
        output.push(TxOut {
            value: Amount::ZERO,
            script_pubkey: ScriptBuf::new_op_return([rng.random(); 20]),
        });
    }
    let mut spending = transaction(&inputs, output);
    let witness = match kind {
        Kind::Large => 40_000,
        _ if rng.random_ratio(1, 4) => rng.random_range(1..200),
        _ => 0,
    };
    if witness > 0 {
        spending.input[0].witness.push(vec![rng.random(); witness]);
    }
    // Later transactions of the block may spend what this one makes.
    let txid = spending.compute_txid();
    for (vout, output) in (0..).zip(&spending.output) {
        if !output.script_pubkey.is_op_return() {
            let coin = Coin {
                value: output.value.to_sat(),
                height,
                coinbase: false,
                script: output.script_pubkey.clone(),
            };
            coins.insert(OutPoint { txid, vout }, coin);
        }
    }
    Some(spending)
}

pub(crate) fn transaction(inputs: &[OutPoint], output: Vec<TxOut>) -> Transaction {
    let input = inputs.iter().map(|outpoint| TxIn {
        previous_output: *outpoint,
        sequence: Sequence::MAX,
        ..TxIn::default()
    });
    Transaction {
        version: tx::Version::TWO,
        lock_time: LockTime::ZERO,
        input: input.collect(),
        output,
    }
}

pub(crate) fn pay(rng: &mut ChaCha8Rng, satoshi: u64) -> TxOut {
    TxOut {
        value: Amount::from_sat(satoshi),
        script_pubkey: script(rng.random_range(0..SCRIPTS)),
    }
}

/// Returns one of the scripts that coins are paid to; the last two have no address.
pub fn script(number: u64) -> ScriptBuf {
    let byte = number as u8;
    match SCRIPTS - number {
        1 => Builder::new()
            .push_slice([3; 33])
            .push_opcode(bitcoin::opcodes::all::OP_CHECKSIG)
            .into_script(),
        2 => ScriptBuf::from_bytes(vec![0x51; 300]),
        _ => ScriptBuf::new_p2wpkh(&bitcoin::WPubkeyHash::from_byte_array([byte; 20])),
    }
}

/// New money at a height of regtest.
pub(crate) const fn subsidy(height: u32) -> u64 {
    5_000_000_000 >> (height / 150)
}

/// The bytes by which a block's body is recognised.
pub fn mark(extra_nonce: u64) -> [u8; 16] {
    let mut bytes = *b"sim mark........";
    bytes[8..].copy_from_slice(&extra_nonce.to_le_bytes());
    bytes
}

/// Returns those bytes of a block.
pub fn mark_of(block: &Block) -> Option<Vec<u8>> {
    let script = &block.txdata.first()?.input.first()?.script_sig;
    let bytes = script.as_bytes();
    bytes
        .get(bytes.len().checked_sub(16)?..)
        .map(<[u8]>::to_vec)
}
