//! Counts signature operations the way Bitcoin Core bounds them.
//!
//! The `bitcoin` crate has such counters too; they take a small number that stands before *any*
//! earlier opcode for the key count of a multisig, and count P2SH scripts behind input scripts
//! that are not only pushes. Consensus does neither.

use bitcoin::opcodes::all::{
    OP_CHECKMULTISIG, OP_CHECKMULTISIGVERIFY, OP_CHECKSIG, OP_CHECKSIGVERIFY, OP_PUSHNUM_1,
    OP_PUSHNUM_16,
};
use bitcoin::script::Instruction;
use bitcoin::{Script, Transaction, TxIn};

/// Keys assumed in a multisig whose count is not taken from the script.
const MAX_MULTISIG_KEYS: u64 = 20;

/// Cost of an operation outside of witness data (BIP141).
const BASE_FACTOR: u64 = 4;

/// Returns the cost of the operations written in the transaction itself; spent scripts come on
/// top, see [`spend_cost`].
pub(super) fn own_cost(transaction: &Transaction) -> u64 {
    let inputs = transaction.input.iter().map(|input| &*input.script_sig);
    let outputs = transaction
        .output
        .iter()
        .map(|output| &*output.script_pubkey);
    let count: u64 = inputs
        .chain(outputs)
        .map(|script| count(script, false))
        .sum();
    count * BASE_FACTOR
}

/// Returns the cost that `input` adds by spending a coin locked by `spent`: the script behind a
/// P2SH coin (BIP16), and the witness program of P2WPKH and P2WSH, bare or within P2SH (BIP141).
///
/// Counted at every height, as Bitcoin Core does since the forks are buried. A P2WSH script is
/// in the witness; where witness data is left out it counts nothing.
pub(super) fn spend_cost(input: &TxIn, spent: &Script) -> u64 {
    if spent.is_witness_program() {
        return witness_cost(input, spent);
    }
    if !spent.is_p2sh() {
        return 0;
    }
    let Some(redeem) = last_push(&input.script_sig) else {
        return 0;
    };
    count(redeem, true) * BASE_FACTOR + witness_cost(input, redeem)
}

fn witness_cost(input: &TxIn, program: &Script) -> u64 {
    if program.is_p2wpkh() {
        1
    } else if program.is_p2wsh() {
        let script = input.witness.last().map(Script::from_bytes);
        script.map_or(0, |script| count(script, true))
    } else {
        0
    }
}

/// Returns what the last instruction of a script of pushes pushes; `None` when the script does
/// anything else. Small numbers are pushes of an empty script here, as in Bitcoin Core.
fn last_push(script: &Script) -> Option<&Script> {
    let mut last = Script::new();
    for instruction in script.instructions() {
        last = match instruction.ok()? {
            Instruction::PushBytes(bytes) => Script::from_bytes(bytes.as_bytes()),
            Instruction::Op(op) if op.to_u8() <= OP_PUSHNUM_16.to_u8() => Script::new(),
            Instruction::Op(_) => return None,
        };
    }
    Some(last)
}

/// Counts up to the first instruction that does not parse. `accurate` takes the key count of a
/// multisig from the small number right before it.
fn count(script: &Script, accurate: bool) -> u64 {
    let mut total = 0;
    let mut keys = None;
    for instruction in script.instructions() {
        let op = match instruction {
            Ok(Instruction::Op(op)) => op,
            Ok(Instruction::PushBytes(_)) => {
                keys = None;
                continue;
            }
            Err(_) => break,
        };
        total += match op {
            OP_CHECKSIG | OP_CHECKSIGVERIFY => 1,
            OP_CHECKMULTISIG | OP_CHECKMULTISIGVERIFY => {
                keys.filter(|_| accurate).unwrap_or(MAX_MULTISIG_KEYS)
            }
            _ => 0,
        };
        let number = op.to_u8();
        keys = (OP_PUSHNUM_1.to_u8()..=OP_PUSHNUM_16.to_u8())
            .contains(&number)
            .then(|| u64::from(number - OP_PUSHNUM_1.to_u8()) + 1);
    }
    total
}
