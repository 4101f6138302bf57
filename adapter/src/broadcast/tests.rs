//! Which transactions are sent, and what is said of the others.

use bitcoin::hashes::Hash;
use bitcoin::{
    Amount, OutPoint, ScriptBuf, Sequence, TxIn, TxOut, Txid, Witness, absolute, transaction,
};
use tempfile::TempDir;

use super::*;

fn transaction(script_bytes: usize) -> Transaction {
    Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::new(Txid::from_byte_array([7; 32]), 1),
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::from_slice(&[[9; 64]]),
        }],
        output: vec![TxOut {
            value: Amount::from_sat(1_000),
            script_pubkey: ScriptBuf::from_bytes(vec![0x51; script_bytes]),
        }],
    }
}

fn hex(transaction: &Transaction) -> String {
    bitcoin::consensus::encode::serialize_hex(transaction)
}

#[test]
fn digits_and_files_of_digits_or_bytes_give_the_same_transaction() {
    let folder = TempDir::new().expect("a temporary directory");
    let whole = transaction(30);
    let digits = hex(&whole);
    let write = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("writable");
        path.display().to_string()
    };
    let given = [
        digits.clone(),
        digits.to_uppercase(),
        format!(" 0x{digits}\n"),
        write("digits", format!("{digits}\n").as_bytes()),
        write("bytes", &bitcoin::consensus::serialize(&whole)),
    ];
    for text in given {
        let read = read(&text).expect("a transaction");
        assert_eq!(read.txid, whole.compute_txid());
        assert_eq!(
            read.bytes,
            bitcoin::consensus::serialize(&whole),
            "witness data included"
        );
    }
}

#[test]
fn what_nobody_would_relay_is_refused_with_the_reason() {
    let folder = TempDir::new().expect("a temporary directory");
    let large = folder.path().join("large");
    let bytes = usize::try_from(FILE_BYTES_MAX).expect("small") + 1;
    std::fs::write(&large, vec![b'0'; bytes]).expect("writable");
    let mut coinbase = transaction(1);
    coinbase.input[0].previous_output = OutPoint::null();
    let mut unpaid = transaction(1);
    unpaid.output.clear();
    let whole = hex(&transaction(1));
    let cases = [
        (hex(&coinbase), "is a coinbase"),
        (hex(&unpaid), "has no outputs"),
        (hex(&transaction(101_000)), "nodes relay at most 400000"),
        (whole[..whole.len() - 2].to_owned(), "is no transaction"),
        (format!("{whole}00"), "is no transaction"),
        (
            whole[1..].to_owned(),
            "neither hexadecimal digits nor a file",
        ),
        ("no-such-file".to_owned(), "\"no-such-file\" is neither"),
        (large.display().to_string(), "has more than"),
        (String::new(), "neither"),
    ];
    for (text, expected) in cases {
        let error = read(&text).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.len() < 400, "{error}");
    }
}
