//! Prints what the canister answered so that a person can look it up in a block explorer.

use bitcoin::hashes::Hash;
use bitcoin::{Amount, Txid};
use millrace_candid::Utxo;

/// Coins shown for one owner.
const COINS_SHOWN: usize = 8;

/// Prints the column titles.
pub fn title() {
    println!(
        "{:<44} {:>5} {:>14}  newest coins as height:txid:vout",
        "owner", "UTXOs", "BTC"
    );
}

/// Prints one owner's row and the coins below each other.
pub fn row(owner: &str, satoshi: u64, utxos: &[Utxo]) {
    let mut coins = utxos.iter().take(COINS_SHOWN).map(coin);
    println!(
        "{owner:<44} {:>5} {:>14}  {}",
        utxos.len(),
        bitcoins(satoshi),
        coins.next().unwrap_or_else(|| "-".to_owned())
    );
    for coin in coins {
        println!("{:<66} {coin}", "");
    }
    if let Some(more @ 1..) = utxos.len().checked_sub(COINS_SHOWN) {
        println!("{:<66} … and {more} more", "");
    }
}

fn bitcoins(satoshi: u64) -> String {
    Amount::from_sat(satoshi)
        .display_in(bitcoin::Denomination::Bitcoin)
        .to_string()
}

/// A coin's place; explorers print transaction ids in the reverse of the internal byte order.
fn coin(utxo: &Utxo) -> String {
    let bytes = utxo.outpoint.txid.as_slice().try_into();
    let txid = bytes.map(|bytes| Txid::from_byte_array(bytes).to_string());
    format!(
        "{}:{}:{}",
        utxo.height,
        txid.unwrap_or_else(|_| hex::encode(&utxo.outpoint.txid)),
        utxo.outpoint.vout
    )
}
