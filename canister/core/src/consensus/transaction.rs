//! Rules a transaction must keep whatever coins it spends.

use std::collections::BTreeSet;

use bitcoin::{Amount, OutPoint, Transaction, Txid};

use super::ConsensusError;
use crate::delta::MAX_SCRIPT_BYTES;
use crate::units::Height;

/// Shortest input script of a coinbase, in bytes.
pub const MIN_COINBASE_SCRIPT_BYTES: usize = 2;

/// Longest input script of a coinbase, in bytes.
pub const MAX_COINBASE_SCRIPT_BYTES: usize = 100;

/// Lock-times below this are heights, others seconds since 1970.
const LOCK_TIME_THRESHOLD: u32 = 500_000_000;

/// The sequence number that makes an input ignore the transaction's lock-time.
const FINAL_SEQUENCE: u32 = u32::MAX;

/// Checks what needs nothing but the transaction, whose id is `txid`: it has inputs and outputs,
/// names no coin twice, names the null outpoint only as a coinbase, its amounts are money, and
/// its input scripts are short enough to be executed.
///
/// The size is no rule here: a block's weight bounds it. Costs O(n log n) in inputs.
///
/// # Errors
/// [`ConsensusError`] names the broken rule.
pub fn check_transaction(txid: Txid, transaction: &Transaction) -> Result<(), ConsensusError> {
    if transaction.input.is_empty() {
        return Err(ConsensusError::NoInputs { txid });
    }
    if transaction.output.is_empty() {
        return Err(ConsensusError::NoOutputs { txid });
    }
    check_amounts(txid, transaction)?;
    if transaction.is_coinbase() {
        return check_coinbase_script(transaction);
    }
    let mut seen = BTreeSet::new();
    for input in &transaction.input {
        let outpoint = input.previous_output;
        if !seen.insert(outpoint) {
            return Err(ConsensusError::DuplicateInput { txid, outpoint });
        }
        if outpoint == OutPoint::null() {
            return Err(ConsensusError::NullInput { txid });
        }
        let length = input.script_sig.len();
        if length > MAX_SCRIPT_BYTES {
            return Err(ConsensusError::ScriptTooLong { txid, length });
        }
    }
    Ok(())
}

/// A negative amount of the wire format reads as one above all money.
fn check_amounts(txid: Txid, transaction: &Transaction) -> Result<(), ConsensusError> {
    let mut total = 0;
    for (vout, output) in transaction.output.iter().enumerate() {
        let satoshi = output.value.to_sat();
        if output.value > Amount::MAX_MONEY {
            return Err(ConsensusError::OutputValue {
                txid,
                vout,
                satoshi,
            });
        }
        total += u128::from(satoshi);
        if !is_money(total) {
            return Err(ConsensusError::OutputTotal {
                txid,
                satoshi: total,
            });
        }
    }
    Ok(())
}

/// Returns whether an amount in satoshi is at most all money.
pub(super) fn is_money(satoshi: u128) -> bool {
    satoshi <= u128::from(Amount::MAX_MONEY.to_sat())
}

fn check_coinbase_script(coinbase: &Transaction) -> Result<(), ConsensusError> {
    let length = coinbase
        .input
        .first()
        .map_or(0, |input| input.script_sig.len());
    if (MIN_COINBASE_SCRIPT_BYTES..=MAX_COINBASE_SCRIPT_BYTES).contains(&length) {
        Ok(())
    } else {
        Err(ConsensusError::CoinbaseScript { length })
    }
}

/// Returns whether the transaction may be in a block of `height` when time stands at `cutoff`:
/// the parent's median time past since BIP113, the block's own time before.
pub(super) fn is_final(transaction: &Transaction, height: Height, cutoff: u32) -> bool {
    let lock_time = transaction.lock_time.to_consensus_u32();
    let reached = if lock_time < LOCK_TIME_THRESHOLD {
        height.get()
    } else {
        cutoff
    };
    lock_time < reached
        || lock_time == 0
        || transaction
            .input
            .iter()
            .all(|input| input.sequence.to_consensus_u32() == FINAL_SEQUENCE)
}
