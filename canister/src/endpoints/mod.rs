//! The methods that callers see, by kind. Each decodes, calls the state and encodes.

mod admin;
mod feeding;
mod official;
mod reads;
mod sending;

use std::cell::Cell;

use millrace_candid::{
    GetBalanceResult, GetBalancesResult, GetBlockHeadersResult, GetBlockResult, GetChainTipsResult,
    GetFeePercentilesResult, GetOutpointsResult, GetStatusResult, GetTransactionResult,
    GetTransactionStatusResult, GetUtxosResult, HttpResponse, VerifyTxInclusionResult,
    official as v1,
};
use millrace_canister::reply::keep_table;

thread_local! {
    static KEEPS_TABLES: Cell<bool> = const { Cell::new(false) };
}

/// Builds the type tables of what reads reply, once after each upgrade: a query would build its table
/// and forget it.
///
/// # Errors
/// Never for types that Candid has.
pub fn keep_tables() -> Result<(), candid::Error> {
    if KEEPS_TABLES.replace(true) {
        return Ok(());
    }
    keep_table::<GetBalanceResult>()?;
    keep_table::<GetBalancesResult>()?;
    keep_table::<GetBlockHeadersResult>()?;
    keep_table::<GetBlockResult>()?;
    keep_table::<GetChainTipsResult>()?;
    keep_table::<GetFeePercentilesResult>()?;
    keep_table::<GetOutpointsResult>()?;
    keep_table::<GetStatusResult>()?;
    keep_table::<GetTransactionResult>()?;
    keep_table::<GetTransactionStatusResult>()?;
    keep_table::<GetUtxosResult>()?;
    keep_table::<VerifyTxInclusionResult>()?;
    keep_table::<HttpResponse>()?;
    keep_table::<v1::GetUtxosResponse>()?;
    keep_table::<v1::GetBlockHeadersResponse>()?;
    keep_table::<u64>()?;
    keep_table::<Vec<u64>>()
}
