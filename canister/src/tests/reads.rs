//! Reads: owners, tips, confirmations, pages, headers, and every error.

use super::setup::*;
use crate::convert;
use bitcoin::hashes::Hash;
use millrace_candid::{
    Chain, GetBalanceArgs, GetBlockHeadersArgs, GetUtxosArgs, HeaderSelector, InitConfig, Owner,
    ReadError, UtxosFilter,
};
use serde_bytes::ByteBuf;

fn address(text: &str) -> Owner {
    Owner::Address(text.to_owned())
}

fn utxos(owner: Owner) -> GetUtxosArgs {
    GetUtxosArgs {
        owner,
        filter: None,
        at_tip: None,
        limit: None,
    }
}

/// The owner of every coinbase of the other branch.
fn other_owner() -> Owner {
    let block: bitcoin::Block = bitcoin::consensus::deserialize(&other_blocks()[0]).unwrap();
    let script = block.txdata[0].output[0].script_pubkey.to_bytes();
    Owner::Script(ByteBuf::from(script))
}

#[test]
fn more_than_a_thousand_coins_are_paged_at_one_tip() {
    let mut canister = Canister::new(InitConfig {
        stability_threshold: Some(5_000u32.into()),
        ..pushed()
    });
    let other = other_blocks();
    canister.feed(&other[..1_500]);
    let owner = other_owner();
    let first = canister.app.get_utxos(&utxos(owner.clone())).unwrap();
    assert_eq!(first.utxos.len(), 1_000);
    // The chain grows between two pages; the second still answers at the first one's tip.
    canister.feed(&other[1_500..1_510]);
    let mut args = utxos(owner.clone());
    args.filter = first.next_page.map(UtxosFilter::Page);
    let second = canister.app.get_utxos(&args).unwrap();
    assert_eq!((second.utxos.len(), second.tip), (500, first.tip));
    assert_eq!(second.next_page, None);
    let heights: Vec<u32> = first
        .utxos
        .iter()
        .chain(&second.utxos)
        .map(|coin| coin.height)
        .collect();
    assert_eq!(heights, (1..=1_500).rev().collect::<Vec<_>>());
    let mut args = utxos(owner);
    args.limit = Some(7);
    assert_eq!(canister.app.get_utxos(&args).unwrap().utxos.len(), 7);
}

#[test]
fn min_confirmations_reads_at_an_ancestor() {
    let mut canister = Canister::new(pushed());
    let other = other_blocks();
    canister.feed(&other[..200]);
    let owner = other_owner();
    let balance = |min_confirmations| {
        canister.app.get_balance(&GetBalanceArgs {
            owner: owner.clone(),
            min_confirmations,
            at_tip: None,
        })
    };
    let count = |min| balance(Some(min)).unwrap().utxo_count;
    assert_eq!(
        (count(0), count(1), count(2), count(144)),
        (200, 200, 199, 57)
    );
    let error = balance(Some(145)).unwrap_err();
    assert_eq!(
        error,
        ReadError::MinConfirmationsTooLarge {
            given: 145,
            max: 144
        }
    );
    let mut args = utxos(owner.clone());
    args.filter = Some(UtxosFilter::MinConfirmations(11));
    let page = canister.app.get_utxos(&args).unwrap();
    assert_eq!((page.utxos.len(), page.tip.height), (190, 190));
}

#[test]
fn every_bad_owner_tip_page_and_limit_is_a_typed_error() {
    let mut canister = Canister::new(pushed());
    let blocks = real_blocks();
    canister.feed(&blocks[..200]);
    let good = address("12higDjoCCNXSA95xZMWUdPvXNmkAduhWv");
    let error = |args: GetUtxosArgs| canister.app.get_utxos(&args).unwrap_err();
    let bad = error(utxos(address("12higDjoCCNXSA95xZMWUdPvXNmkAduhWx")));
    assert!(matches!(bad, ReadError::MalformedAddress { .. }), "{bad:?}");
    let bad = error(utxos(address("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx")));
    let expected = Chain::Mainnet;
    assert!(
        matches!(&bad, ReadError::AddressForWrongNetwork { expected: chain, .. } if *chain == expected),
        "{bad:?}"
    );
    let long = Owner::Script(ByteBuf::from(vec![0; 10_001]));
    assert_eq!(
        error(utxos(long)),
        ReadError::ScriptTooLong {
            given: 10_001,
            max: 10_000
        }
    );
    for given in [0, 1_001] {
        let args = GetUtxosArgs {
            limit: Some(given),
            ..utxos(good.clone())
        };
        assert_eq!(
            error(args),
            ReadError::LimitOutOfRange { given, max: 1_000 }
        );
    }
    let at_tip = |bytes: &[u8]| GetUtxosArgs {
        at_tip: Some(ByteBuf::from(bytes)),
        ..utxos(good.clone())
    };
    let bad = ReadError::MalformedHash {
        given_bytes: 3,
        expected_bytes: 32,
    };
    assert_eq!(error(at_tip(&[1; 3])), bad);
    for hash in [[9; 32], hash_of(&blocks[10]).to_byte_array()] {
        let bad = error(at_tip(&hash));
        assert_eq!(
            bad,
            ReadError::UnknownTip {
                hash: ByteBuf::from(hash),
                min_height: 57
            }
        );
    }
    let page = |bytes: &[u8]| GetUtxosArgs {
        filter: Some(UtxosFilter::Page(ByteBuf::from(bytes))),
        ..utxos(good.clone())
    };
    assert!(matches!(
        error(page(&[0; 71])),
        ReadError::MalformedPage { .. }
    ));
    assert!(matches!(
        error(page(&[0; 72])),
        ReadError::UnknownTip { .. }
    ));
    let mut token = [0; 72];
    token[..32].copy_from_slice(&hash_of(&blocks[199]).to_byte_array());
    let mut args = page(&token);
    args.at_tip = Some(convert::hash(hash_of(&blocks[198])));
    assert!(matches!(error(args), ReadError::PageForOtherTip { .. }));
}

#[test]
fn headers_join_the_stable_and_the_unstable_chain() {
    let mut canister = Canister::new(pushed());
    let blocks = real_blocks();
    canister.feed(&blocks[..1_200]);
    let get = |start_height, end_height| {
        canister.app.get_block_headers(&GetBlockHeadersArgs {
            select: HeaderSelector::Range {
                start_height,
                end_height,
            },
            at_tip: None,
        })
    };
    for (start, end, count) in [
        (1, Some(1), 1),
        (1_000, Some(1_100), 101),
        (1_150, None, 51),
        (1, None, 1_000),
    ] {
        let headers = get(start, end).unwrap();
        assert_eq!(
            (headers.first_height, headers.headers.len()),
            (start, count)
        );
        for (offset, header) in headers.headers.iter().enumerate() {
            assert_eq!(
                header.as_slice(),
                &blocks[start as usize - 1 + offset][..80]
            );
        }
    }
    let tip_height = 1_200;
    assert_eq!(
        get(1_201, None),
        Err(ReadError::StartHeightDoesNotExist {
            requested: 1_201,
            tip_height
        })
    );
    assert_eq!(
        get(5, Some(1_201)),
        Err(ReadError::EndHeightDoesNotExist {
            requested: 1_201,
            tip_height
        })
    );
    let crossed = ReadError::StartHeightLargerThanEndHeight {
        start_height: 5,
        end_height: 4,
    };
    assert_eq!(get(5, Some(4)), Err(crossed));
    let by_hash = |hash: ByteBuf| {
        canister.app.get_block_headers(&GetBlockHeadersArgs {
            select: HeaderSelector::Hash(hash),
            at_tip: None,
        })
    };
    for height in [1u32, 1_000, 1_150] {
        let hash = convert::hash(hash_of(&blocks[height as usize - 1]));
        assert_eq!(by_hash(hash).unwrap().first_height, height);
    }
    let unknown = ByteBuf::from([3; 32]);
    assert_eq!(
        by_hash(unknown.clone()),
        Err(ReadError::UnknownBlock { hash: unknown })
    );
}
