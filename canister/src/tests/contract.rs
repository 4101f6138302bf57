//! The flags, the state of synchronisation and the network that stop reads, in the official interface and
//! in the typed one. What reads answer otherwise is in the table of `tests/integration/transports`.

use super::official::{balance_request, headers_request, utxos_request};
use super::regtest::*;
use super::setup::*;
use crate::official::{Mode, Refusal};
use millrace_candid::official::{GetBalanceRequest, NetworkInRequest};
use millrace_candid::{
    Flag, GetBalanceArgs, GetBlockHeadersArgs, GetUtxosArgs, HeaderSelector, InitConfig,
    InitNetwork, Owner, ReadError, SetConfigRequest,
};

/// What is asked, in terms of both interfaces.
#[derive(Clone, Copy)]
enum Call {
    Utxos,
    Balance,
    Headers,
}

const EVERY_CALL: [Call; 3] = [Call::Utxos, Call::Balance, Call::Headers];

/// Asks both interfaces, as update and as query where there is one, and checks that all refuse or
/// none does.
fn ask(canister: &Canister, call: Call) -> Result<(), (Refusal, ReadError)> {
    let app = &canister.app;
    let purse = Purse::with(0);
    match call {
        Call::Utxos => both(
            [
                app.bitcoin_get_utxos(&canister.world, &purse, utxos_request(None)),
                app.bitcoin_get_utxos_query(Mode::Query, utxos_request(None)),
            ],
            app.get_utxos(&GetUtxosArgs {
                owner: Owner::Address(OWNER.to_owned()),
                filter: None,
                at_tip: None,
                limit: None,
            }),
        ),
        Call::Balance => both(
            [
                app.bitcoin_get_balance(&purse, balance_request(None)),
                app.bitcoin_get_balance_query(Mode::Query, balance_request(None)),
            ],
            app.get_balance(&GetBalanceArgs {
                owner: Owner::Address(OWNER.to_owned()),
                min_confirmations: None,
                at_tip: None,
            }),
        ),
        Call::Headers => both(
            [app.bitcoin_get_block_headers(&canister.world, &purse, &headers_request(0, None))],
            app.get_block_headers(&GetBlockHeadersArgs {
                select: HeaderSelector::Range {
                    start_height: 0,
                    end_height: None,
                },
                at_tip: None,
            }),
        ),
    }
}

fn both<T, U, const N: usize>(
    official: [Result<T, Refusal>; N],
    typed: Result<U, ReadError>,
) -> Result<(), (Refusal, ReadError)> {
    let official: Vec<Option<Refusal>> = official.into_iter().map(Result::err).collect();
    let first = official[0].clone();
    assert!(
        official.iter().all(|refusal| *refusal == first),
        "{official:?}"
    );
    match (first, typed.err()) {
        (None, None) => Ok(()),
        (Some(refusal), Some(error)) => Err((refusal, error)),
        (refusal, error) => panic!("one interface answers: {refusal:?}, {error:?}"),
    }
}

#[test]
fn a_closed_api_answers_nothing_but_its_configuration_and_state() {
    let mut canister = Canister::new(regtest());
    canister.feed_blocks(&chain(1));
    let close = SetConfigRequest {
        api_access: Some(Flag::Disabled),
        ..SetConfigRequest::default()
    };
    canister.app.set_config(close).unwrap();
    for call in EVERY_CALL {
        let (official, typed) = ask(&canister, call).unwrap_err();
        let text = "Bitcoin API is disabled".to_owned();
        assert_eq!(official, Refusal::Trap(text));
        assert_eq!(typed, ReadError::ApiDisabled);
    }
    assert_eq!(canister.app.get_blockchain_info().height, 1);
    assert_eq!(canister.status().api_access, Flag::Disabled);
}

#[test]
fn more_than_two_missing_blocks_stop_reads_unless_configured_or_the_tip_is_named() {
    let mut canister = Canister::new(regtest());
    let blocks = chain(4);
    canister.feed_blocks(&blocks[..1]);
    canister.announce(&blocks[1..3]);
    for call in EVERY_CALL {
        assert!(ask(&canister, call).is_ok(), "two blocks may be missing");
    }
    canister.announce(&blocks[3..]);
    for call in EVERY_CALL {
        let (official, typed) = ask(&canister, call).unwrap_err();
        let text = "Canister state is not fully synced.".to_owned();
        assert_eq!(official, Refusal::Trap(text));
        let expected = ReadError::NotSynced {
            height: 1,
            best_header_height: 4,
        };
        assert_eq!(typed, expected);
    }
    let at_tip = canister.app.get_balance(&GetBalanceArgs {
        owner: Owner::Address(OWNER.to_owned()),
        min_confirmations: None,
        at_tip: Some(crate::convert::hash(blocks[0].block_hash())),
    });
    assert_eq!(at_tip.unwrap().balance, 1_000);
    assert!(!canister.status().synced);
    let tolerate = SetConfigRequest {
        disable_api_if_not_fully_synced: Some(Flag::Disabled),
        ..SetConfigRequest::default()
    };
    canister.app.set_config(tolerate).unwrap();
    for call in EVERY_CALL {
        assert!(ask(&canister, call).is_ok());
    }
}

#[test]
fn a_canister_on_signet_answers_to_the_official_name_of_test_networks() {
    let canister = Canister::new(InitConfig {
        network: Some(InitNetwork::Signet),
        ..pushed()
    });
    let ask = |network| {
        let request = GetBalanceRequest {
            network,
            ..balance_request(None)
        };
        let purse = Purse::with(40_000_000);
        let balance = canister.app.bitcoin_get_balance(&purse, request);
        (balance, purse.taken.get())
    };
    assert_eq!(ask(NetworkInRequest::testnet), (Ok(0), 4_000_000));
    let text = "Network must be testnet. Found regtest".to_owned();
    assert_eq!(
        ask(NetworkInRequest::regtest),
        (Err(Refusal::Trap(text)), 0)
    );
}
