//! Signature operations are counted as Bitcoin Core counts them.

use bitcoin::absolute::LockTime;
use bitcoin::hashes::Hash;
use bitcoin::script::Builder;
use bitcoin::{OutPoint, Script, ScriptBuf, Transaction, TxIn, TxOut, Txid, Witness, transaction};

use super::real::{spending_block, with_coins};
use crate::scan::Lock;

const CHECKSIG: u8 = 0xac;
const CHECKSIGVERIFY: u8 = 0xad;
const CHECKMULTISIG: u8 = 0xae;
const CHECKMULTISIGVERIFY: u8 = 0xaf;
const OP_2: u8 = 0x52;
const OP_16: u8 = 0x60;
const NOP: u8 = 0x61;

fn p2sh() -> ScriptBuf {
    ScriptBuf::new_p2sh(&bitcoin::ScriptHash::all_zeros())
}

/// An input that names nothing is a coinbase's.
fn not_null() -> OutPoint {
    OutPoint::new(Txid::all_zeros(), 0)
}

fn pushing(scripts: &[&[u8]]) -> ScriptBuf {
    let mut builder = Builder::new();
    for script in scripts {
        builder = builder.push_slice(<&bitcoin::script::PushBytes>::try_from(*script).unwrap());
    }
    builder.into_script()
}

/// Cost that `input` adds by spending a coin locked by `spent`.
fn spend_cost(input: &TxIn, spent: &Script) -> u64 {
    let transaction = Transaction {
        version: transaction::Version::ONE,
        lock_time: LockTime::ZERO,
        input: vec![input.clone()],
        output: Vec::new(),
    };
    let input = spending_block(transaction).scanned().inputs()[0];
    input.sigop_cost(Lock::of(spent.as_bytes())).into()
}

/// Cost of spending a P2SH coin behind which `redeem` is.
fn p2sh_cost(redeem: &[u8]) -> u64 {
    let input = TxIn {
        script_sig: pushing(&[&[1], redeem]),
        previous_output: not_null(),
        ..TxIn::default()
    };
    spend_cost(&input, &p2sh())
}

#[test]
fn multisigs_count_their_keys_only_right_after_a_small_number() {
    let cases: [(&str, &[u8], u64); 11] = [
        ("nothing", &[], 0),
        ("single", &[CHECKSIG, CHECKSIGVERIFY], 2),
        ("2 keys", &[OP_2, CHECKMULTISIG], 2),
        ("16 keys", &[OP_16, CHECKMULTISIGVERIFY], 16),
        ("no number", &[CHECKMULTISIG], 20),
        ("zero keys", &[0, CHECKMULTISIG], 20),
        ("a push between", &[OP_2, 1, 7, CHECKMULTISIG], 20),
        ("another opcode between", &[OP_2, NOP, CHECKMULTISIG], 20),
        (
            "a second multisig",
            &[OP_2, CHECKMULTISIG, CHECKMULTISIG],
            22,
        ),
        (
            "a number before a single one",
            &[OP_2, CHECKSIG, CHECKMULTISIG],
            21,
        ),
        ("up to a cut-off push", &[CHECKSIG, 0x4c, 9, CHECKSIG], 1),
    ];
    for (name, redeem, count) in cases {
        assert_eq!(p2sh_cost(redeem), 4 * count, "{name}");
    }
}

#[test]
fn scripts_behind_a_hash_count_when_all_before_them_is_pushed() {
    let redeem = [CHECKSIG];
    let cost = |script_sig: ScriptBuf| {
        let input = TxIn {
            script_sig,
            previous_output: not_null(),
            ..TxIn::default()
        };
        spend_cost(&input, &p2sh())
    };
    assert_eq!(cost(pushing(&[&redeem])), 4);
    assert_eq!(cost(ScriptBuf::new()), 0);
    let mut with_nop = vec![NOP];
    with_nop.extend(pushing(&[&redeem]).into_bytes());
    assert_eq!(cost(ScriptBuf::from_bytes(with_nop)), 0);
    let mut number_last = pushing(&[&redeem]).into_bytes();
    number_last.push(OP_2);
    assert_eq!(cost(ScriptBuf::from_bytes(number_last)), 0);
    let mut cut = pushing(&[&redeem]).into_bytes();
    cut.push(0x4c);
    assert_eq!(cost(ScriptBuf::from_bytes(cut)), 0);
}

#[test]
fn witness_programs_cost_a_quarter() {
    let p2wpkh = ScriptBuf::new_p2wpkh(&bitcoin::WPubkeyHash::all_zeros());
    let p2wsh = ScriptBuf::new_p2wsh(&bitcoin::WScriptHash::all_zeros());
    let mut p2tr = vec![0x51, 32];
    p2tr.extend([2; 32]);
    let p2tr = ScriptBuf::from_bytes(p2tr);
    let script: &[u8] = &[OP_2, CHECKMULTISIG];
    let input = |script_sig: ScriptBuf, items: &[&[u8]]| TxIn {
        script_sig,
        witness: Witness::from_slice(items),
        previous_output: not_null(),
        ..TxIn::default()
    };
    let none = ScriptBuf::new;
    let cases = [
        ("P2WPKH", input(none(), &[&[1], &[2]]), &p2wpkh, 1),
        ("P2WSH", input(none(), &[&[1], script]), &p2wsh, 2),
        ("P2WSH, stripped", input(none(), &[]), &p2wsh, 0),
        ("P2TR", input(none(), &[script]), &p2tr, 0),
        (
            "P2WPKH in P2SH",
            input(pushing(&[p2wpkh.as_bytes()]), &[&[1]]),
            &p2sh(),
            1,
        ),
        (
            "P2WSH in P2SH",
            input(pushing(&[p2wsh.as_bytes()]), &[script]),
            &p2sh(),
            2,
        ),
    ];
    for (name, input, spent, cost) in cases {
        assert_eq!(spend_cost(&input, spent), cost, "{name}");
    }
}

/// On blocks as miners make them the `bitcoin` crate counts the same.
#[test]
fn real_blocks_cost_what_another_implementation_says() {
    for height in [57_043, 116_928, 150_013, 757_739, 757_753] {
        let (block, coins) = with_coins(height);
        let made: Vec<_> = block
            .transactions()
            .flat_map(|(txid, transaction)| {
                (0u32..)
                    .zip(&transaction.output)
                    .map(|(vout, output)| (bitcoin::OutPoint { txid: *txid, vout }, output.clone()))
            })
            .collect();
        let spent = |outpoint: &bitcoin::OutPoint| {
            let earlier = coins.0.get(outpoint).map(|coin| TxOut {
                value: coin.value,
                script_pubkey: coin.script.clone(),
            });
            let inside = made.iter().find(|(made, _)| made == outpoint);
            earlier.or_else(|| inside.map(|(_, output)| output.clone()))
        };
        let scanned = block.scanned();
        let inputs = scanned.inputs().iter();
        let spends: u64 = inputs
            .map(|input| {
                let output = spent(&input.outpoint()).unwrap();
                u64::from(input.sigop_cost(Lock::of(output.script_pubkey.as_bytes())))
            })
            .sum();
        let expected: usize = block
            .transactions()
            .map(|(_, transaction)| transaction.total_sigop_cost(spent))
            .sum();
        assert_eq!(
            scanned.own_sigop_cost() + spends,
            expected as u64,
            "{height}"
        );
    }
}
