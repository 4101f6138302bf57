//! The adapters' side: blocks in, transactions out.

use millrace_candid::{
    BlockPart, FeedStateArgs, FeedStateResult, GetTransactionsToRelayArgs,
    GetTransactionsToRelayResult, PushBlocksResult, ReportTransactionsResult, TransactionReport,
};
use millrace_canister::env::System;

use crate::{decode, encode, with};

#[candid::candid_method(query)]
#[ic_cdk::query(decode_with = "decode", encode_with = "encode", hidden = true)]
fn feed_state(args: FeedStateArgs) -> FeedStateResult {
    with(|app| app.feed_state(ic_cdk::api::msg_caller(), &args))
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", encode_with = "encode", hidden = true)]
fn push_blocks(parts: Vec<BlockPart>) -> PushBlocksResult {
    with(|app| app.push_blocks(&System, ic_cdk::api::msg_caller(), &parts))
}

#[candid::candid_method(query)]
#[ic_cdk::query(decode_with = "decode", encode_with = "encode", hidden = true)]
fn get_transactions_to_relay(args: GetTransactionsToRelayArgs) -> GetTransactionsToRelayResult {
    with(|app| app.get_transactions_to_relay(ic_cdk::api::msg_caller(), &args))
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", encode_with = "encode", hidden = true)]
fn report_transactions(reports: Vec<TransactionReport>) -> ReportTransactionsResult {
    with(|app| app.report_transactions(&System, ic_cdk::api::msg_caller(), &reports))
}
