//! One table of calls and what each must answer, in the official interface and in the typed one.

use super::official::{balance_request, headers_request, utxos_request};
use super::regtest::*;
use super::setup::*;
use crate::official::{Mode, Refusal};
use millrace_candid::official::{NetworkInRequest, UtxosFilterInRequest};
use millrace_candid::{
    Flag, GetBalanceArgs, GetBlockHeadersArgs, GetUtxosArgs, HeaderSelector, Owner, ReadError,
    SetConfigRequest, UtxosFilter,
};
use serde_bytes::ByteBuf;

/// What is asked, in terms of both interfaces.
enum Call {
    Utxos(&'static str, Filter),
    Balance(&'static str, Option<u32>),
    Headers(u32, Option<u32>),
}

#[derive(Clone)]
enum Filter {
    None,
    MinConfirmations(u32),
    Page(Vec<u8>),
}

/// What must come: a number that sums the answer up, or an error in both interfaces' words.
enum Outcome {
    Sum(u64),
    Error(&'static str, &'static str),
}

fn reject(refusal: Refusal) -> String {
    match refusal {
        Refusal::Reject(text) => text,
        Refusal::Trap(text) => format!("trap: {text}"),
    }
}

/// Asks both interfaces, as update and as query where there is one, and checks that they agree.
fn ask(canister: &Canister, call: &Call) -> Result<u64, (String, ReadError)> {
    match call {
        Call::Utxos(address, filter) => ask_utxos(canister, address, filter),
        Call::Balance(address, min_confirmations) => {
            let request = || millrace_candid::official::GetBalanceRequest {
                address: (*address).to_owned(),
                ..balance_request(*min_confirmations)
            };
            let update = canister.app.bitcoin_get_balance(&Purse::with(0), request());
            let query = canister
                .app
                .bitcoin_get_balance_query(Mode::Query, request());
            let typed = canister.app.get_balance(&GetBalanceArgs {
                owner: Owner::Address((*address).to_owned()),
                min_confirmations: *min_confirmations,
                at_tip: None,
            });
            both(
                update,
                Some(query),
                typed.map(|balance| balance.balance),
                "get_balance",
            )
        }
        Call::Headers(start_height, end_height) => {
            let official = canister.app.bitcoin_get_block_headers(
                &canister.world,
                &Purse::with(0),
                &headers_request(*start_height, *end_height),
            );
            let typed = canister.app.get_block_headers(&GetBlockHeadersArgs {
                select: HeaderSelector::Range {
                    start_height: *start_height,
                    end_height: *end_height,
                },
                at_tip: None,
            });
            let official = official.map(|found| found.block_headers.len() as u64);
            let typed = typed.map(|found| found.headers.len() as u64);
            both(official, None, typed, "get_block_headers")
        }
    }
}

fn ask_utxos(
    canister: &Canister,
    address: &str,
    filter: &Filter,
) -> Result<u64, (String, ReadError)> {
    let request = || {
        let filter = match filter.clone() {
            Filter::None => None,
            Filter::MinConfirmations(min) => Some(UtxosFilterInRequest::min_confirmations(min)),
            Filter::Page(page) => Some(UtxosFilterInRequest::page(ByteBuf::from(page))),
        };
        millrace_candid::official::GetUtxosRequest {
            address: address.to_owned(),
            ..utxos_request(filter)
        }
    };
    let update = canister
        .app
        .bitcoin_get_utxos(&canister.world, &Purse::with(0), request());
    let query = canister.app.bitcoin_get_utxos_query(Mode::Query, request());
    let typed = canister.app.get_utxos(&GetUtxosArgs {
        owner: Owner::Address(address.to_owned()),
        filter: match filter.clone() {
            Filter::None => None,
            Filter::MinConfirmations(min) => Some(UtxosFilter::MinConfirmations(min)),
            Filter::Page(page) => Some(UtxosFilter::Page(ByteBuf::from(page))),
        },
        at_tip: None,
        limit: None,
    });
    let sum = |page: millrace_candid::official::GetUtxosResponse| {
        page.utxos.iter().map(|utxo| utxo.value).sum()
    };
    both(
        update.map(sum),
        Some(query.map(sum)),
        typed.map(|page| page.utxos.iter().map(|utxo| utxo.value).sum()),
        "get_utxos",
    )
}

fn both(
    update: Result<u64, Refusal>,
    query: Option<Result<u64, Refusal>>,
    typed: Result<u64, ReadError>,
    method: &str,
) -> Result<u64, (String, ReadError)> {
    if let Some(query) = query {
        // The query's name differs, and nothing else.
        let renamed = update.clone().map_err(|refusal| match refusal {
            Refusal::Reject(text) => {
                Refusal::Reject(text.replace(method, &format!("{method}_query")))
            }
            trap => trap,
        });
        assert_eq!(query, renamed);
    }
    match (update, typed) {
        (Ok(update), Ok(typed)) => {
            assert_eq!(update, typed);
            Ok(update)
        }
        (Err(refusal), Err(error)) => Err((reject(refusal), error)),
        (update, typed) => panic!("one interface answers: {update:?}, {typed:?}"),
    }
}

fn unknown_tip_page() -> Vec<u8> {
    let mut page = vec![7; 32];
    page.extend([0; 40]);
    page
}

#[test]
fn both_interfaces_answer_the_same_calls_with_the_same_outcomes() {
    let mut canister = Canister::new(regtest());
    canister.feed_blocks(&chain(4));
    use Call::{Balance, Headers, Utxos};
    use Outcome::{Error, Sum};
    let unknown_tip = "get_utxos failed: UnknownTipBlockHash { tip_block_hash: [7, 7, 7, 7, 7, 7, \
                       7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, \
                       7] }";
    let table = [
        (Utxos(OWNER, Filter::None), Sum(10_000)),
        (Utxos(OWNER, Filter::MinConfirmations(2)), Sum(6_000)),
        (Utxos(OWNER, Filter::MinConfirmations(5)), Sum(0)),
        (
            Utxos(OWNER, Filter::MinConfirmations(6)),
            Error(
                "get_utxos failed: MinConfirmationsTooLarge { given: 6, max: 5 }",
                "MinConfirmationsTooLarge { given: 6, max: 5 }",
            ),
        ),
        (
            // The address comes before the confirmations.
            Utxos("nobody", Filter::MinConfirmations(6)),
            Error("get_utxos failed: MalformedAddress", "MalformedAddress"),
        ),
        (
            Utxos(MAINNET_ADDRESS, Filter::None),
            Error(
                "get_utxos failed: AddressForWrongNetwork { expected: Regtest }",
                "AddressForWrongNetwork",
            ),
        ),
        (
            // The page comes before the address.
            Utxos("nobody", Filter::Page(vec![1; 71])),
            Error(
                "get_utxos failed: MalformedPage { err: \"Could not parse the page, the length is \
                 71, but the expected length is 72.\" }",
                "MalformedPage",
            ),
        ),
        (
            Utxos("nobody", Filter::Page(unknown_tip_page())),
            Error(unknown_tip, "UnknownTip"),
        ),
        (Balance(OWNER, None), Sum(10_000)),
        (Balance(OWNER, Some(3)), Sum(3_000)),
        (
            Balance(OWNER, Some(u32::MAX)),
            Error(
                "get_balance failed: MinConfirmationsTooLarge { given: 4294967295, max: 5 }",
                "MinConfirmationsTooLarge { given: 4294967295, max: 5 }",
            ),
        ),
        (
            Balance("", Some(9)),
            Error("get_balance failed: MalformedAddress", "MalformedAddress"),
        ),
        (
            Balance(MAINNET_ADDRESS, None),
            Error(
                "get_balance failed: AddressForWrongNetwork { expected: Regtest }",
                "AddressForWrongNetwork",
            ),
        ),
        (Headers(0, None), Sum(5)),
        (Headers(2, Some(3)), Sum(2)),
        (
            Headers(5, None),
            Error(
                "get_block_headers failed: StartHeightDoesNotExist { requested: 5, chain_height: 4 }",
                "StartHeightDoesNotExist { requested: 5, tip_height: 4 }",
            ),
        ),
        (
            Headers(1, Some(5)),
            Error(
                "get_block_headers failed: EndHeightDoesNotExist { requested: 5, chain_height: 4 }",
                "EndHeightDoesNotExist { requested: 5, tip_height: 4 }",
            ),
        ),
        (
            Headers(3, Some(2)),
            Error(
                "get_block_headers failed: StartHeightLargerThanEndHeight { start_height: 3, \
                 end_height: 2 }",
                "StartHeightLargerThanEndHeight { start_height: 3, end_height: 2 }",
            ),
        ),
    ];
    for (row, (call, expected)) in table.into_iter().enumerate() {
        match (ask(&canister, &call), expected) {
            (Ok(found), Sum(sum)) => assert_eq!(found, sum, "row {row}"),
            (Err((official, typed)), Error(text, name)) => {
                assert_eq!(official, text, "row {row}");
                let typed = format!("{typed:?}");
                assert!(typed.starts_with(name), "row {row}: {typed}");
            }
            (found, _) => panic!("row {row}: {found:?}"),
        }
    }
}

fn every_call() -> [Call; 3] {
    [
        Call::Utxos(OWNER, Filter::None),
        Call::Balance(OWNER, None),
        Call::Headers(0, None),
    ]
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
    for call in every_call() {
        let (official, typed) = ask(&canister, &call).unwrap_err();
        assert_eq!(official, "trap: Bitcoin API is disabled");
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
    for call in every_call() {
        assert!(ask(&canister, &call).is_ok(), "two blocks may be missing");
    }
    canister.announce(&blocks[3..]);
    for call in every_call() {
        let (official, typed) = ask(&canister, &call).unwrap_err();
        assert_eq!(official, "trap: Canister state is not fully synced.");
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
    for call in every_call() {
        assert!(ask(&canister, &call).is_ok());
    }
}

#[test]
fn requests_for_another_network_are_refused_in_either_spelling() {
    let canister = Canister::new(regtest());
    for (network, name) in [
        (NetworkInRequest::Mainnet, "mainnet"),
        (NetworkInRequest::mainnet, "mainnet"),
        (NetworkInRequest::Testnet, "testnet"),
        (NetworkInRequest::testnet, "testnet"),
    ] {
        let request = millrace_candid::official::GetBalanceRequest {
            network,
            ..balance_request(None)
        };
        let refusal = canister.app.bitcoin_get_balance(&Purse::with(0), request);
        assert_eq!(
            refusal,
            Err(Refusal::Trap(format!(
                "Network must be regtest. Found {name}"
            )))
        );
    }
    for network in [NetworkInRequest::Regtest, NetworkInRequest::regtest] {
        let request = millrace_candid::official::GetBalanceRequest {
            network,
            ..balance_request(None)
        };
        let balance = canister.app.bitcoin_get_balance(&Purse::with(0), request);
        assert_eq!(balance, Ok(0));
    }
}
