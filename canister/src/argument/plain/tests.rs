use std::fmt::Debug;

use candid::{CandidType, Nat, Principal, encode_args, encode_one};
use millrace_candid::official as v1;
use millrace_candid::{
    BlockPart, FeedStateArgs, GetBalanceArgs, GetBalancesArgs, GetBlockHeadersArgs,
    GetChainTipsArgs, GetOutpointsArgs, GetStatusArgs, GetUtxosArgs, HeaderSelector, HttpRequest,
    OutPoint, Owner, SetConfigRequest, UtxosFilter,
};
use proptest::prelude::*;
use serde::Serialize;
use serde_bytes::ByteBuf;

use super::*;
use crate::argument::decode_any;

/// Checks that an argument is decoded here, to what was encoded.
fn check<T: CandidType + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let bytes = encode_one(value).unwrap();
    let plain = decode::<T>(&bytes);
    assert_eq!(plain.as_ref(), Some(value));
    assert_eq!(decode_any::<T>(&bytes).as_ref().ok(), Some(value));
}

/// Checks that Candid's decoder has the same answer, where there is one.
fn compare<T: CandidType + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) -> bool {
    let plain = decode::<T>(bytes);
    if let Some(plain) = &plain {
        assert_eq!(decode_any::<T>(bytes).ok().as_ref(), Some(plain));
    }
    plain.is_some()
}

fn compare_all(bytes: &[u8]) -> usize {
    let decoded = [
        compare::<v1::GetUtxosRequest>(bytes),
        compare::<v1::GetBalanceRequest>(bytes),
        compare::<v1::GetBlockHeadersRequest>(bytes),
        compare::<GetUtxosArgs>(bytes),
        compare::<GetBalanceArgs>(bytes),
        compare::<GetBalancesArgs>(bytes),
        compare::<GetOutpointsArgs>(bytes),
        compare::<GetBlockHeadersArgs>(bytes),
        compare::<Option<GetChainTipsArgs>>(bytes),
        compare::<Option<GetStatusArgs>>(bytes),
        compare::<Vec<BlockPart>>(bytes),
        compare::<FeedStateArgs>(bytes),
        compare::<SetConfigRequest>(bytes),
        compare::<HttpRequest>(bytes),
        compare::<Vec<Numbers>>(bytes),
    ];
    decoded.into_iter().filter(|is_decoded| *is_decoded).count()
}

#[derive(CandidType, serde::Deserialize, Serialize, Clone, Debug, PartialEq)]
struct Numbers {
    is_set: bool,
    byte: Wrapped,
    short: Option<u16>,
    long: Option<Option<u64>>,
    texts: Vec<String>,
    inner: Option<Vec<Numbers>>,
}

#[derive(CandidType, serde::Deserialize, Serialize, Clone, Debug, PartialEq)]
struct Wrapped(u8);

fn numbers() -> Numbers {
    let inner = Numbers {
        is_set: true,
        byte: Wrapped(255),
        short: None,
        long: Some(None),
        texts: Vec::new(),
        inner: None,
    };
    Numbers {
        is_set: false,
        byte: Wrapped(0),
        short: Some(u16::MAX),
        long: Some(Some(u64::MAX)),
        texts: vec![String::new(), "größer".to_owned()],
        inner: Some(vec![inner.clone(), inner]),
    }
}

fn owners() -> [Owner; 2] {
    [
        Owner::Address("bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080".to_owned()),
        Owner::Script(ByteBuf::from(vec![0x51; 200])),
    ]
}

fn utxos_args() -> Vec<GetUtxosArgs> {
    let filters = [
        None,
        Some(UtxosFilter::MinConfirmations(7)),
        Some(UtxosFilter::Page(ByteBuf::from([3; 72]))),
    ];
    let mut all = Vec::new();
    for owner in owners() {
        for filter in &filters {
            all.push(GetUtxosArgs {
                owner: owner.clone(),
                filter: filter.clone(),
                at_tip: Some(ByteBuf::from([9; 32])),
                limit: Some(u32::MAX),
            });
        }
    }
    all
}

fn official_args() -> Vec<v1::GetUtxosRequest> {
    let page = || ByteBuf::from([3; 72]);
    let filters = [
        None,
        Some(v1::UtxosFilterInRequest::MinConfirmations(1)),
        Some(v1::UtxosFilterInRequest::min_confirmations(2)),
        Some(v1::UtxosFilterInRequest::Page(page())),
        Some(v1::UtxosFilterInRequest::page(page())),
    ];
    let requests = filters.into_iter().map(|filter| v1::GetUtxosRequest {
        address: "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2".to_owned(),
        network: v1::NetworkInRequest::testnet,
        filter,
    });
    requests.collect()
}

/// Encodings of many arguments.
fn encodings() -> Vec<Vec<u8>> {
    let headers = |select| GetBlockHeadersArgs {
        select,
        at_tip: None,
    };
    let selectors = [
        HeaderSelector::Hash(ByteBuf::from([4; 32])),
        HeaderSelector::Range {
            start_height: 5,
            end_height: Some(6),
        },
    ];
    let outpoint = OutPoint {
        txid: ByteBuf::from([8; 32]),
        vout: 300,
    };
    let part = BlockPart {
        hash: ByteBuf::from([7; 32]),
        size: 100,
        offset: 0,
        bytes: ByteBuf::from([7; 100]),
    };
    let mut all = vec![
        encode_args(()).unwrap(),
        encode_args((None::<GetStatusArgs>,)).unwrap(),
        encode_args((GetStatusArgs::default(),)).unwrap(),
        encode_args((1u8, "two")).unwrap(),
        encode_one(vec![numbers(), numbers()]).unwrap(),
        encode_one(vec![part; 3]).unwrap(),
        encode_one(GetBalancesArgs {
            owners: owners().to_vec(),
            min_confirmations: Some(1),
            at_tip: None,
        })
        .unwrap(),
        encode_one(GetOutpointsArgs {
            outpoints: vec![outpoint; 3],
            at_tip: None,
        })
        .unwrap(),
        encode_one(SetConfigRequest::default()).unwrap(),
    ];
    all.extend(utxos_args().iter().map(|args| encode_one(args).unwrap()));
    all.extend(official_args().iter().map(|args| encode_one(args).unwrap()));
    all.extend(selectors.map(|select| encode_one(headers(select)).unwrap()));
    all
}

#[test]
fn arguments_of_reads_are_decoded_here() {
    utxos_args().iter().for_each(check);
    official_args().iter().for_each(check);
    check(&vec![numbers()]);
    check(&GetBalancesArgs {
        owners: owners().to_vec(),
        min_confirmations: None,
        at_tip: None,
    });
    assert_eq!(
        decode::<Option<GetStatusArgs>>(b"DIDL\0\0"),
        Some(None::<GetStatusArgs>)
    );
}

#[test]
fn what_clients_of_other_languages_send_is_decoded_here() {
    // By the interface's text: types in the order of use, only the spellings it has.
    #[derive(CandidType)]
    #[expect(non_camel_case_types, dead_code, reason = "as the interface spells it")]
    enum Network {
        mainnet,
        regtest,
        testnet,
    }
    #[derive(CandidType)]
    struct Request {
        network: Network,
        address: String,
    }
    let request = Request {
        network: Network::regtest,
        address: "an address".to_owned(),
    };
    let expected = v1::GetBalanceRequest {
        address: "an address".to_owned(),
        network: v1::NetworkInRequest::regtest,
        min_confirmations: None,
    };
    let bytes = encode_one(request).unwrap();
    assert_eq!(decode::<v1::GetBalanceRequest>(&bytes), Some(expected));
    assert!(compare::<v1::GetBalanceRequest>(&bytes));
}

#[test]
fn what_needs_a_decision_is_left_to_candid() {
    #[derive(CandidType)]
    struct Wider {
        owner: Owner,
        unknown: u8,
    }
    let wider = Wider {
        owner: owners()[0].clone(),
        unknown: 1,
    };
    let bytes = encode_one(wider).unwrap();
    assert_eq!(decode::<GetBalanceArgs>(&bytes), None);
    assert!(decode_any::<GetBalanceArgs>(&bytes).is_ok());
    // A value where an option is wanted.
    #[derive(CandidType)]
    struct NoOption {
        owner: Owner,
        limit: u32,
    }
    let bytes = encode_one(NoOption {
        owner: owners()[1].clone(),
        limit: 3,
    })
    .unwrap();
    assert_eq!(decode::<GetUtxosArgs>(&bytes), None);
    assert_eq!(decode_any::<GetUtxosArgs>(&bytes).unwrap().limit, Some(3));
    for bytes in [
        encode_one(Nat::from(5u8)).unwrap(),
        encode_one(Principal::anonymous()).unwrap(),
        encode_one(vec![0u8; MAX_BYTES]).unwrap(),
        b"DIDL\x01\x6d\x7f\x01\x00\xff\xff\xff\xff\x0f".to_vec(),
    ] {
        assert_eq!(compare_all(&bytes), 0);
    }
}

#[test]
fn every_other_argument_and_every_cut_one_is_decoded_as_candid_does() {
    let mut decoded = 0;
    for bytes in encodings() {
        for end in 0..bytes.len() {
            compare_all(&bytes[..end]);
        }
        decoded += compare_all(&bytes);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            for bit in 0..8 {
                changed[at] = bytes[at] ^ 1 << bit;
                decoded += compare_all(&changed);
            }
        }
    }
    // Changed bytes of texts and blobs, at least.
    assert!(decoded > 1_000, "{decoded}");
}

proptest! {
    #[test]
    fn damaged_arguments_are_decoded_as_candid_does(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let all = encodings();
        let mut bytes = which.get(&all).clone();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.remove(cut.index(bytes.len()));
        }
        compare_all(&bytes);
    }
}
