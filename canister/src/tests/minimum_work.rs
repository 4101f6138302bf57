//! `minimum_chain_work`: a chain with less is not believed to be the network's.

use super::regtest::*;
use super::setup::*;
use crate::config::{Config, ConfigError};
use crate::convert;
use crate::official::{Mode, Refusal};
use millrace_candid::official::{GetBalanceRequest, NetworkInRequest};
use millrace_candid::{
    Flag, GetBalanceArgs, HttpRequest, InitConfig, Owner, ReadError, SetConfigRequest,
};
use millrace_core::Network;
use millrace_core::header::ChainWork;
use serde_bytes::ByteBuf;

/// The work of the genesis block and so many blocks on it.
fn work_of(blocks: u32) -> ChainWork {
    let each = ChainWork::of(Network::Regtest.pow_limit());
    (0..=blocks).fold(ChainWork::ZERO, |sum, _| sum.saturating_add(each))
}

fn requiring(work: &str) -> InitConfig {
    InitConfig {
        minimum_chain_work: Some(work.to_owned()),
        ..regtest()
    }
}

fn change(work: &str) -> SetConfigRequest {
    SetConfigRequest {
        minimum_chain_work: Some(work.to_owned()),
        ..SetConfigRequest::default()
    }
}

fn balance(canister: &Canister, at_tip: Option<ByteBuf>) -> Result<u64, ReadError> {
    let args = GetBalanceArgs {
        owner: Owner::Address(OWNER.to_owned()),
        min_confirmations: None,
        at_tip,
    };
    canister.app.get_balance(&args).map(|found| found.balance)
}

fn official_balance(canister: &Canister) -> Result<u64, Refusal> {
    let request = GetBalanceRequest {
        network: NetworkInRequest::regtest,
        address: OWNER.to_owned(),
        min_confirmations: None,
    };
    canister.app.bitcoin_get_balance_query(Mode::Query, request)
}

fn metrics(canister: &Canister) -> String {
    let request = HttpRequest {
        url: "/metrics".to_owned(),
        method: "GET".to_owned(),
        body: ByteBuf::new(),
        headers: vec![],
    };
    let response = canister.app.http_request(&canister.world, &request);
    String::from_utf8(response.body.into_vec()).unwrap()
}

#[test]
fn reads_are_refused_until_the_best_chain_has_the_work_and_answered_from_then_on() {
    let minimum = work_of(3).to_string();
    let mut canister = Canister::new(requiring(&minimum));
    let blocks = chain(3);
    canister.feed_blocks(&blocks[..2]);
    let refused = ReadError::NotSynced {
        height: 2,
        best_header_height: 2,
    };
    assert_eq!(balance(&canister, None), Err(refused));
    let text = "Canister state is not fully synced.".to_owned();
    assert_eq!(official_balance(&canister), Err(Refusal::Trap(text)));
    // Whoever names the tip knows what chain that is.
    let at_tip = Some(convert::hash(blocks[1].block_hash()));
    assert_eq!(balance(&canister, at_tip), Ok(3_000));
    let status = canister.status();
    assert!(!status.synced);
    assert_eq!(status.chain_work, work_of(2).to_string());
    assert_eq!(status.minimum_chain_work, Some(minimum.clone()));
    assert!(metrics(&canister).contains("\nmillrace_minimum_chain_work_reached 0\n"));
    assert!(metrics(&canister).contains("\nmillrace_synced 0\n"));

    canister.upgrade();
    assert_eq!(canister.app.get_config().minimum_chain_work, Some(minimum));
    canister.feed_blocks(&blocks[2..]);
    assert_eq!(balance(&canister, None), Ok(6_000));
    assert_eq!(official_balance(&canister), Ok(6_000));
    assert!(canister.status().synced);
    assert!(metrics(&canister).contains("\nmillrace_minimum_chain_work_reached 1\n"));
    // Each regtest block is worth two hashes: 4 of them 8, which has 4 binary digits.
    assert!(metrics(&canister).contains("\nmillrace_chain_work_bits 4\n"));
}

#[test]
fn it_stops_reads_only_where_they_want_a_synced_canister_and_can_be_changed() {
    let mut canister = Canister::new(requiring(&ChainWork::MAX.to_string()));
    canister.feed_blocks(&chain(1));
    assert!(balance(&canister, None).is_err());
    let tolerate = SetConfigRequest {
        disable_api_if_not_fully_synced: Some(Flag::Disabled),
        ..SetConfigRequest::default()
    };
    canister.app.set_config(tolerate).unwrap();
    assert_eq!(balance(&canister, None), Ok(1_000));
    let insist = SetConfigRequest {
        disable_api_if_not_fully_synced: Some(Flag::Enabled),
        ..SetConfigRequest::default()
    };
    canister.app.set_config(insist).unwrap();
    assert!(balance(&canister, None).is_err());
    canister.app.set_config(change("0")).unwrap();
    assert_eq!(balance(&canister, None), Ok(1_000));
    assert_eq!(canister.app.get_config().minimum_chain_work, None);
    assert_eq!(canister.status().minimum_chain_work, None);
}

#[test]
fn it_is_read_as_bitcoin_core_reads_it_and_refused_by_name_otherwise() {
    let mut canister = Canister::new(regtest());
    let digits = |text: &str| format!("{text:0>64}");
    for (given, expected) in [
        ("1", Some(digits("1"))),
        ("0x2A", Some(digits("2a"))),
        (&"0".repeat(64), None),
        (&"f".repeat(64), Some("f".repeat(64))),
        (
            "100000000000000000000000000000000",
            Some(digits("100000000000000000000000000000000")),
        ),
    ] {
        canister.app.set_config(change(given)).unwrap();
        assert_eq!(canister.app.get_config().minimum_chain_work, expected);
        canister.upgrade();
        assert_eq!(canister.app.get_config().minimum_chain_work, expected);
    }
    let before = canister.app.get_config();
    for given in [
        "",
        "0x",
        "g",
        "-1",
        "+1",
        " 1",
        "1_0",
        "é",
        &"0".repeat(65),
        &"ü".repeat(100_000),
    ] {
        let error = canister.app.set_config(change(given)).unwrap_err();
        let kept: String = given.chars().take(80).collect();
        assert_eq!(error, ConfigError::MinimumChainWork { given: kept });
        let text = error.to_string();
        assert!(text.starts_with("minimum_chain_work is \""), "{text}");
        assert!(text.contains("1 to 64 hexadecimal digits"), "{text}");
        assert_eq!(canister.app.get_config(), before);
        assert!(Canister::try_new(requiring(given)).is_err());
    }
}

#[test]
fn a_stored_minimum_that_cannot_be_read_asks_for_more_work_than_there_is() {
    let unreadable = InitConfig {
        minimum_chain_work: Some("a lot".to_owned()),
        ..regtest()
    };
    let bytes = candid::encode_one(unreadable).unwrap();
    let read = Config::decode(&bytes, Network::Regtest).unwrap();
    assert_eq!(read.access.minimum_chain_work, ChainWork::MAX);
}
