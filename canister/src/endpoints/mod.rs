//! The methods that callers see, by kind. Each decodes, calls the state and encodes.

mod admin;
mod feeding;
mod official;
mod reads;
mod sending;

use std::cell::Cell;
use std::marker::PhantomData;

use millrace_candid::{
    FeedStateResult, GetBalanceResult, GetBalancesResult, GetBlockHeadersResult, GetBlockResult,
    GetChainTipsResult, GetFeePercentilesResult, GetOutpointsResult, GetStatusResult,
    GetTransactionResult, GetTransactionStatusResult, GetTransactionsToRelayResult, GetUtxosResult,
    HttpResponse, PushBlocksResult, ReportTransactionsResult, VerifyTxInclusionResult,
    official as v1,
};
use millrace_canister::reply::{keep_answers, keep_table};

thread_local! {
    static KEEPS_TABLES: Cell<bool> = const { Cell::new(false) };
}

/// Builds the type tables of what reads and adapters' calls reply, once after each upgrade: a query would build its table
/// and forget it.
///
/// # Errors
/// Never for types that Candid has.
pub fn keep_tables() -> Result<(), candid::Error> {
    if KEEPS_TABLES.replace(true) {
        return Ok(());
    }
    keep_answers(PhantomData::<GetBalanceResult>)?;
    keep_answers(PhantomData::<GetBalancesResult>)?;
    keep_answers(PhantomData::<GetBlockHeadersResult>)?;
    keep_answers(PhantomData::<GetBlockResult>)?;
    keep_answers(PhantomData::<GetChainTipsResult>)?;
    keep_answers(PhantomData::<GetFeePercentilesResult>)?;
    keep_answers(PhantomData::<GetOutpointsResult>)?;
    keep_answers(PhantomData::<GetStatusResult>)?;
    keep_answers(PhantomData::<GetTransactionResult>)?;
    keep_answers(PhantomData::<GetTransactionStatusResult>)?;
    keep_answers(PhantomData::<GetUtxosResult>)?;
    keep_answers(PhantomData::<VerifyTxInclusionResult>)?;
    keep_answers(PhantomData::<FeedStateResult>)?;
    keep_answers(PhantomData::<PushBlocksResult>)?;
    keep_answers(PhantomData::<GetTransactionsToRelayResult>)?;
    keep_answers(PhantomData::<ReportTransactionsResult>)?;
    keep_table::<HttpResponse>()?;
    keep_table::<v1::GetUtxosResponse>()?;
    keep_table::<v1::GetBlockHeadersResponse>()?;
    keep_table::<u64>()?;
    keep_table::<Vec<u64>>()
}
