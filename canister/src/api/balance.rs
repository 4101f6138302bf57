//! `get_balance`.

use ic_stable_structures::Memory;
use millrace_candid::{Balance, GetBalanceArgs, GetBalanceResult};

use super::script_hash;
use crate::{App, convert};

impl<M: Memory> App<M> {
    /// Returns what an owner holds. Costs one look-up, and one for each unstable block that
    /// touches the owner.
    ///
    /// # Errors
    /// [`millrace_candid::ReadError`].
    pub fn get_balance(&self, args: &GetBalanceArgs) -> GetBalanceResult {
        self.check_read(args.at_tip.is_some())?;
        self.balance_of(args)
    }

    /// As [`App::get_balance`], for callers that were let in.
    pub(crate) fn balance_of(&self, args: &GetBalanceArgs) -> GetBalanceResult {
        let script = script_hash(&args.owner, self.store.network())?;
        let tip = self.read_tip(args.at_tip.as_ref())?;
        let tip = self.confirmed(tip, args.min_confirmations.unwrap_or(0))?;
        let balance = self.view(tip)?.balance(&script);
        let balance = balance.map_err(convert::store_error)?;
        let (balance, utxo_count) = convert::balance(balance)?;
        Ok(Balance {
            balance,
            utxo_count,
            tip: tip.to_wire(),
        })
    }
}
