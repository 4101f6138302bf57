//! Writes coins.

use bitcoin::Txid;
use bitcoin::hashes::Hash;

use super::number::{compress_amount, put_compact_size, put_varint};
use super::{SnapshotCoin, script};

/// Appends what comes before the coins of a transaction.
pub fn write_group_head(out: &mut Vec<u8>, txid: &Txid, coins: u64) {
    out.extend_from_slice(txid.as_byte_array());
    put_compact_size(out, coins);
}

/// Appends the coins of a transaction, in the order given; nothing where there are none.
pub fn write_group(out: &mut Vec<u8>, coins: &[SnapshotCoin]) {
    if let Some(first) = coins.first() {
        write_group_head(out, &first.outpoint.txid, coins.len() as u64);
    }
    for coin in coins {
        write_coin(out, coin);
    }
}

/// Appends a coin.
pub fn write_coin(out: &mut Vec<u8>, coin: &SnapshotCoin) {
    put_compact_size(out, u64::from(coin.outpoint.vout));
    let code = u64::from(coin.height.get()) << 1 | u64::from(coin.coinbase);
    put_varint(out, code);
    put_varint(out, compress_amount(coin.satoshi));
    script::write(out, coin.script.as_bytes());
}

/// Returns by what Bitcoin Core orders the coins of a transaction: the bytes of the output's index in
/// its database.
pub fn group_order(vout: u32) -> Vec<u8> {
    let mut key = Vec::new();
    put_varint(&mut key, u64::from(vout));
    key
}
