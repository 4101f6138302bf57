//! The official Bitcoin canister's endpoints of the real Wasm, called with the types of its client crate.

use candid::Principal;
use ic_btc_interface::{
    GetBalanceRequest, GetBlockHeadersRequest, GetBlockHeadersResponse,
    GetCurrentFeePercentilesRequest, GetUtxosRequest, GetUtxosResponse, NetworkInRequest,
    UtxosFilterInRequest,
};
use millrace_candid::official::Fees;
use millrace_candid::{InitConfig, InitNetwork, Owner};
use millrace_tests::setup::{Setup, pushed};
use pocket_ic::RejectCode;

use crate::chains::mainnet;

const EXAMPLE: &str = "12higDjoCCNXSA95xZMWUdPvXNmkAduhWv";

/// The example's first two coins are at heights 728 and 1056.
const BLOCKS: usize = 1_101;

/// A mainnet canister with the first blocks; `fees` as given, else the official ones.
fn with_blocks(fees: Option<Fees>) -> Setup {
    let setup = Setup::new(InitConfig {
        fees,
        ..pushed(InitNetwork::Mainnet)
    });
    let blocks = &mainnet()[..BLOCKS];
    setup.push(&blocks[1..]);
    setup.tick_until_tip(blocks[BLOCKS - 1].block_hash());
    setup
}

fn balance_request(network: NetworkInRequest) -> GetBalanceRequest {
    GetBalanceRequest {
        address: EXAMPLE.to_owned(),
        network,
        min_confirmations: None,
    }
}

fn utxos_request(filter: Option<UtxosFilterInRequest>) -> GetUtxosRequest {
    GetUtxosRequest {
        address: EXAMPLE.to_owned(),
        network: NetworkInRequest::mainnet,
        filter,
    }
}

#[test]
fn existing_clients_get_the_answers_of_the_typed_reads() {
    let setup = with_blocks(Some(Fees::default()));
    let anybody = Principal::anonymous();
    let (expected, tip) = setup.all_utxos(&Owner::Address(EXAMPLE.to_owned()), None, None);
    assert!(!expected.is_empty());
    let total: u64 = expected.iter().map(|utxo| utxo.value).sum();
    for network in [NetworkInRequest::mainnet, NetworkInRequest::Mainnet] {
        let request = balance_request(network);
        let updated: u64 = setup
            .update(anybody, "bitcoin_get_balance", (&request,))
            .expect("no fees are asked");
        let queried: u64 = setup
            .query(anybody, "bitcoin_get_balance_query", (&request,))
            .expect("queries are free");
        assert_eq!((updated, queried), (total, total));
    }
    for method in ["bitcoin_get_utxos", "bitcoin_get_utxos_query"] {
        let page: GetUtxosResponse = if method.ends_with("_query") {
            setup.query(anybody, method, (utxos_request(None),))
        } else {
            setup.update(anybody, method, (utxos_request(None),))
        }
        .expect("answers");
        assert_eq!(page.tip_height, tip.height);
        assert_eq!(page.tip_block_hash, tip.hash.as_slice());
        assert_eq!(page.next_page, None);
        let coins = |height, value| (height, value);
        let got: Vec<_> = page
            .utxos
            .iter()
            .map(|u| coins(u.height, u.value))
            .collect();
        let want: Vec<_> = expected.iter().map(|u| coins(u.height, u.value)).collect();
        assert_eq!(got, want, "{method}");
    }
    let headers: GetBlockHeadersResponse = setup
        .update(
            anybody,
            "bitcoin_get_block_headers",
            (GetBlockHeadersRequest {
                start_height: 1_000,
                end_height: None,
                network: NetworkInRequest::mainnet,
            },),
        )
        .expect("answers");
    assert_eq!(headers.block_headers.len(), 100);
    let header = bitcoin::consensus::serialize(&mainnet()[1_000].header);
    assert_eq!(headers.block_headers[0], header);
    let percentiles: Vec<u64> = setup
        .update(
            anybody,
            "bitcoin_get_current_fee_percentiles",
            (GetCurrentFeePercentilesRequest {
                network: NetworkInRequest::mainnet,
            },),
        )
        .expect("answers");
    // Whatever transactions the unstable blocks have, nobody paid fees in those years.
    assert!(percentiles.iter().all(|rate| *rate == 0), "{percentiles:?}");
}

#[test]
fn wrong_requests_get_the_official_words() {
    let setup = with_blocks(None);
    let anybody = Principal::anonymous();
    let unpaid = setup
        .update::<u64>(
            anybody,
            "bitcoin_get_balance",
            (balance_request(NetworkInRequest::mainnet),),
        )
        .expect_err("a user's call carries no cycles");
    let text = &unpaid.reject_message;
    assert!(
        text.contains("Received 0 cycles. 100000000 cycles are required."),
        "{text}"
    );
    let elsewhere = setup
        .query::<u64>(
            anybody,
            "bitcoin_get_balance_query",
            (balance_request(NetworkInRequest::regtest),),
        )
        .expect_err("another network");
    let text = &elsewhere.reject_message;
    assert!(
        text.contains("Network must be mainnet. Found regtest"),
        "{text}"
    );
    let page = UtxosFilterInRequest::Page(vec![1, 2, 3].into());
    let page = setup
        .query::<GetUtxosResponse>(
            anybody,
            "bitcoin_get_utxos_query",
            (utxos_request(Some(page)),),
        )
        .expect_err("no page");
    assert_eq!(page.reject_code, RejectCode::CanisterReject);
    let text = &page.reject_message;
    assert!(text.starts_with("get_utxos_query failed: "), "{text}");
    assert!(
        text.contains("the length is 3, but the expected length is 72"),
        "{text}"
    );
    let replicated = setup
        .update::<u64>(
            anybody,
            "bitcoin_get_balance_query",
            (balance_request(NetworkInRequest::mainnet),),
        )
        .expect_err("users cannot call it replicated");
    let text = &replicated.reject_message;
    assert!(text.contains("rejected the message"), "{text}");
}
