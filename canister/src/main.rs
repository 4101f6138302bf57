//! The Wasm entry points: decode, call [`App`], encode. No decisions.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

use std::cell::RefCell;
use std::marker::PhantomData;

use bitcoin::Txid;
use candid::CandidType;
use ic_cdk::call::Call;
use ic_stable_structures::DefaultMemoryImpl;
use millrace_candid::official;
use millrace_candid::{
    BlockPart, BlockchainInfo, ChainTips, Config, FeedStateArgs, FeedStateResult, GetBalanceArgs,
    GetBalanceResult, GetBalancesArgs, GetBalancesResult, GetBlockArgs, GetBlockHeadersArgs,
    GetBlockHeadersResult, GetBlockResult, GetFeePercentilesArgs, GetFeePercentilesResult,
    GetOutpointsArgs, GetOutpointsResult, GetTransactionArgs, GetTransactionResult,
    GetTransactionStatusArgs, GetTransactionStatusResult, GetTransactionsToRelayArgs,
    GetTransactionsToRelayResult, GetUtxosArgs, GetUtxosResult, HttpRequest, HttpResponse,
    PushBlocksResult, ReportTransactionsResult, SendError, SendTransactionArgs,
    SendTransactionResult, SetConfigRequest, Status, TransactionReport, VerifyTxInclusionArgs,
    VerifyTxInclusionResult,
};
use millrace_canister::env::System;
use millrace_canister::guard::Attached;
use millrace_canister::official::{Mode, Refusal, send};
use millrace_canister::pull::{Ask, GET_SUCCESSORS};
use millrace_canister::relay::{self, Dispatch, SEND_INTERNAL};
use millrace_canister::watchdog::WATCH_SECONDS;
use millrace_canister::{App, argument, lifecycle};
use millrace_store::layout;
use serde::de::DeserializeOwned;

thread_local! {
    /// The only state. Absent until the first message after an upgrade opens it.
    static APP: RefCell<Option<App<DefaultMemoryImpl>>> = const { RefCell::new(None) };
}

/// Runs `f` on the state, opening it first if need be.
fn with<R>(f: impl FnOnce(&mut App<DefaultMemoryImpl>) -> R) -> R {
    APP.with_borrow_mut(|app| {
        let app = match app {
            Some(app) => app,
            None => app.insert(or_trap(App::open(DefaultMemoryImpl::default()))),
        };
        f(app)
    })
}

/// Refuses an installation or a controller's call, or reports damaged memory: there is nobody to
/// return a typed error to.
fn or_trap<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| ic_cdk::trap(error.to_string()))
}

/// Decodes the argument of a method, or refuses the call: the macros alone would report a failed
/// `unwrap`, and set no limit to what decoding costs. A method that uses it says its signature with
/// `candid_method`, because the macro exports `blob` for an argument it does not decode itself.
fn decode<T: CandidType + DeserializeOwned>(bytes: Vec<u8>) -> T {
    or_trap(argument::decode(&bytes))
}

/// Sets the watchdog's timer. Returns whether it was off.
fn watch() -> bool {
    ic_cdk::api::global_timer_set(ic_cdk::api::time() + WATCH_SECONDS * 1_000_000_000) == 0
}

/// Installs. Exported by hand: the macro would decode the argument itself, which must be absent,
/// `null` or a `canister_arg`, with this canister's texts.
#[unsafe(export_name = "canister_init")]
extern "C" fn init() {
    ic_cdk::futures::internals::in_executor_context(|| {
        let config = or_trap(lifecycle::init_config(&ic_cdk::api::msg_arg_data()));
        let app = or_trap(App::install(DefaultMemoryImpl::default(), config));
        APP.set(Some(app));
        watch();
    });
}

/// Upgrades: reads the header page, and opens the rest only to change the configuration.
#[unsafe(export_name = "canister_post_upgrade")]
extern "C" fn post_upgrade() {
    ic_cdk::futures::internals::in_executor_context(|| {
        let change = or_trap(lifecycle::upgrade_config(&ic_cdk::api::msg_arg_data()));
        or_trap(layout::check(&DefaultMemoryImpl::default()));
        if let Some(change) = change {
            with(|app| or_trap(app.set_config(change)));
        }
        watch();
    });
}

#[ic_cdk::heartbeat]
async fn heartbeat() {
    if watch() {
        // The watchdog trapped. Nothing else happens here, so that the timer stays set.
        with(|app| app.note_dead_watchdog(&System));
        return;
    }
    let (ask, burns_cycles) = with(|app| (app.heartbeat(&System), app.burns_cycles()));
    if burns_cycles {
        ic_cdk::api::cycles_burn(ic_cdk::api::canister_liquid_cycle_balance());
    }
    if let Some(Ask {
        id,
        source,
        request,
    }) = ask
    {
        let call = Call::unbounded_wait(source, GET_SUCCESSORS).with_arg(request);
        let outcome = match call.await {
            Ok(response) => Ok(response.into_bytes()),
            Err(error) => Err(error.to_string()),
        };
        with(|app| app.on_reply(&System, id, outcome));
    }
}

/// The system's timer; it has no macro.
#[unsafe(export_name = "canister_global_timer")]
extern "C" fn global_timer() {
    ic_cdk::futures::internals::in_executor_context(|| {
        watch();
        with(|app| app.watchdog(&System));
    });
}

/// Spares strangers' pushes their way through consensus. Opens nothing: until the first message
/// after an upgrade did, `push_blocks` itself refuses them.
#[ic_cdk::inspect_message]
fn inspect_message() {
    let is_wanted = match ic_cdk::api::msg_method_name().as_str() {
        // They refuse replicated calls anyway.
        "bitcoin_get_utxos_query" | "bitcoin_get_balance_query" => false,
        "push_blocks" | "report_transactions" => APP.with_borrow(|app| {
            let caller = ic_cdk::api::msg_caller();
            app.as_ref().is_none_or(|app| app.is_adapter(&caller))
        }),
        _ => true,
    };
    if is_wanted {
        ic_cdk::api::accept_message();
    }
}

/// Answers a call of an official endpoint: a reply, a reject, or a trap that undoes everything.
fn answer<T: CandidType>(result: Result<T, Refusal>) {
    match result {
        Ok(value) => ic_cdk::api::msg_reply(or_trap(candid::encode_one(value))),
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
            .map_err(|reason| send::not_handed_over(&reason)),
        Err(refusal) => Err(refusal),
    };
    match sent {
        Ok(_) => ic_cdk::api::msg_reply(or_trap(candid::encode_args(()))),
        Err(refusal) => answer::<()>(Err(refusal)),
    }
}

/// Sees to it that an accepted transaction goes where it should; the error is the blocks source's.
async fn dispatched(dispatch: Dispatch) -> Result<Txid, String> {
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
    call.await.map_err(|error| error.to_string())?;
    with(|app| app.on_handed_over(&System, txid, size));
    Ok(txid)
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", hidden = true)]
async fn send_transaction(args: SendTransactionArgs) -> SendTransactionResult {
    let dispatch = with(|app| app.send_transaction(&System, &Attached, args))?;
    let sent = dispatched(dispatch).await;
    let txid = sent.map_err(|reason| SendError::NotHandedOver { reason })?;
    Ok(relay::sent(txid))
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", hidden = true)]
fn get_transaction_status(args: GetTransactionStatusArgs) -> GetTransactionStatusResult {
    with(|app| app.get_transaction_status(&args))
}

#[candid::candid_method(query)]
#[ic_cdk::query(decode_with = "decode", hidden = true)]
fn get_transaction_status_query(args: GetTransactionStatusArgs) -> GetTransactionStatusResult {
    with(|app| app.get_transaction_status(&args))
}

#[candid::candid_method(query)]
#[ic_cdk::query(decode_with = "decode", hidden = true)]
fn get_transactions_to_relay(args: GetTransactionsToRelayArgs) -> GetTransactionsToRelayResult {
    with(|app| app.get_transactions_to_relay(ic_cdk::api::msg_caller(), &args))
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", hidden = true)]
fn report_transactions(reports: Vec<TransactionReport>) -> ReportTransactionsResult {
    with(|app| app.report_transactions(&System, ic_cdk::api::msg_caller(), &reports))
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", hidden = true)]
fn get_utxos(args: GetUtxosArgs) -> GetUtxosResult {
    with(|app| app.get_utxos(&args))
}

#[candid::candid_method(query)]
#[ic_cdk::query(decode_with = "decode", hidden = true)]
fn get_utxos_query(args: GetUtxosArgs) -> GetUtxosResult {
    with(|app| app.get_utxos(&args))
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", hidden = true)]
fn get_balance(args: GetBalanceArgs) -> GetBalanceResult {
    with(|app| app.get_balance(&args))
}

#[candid::candid_method(query)]
#[ic_cdk::query(decode_with = "decode", hidden = true)]
fn get_balance_query(args: GetBalanceArgs) -> GetBalanceResult {
    with(|app| app.get_balance(&args))
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", hidden = true)]
fn get_block_headers(args: GetBlockHeadersArgs) -> GetBlockHeadersResult {
    with(|app| app.get_block_headers(&args))
}

#[candid::candid_method(query)]
#[ic_cdk::query(decode_with = "decode", hidden = true)]
fn get_block_headers_query(args: GetBlockHeadersArgs) -> GetBlockHeadersResult {
    with(|app| app.get_block_headers(&args))
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", hidden = true)]
fn get_balances(args: GetBalancesArgs) -> GetBalancesResult {
    with(|app| app.get_balances(&args))
}

#[candid::candid_method(query)]
#[ic_cdk::query(decode_with = "decode", hidden = true)]
fn get_balances_query(args: GetBalancesArgs) -> GetBalancesResult {
    with(|app| app.get_balances(&args))
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", hidden = true)]
fn get_outpoints(args: GetOutpointsArgs) -> GetOutpointsResult {
    with(|app| app.get_outpoints(&args))
}

#[candid::candid_method(query)]
#[ic_cdk::query(decode_with = "decode", hidden = true)]
fn get_outpoints_query(args: GetOutpointsArgs) -> GetOutpointsResult {
    with(|app| app.get_outpoints(&args))
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", hidden = true)]
fn get_block(args: GetBlockArgs) -> GetBlockResult {
    with(|app| app.get_block(&args))
}

#[candid::candid_method(query)]
#[ic_cdk::query(decode_with = "decode", hidden = true)]
fn get_block_query(args: GetBlockArgs) -> GetBlockResult {
    with(|app| app.get_block(&args))
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", hidden = true)]
fn get_transaction(args: GetTransactionArgs) -> GetTransactionResult {
    with(|app| app.get_transaction(&args))
}

#[candid::candid_method(query)]
#[ic_cdk::query(decode_with = "decode", hidden = true)]
fn get_transaction_query(args: GetTransactionArgs) -> GetTransactionResult {
    with(|app| app.get_transaction(&args))
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", hidden = true)]
fn verify_tx_inclusion(args: VerifyTxInclusionArgs) -> VerifyTxInclusionResult {
    with(|app| app.verify_tx_inclusion(&args))
}

#[candid::candid_method(query)]
#[ic_cdk::query(decode_with = "decode", hidden = true)]
fn verify_tx_inclusion_query(args: VerifyTxInclusionArgs) -> VerifyTxInclusionResult {
    with(|app| app.verify_tx_inclusion(&args))
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", hidden = true)]
fn get_fee_percentiles(args: GetFeePercentilesArgs) -> GetFeePercentilesResult {
    with(|app| app.get_fee_percentiles(&args))
}

#[candid::candid_method(query)]
#[ic_cdk::query(decode_with = "decode", hidden = true)]
fn get_fee_percentiles_query(args: GetFeePercentilesArgs) -> GetFeePercentilesResult {
    with(|app| app.get_fee_percentiles(&args))
}

#[ic_cdk::update]
fn get_chain_tips() -> ChainTips {
    with(|app| app.get_chain_tips())
}

#[ic_cdk::query]
fn get_chain_tips_query() -> ChainTips {
    with(|app| app.get_chain_tips())
}

#[ic_cdk::update]
fn get_status() -> Status {
    with(|app| app.get_status())
}

#[ic_cdk::query]
fn get_status_query() -> Status {
    with(|app| app.get_status())
}

#[ic_cdk::query]
fn get_blockchain_info() -> BlockchainInfo {
    with(|app| app.get_blockchain_info())
}

#[ic_cdk::query]
fn get_config() -> Config {
    with(|app| app.get_config())
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", hidden = true)]
fn set_config(change: SetConfigRequest) {
    let caller = ic_cdk::api::msg_caller();
    let is_allowed =
        ic_cdk::api::is_controller(&caller) || with(|app| app.allows_watchdog(&caller, &change));
    if !is_allowed {
        ic_cdk::trap("Only controllers can call set_config");
    }
    with(|app| or_trap(app.set_config(change)));
}

#[candid::candid_method(query)]
#[ic_cdk::query(decode_with = "decode", hidden = true)]
fn feed_state(args: FeedStateArgs) -> FeedStateResult {
    with(|app| app.feed_state(ic_cdk::api::msg_caller(), &args))
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", hidden = true)]
fn push_blocks(parts: Vec<BlockPart>) -> PushBlocksResult {
    with(|app| app.push_blocks(&System, ic_cdk::api::msg_caller(), &parts))
}

#[candid::candid_method(query)]
#[ic_cdk::query(decode_with = "decode", hidden = true)]
fn http_request(request: HttpRequest) -> HttpResponse {
    with(|app| app.http_request(&System, &request))
}

fn main() {}

#[cfg(test)]
mod tests {
    use candid_parser::utils::{CandidSource, service_equal};

    use super::*;

    /// Declares the argument that `init` reads from raw bytes.
    #[candid::candid_method(init)]
    #[expect(dead_code, reason = "only its signature matters")]
    fn init_argument(argument: millrace_candid::CanisterArg) {
        drop(argument);
    }

    candid::export_service!();

    #[test]
    fn the_exported_interface_equals_the_contract() {
        let exported = __export_service();
        service_equal(
            CandidSource::Text(&exported),
            CandidSource::Text(millrace_candid::BTC_DID),
        )
        .unwrap();
    }
}
