//! `get_balances` and `get_outpoints`: many look-ups at one tip.

use bitcoin::{OutPoint, Txid};
use ic_stable_structures::Memory;
use millrace_candid as wire;
use millrace_candid::{
    Balances, GetBalancesArgs, GetBalancesResult, GetOutpointsArgs, GetOutpointsResult, Outpoints,
    OwnerBalance, ReadError, UnspentOutput,
};
use serde_bytes::ByteBuf;

use super::script_hash;
use crate::{App, convert};

/// Owners or outpoints in one request, at most. A script has up to 10,000 bytes, so that a full
/// answer stays below the 2 MiB of a message.
pub const MAX_BATCH: usize = 100;

impl<M: Memory> App<M> {
    /// Returns what owners hold, all at one tip. Costs as many look-ups as single reads would, and
    /// finds the tip once.
    ///
    /// # Errors
    /// [`ReadError`]; one owner at fault refuses the whole request.
    pub fn get_balances(&self, args: &GetBalancesArgs) -> GetBalancesResult {
        self.check_read(args.at_tip.is_some())?;
        check_batch(args.owners.len())?;
        let scripts: Result<Vec<_>, ReadError> = args
            .owners
            .iter()
            .map(|owner| script_hash(owner, self.store.network()))
            .collect();
        let tip = self.read_tip(args.at_tip.as_ref())?;
        let tip = self.confirmed(tip, args.min_confirmations.unwrap_or(0))?;
        let view = self.view(tip)?;
        let balances: Result<Vec<_>, ReadError> = scripts?
            .iter()
            .map(|script| {
                let balance = view.balance(script).map_err(convert::store_error)?;
                let (balance, utxo_count) = convert::balance(balance)?;
                Ok(OwnerBalance {
                    balance,
                    utxo_count,
                })
            })
            .collect();
        Ok(Balances {
            balances: balances?,
            tip: tip.to_wire(),
        })
    }

    /// Returns which outputs are unspent, and what they hold, all at one tip. Costs one look-up for
    /// each.
    ///
    /// # Errors
    /// [`ReadError`]; one malformed outpoint refuses the whole request.
    pub fn get_outpoints(&self, args: &GetOutpointsArgs) -> GetOutpointsResult {
        self.check_read(args.at_tip.is_some())?;
        check_batch(args.outpoints.len())?;
        let outpoints: Result<Vec<_>, ReadError> = args.outpoints.iter().map(outpoint).collect();
        let tip = self.read_tip(args.at_tip.as_ref())?;
        let view = self.view(tip)?;
        let outputs: Result<Vec<_>, ReadError> = outpoints?
            .iter()
            .map(|outpoint| {
                let coin = view.coin(outpoint).map_err(convert::store_error)?;
                Ok(coin.map(|coin| UnspentOutput {
                    value: coin.value.to_sat(),
                    script: ByteBuf::from(coin.script.into_bytes()),
                    height: coin.height.get(),
                    confirmations: tip.confirmations(coin.height),
                    coinbase: coin.coinbase,
                }))
            })
            .collect();
        Ok(Outpoints {
            outputs: outputs?,
            tip: tip.to_wire(),
        })
    }
}

fn check_batch(given: usize) -> Result<(), ReadError> {
    if given > MAX_BATCH {
        return Err(ReadError::TooManyItems {
            given: convert::length(given),
            max: MAX_BATCH as u32,
        });
    }
    Ok(())
}

fn outpoint(given: &wire::OutPoint) -> Result<OutPoint, ReadError> {
    let txid: Txid = convert::txid(&given.txid).map_err(convert::malformed_hash)?;
    Ok(OutPoint {
        txid,
        vout: given.vout,
    })
}
