//! The adapters' side: blocks in, transactions out.

use millrace_candid::{
    BeginSnapshotImportArgs, BlockPart, FeedStateArgs, FeedStateResult, GetTransactionsToRelayArgs,
    GetTransactionsToRelayResult, PushBlocksResult, PushSnapshotCoinsArgs, PushSnapshotHeadersArgs,
    ReportTransactionsResult, SnapshotImport, SnapshotImportResult, TransactionReport,
};
use millrace_canister::env::System;
use millrace_canister::snapshot::Caller;

use crate::{decode, encode, encode_result, with};

#[candid::candid_method(query)]
#[ic_cdk::query(decode_with = "decode", encode_with = "encode_result", hidden = true)]
fn feed_state(args: FeedStateArgs) -> FeedStateResult {
    with(|app| app.feed_state(ic_cdk::api::msg_caller(), &args))
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", encode_with = "encode_result", hidden = true)]
fn push_blocks(parts: Vec<BlockPart>) -> PushBlocksResult {
    with(|app| app.push_blocks(&System, ic_cdk::api::msg_caller(), &parts))
}

fn caller() -> Caller {
    let principal = ic_cdk::api::msg_caller();
    Caller {
        principal,
        is_controller: ic_cdk::api::is_controller(&principal),
    }
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", encode_with = "encode_result", hidden = true)]
fn begin_snapshot_import(args: BeginSnapshotImportArgs) -> SnapshotImportResult {
    with(|app| app.begin_snapshot_import(&System, caller(), &args))
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", encode_with = "encode_result", hidden = true)]
fn push_snapshot_headers(args: PushSnapshotHeadersArgs) -> SnapshotImportResult {
    with(|app| app.push_snapshot_headers(&System, caller(), &args))
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", encode_with = "encode_result", hidden = true)]
fn push_snapshot_coins(args: PushSnapshotCoinsArgs) -> SnapshotImportResult {
    with(|app| app.push_snapshot_coins(&System, caller(), &args))
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", encode_with = "encode_result", hidden = true)]
fn discard_snapshot_import() -> SnapshotImportResult {
    with(|app| app.discard_snapshot_import(caller()))
}

#[candid::candid_method(query)]
#[ic_cdk::query(decode_with = "decode", encode_with = "encode", hidden = true)]
fn get_snapshot_import() -> SnapshotImport {
    with(|app| app.get_snapshot_import())
}

#[candid::candid_method(query)]
#[ic_cdk::query(decode_with = "decode", encode_with = "encode_result", hidden = true)]
fn get_transactions_to_relay(args: GetTransactionsToRelayArgs) -> GetTransactionsToRelayResult {
    with(|app| app.get_transactions_to_relay(ic_cdk::api::msg_caller(), &args))
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", encode_with = "encode_result", hidden = true)]
fn report_transactions(reports: Vec<TransactionReport>) -> ReportTransactionsResult {
    with(|app| app.report_transactions(&System, ic_cdk::api::msg_caller(), &reports))
}
