//! `get_balance`.

use ic_stable_structures::Memory;
use millrace_candid::{Balance, GetBalanceArgs, GetBalanceResult, ReadError};

use super::script_hash;
use crate::{App, convert};

impl<M: Memory> App<M> {
    /// Returns what an owner holds. Costs one look-up, and one for each unstable block that
    /// touches the owner.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn get_balance(&self, args: &GetBalanceArgs) -> GetBalanceResult {
        self.check_read(args.at_tip.is_some())?;
        self.balance_of(args)
    }

    /// As [`App::get_balance`], for callers that were let in.
    pub(crate) fn balance_of(&self, args: &GetBalanceArgs) -> GetBalanceResult {
        let script = script_hash(&args.owner, self.store.network())?;
        let tip = self.read_tip(args.at_tip.as_ref().map(|bytes| bytes.as_slice()))?;
        let tip = self.confirmed(tip, args.min_confirmations.unwrap_or(0))?;
        let balance = self.view(tip)?.balance(&script);
        let balance = balance.map_err(convert::store_error)?;
        let out_of_range = || {
            ReadError::Internal(format!(
                "the balance is {} satoshi, beyond 64 bits",
                balance.satoshi
            ))
        };
        Ok(Balance {
            balance: u64::try_from(balance.satoshi).map_err(|_| out_of_range())?,
            utxo_count: u64::try_from(balance.coins).map_err(|_| out_of_range())?,
            tip: tip.to_wire(),
        })
    }
}
