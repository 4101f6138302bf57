//! Whether a transaction can be relayed at all.

use bitcoin::consensus::{deserialize, serialize};
use bitcoin::{Transaction, Txid, Wtxid};

use crate::message::RawTransaction;

/// Weight of a transaction that nodes relay, at most (Bitcoin Core's `MAX_STANDARD_TX_WEIGHT`).
pub const MAX_TRANSACTION_WEIGHT: u64 = 400_000;

/// Why a transaction cannot be relayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The bytes are no transaction.
    #[error("the {bytes} bytes are no transaction: {reason}")]
    Undecodable {
        /// Bytes given.
        bytes: usize,
        /// What is wrong with them.
        reason: String,
    },
    /// The bytes are another transaction.
    #[error("the bytes are transaction {got}, not {expected}")]
    OtherId {
        /// The id they have.
        got: Txid,
        /// The id they were handed over with.
        expected: Txid,
    },
    /// Nodes do not relay transactions that large, though a miner may take one.
    #[error("the transaction has {got} weight units, nodes relay at most {MAX_TRANSACTION_WEIGHT}")]
    TooHeavy {
        /// Its weight; for bytes that were not looked into, at least this.
        got: u64,
    },
    /// Coinbase transactions exist in blocks only.
    #[error("the transaction is a coinbase, which only a block can contain")]
    Coinbase,
    /// Something comes from nothing or goes nowhere.
    #[error("the transaction has {inputs} inputs and {outputs} outputs, it needs one of each")]
    Empty {
        /// Its inputs.
        inputs: usize,
        /// Its outputs.
        outputs: usize,
    },
}

/// What is known of a transaction that can be relayed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checked {
    pub(super) wtxid: Wtxid,
}

/// Checks a transaction by itself.
pub(super) fn check(txid: Txid, bytes: &[u8]) -> Result<Checked, Refusal> {
    // A byte weighs at least one unit, so more bytes need not be decoded.
    let length = bytes.len() as u64;
    if length > MAX_TRANSACTION_WEIGHT {
        return Err(Refusal::TooHeavy { got: length });
    }
    let transaction: Transaction = deserialize(bytes).map_err(|error| Refusal::Undecodable {
        bytes: bytes.len(),
        reason: error.to_string(),
    })?;
    let got = transaction.compute_txid();
    if got != txid {
        return Err(Refusal::OtherId {
            got,
            expected: txid,
        });
    }
    let (inputs, outputs) = (transaction.input.len(), transaction.output.len());
    if inputs == 0 || outputs == 0 {
        return Err(Refusal::Empty { inputs, outputs });
    }
    if transaction.is_coinbase() {
        return Err(Refusal::Coinbase);
    }
    let weight = transaction.weight().to_wu();
    if weight > MAX_TRANSACTION_WEIGHT {
        return Err(Refusal::TooHeavy { got: weight });
    }
    Ok(Checked {
        wtxid: transaction.compute_wtxid(),
    })
}

/// Returns the form without witness data, or `None` if there is none to leave out.
pub(super) fn without_witness(txid: Txid, bytes: &[u8]) -> Option<RawTransaction> {
    let mut transaction: Transaction = deserialize(bytes).ok()?;
    if transaction
        .input
        .iter()
        .all(|input| input.witness.is_empty())
    {
        return None;
    }
    for input in &mut transaction.input {
        input.witness.clear();
    }
    Some(RawTransaction {
        txid,
        wtxid: transaction.compute_wtxid(),
        bytes: serialize(&transaction),
    })
}
