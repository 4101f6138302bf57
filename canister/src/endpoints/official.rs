//! The official Bitcoin canister's endpoints.

use std::marker::PhantomData;

use candid::CandidType;
use millrace_candid::{BlockchainInfo, official};
use millrace_canister::env::System;
use millrace_canister::guard::Attached;
use millrace_canister::official::{Mode, Refusal, send};

use super::sending::dispatched;
use crate::{decode, encode, or_trap, with};

/// Answers a call of an official endpoint: a reply, a reject, or a trap that undoes everything.
fn answer<T: CandidType + 'static>(result: Result<T, Refusal>) {
    match result {
        Ok(value) => ic_cdk::api::msg_reply(encode(value)),
        Err(Refusal::Reject(text)) => ic_cdk::api::msg_reject(text),
        Err(Refusal::Trap(text)) => ic_cdk::trap(text),
    }
}

/// How the current `*_query` call is made: only a query has the certificate.
fn mode() -> Mode {
    match ic_cdk::api::data_certificate() {
        Some(_) => Mode::Query,
        None => Mode::Replicated,
    }
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", hidden = true, manual_reply = true)]
fn bitcoin_get_utxos(
    request: official::GetUtxosRequest,
) -> PhantomData<official::GetUtxosResponse> {
    answer(with(|app| {
        app.bitcoin_get_utxos(&System, &Attached, request)
    }));
    PhantomData
}

#[candid::candid_method(query)]
#[ic_cdk::query(decode_with = "decode", hidden = true, manual_reply = true)]
fn bitcoin_get_utxos_query(
    request: official::GetUtxosRequest,
) -> PhantomData<official::GetUtxosResponse> {
    answer(with(|app| app.bitcoin_get_utxos_query(mode(), request)));
    PhantomData
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", hidden = true, manual_reply = true)]
fn bitcoin_get_balance(request: official::GetBalanceRequest) -> PhantomData<u64> {
    answer(with(|app| app.bitcoin_get_balance(&Attached, request)));
    PhantomData
}

#[candid::candid_method(query)]
#[ic_cdk::query(decode_with = "decode", hidden = true, manual_reply = true)]
fn bitcoin_get_balance_query(request: official::GetBalanceRequest) -> PhantomData<u64> {
    answer(with(|app| app.bitcoin_get_balance_query(mode(), request)));
    PhantomData
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", hidden = true, manual_reply = true)]
fn bitcoin_get_block_headers(
    request: official::GetBlockHeadersRequest,
) -> PhantomData<official::GetBlockHeadersResponse> {
    answer(with(|app| {
        app.bitcoin_get_block_headers(&System, &Attached, &request)
    }));
    PhantomData
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", hidden = true, manual_reply = true)]
fn bitcoin_get_current_fee_percentiles(
    request: official::GetCurrentFeePercentilesRequest,
) -> PhantomData<Vec<u64>> {
    answer(with(|app| {
        app.bitcoin_get_current_fee_percentiles(&Attached, &request)
    }));
    PhantomData
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", hidden = true, manual_reply = true)]
async fn bitcoin_send_transaction(request: official::SendTransactionRequest) {
    let dispatch = with(|app| app.bitcoin_send_transaction(&System, &Attached, request));
    let sent = match dispatch {
        Ok(dispatch) => dispatched(dispatch)
            .await
            .map_err(|failure| send::not_handed_over(&failure)),
        Err(refusal) => Err(refusal),
    };
    match sent {
        Ok(_) => ic_cdk::api::msg_reply(or_trap(candid::encode_args(()))),
        Err(refusal) => answer::<()>(Err(refusal)),
    }
}

#[ic_cdk::query]
fn get_blockchain_info() -> BlockchainInfo {
    with(|app| app.get_blockchain_info())
}
