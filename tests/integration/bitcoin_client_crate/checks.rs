//! What every network's canister must do for a client: answer truly, for the official price.

use bitcoin::OutPoint;
use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;
use candid::{CandidType, Principal, encode_one};
use ic_btc_interface::{
    BlockchainInfo, GetBlockHeadersRequest, GetBlockHeadersResponse, GetUtxosResponse,
    UtxosFilterInRequest,
};
use millrace_candid::{
    GetTransactionStatusArgs, GetTransactionStatusResult, GetTransactionsToRelayArgs,
    GetTransactionsToRelayResult, TransactionStatus,
};
use millrace_client_canister::wire::{Answer, Failure, Forwarded, Request};
use millrace_tests::coins::CoinSet;
use millrace_tests::mining::{pay, script, spend};
use serde::de::DeserializeOwned;
use serde_bytes::ByteBuf;

use super::world::{Prices, World};

/// Reject codes of the IC: the canister rejects, and the canister traps.
pub const REJECTED: u32 = 4;
pub const TRAPPED: u32 = 5;

/// A transaction nobody has seen yet.
pub fn new_transaction() -> bitcoin::Transaction {
    let nowhere = OutPoint::new(bitcoin::Txid::from_byte_array([7; 32]), 0);
    spend(&[nowhere], vec![pay(&script(9), 900)])
}

/// A price that is known to the cycle, or follows from the instructions that the call took.
enum Charge {
    Exactly(u128),
    Metered(Prices),
}

impl Charge {
    /// Checks what the last call of `method` was charged.
    fn check(&self, charged: u128, world: &World, method: &str) {
        match self {
            Self::Exactly(price) => assert_eq!(charged, *price, "{method}"),
            Self::Metered(prices) => {
                let metered = charged - prices.base;
                assert!(
                    metered > 0 && charged < prices.maximum,
                    "{method}: {charged}"
                );
                let remainder = metered % prices.per_ten_instructions;
                assert_eq!(remainder, 0, "{method}: {charged}");
                let charged_for = metered / prices.per_ten_instructions * 10;
                is_what_it_took(charged_for, world, method);
            }
        }
    }
}

/// Asserts that a call was charged for its instructions up to when the charge was made. After that only
/// the answer is encoded, which for 100 headers takes longer than to find them.
fn is_what_it_took(charged_for: u128, world: &World, method: &str) {
    // Another server than ours does not tell.
    let Some(messages) = world.setup.usage(0) else {
        return;
    };
    let call = messages
        .iter()
        .rev()
        .find(|message| message.method == method);
    let took = u128::from(call.expect("it was called").instructions);
    assert!(
        charged_for <= took && took < 4 * charged_for,
        "{method}: charged for {charged_for} instructions of {took}"
    );
}

/// Calls every function that reads and checks answers and charges; `percentiles` are the fees'.
pub fn every_read_is_true(world: &World, prices: Option<Prices>, percentiles: Vec<u64>) {
    let metered = || prices.map_or(Charge::Exactly(0), Charge::Metered);
    let flat = || Charge::Exactly(prices.map_or(0, |prices| prices.flat));
    let coins = CoinSet::of_chain(&world.blocks).expect("a valid chain");
    let headers = world.blocks.iter().take(100);
    let expected = [
        (
            "bitcoin_get_balance",
            Request::GetBalance(world.balance_request(&world.address)),
            Answer::Balance(own(&coins, world).map(|coin| coin.1.value.to_sat()).sum()),
            flat(),
        ),
        (
            "bitcoin_get_block_headers",
            Request::GetBlockHeaders(world.headers_request()),
            Answer::BlockHeaders(GetBlockHeadersResponse {
                tip_height: world.height().min(99),
                block_headers: headers.map(|block| serialize(&block.header)).collect(),
            }),
            metered(),
        ),
        (
            "bitcoin_get_current_fee_percentiles",
            Request::GetCurrentFeePercentiles(world.fees_request()),
            Answer::FeePercentiles(percentiles),
            flat(),
        ),
        (
            "get_blockchain_info",
            Request::GetBlockchainInfo(world.network.into()),
            Answer::BlockchainInfo(BlockchainInfo {
                height: world.height(),
                block_hash: world.tip().block_hash().to_byte_array().to_vec(),
                timestamp: world.tip().header.time,
                difficulty: 1,
                utxos_length: coins.len() as u64,
            }),
            Charge::Exactly(0),
        ),
    ];
    for (method, request, answer, charge) in expected {
        let (outcome, charged) = world.call(&request);
        assert_eq!(outcome.result, Ok(answer), "{request:?}");
        charge.check(charged, world, method);
    }
    for filter in [None, Some(1)] {
        let filter = filter.map(UtxosFilterInRequest::MinConfirmations);
        let request = Request::GetUtxos(world.utxos_request(&world.address, filter));
        let (outcome, charged) = world.call(&request);
        let Ok(Answer::Utxos(page)) = outcome.result else {
            panic!("{request:?}: {outcome:?}");
        };
        is_the_true_page(world, &coins, &page);
        metered().check(charged, world, "bitcoin_get_utxos");
        let Request::GetUtxos(request) = request else {
            unreachable!("made above");
        };
        let queried = free(world, "bitcoin_get_utxos_query", &request);
        is_the_true_page(world, &coins, &queried);
    }
    let balance: u64 = own(&coins, world).map(|coin| coin.1.value.to_sat()).sum();
    let request = world.balance_request(&world.address);
    let queried: u64 = free(world, "bitcoin_get_balance_query", &request);
    assert_eq!(queried, balance);
}

/// What a user gets for a query, which costs nothing.
fn free<R: CandidType + DeserializeOwned>(
    world: &World,
    method: &str,
    request: &impl CandidType,
) -> R {
    world
        .setup
        .query(Principal::anonymous(), method, (request,))
        .unwrap_or_else(|reject| panic!("{method}: {reject}"))
}

/// The owner's coins in the order of the interface.
fn own<'a>(
    coins: &CoinSet,
    world: &'a World,
) -> impl Iterator<Item = millrace_tests::coins::PlacedCoin> + use<'a> {
    coins
        .by_script()
        .remove(&world.script)
        .unwrap_or_default()
        .into_iter()
}

fn is_the_true_page(world: &World, coins: &CoinSet, page: &GetUtxosResponse) {
    let expected: Vec<_> = own(coins, world)
        .map(|(at, coin)| {
            (
                at.txid.to_byte_array(),
                at.vout,
                coin.value.to_sat(),
                coin.height,
            )
        })
        .collect();
    assert!(!expected.is_empty(), "{} has coins", world.address);
    let found: Vec<_> = page
        .utxos
        .iter()
        .map(|utxo| {
            let at = &utxo.outpoint;
            (<[u8; 32]>::from(at.txid), at.vout, utxo.value, utxo.height)
        })
        .collect();
    assert_eq!(found, expected);
    assert_eq!(page.tip_height, world.height());
    assert_eq!(
        page.tip_block_hash,
        world.tip().block_hash().to_byte_array()
    );
    assert_eq!(page.next_page, None);
}

/// A rejected read keeps the base price; the texts are the official ones.
pub fn rejected_reads_keep_the_base_price(world: &World, prices: Option<Prices>) {
    let base = prices.map_or(0, |prices| prices.base);
    let flat = prices.map_or(0, |prices| prices.flat);
    let later = world.height() + 1;
    for (request, text, price) in [
        (
            Request::GetUtxos(world.utxos_request("nobody", None)),
            "get_utxos failed: MalformedAddress".to_owned(),
            base,
        ),
        (
            Request::GetBalance(world.balance_request("nobody")),
            "get_balance failed: MalformedAddress".to_owned(),
            flat,
        ),
        (
            Request::GetBlockHeaders(GetBlockHeadersRequest {
                start_height: later,
                ..world.headers_request()
            }),
            format!(
                "get_block_headers failed: StartHeightDoesNotExist {{ requested: {later}, chain_height: {} }}",
                world.height()
            ),
            base,
        ),
    ] {
        let (outcome, charged) = world.call(&request);
        assert_eq!(outcome.result, Err(rejected(text)), "{request:?}");
        assert_eq!(charged, price, "{request:?}");
    }
}

fn rejected(message: String) -> Failure {
    Failure::Rejected {
        code: REJECTED,
        message,
    }
}

/// What is sent reaches the outbox, for the price of its bytes; what is no transaction costs as much.
pub fn sent_transactions_reach_the_outbox(world: &World, prices: Option<Prices>) {
    let price = |length: usize| {
        prices.map_or(0, |prices| {
            prices.send_base + prices.send_per_byte * length as u128
        })
    };
    let transaction = new_transaction();
    let bytes = serialize(&transaction);
    let request = Request::SendTransaction(world.send_request(bytes.clone()));
    let (outcome, charged) = world.call(&request);
    assert_eq!(outcome.result, Ok(Answer::Sent));
    assert_eq!(charged, price(bytes.len()));
    if prices.is_some() {
        assert_eq!(outcome.refunded, 0, "the crate attaches the price");
    }
    let txid = ByteBuf::from(transaction.compute_txid().to_byte_array());
    let status: GetTransactionStatusResult = world
        .setup
        .query(
            Principal::anonymous(),
            "get_transaction_status_query",
            (GetTransactionStatusArgs {
                txid: txid.clone(),
                at_tip: None,
            },),
        )
        .expect("anybody may ask");
    let status = status.map(|standing| standing.status);
    assert_eq!(status, Ok(TransactionStatus::Queued));
    let waiting: GetTransactionsToRelayResult = world
        .setup
        .query(
            world.setup.adapter,
            "get_transactions_to_relay",
            (GetTransactionsToRelayArgs::default(),),
        )
        .expect("the adapter may ask");
    let waiting = waiting.expect("the adapter may ask");
    let waiting: Vec<_> = waiting
        .iter()
        .map(|waiting| (&waiting.txid, waiting.transaction.as_slice()))
        .collect();
    assert_eq!(waiting, [(&txid, bytes.as_slice())]);

    let request = Request::SendTransaction(world.send_request(vec![1, 2, 3]));
    let (outcome, charged) = world.call(&request);
    let text = "send_transaction failed: MalformedTransaction".to_owned();
    assert_eq!(outcome.result, Err(rejected(text)));
    assert_eq!(charged, price(3));
}

/// Every charged method with what must be attached, and one cycle less than that.
pub fn too_few_cycles_are_refused_and_returned(world: &World, prices: Prices) {
    let bytes = serialize(&new_transaction());
    let send = prices.send_base + prices.send_per_byte * bytes.len() as u128;
    let encoded = "contract types encode";
    for (method, argument, required) in [
        (
            "bitcoin_get_utxos",
            encode_one(world.utxos_request(&world.address, None)).expect(encoded),
            prices.maximum,
        ),
        (
            "bitcoin_get_balance",
            encode_one(world.balance_request(&world.address)).expect(encoded),
            prices.flat_maximum,
        ),
        (
            "bitcoin_get_block_headers",
            encode_one(world.headers_request()).expect(encoded),
            prices.maximum,
        ),
        (
            "bitcoin_get_current_fee_percentiles",
            encode_one(world.fees_request()).expect(encoded),
            prices.flat_maximum,
        ),
        (
            "bitcoin_send_transaction",
            encode_one(world.send_request(bytes)).expect(encoded),
            send,
        ),
    ] {
        let forward = |cycles| {
            world
                .client
                .forward(&world.setup, method, &argument, cycles)
        };
        let short = required - 1;
        let text = format!("Received {short} cycles. {required} cycles are required.");
        is_a_trap(&forward(short), &text, short);
        let enough = forward(required);
        assert!(enough.result.is_ok(), "{method}: {enough:?}");
        // People's calls carry no cycles at all.
        let reject = world
            .setup
            .pic
            .update_call(
                world.setup.canister,
                Principal::anonymous(),
                method,
                argument.clone(),
            )
            .expect_err("nothing is attached");
        let text = format!("Received 0 cycles. {required} cycles are required.");
        assert!(reject.reject_message.contains(&text), "{method}: {reject}");
    }
}

/// Asserts that the callee trapped with this text and so kept nothing of the cycles attached.
pub fn is_a_trap(forwarded: &Forwarded, text: &str, attached: u128) {
    let Err(Failure::Rejected { code, message }) = &forwarded.result else {
        panic!("{text}: {forwarded:?}");
    };
    assert_eq!(*code, TRAPPED, "{message}");
    assert!(message.contains(&format!("'{text}'")), "{message}");
    assert_eq!(forwarded.refunded, attached, "{text}");
}
