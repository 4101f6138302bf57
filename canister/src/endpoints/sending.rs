//! Sends transactions and says what became of them.

use bitcoin::Txid;
use ic_cdk::call::{Call, CallFailed};
use millrace_candid::{
    GetTransactionStatusArgs, GetTransactionStatusResult, SendError, SendTransactionArgs,
    SendTransactionResult,
};
use millrace_canister::env::System;
use millrace_canister::guard::Attached;
use millrace_canister::relay::{self, Dispatch, NotTaken, SEND_INTERNAL};

use crate::{decode, encode_result, with};

/// Sees to it that an accepted transaction goes where it should; the error is the blocks source's.
pub(super) async fn dispatched(dispatch: Dispatch) -> Result<Txid, NotTaken> {
    let (txid, source, request) = match dispatch {
        Dispatch::Queued { txid } => return Ok(txid),
        Dispatch::Call {
            txid,
            source,
            request,
        } => (txid, source, request),
    };
    let size = u32::try_from(request.transaction.len()).unwrap_or(u32::MAX);
    let call = Call::unbounded_wait(source, SEND_INTERNAL).with_arg(request);
    call.await.map_err(|failure| match failure {
        CallFailed::CallRejected(rejected) => NotTaken {
            code: rejected.raw_reject_code(),
            message: rejected.reject_message().to_owned(),
            advice: String::new(),
        },
        CallFailed::InsufficientLiquidCycleBalance(lack) => {
            NotTaken::not_paid(lack.available, lack.required)
        }
        CallFailed::CallPerformFailed(_) => NotTaken::not_called(),
    })?;
    with(|app| app.on_handed_over(&System, txid, size));
    Ok(txid)
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", encode_with = "encode_result", hidden = true)]
async fn send_transaction(args: SendTransactionArgs) -> SendTransactionResult {
    let dispatch = with(|app| app.send_transaction(&System, &Attached, args))?;
    let sent = dispatched(dispatch).await;
    let txid = sent.map_err(|failure| SendError::NotHandedOver {
        reason: failure.to_string(),
    })?;
    Ok(relay::sent(txid))
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", encode_with = "encode_result", hidden = true)]
fn get_transaction_status(args: GetTransactionStatusArgs) -> GetTransactionStatusResult {
    with(|app| app.get_transaction_status(&args))
}

#[candid::candid_method(query)]
#[ic_cdk::query(decode_with = "decode", encode_with = "encode_result", hidden = true)]
fn get_transaction_status_query(args: GetTransactionStatusArgs) -> GetTransactionStatusResult {
    with(|app| app.get_transaction_status(&args))
}
