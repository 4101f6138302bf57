//! Compares a canister's answers about one script with the recomputed coins.

use std::fmt::Write;

use bitcoin::hashes::Hash;
use bitcoin::{Address, Network, Script};
use millrace_candid::{Balance, OutPoint, Owner, Utxo};
use serde_bytes::ByteBuf;

use crate::coins::PlacedCoin;

/// The owner that is exactly this script.
pub fn owner(script: &Script) -> Owner {
    Owner::Script(ByteBuf::from(script.to_bytes()))
}

/// The coins as the contract shows them, in their order.
pub fn as_utxos(coins: &[PlacedCoin]) -> Vec<Utxo> {
    coins
        .iter()
        .map(|(outpoint, coin)| Utxo {
            outpoint: OutPoint {
                txid: ByteBuf::from(outpoint.txid.to_byte_array()),
                vout: outpoint.vout,
            },
            value: coin.value.to_sat(),
            height: coin.height,
            coinbase: coin.coinbase,
        })
        .collect()
}

/// Describes how answers differ from the recomputed coins of `script`; nothing if they do not.
pub fn difference(
    script: &Script,
    expected: &[PlacedCoin],
    utxos: &[Utxo],
    balance: &Balance,
) -> Option<String> {
    let mut text = String::new();
    let wanted = as_utxos(expected);
    if utxos != wanted {
        let first = wanted
            .iter()
            .zip(utxos)
            .position(|(wanted, got)| wanted != got);
        let first = first.unwrap_or(wanted.len().min(utxos.len()));
        write!(
            text,
            "; {} coins, expected {}, first difference at {first}: {:?}, expected {:?}",
            utxos.len(),
            wanted.len(),
            utxos.get(first),
            wanted.get(first)
        )
        .expect("writing to a string succeeds");
    }
    let satoshi: u64 = wanted.iter().map(|coin| coin.value).sum();
    let count = wanted.len() as u64;
    if (balance.balance, balance.utxo_count) != (satoshi, count) {
        write!(
            text,
            "; balance of {} satoshi in {} coins, expected {satoshi} in {count}",
            balance.balance, balance.utxo_count
        )
        .expect("writing to a string succeeds");
    }
    (!text.is_empty()).then(|| format!("script {script:x}{text}"))
}

/// The script's address on a network, or what kind of script it is.
pub fn label(script: &Script, network: Network) -> String {
    if let Ok(address) = Address::from_script(script, network) {
        return address.to_string();
    }
    let kind = if script.is_p2pk() {
        "pay-to-pubkey"
    } else if script.is_op_return() {
        "data"
    } else {
        "script"
    };
    let hex = script.to_hex_string();
    match hex.len() {
        0..=24 => format!("{kind} {hex}"),
        length => format!("{kind} {}…{}", &hex[..12], &hex[length - 8..]),
    }
}
