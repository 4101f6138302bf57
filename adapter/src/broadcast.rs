//! `broadcast`: one transaction from an operator to Bitcoin's network.
//!
//! It is checked before anybody sees it: that it is one transaction, and that nodes relay such ones at all.

mod canister;
mod direct;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use bitcoin::consensus::deserialize;
use bitcoin::{Transaction, Weight};
use millrace_p2p::node::RelayTransaction;

pub use canister::{CanisterError, through_canister};
pub use direct::{NotSent, PATIENCE, enough_peers, until_sent};

/// Weight of a transaction that nodes relay, at most (Bitcoin Core's `MAX_STANDARD_TX_WEIGHT`).
const WEIGHT_MAX: Weight = Weight::from_wu(400_000);

/// Bytes of a file, at most: the hexadecimal digits of the largest transaction, with some space around.
const FILE_BYTES_MAX: u64 = 2 * 400_000 + 1_024;

/// What stands before digits at times.
const PREFIX: &str = "0x";

/// Why a transaction is not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// The file cannot be read.
    #[error(
        "{path:?} is neither hexadecimal digits nor a file that can be read: {reason}; give a \
         transaction or its file"
    )]
    Unreadable {
        /// What was given, shortened.
        path: String,
        /// The system's words.
        reason: String,
    },
    /// The file is too large.
    #[error("{path} has more than {max} bytes: no node relays such a transaction")]
    TooLarge {
        /// The file.
        path: String,
        /// Bytes, at most.
        max: u64,
    },
    /// The bytes are not one transaction.
    #[error(
        "{origin} is no transaction: {reason}; give all of it as `createrawtransaction` or a wallet prints it, signed"
    )]
    Malformed {
        /// Where it came from.
        origin: String,
        /// What is wrong.
        reason: String,
    },
    /// A block's first transaction.
    #[error("transaction {txid} is a coinbase: only a block can hold it")]
    Coinbase {
        /// Its id.
        txid: String,
    },
    /// Nodes do not relay it.
    #[error("transaction {txid} has {weight} weight units, nodes relay at most {max}")]
    TooHeavy {
        /// Its id.
        txid: String,
        /// Its weight units.
        weight: u64,
        /// The limit.
        max: u64,
    },
    /// Nothing is spent, or nothing is paid.
    #[error("transaction {txid} has no {lacks}: it is not finished")]
    Unfinished {
        /// Its id.
        txid: String,
        /// What it lacks.
        lacks: &'static str,
    },
}

/// Reads and checks a transaction: hexadecimal digits, or a file that holds them or the bytes themselves.
///
/// # Errors
/// [`TransactionError`] says what is wrong with it.
pub fn read(given: &str) -> Result<RelayTransaction, TransactionError> {
    let given = given.trim();
    let (origin, bytes) = match digits(given) {
        Some(bytes) => ("what was given".to_owned(), bytes),
        None => {
            let bytes = read_file(Path::new(given))?;
            let text = std::str::from_utf8(&bytes).ok();
            let decoded = text.and_then(|text| digits(text.trim()));
            (given.to_owned(), decoded.unwrap_or(bytes))
        }
    };
    check(&origin, bytes)
}

/// Reads hexadecimal digits; none for anything else.
fn digits(text: &str) -> Option<Vec<u8>> {
    let text = text.strip_prefix(PREFIX).unwrap_or(text);
    if text.is_empty() || !text.len().is_multiple_of(2) {
        return None;
    }
    let digit = |letter: &u8| {
        char::from(*letter)
            .to_digit(16)
            .and_then(|value| u8::try_from(value).ok())
    };
    let values: Option<Vec<u8>> = text.as_bytes().iter().map(digit).collect();
    let byte = |pair: &[u8]| pair.iter().fold(0, |sum, value| (sum << 4) | value);
    Some(values?.chunks(2).map(byte).collect())
}

fn read_file(path: &Path) -> Result<Vec<u8>, TransactionError> {
    /// Characters of a wrong path that are shown: it may be a long transaction with a slip of the pen.
    const SHOWN: usize = 80;
    let unreadable = |error: std::io::Error| {
        let path = path.display().to_string();
        TransactionError::Unreadable {
            path: path.chars().take(SHOWN).collect(),
            reason: error.to_string(),
        }
    };
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    let mut bounded = file.take(FILE_BYTES_MAX + 1);
    bounded.read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(TransactionError::TooLarge {
            path: path.display().to_string(),
            max: FILE_BYTES_MAX,
        });
    }
    Ok(bytes)
}

fn check(origin: &str, bytes: Vec<u8>) -> Result<RelayTransaction, TransactionError> {
    let transaction: Transaction =
        deserialize(&bytes).map_err(|error| TransactionError::Malformed {
            origin: origin.to_owned(),
            reason: error.to_string(),
        })?;
    let id = transaction.compute_txid();
    let txid = id.to_string();
    for (is_lacking, lacks) in [
        (transaction.input.is_empty(), "inputs"),
        (transaction.output.is_empty(), "outputs"),
    ] {
        if is_lacking {
            return Err(TransactionError::Unfinished { txid, lacks });
        }
    }
    if transaction.is_coinbase() {
        return Err(TransactionError::Coinbase { txid });
    }
    let weight = transaction.weight();
    if weight > WEIGHT_MAX {
        return Err(TransactionError::TooHeavy {
            txid,
            weight: weight.to_wu(),
            max: WEIGHT_MAX.to_wu(),
        });
    }
    Ok(RelayTransaction { txid: id, bytes })
}
