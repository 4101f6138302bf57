//! A canister built on `ic-cdk-bitcoin-canister` calls every function of that crate, with cycles as
//! the crate attaches them, and finds Millrace where it looks for the official Bitcoin canisters.

mod checks;
mod world;

use bitcoin::consensus::serialize;
use candid::encode_one;
use ic_btc_interface::{
    Fees, GetBalanceRequest, GetCurrentFeePercentilesRequest, NetworkInRequest,
    SendTransactionRequest,
};
use millrace_candid::{Flag, InitConfig, InitNetwork, SetConfigRequest};
use millrace_client_canister::wire::{Answer, Failure, Request};
use millrace_source_canister::wire as source;
use millrace_tests::mining::{Miner, script};
use millrace_tests::setup::{Client, Setup, Source, bitcoin_instance, pulled, pushed};
use serde_bytes::ByteBuf;

use checks::{
    TRAPPED, every_read_is_true, is_a_trap, new_transaction, rejected_reads_keep_the_base_price,
    sent_transactions_reach_the_outbox, too_few_cycles_are_refused_and_returned,
};
use world::{MAINNET_PRICES, REGTEST_FEE, TESTNET_CANISTER, TESTNET_PRICES, World, principal};

#[test]
fn on_mainnet_every_function_answers_truly_for_the_official_price() {
    let world = World::mainnet();
    every_read_is_true(&world, Some(MAINNET_PRICES), vec![0; 101]);
    rejected_reads_keep_the_base_price(&world, Some(MAINNET_PRICES));
    sent_transactions_reach_the_outbox(&world, Some(MAINNET_PRICES));
    too_few_cycles_are_refused_and_returned(&world, MAINNET_PRICES);
    for (network, name) in [
        (NetworkInRequest::testnet, "testnet"),
        (NetworkInRequest::Regtest, "regtest"),
    ] {
        let request = GetBalanceRequest {
            network,
            ..world.balance_request(&world.address)
        };
        let argument = encode_one(request).expect("contract types encode");
        let cycles = MAINNET_PRICES.flat_maximum;
        let forwarded =
            world
                .client
                .forward(&world.setup, "bitcoin_get_balance", &argument, cycles);
        let text = format!("Network must be mainnet. Found {name}");
        is_a_trap(&forwarded, &text, cycles);
    }
}

#[test]
fn on_testnet_every_function_answers_truly_for_the_official_price() {
    let world = World::testnet();
    every_read_is_true(&world, Some(TESTNET_PRICES), vec![]);
    rejected_reads_keep_the_base_price(&world, Some(TESTNET_PRICES));
    sent_transactions_reach_the_outbox(&world, Some(TESTNET_PRICES));
    too_few_cycles_are_refused_and_returned(&world, TESTNET_PRICES);
    // The crate has one canister for both test networks.
    let (outcome, charged) = world.call(&Request::GetCurrentFeePercentiles(
        GetCurrentFeePercentilesRequest {
            network: NetworkInRequest::regtest,
        },
    ));
    let Err(Failure::Rejected { code, message }) = outcome.result else {
        panic!("{outcome:?}");
    };
    assert_eq!((code, charged), (TRAPPED, 0));
    let text = "'Network must be testnet. Found regtest'";
    assert!(message.contains(text), "{message}");
}

#[test]
fn on_regtest_every_function_answers_truly_and_returns_what_the_crate_attaches() {
    let world = World::regtest();
    every_read_is_true(&world, None, vec![REGTEST_FEE * 1_000 / 113; 101]);
    rejected_reads_keep_the_base_price(&world, None);
    sent_transactions_reach_the_outbox(&world, None);
}

#[test]
fn a_canister_that_pulls_hands_what_the_crate_sends_to_its_source() {
    let pic = bitcoin_instance();
    let source = Source::in_instance(&pic);
    let config = InitConfig {
        fees: Some(Fees::mainnet()),
        ..pulled(InitNetwork::Regtest, &source)
    };
    let setup = Setup::with_id(pic, principal(TESTNET_CANISTER), config);
    let client = Client::beside(&setup);
    let bytes = serialize(&new_transaction());
    let request = Request::SendTransaction(SendTransactionRequest {
        network: NetworkInRequest::regtest,
        transaction: bytes.clone(),
    });
    let price = MAINNET_PRICES.send_base + MAINNET_PRICES.send_per_byte * bytes.len() as u128;
    let sent = client.call(&setup, &request);
    assert_eq!(sent.result, Ok(Answer::Sent));
    assert_eq!((sent.attached, sent.refunded), (price, 0));
    let handed_over = source::SentTransaction {
        network: source::Network::Regtest,
        transaction: ByteBuf::from(bytes),
    };
    assert_eq!(source.sent(&setup), [handed_over]);

    source.stop(&setup);
    let refused = client.call(&setup, &request);
    let Err(Failure::Rejected { code, message }) = refused.result else {
        panic!("{refused:?}");
    };
    assert_eq!(code, TRAPPED, "{message}");
    let text = "Sending transaction bitcoin network must succeed: ";
    assert!(message.contains(text), "{message}");
    assert_eq!(refused.refunded, 0, "the price is kept");
}

#[test]
fn a_canister_that_burns_its_cycles_still_pulls() {
    let pic = bitcoin_instance();
    let source = Source::in_instance(&pic);
    let config = InitConfig {
        burn_cycles: Some(Flag::Enabled),
        ..pulled(InitNetwork::Regtest, &source)
    };
    let setup = Setup::with_id(pic, principal(TESTNET_CANISTER), config);
    let mut miner = Miner::new();
    let tip = miner.mine_many(miner.tree.genesis(), 3, &script(1));
    source.load(&setup, miner.chain(tip));
    setup.tick_until_tip(tip);
    assert_eq!(setup.pic.cycle_balance(setup.canister), 0);
}

#[test]
fn a_canister_told_to_burn_its_cycles_keeps_none_of_what_it_charges() {
    let config = InitConfig {
        fees: Some(Fees::mainnet()),
        ..pushed(InitNetwork::Regtest)
    };
    let setup = Setup::with_id(bitcoin_instance(), principal(TESTNET_CANISTER), config);
    let client = Client::beside(&setup);
    let balance = || setup.pic.cycle_balance(setup.canister);
    setup.pic.tick();
    assert!(
        balance() > 0,
        "it keeps its cycles until it is told to burn them"
    );
    let burn = SetConfigRequest {
        burn_cycles: Some(Flag::Enabled),
        ..SetConfigRequest::default()
    };
    let _: () = setup
        .update(setup.controller, "set_config", (burn,))
        .expect("its controller may");
    setup.pic.tick();
    assert_eq!(balance(), 0);
    let request = Request::GetCurrentFeePercentiles(GetCurrentFeePercentilesRequest {
        network: NetworkInRequest::regtest,
    });
    let charged = client.call(&setup, &request);
    assert_eq!(charged.attached - charged.refunded, MAINNET_PRICES.flat);
    setup.pic.tick();
    assert_eq!(balance(), 0);
}
