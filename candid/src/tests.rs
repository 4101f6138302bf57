//! The Rust types against `btc.did`, method by method, in both directions.

mod official_contract;

use candid::types::internal::TypeContainer;
use candid::types::subtype::equal;
use candid::types::{Type, TypeInner};
use candid_parser::utils::CandidSource;

use crate::*;

fn rust_signature(types: &mut TypeContainer, method: &str) -> (Vec<Type>, Vec<Type>) {
    match method {
        name if name.starts_with("bitcoin_") => official_signature(types, name),
        "get_utxos" | "get_utxos_query" => (
            vec![types.add::<GetUtxosArgs>()],
            vec![types.add::<GetUtxosResult>()],
        ),
        "get_balance" | "get_balance_query" => (
            vec![types.add::<GetBalanceArgs>()],
            vec![types.add::<GetBalanceResult>()],
        ),
        "get_block_headers" | "get_block_headers_query" => (
            vec![types.add::<GetBlockHeadersArgs>()],
            vec![types.add::<GetBlockHeadersResult>()],
        ),
        "get_balances" | "get_balances_query" => (
            vec![types.add::<GetBalancesArgs>()],
            vec![types.add::<GetBalancesResult>()],
        ),
        "get_outpoints" | "get_outpoints_query" => (
            vec![types.add::<GetOutpointsArgs>()],
            vec![types.add::<GetOutpointsResult>()],
        ),
        "get_block" | "get_block_query" => (
            vec![types.add::<GetBlockArgs>()],
            vec![types.add::<GetBlockResult>()],
        ),
        "get_transaction" | "get_transaction_query" => (
            vec![types.add::<GetTransactionArgs>()],
            vec![types.add::<GetTransactionResult>()],
        ),
        "verify_tx_inclusion" | "verify_tx_inclusion_query" => (
            vec![types.add::<VerifyTxInclusionArgs>()],
            vec![types.add::<VerifyTxInclusionResult>()],
        ),
        "get_fee_percentiles" | "get_fee_percentiles_query" => (
            vec![types.add::<GetFeePercentilesArgs>()],
            vec![types.add::<GetFeePercentilesResult>()],
        ),
        "get_chain_tips" | "get_chain_tips_query" => (
            vec![types.add::<Option<GetChainTipsArgs>>()],
            vec![types.add::<GetChainTipsResult>()],
        ),
        "get_status" | "get_status_query" => (
            vec![types.add::<Option<GetStatusArgs>>()],
            vec![types.add::<GetStatusResult>()],
        ),
        "get_utxo_set_info" | "get_utxo_set_info_query" => (
            vec![types.add::<Option<GetUtxoSetInfoArgs>>()],
            vec![types.add::<GetUtxoSetInfoResult>()],
        ),
        "send_transaction" => (
            vec![types.add::<SendTransactionArgs>()],
            vec![types.add::<SendTransactionResult>()],
        ),
        "get_transaction_status" | "get_transaction_status_query" => (
            vec![types.add::<GetTransactionStatusArgs>()],
            vec![types.add::<GetTransactionStatusResult>()],
        ),
        "get_transactions_to_relay" => (
            vec![types.add::<GetTransactionsToRelayArgs>()],
            vec![types.add::<GetTransactionsToRelayResult>()],
        ),
        "report_transactions" => (
            vec![types.add::<Vec<TransactionReport>>()],
            vec![types.add::<ReportTransactionsResult>()],
        ),
        "get_blockchain_info" => (vec![], vec![types.add::<BlockchainInfo>()]),
        "get_config" => (vec![], vec![types.add::<Config>()]),
        "get_coins" | "get_coins_query" => (
            vec![types.add::<GetCoinsArgs>()],
            vec![types.add::<GetCoinsResult>()],
        ),
        "begin_snapshot_import" => (
            vec![types.add::<BeginSnapshotImportArgs>()],
            vec![types.add::<SnapshotImportResult>()],
        ),
        "push_snapshot_headers" => (
            vec![types.add::<PushSnapshotHeadersArgs>()],
            vec![types.add::<SnapshotImportResult>()],
        ),
        "push_snapshot_coins" => (
            vec![types.add::<PushSnapshotCoinsArgs>()],
            vec![types.add::<SnapshotImportResult>()],
        ),
        "discard_snapshot_import" => (vec![], vec![types.add::<SnapshotImportResult>()]),
        "get_snapshot_import" => (vec![], vec![types.add::<SnapshotImport>()]),
        "set_config" => (vec![types.add::<SetConfigRequest>()], vec![]),
        "feed_state" => (
            vec![types.add::<FeedStateArgs>()],
            vec![types.add::<FeedStateResult>()],
        ),
        "push_blocks" => (
            vec![types.add::<Vec<BlockPart>>()],
            vec![types.add::<PushBlocksResult>()],
        ),
        "http_request" => (
            vec![types.add::<HttpRequest>()],
            vec![types.add::<HttpResponse>()],
        ),
        other => panic!("method {other} of btc.did has no Rust signature here"),
    }
}

fn official_signature(types: &mut TypeContainer, method: &str) -> (Vec<Type>, Vec<Type>) {
    match method {
        "bitcoin_get_utxos" | "bitcoin_get_utxos_query" => (
            vec![types.add::<official::GetUtxosRequest>()],
            vec![types.add::<official::GetUtxosResponse>()],
        ),
        "bitcoin_get_balance" | "bitcoin_get_balance_query" => (
            vec![types.add::<official::GetBalanceRequest>()],
            vec![types.add::<u64>()],
        ),
        "bitcoin_get_block_headers" => (
            vec![types.add::<official::GetBlockHeadersRequest>()],
            vec![types.add::<official::GetBlockHeadersResponse>()],
        ),
        "bitcoin_get_current_fee_percentiles" => (
            vec![types.add::<official::GetCurrentFeePercentilesRequest>()],
            vec![types.add::<Vec<u64>>()],
        ),
        "bitcoin_send_transaction" => (
            vec![types.add::<official::SendTransactionRequest>()],
            vec![],
        ),
        other => panic!("method {other} of btc.did has no Rust signature here"),
    }
}

#[test]
fn rust_types_equal_the_contract() {
    let (mut env, actor) = CandidSource::Text(BTC_DID).load().expect("btc.did parses");
    let actor = actor.expect("btc.did declares a service");
    let service = env
        .as_service(&actor)
        .expect("the actor is a service")
        .to_vec();
    assert!(!service.is_empty(), "the contract declares methods");
    for (name, declared) in &service {
        let function = env
            .as_func(declared)
            .expect("a service's members are functions")
            .clone();
        let mut types = TypeContainer::new();
        let (args, results) = rust_signature(&mut types, name);
        assert_eq!(
            args.len(),
            function.args.len(),
            "{name}: number of arguments"
        );
        assert_eq!(
            results.len(),
            function.rets.len(),
            "{name}: number of results"
        );
        let declared = function.args.iter().chain(&function.rets);
        for (rust, did) in args.into_iter().chain(results).zip(declared) {
            let rust = env.merge_type(types.env.clone(), rust);
            equal(&mut Default::default(), &env, &rust, did)
                .unwrap_or_else(|e| panic!("{name}: {e}"));
        }
    }
}

#[test]
fn init_argument_equals_the_contract() {
    let (mut env, actor) = CandidSource::Text(BTC_DID).load().expect("btc.did parses");
    let actor = actor.expect("btc.did declares a service");
    let TypeInner::Class(args, _) = actor.as_ref() else {
        panic!("btc.did declares no init argument");
    };
    assert_eq!(args.len(), 1);
    let mut types = TypeContainer::new();
    let rust = types.add::<CanisterArg>();
    let rust = env.merge_type(types.env, rust);
    equal(&mut Default::default(), &env, &rust, &args[0]).expect("canister_arg differs");
}
