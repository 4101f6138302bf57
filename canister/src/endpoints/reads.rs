//! Typed reads, each as update and as query.

use millrace_candid::{
    GetBalanceArgs, GetBalanceResult, GetBalancesArgs, GetBalancesResult, GetBlockArgs,
    GetBlockHeadersArgs, GetBlockHeadersResult, GetBlockResult, GetChainTipsArgs,
    GetChainTipsResult, GetCoinsArgs, GetCoinsResult, GetFeePercentilesArgs,
    GetFeePercentilesResult, GetOutpointsArgs, GetOutpointsResult, GetStatusArgs, GetStatusResult,
    GetTransactionArgs, GetTransactionResult, GetUtxoSetInfoArgs, GetUtxoSetInfoResult,
    GetUtxosArgs, GetUtxosResult, VerifyTxInclusionArgs, VerifyTxInclusionResult,
};

use crate::{decode, encode_result, with};

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", encode_with = "encode_result", hidden = true)]
fn get_coins(args: GetCoinsArgs) -> GetCoinsResult {
    with(|app| app.get_coins(&args))
}

#[candid::candid_method(query)]
#[ic_cdk::query(decode_with = "decode", encode_with = "encode_result", hidden = true)]
fn get_coins_query(args: GetCoinsArgs) -> GetCoinsResult {
    with(|app| app.get_coins(&args))
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", encode_with = "encode_result", hidden = true)]
fn get_utxos(args: GetUtxosArgs) -> GetUtxosResult {
    with(|app| app.get_utxos(&args))
}

#[candid::candid_method(query)]
#[ic_cdk::query(decode_with = "decode", encode_with = "encode_result", hidden = true)]
fn get_utxos_query(args: GetUtxosArgs) -> GetUtxosResult {
    with(|app| app.get_utxos(&args))
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", encode_with = "encode_result", hidden = true)]
fn get_balance(args: GetBalanceArgs) -> GetBalanceResult {
    with(|app| app.get_balance(&args))
}

#[candid::candid_method(query)]
#[ic_cdk::query(decode_with = "decode", encode_with = "encode_result", hidden = true)]
fn get_balance_query(args: GetBalanceArgs) -> GetBalanceResult {
    with(|app| app.get_balance(&args))
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", encode_with = "encode_result", hidden = true)]
fn get_block_headers(args: GetBlockHeadersArgs) -> GetBlockHeadersResult {
    with(|app| app.get_block_headers(&args))
}

#[candid::candid_method(query)]
#[ic_cdk::query(decode_with = "decode", encode_with = "encode_result", hidden = true)]
fn get_block_headers_query(args: GetBlockHeadersArgs) -> GetBlockHeadersResult {
    with(|app| app.get_block_headers(&args))
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", encode_with = "encode_result", hidden = true)]
fn get_balances(args: GetBalancesArgs) -> GetBalancesResult {
    with(|app| app.get_balances(&args))
}

#[candid::candid_method(query)]
#[ic_cdk::query(decode_with = "decode", encode_with = "encode_result", hidden = true)]
fn get_balances_query(args: GetBalancesArgs) -> GetBalancesResult {
    with(|app| app.get_balances(&args))
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", encode_with = "encode_result", hidden = true)]
fn get_outpoints(args: GetOutpointsArgs) -> GetOutpointsResult {
    with(|app| app.get_outpoints(&args))
}

#[candid::candid_method(query)]
#[ic_cdk::query(decode_with = "decode", encode_with = "encode_result", hidden = true)]
fn get_outpoints_query(args: GetOutpointsArgs) -> GetOutpointsResult {
    with(|app| app.get_outpoints(&args))
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", encode_with = "encode_result", hidden = true)]
fn get_block(args: GetBlockArgs) -> GetBlockResult {
    with(|app| app.get_block(&args))
}

#[candid::candid_method(query)]
#[ic_cdk::query(decode_with = "decode", encode_with = "encode_result", hidden = true)]
fn get_block_query(args: GetBlockArgs) -> GetBlockResult {
    with(|app| app.get_block(&args))
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", encode_with = "encode_result", hidden = true)]
fn get_transaction(args: GetTransactionArgs) -> GetTransactionResult {
    with(|app| app.get_transaction(&args))
}

#[candid::candid_method(query)]
#[ic_cdk::query(decode_with = "decode", encode_with = "encode_result", hidden = true)]
fn get_transaction_query(args: GetTransactionArgs) -> GetTransactionResult {
    with(|app| app.get_transaction(&args))
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", encode_with = "encode_result", hidden = true)]
fn verify_tx_inclusion(args: VerifyTxInclusionArgs) -> VerifyTxInclusionResult {
    with(|app| app.verify_tx_inclusion(&args))
}

#[candid::candid_method(query)]
#[ic_cdk::query(decode_with = "decode", encode_with = "encode_result", hidden = true)]
fn verify_tx_inclusion_query(args: VerifyTxInclusionArgs) -> VerifyTxInclusionResult {
    with(|app| app.verify_tx_inclusion(&args))
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", encode_with = "encode_result", hidden = true)]
fn get_fee_percentiles(args: GetFeePercentilesArgs) -> GetFeePercentilesResult {
    with(|app| app.get_fee_percentiles(&args))
}

#[candid::candid_method(query)]
#[ic_cdk::query(decode_with = "decode", encode_with = "encode_result", hidden = true)]
fn get_fee_percentiles_query(args: GetFeePercentilesArgs) -> GetFeePercentilesResult {
    with(|app| app.get_fee_percentiles(&args))
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", encode_with = "encode_result", hidden = true)]
fn get_chain_tips(args: Option<GetChainTipsArgs>) -> GetChainTipsResult {
    with(|app| app.get_chain_tips(&args.unwrap_or_default()))
}

#[candid::candid_method(query)]
#[ic_cdk::query(decode_with = "decode", encode_with = "encode_result", hidden = true)]
fn get_chain_tips_query(args: Option<GetChainTipsArgs>) -> GetChainTipsResult {
    with(|app| app.get_chain_tips(&args.unwrap_or_default()))
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", encode_with = "encode_result", hidden = true)]
fn get_status(args: Option<GetStatusArgs>) -> GetStatusResult {
    with(|app| app.get_status(&args.unwrap_or_default()))
}

#[candid::candid_method(query)]
#[ic_cdk::query(decode_with = "decode", encode_with = "encode_result", hidden = true)]
fn get_status_query(args: Option<GetStatusArgs>) -> GetStatusResult {
    with(|app| app.get_status(&args.unwrap_or_default()))
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", encode_with = "encode_result", hidden = true)]
fn get_utxo_set_info(args: Option<GetUtxoSetInfoArgs>) -> GetUtxoSetInfoResult {
    with(|app| app.get_utxo_set_info(&args.unwrap_or_default()))
}

#[candid::candid_method(query)]
#[ic_cdk::query(decode_with = "decode", encode_with = "encode_result", hidden = true)]
fn get_utxo_set_info_query(args: Option<GetUtxoSetInfoArgs>) -> GetUtxoSetInfoResult {
    with(|app| app.get_utxo_set_info(&args.unwrap_or_default()))
}
