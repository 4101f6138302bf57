//! Questions that make no sense get an answer that says so, and nothing changes.

use bitcoin::hashes::Hash;
use candid::Principal;
use millrace_candid::{
    Chain, GetBalanceArgs, GetBlockHeadersArgs, GetUtxosArgs, HeaderSelector, Owner, ReadError,
    UtxosFilter,
};
use millrace_tests::compare;
use millrace_tests::mining::{Miner, script};
use millrace_tests::setup::Setup;
use pocket_ic::RejectResponse;
use serde_bytes::ByteBuf;

/// Height of the chain these tests ask about.
const HEIGHT: u32 = 30;

/// A regtest canister with a chain of [`HEIGHT`] blocks, and who mined it.
fn with_chain() -> (Setup, Miner) {
    let mut miner = Miner::new();
    let tip = miner.mine_many(miner.tree.genesis(), HEIGHT, &script(1));
    let setup = Setup::regtest();
    setup.push(miner.chain(tip));
    setup.tick_until_tip(tip);
    (setup, miner)
}

fn utxos_of(owner: Owner) -> GetUtxosArgs {
    GetUtxosArgs {
        owner,
        filter: None,
        at_tip: None,
        limit: None,
    }
}

fn utxos() -> GetUtxosArgs {
    utxos_of(compare::owner(&script(1)))
}

fn is_malformed_address(error: &ReadError, given: &str) -> bool {
    // A long text is repeated by its beginning only.
    matches!(error, ReadError::MalformedAddress { address, reason }
        if given.starts_with(address.as_str())
            && address.len() >= given.len().min(50)
            && address.len() <= 100
            && !reason.is_empty())
}

#[test]
fn malformed_questions_are_answered_with_what_is_wrong_and_change_nothing() {
    let (setup, _) = with_chain();
    let before = setup.snapshot(&[script(1)]);
    bad_owners(&setup);
    bad_pages(&setup);
    bad_limits_and_tips(&setup);
    bad_confirmations(&setup);
    bad_header_ranges(&setup);
    assert_eq!(setup.snapshot(&[script(1)]), before);
}

fn bad_owners(setup: &Setup) {
    let too_long = "b".repeat(500);
    for address in [
        "",
        "nonsense",
        "bcrt1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq",
        "\u{1f4a9}",
        &too_long,
    ] {
        let error = setup
            .get_utxos(&utxos_of(Owner::Address(address.to_owned())))
            .expect_err(address);
        assert!(is_malformed_address(&error, address), "{error:?}");
        let args = GetBalanceArgs {
            owner: Owner::Address(address.to_owned()),
            min_confirmations: None,
            at_tip: None,
        };
        let error = setup.get_balance(&args).expect_err(address);
        assert!(is_malformed_address(&error, address), "{error:?}");
    }
    let mainnet_address = "12higDjoCCNXSA95xZMWUdPvXNmkAduhWv";
    assert_eq!(
        setup.get_utxos(&utxos_of(Owner::Address(mainnet_address.to_owned()))),
        Err(ReadError::AddressForWrongNetwork {
            address: mainnet_address.to_owned(),
            expected: Chain::Regtest
        })
    );
    let error = setup
        .get_utxos(&utxos_of(Owner::Script(ByteBuf::from(vec![1; 20_000]))))
        .expect_err("no script is that long");
    assert!(
        matches!(error, ReadError::ScriptTooLong { given: 20_000, max } if max < 20_000),
        "{error:?}"
    );
}

fn bad_pages(setup: &Setup) {
    for page in [vec![], vec![7; 71], vec![7; 73], vec![7; 100_000]] {
        let length = page.len().to_string();
        let args = GetUtxosArgs {
            filter: Some(UtxosFilter::Page(ByteBuf::from(page))),
            ..utxos()
        };
        match setup.get_utxos(&args) {
            Err(ReadError::MalformedPage { reason }) => {
                assert!(reason.contains(&length), "{reason}");
                assert!(reason.contains("72"), "{reason}");
            }
            other => panic!("a page of {length} bytes: {other:?}"),
        }
    }
    // 72 bytes naming a tip that is not there.
    let args = GetUtxosArgs {
        filter: Some(UtxosFilter::Page(ByteBuf::from(vec![7; 72]))),
        ..utxos()
    };
    let error = setup.get_utxos(&args).expect_err("no such tip");
    assert!(
        matches!(&error, ReadError::UnknownTip { hash, .. } if hash.as_slice() == [7; 32]),
        "{error:?}"
    );
}

fn bad_limits_and_tips(setup: &Setup) {
    for limit in [0, 1_001, u32::MAX] {
        let args = GetUtxosArgs {
            limit: Some(limit),
            ..utxos()
        };
        assert_eq!(
            setup.get_utxos(&args),
            Err(ReadError::LimitOutOfRange {
                given: limit,
                max: 1_000
            })
        );
    }
    for (at_tip, given_bytes) in [(vec![], 0), (vec![1; 31], 31), (vec![1; 33], 33)] {
        let wanted = ReadError::MalformedHash {
            given_bytes,
            expected_bytes: 32,
        };
        let args = GetUtxosArgs {
            at_tip: Some(ByteBuf::from(at_tip.clone())),
            ..utxos()
        };
        assert_eq!(setup.get_utxos(&args), Err(wanted.clone()));
        let args = GetBalanceArgs {
            owner: compare::owner(&script(1)),
            min_confirmations: None,
            at_tip: Some(ByteBuf::from(at_tip.clone())),
        };
        assert_eq!(setup.get_balance(&args), Err(wanted.clone()));
        let args = GetBlockHeadersArgs {
            select: HeaderSelector::Hash(ByteBuf::from(at_tip)),
            at_tip: None,
        };
        assert_eq!(setup.get_block_headers(&args), Err(wanted));
    }
    let args = GetUtxosArgs {
        at_tip: Some(ByteBuf::from([9; 32])),
        ..utxos()
    };
    let error = setup.get_utxos(&args).expect_err("no such block");
    assert!(matches!(error, ReadError::UnknownTip { .. }), "{error:?}");
}

fn bad_confirmations(setup: &Setup) {
    for given in [HEIGHT + 2, u32::MAX] {
        let args = GetUtxosArgs {
            filter: Some(UtxosFilter::MinConfirmations(given)),
            ..utxos()
        };
        let error = setup.get_utxos(&args).expect_err("deeper than the chain");
        assert!(is_too_large(&error, given), "{error:?}");
        let args = GetBalanceArgs {
            owner: compare::owner(&script(1)),
            min_confirmations: Some(given),
            at_tip: None,
        };
        let error = setup.get_balance(&args).expect_err("deeper than the chain");
        assert!(is_too_large(&error, given), "{error:?}");
    }
}

fn is_too_large(error: &ReadError, wanted: u32) -> bool {
    matches!(error, ReadError::MinConfirmationsTooLarge { given, max }
        if *given == wanted && *max <= HEIGHT + 1)
}

fn bad_header_ranges(setup: &Setup) {
    let range = |start_height, end_height| GetBlockHeadersArgs {
        select: HeaderSelector::Range {
            start_height,
            end_height,
        },
        at_tip: None,
    };
    let cases = [
        (
            range(HEIGHT + 1, None),
            ReadError::StartHeightDoesNotExist {
                requested: HEIGHT + 1,
                tip_height: HEIGHT,
            },
        ),
        (
            range(1, Some(HEIGHT + 1)),
            ReadError::EndHeightDoesNotExist {
                requested: HEIGHT + 1,
                tip_height: HEIGHT,
            },
        ),
        (
            range(5, Some(4)),
            ReadError::StartHeightLargerThanEndHeight {
                start_height: 5,
                end_height: 4,
            },
        ),
    ];
    for (args, wanted) in cases {
        assert_eq!(setup.get_block_headers(&args), Err(wanted));
    }
    let args = GetBlockHeadersArgs {
        select: HeaderSelector::Hash(ByteBuf::from([9; 32])),
        at_tip: None,
    };
    assert_eq!(
        setup.get_block_headers(&args),
        Err(ReadError::UnknownBlock {
            hash: ByteBuf::from([9; 32])
        })
    );
}

#[test]
fn a_page_cannot_be_combined_with_another_tip() {
    let (setup, miner) = with_chain();
    let args = GetUtxosArgs {
        limit: Some(1),
        ..utxos()
    };
    let page = setup.get_utxos(&args).expect("a good question").next_page;
    let tip = setup.tip();
    let other = miner.tree.ancestor(tip, HEIGHT - 1);
    let args = GetUtxosArgs {
        filter: page.map(UtxosFilter::Page),
        at_tip: Some(ByteBuf::from(other.to_byte_array())),
        ..utxos()
    };
    assert_eq!(
        setup.get_utxos(&args),
        Err(ReadError::PageForOtherTip {
            page_tip: ByteBuf::from(tip.to_byte_array()),
            at_tip: ByteBuf::from(other.to_byte_array()),
        })
    );
}

#[test]
fn arguments_that_are_not_the_contracts_are_refused_with_a_clear_message() {
    let (setup, _) = with_chain();
    let before = setup.snapshot(&[script(1)]);
    let wrong_types = candid::encode_args((7u8, "seven")).expect("they encode");
    let oversized_vector = [
        &b"DIDL\x01\x6d\x6f\x01\x00"[..],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
    ]
    .concat();
    for (name, payload) in [
        ("nothing", Vec::new()),
        ("garbage", b"not candid".to_vec()),
        ("a header only", b"DIDL".to_vec()),
        ("a vector longer than the message", oversized_vector),
        ("other types", wrong_types),
    ] {
        for (method, sender) in [
            ("get_utxos", Principal::anonymous()),
            ("get_balance", Principal::anonymous()),
            ("get_block_headers", Principal::anonymous()),
            ("push_blocks", setup.adapter),
            ("set_config", setup.controller),
        ] {
            let reject = setup
                .pic
                .update_call(setup.canister, sender, method, payload.clone())
                .expect_err(name);
            assert!(speaks_of_candid(&reject), "{method} given {name}: {reject}");
        }
        let reject = setup
            .pic
            .query_call(
                setup.canister,
                Principal::anonymous(),
                "get_utxos_query",
                payload,
            )
            .expect_err(name);
        assert!(
            speaks_of_candid(&reject),
            "get_utxos_query given {name}: {reject}"
        );
    }
    assert_eq!(setup.snapshot(&[script(1)]), before);
}

/// Whether the canister itself found the argument undecodable and pointed to its contract.
fn speaks_of_candid(reject: &RejectResponse) -> bool {
    let message = &reject.reject_message;
    message.contains("cannot decode the argument") && message.contains("candid:service")
}

#[test]
fn methods_that_do_not_exist_are_refused_by_the_ic() {
    let setup = Setup::regtest();
    let reject = setup
        .update::<()>(Principal::anonymous(), "no_such_method", ())
        .expect_err("there is none");
    assert!(reject.reject_message.contains("no_such_method"), "{reject}");
    let response = setup.http_get("/no/such/page");
    assert_eq!(response.status_code, 404);
    assert_eq!(response.body.as_slice(), b"Not found.");
}
