//! `get_coins`: the whole set, page by page.

use bitcoin::OutPoint;
use bitcoin::hashes::Hash;
use ic_stable_structures::Memory;
use millrace_candid as wire;
use millrace_candid::{CoinOfSet, CoinsPage, GetCoinsArgs, GetCoinsResult, ReadError};
use millrace_store::runs::coin_entry::PutCoin;
use millrace_store::runs::key::OutpointKey;
use serde_bytes::ByteBuf;

use crate::{App, convert};

/// Coins of a page, at most.
pub const MAX_COINS: u32 = 10_000;

/// Bytes of scripts after which a page ends: with the last one's, and what else there is of 10,000 coins,
/// below the 2 MiB of a message.
const MAX_SCRIPT_BYTES: usize = 1_000_000;

impl<M: Memory> App<M> {
    /// Returns some of all coins. Costs some 5,000 instructions for each, and a seek in each change.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn get_coins(&self, args: &GetCoinsArgs) -> GetCoinsResult {
        self.check_read(args.at_tip.is_some())?;
        let limit = args.limit.unwrap_or(MAX_COINS);
        if limit == 0 || limit > MAX_COINS {
            return Err(ReadError::LimitOutOfRange {
                given: limit,
                max: MAX_COINS,
            });
        }
        let from = match &args.after {
            Some(after) => key_after(after)?,
            None => OutpointKey::FIRST,
        };
        let tip = self.read_tip(args.at_tip.as_ref())?;
        let view = self.view(tip)?;
        let page = view.all_coins(&from, limit as usize, MAX_SCRIPT_BYTES);
        let page = page.map_err(convert::store_error)?;
        Ok(CoinsPage {
            next: page.next.map(outpoint_before),
            coins: page.coins.into_iter().map(of_set).collect(),
            total: view.utxo_count(),
            tip: tip.to_wire(),
        })
    }
}

fn of_set((key, coin): (OutpointKey, PutCoin)) -> CoinOfSet {
    let outpoint = OutPoint::from(&key);
    let script = coin.script.script().unwrap_or_default();
    CoinOfSet {
        outpoint: wire::OutPoint {
            txid: ByteBuf::from(outpoint.txid.to_byte_array()),
            vout: outpoint.vout,
        },
        value: coin.value.to_sat(),
        height: coin.height.get(),
        coinbase: coin.coinbase,
        script: ByteBuf::from(script.into_bytes()),
    }
}

/// Returns the largest outpoint before a key, which is not the first one.
fn outpoint_before(key: OutpointKey) -> wire::OutPoint {
    let mut txid = key.txid;
    let vout = key.vout.checked_sub(1).unwrap_or_else(|| {
        for byte in txid.iter_mut().rev() {
            let is_done = *byte > 0;
            *byte = byte.wrapping_sub(1);
            if is_done {
                break;
            }
        }
        u32::MAX
    });
    wire::OutPoint {
        txid: ByteBuf::from(txid),
        vout,
    }
}

/// Returns the smallest key after an outpoint's.
fn key_after(after: &wire::OutPoint) -> Result<OutpointKey, ReadError> {
    let txid = convert::txid(&after.txid).map_err(convert::malformed_hash)?;
    let mut txid = txid.to_byte_array();
    if let Some(vout) = after.vout.checked_add(1) {
        return Ok(OutpointKey { txid, vout });
    }
    for byte in txid.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte > 0 {
            break;
        }
    }
    Ok(OutpointKey { txid, vout: 0 })
}
