//! Whatever bytes come in, by whatever entry point: an answer or a typed refusal, a store that is
//! whole, and a canister that goes on. Panics, which would be traps, fail these tests.

use super::setup::*;
use crate::pull::{GetSuccessorsComplete, GetSuccessorsPartial, GetSuccessorsResponse};
use crate::{argument, lifecycle};
use bitcoin::absolute::LockTime;
use bitcoin::consensus::{deserialize, serialize};
use bitcoin::transaction::Version;
use bitcoin::{Amount, Block, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness};
use candid::Encode;
use millrace_candid::{
    BlockPart, BlockValidation, CanisterArg, FeedStateArgs, Flag, GetBalanceArgs,
    GetBlockHeadersArgs, GetUtxosArgs, HeaderSelector, HttpRequest, InclusionProof, InitConfig,
    InitNetwork, Owner, SetConfigRequest, UtxosFilter, VerifyTxInclusionArgs,
};
use millrace_core::sync::CallId;
use proptest::prelude::*;
use serde_bytes::ByteBuf;

/// A change of a byte string.
#[derive(Clone, Debug)]
enum Mutation {
    Set(usize, u8),
    Insert(usize, Vec<u8>),
    Cut(usize, usize),
    Truncate(usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = any::<usize>();
    prop_oneof![
        4 => (at, any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        2 => (at, prop::collection::vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        1 => (at, 1..9usize).prop_map(|(at, length)| Mutation::Cut(at, length)),
        1 => at.prop_map(Mutation::Truncate),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutations: &[Mutation]) {
    for mutation in mutations {
        let length = bytes.len();
        let place = |at: usize| at % (length + 1);
        match mutation {
            Mutation::Set(at, byte) if length > 0 => bytes[at % length] = *byte,
            Mutation::Set(..) => {}
            Mutation::Insert(at, new) => {
                bytes.splice(place(*at)..place(*at), new.iter().copied());
            }
            Mutation::Cut(at, count) => {
                let start = place(*at);
                bytes.drain(start..(start + count).min(length));
            }
            Mutation::Truncate(at) => bytes.truncate(place(*at)),
        }
    }
}

fn blob(sizes: std::ops::Range<usize>) -> impl Strategy<Value = ByteBuf> {
    prop::collection::vec(any::<u8>(), sizes).prop_map(ByteBuf::from)
}

fn owner() -> impl Strategy<Value = Owner> {
    prop_oneof![
        any::<String>().prop_map(Owner::Address),
        "[a-zA-Z0-9]{20,90}".prop_map(Owner::Address),
        Just(Owner::Address(
            "bcrt1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqdku202".to_owned()
        )),
        blob(0..40).prop_map(Owner::Script),
        Just(Owner::Script(ByteBuf::from(vec![0x51]))),
        Just(Owner::Script(ByteBuf::from(vec![1; 10_001]))),
    ]
}

/// Hashes of every length, and page tokens of a known tip.
fn tip() -> impl Strategy<Value = ByteBuf> {
    prop_oneof![blob(0..80), blob(32..33), Just(genesis_hash())]
}

fn genesis_hash() -> ByteBuf {
    let genesis = bitcoin::constants::genesis_block(bitcoin::Network::Regtest);
    crate::convert::hash(genesis.block_hash())
}

fn page() -> impl Strategy<Value = ByteBuf> {
    let known = blob(40..41).prop_map(|rest| {
        let bytes = [genesis_hash().as_slice(), rest.as_slice()].concat();
        ByteBuf::from(bytes)
    });
    prop_oneof![blob(0..100), known]
}

/// A well-formed argument of some method with any values, encoded, and the method.
fn call() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let limit = prop::option::of(prop_oneof![any::<u32>(), 0..3u32]);
    let filter = prop::option::of(prop_oneof![
        prop_oneof![any::<u32>(), 0..3u32].prop_map(UtxosFilter::MinConfirmations),
        page().prop_map(UtxosFilter::Page),
    ]);
    let utxos = (owner(), filter, prop::option::of(tip()), limit.clone()).prop_map(
        |(owner, filter, at_tip, limit)| {
            let args = GetUtxosArgs {
                owner,
                filter,
                at_tip,
                limit,
            };
            ("get_utxos", Encode!(&args).unwrap())
        },
    );
    let balance =
        (owner(), limit, prop::option::of(tip())).prop_map(|(owner, min_confirmations, at_tip)| {
            let args = GetBalanceArgs {
                owner,
                min_confirmations,
                at_tip,
            };
            ("get_balance", Encode!(&args).unwrap())
        });
    let locator = prop::collection::vec(tip(), 0..70)
        .prop_map(|locator| ("feed_state", Encode!(&FeedStateArgs { locator }).unwrap()));
    let part = (tip(), any::<u32>(), any::<u32>(), blob(0..300));
    let push = prop::collection::vec(part, 0..4).prop_map(|parts| {
        let parts = parts.into_iter();
        let parts: Vec<BlockPart> = parts
            .map(|(hash, size, offset, bytes)| BlockPart {
                hash,
                size: if size % 2 == 0 { size % 1_000 } else { size },
                offset: if offset % 2 == 0 { 0 } else { offset },
                bytes,
            })
            .collect();
        ("push_blocks", Encode!(&parts).unwrap())
    });
    let http = (any::<String>(), any::<bool>()).prop_map(|(text, known)| {
        let request = HttpRequest {
            url: if known {
                format!("/metrics?{text}")
            } else {
                text.clone()
            },
            method: text.clone(),
            body: ByteBuf::from(text.clone()),
            headers: vec![(text.clone(), text)],
        };
        ("http_request", Encode!(&request).unwrap())
    });
    let config = (any::<u64>(), any::<bool>()).prop_map(|(number, syncing)| {
        let change = SetConfigRequest {
            stability_threshold: Some(number.into()),
            syncing: Some(if syncing {
                Flag::Enabled
            } else {
                Flag::Disabled
            }),
            ..SetConfigRequest::default()
        };
        ("set_config", Encode!(&change).unwrap())
    });
    prop_oneof![
        utxos,
        balance,
        headers(),
        inclusion(),
        locator,
        push,
        http,
        config,
        arguments(),
        reply()
    ]
}

fn headers() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let selector = prop_oneof![
        (any::<u32>(), prop::option::of(any::<u32>())).prop_map(|(start_height, end_height)| {
            HeaderSelector::Range {
                start_height,
                end_height,
            }
        }),
        tip().prop_map(HeaderSelector::Hash),
    ];
    (selector, prop::option::of(tip())).prop_map(|(select, at_tip)| {
        let args = GetBlockHeadersArgs { select, at_tip };
        ("get_block_headers", Encode!(&args).unwrap())
    })
}

/// Arguments of installations and upgrades.
fn arguments() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    any::<u64>().prop_map(|number| {
        let argument = CanisterArg::Init(InitConfig {
            stability_threshold: Some(number.into()),
            ..InitConfig::default()
        });
        ("init", Encode!(&argument).unwrap())
    })
}

fn inclusion() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    // A merkle block with the genesis header and anything behind it.
    let genesis = serialize(&bitcoin::constants::genesis_block(bitcoin::Network::Regtest).header);
    let merkle_block =
        blob(0..90).prop_map(move |rest| ByteBuf::from([&genesis, rest.as_slice()].concat()));
    let branch = (tip(), any::<u32>(), prop::collection::vec(tip(), 0..4));
    let proof = prop_oneof![
        merkle_block.prop_map(InclusionProof::MerkleBlock),
        blob(0..200).prop_map(InclusionProof::MerkleBlock),
        branch.prop_map(|(block, position, siblings)| InclusionProof::Branch {
            block,
            position,
            siblings,
        }),
    ];
    (tip(), proof, prop::option::of(tip())).prop_map(|(txid, proof, at_tip)| {
        let args = VerifyTxInclusionArgs {
            txid,
            proof,
            at_tip,
        };
        ("verify_tx_inclusion", Encode!(&args).unwrap())
    })
}

/// Replies of a blocks source.
fn reply() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let blobs = || prop::collection::vec(prop_oneof![blob(0..200), blob(80..81)], 0..4);
    let response = prop_oneof![
        (blobs(), blobs()).prop_map(|(blocks, next)| {
            GetSuccessorsResponse::Complete(GetSuccessorsComplete { blocks, next })
        }),
        (blob(0..200), blobs(), any::<u8>()).prop_map(|(partial_block, next, pages)| {
            GetSuccessorsResponse::Partial(GetSuccessorsPartial {
                partial_block,
                next,
                remaining_follow_ups: pages,
            })
        }),
        blob(0..200).prop_map(GetSuccessorsResponse::FollowUp),
    ];
    response.prop_map(|response| ("reply", Encode!(&response).unwrap()))
}

fn regtest() -> Canister {
    Canister::new(InitConfig {
        network: Some(InitNetwork::Regtest),
        pull: Some(Flag::Enabled),
        ..pushed()
    })
}

/// Passes bytes to an entry point, as the Wasm module does: decode, then the method. Whether it
/// succeeds does not matter.
fn enter(canister: &mut Canister, in_flight: &mut Option<CallId>, method: &str, bytes: &[u8]) {
    let (app, world) = (&mut canister.app, &canister.world);
    match method {
        "get_utxos" => drop(argument::decode(bytes).map(|args| app.get_utxos(&args))),
        "get_balance" => drop(argument::decode(bytes).map(|args| app.get_balance(&args))),
        "get_block_headers" => {
            drop(argument::decode(bytes).map(|args| app.get_block_headers(&args)));
        }
        "verify_tx_inclusion" => {
            drop(argument::decode(bytes).map(|args| app.verify_tx_inclusion(&args)));
        }
        "feed_state" => {
            drop(argument::decode(bytes).map(|args| app.feed_state(adapter(), &args)));
        }
        "push_blocks" => drop(
            argument::decode::<Vec<BlockPart>>(bytes)
                .map(|parts| app.push_blocks(world, adapter(), &parts)),
        ),
        "http_request" => {
            drop(argument::decode(bytes).map(|args| app.http_request(world, &args)));
        }
        "set_config" => drop(argument::decode(bytes).map(|change| app.set_config(change))),
        "init" => {
            drop(lifecycle::init_config(bytes).map(|config| Canister::try_new(config).err()));
            drop(lifecycle::upgrade_config(bytes));
        }
        "reply" => {
            // Once as the answer awaited, if one is, and once as one to no call.
            for _ in 0..2 {
                if let Some(id) = *in_flight {
                    app.on_reply(world, id, Ok(bytes.to_vec()));
                }
            }
        }
        other => panic!("no entry point {other}"),
    }
    // A call of an earlier heartbeat stays the one in flight until it is answered.
    *in_flight = canister.heartbeat().map(|ask| ask.id).or(*in_flight);
    canister.app.watchdog(&canister.world);
    canister.audit();
}

/// A regtest block at the genesis block made of these transactions, with a proof of work.
fn block_of(transactions: Vec<Transaction>, time: u32, merkle: bool) -> Vec<u8> {
    let mut block: Block = bitcoin::constants::genesis_block(bitcoin::Network::Regtest);
    block.header.prev_blockhash = block.block_hash();
    block.header.time = block.header.time.wrapping_add(time);
    // The version and the coinbases' scripts are those that consensus rules want at height 1.
    block.header.version = bitcoin::block::Version::from_consensus(4);
    block.txdata = transactions;
    if merkle && let Some(root) = block.compute_merkle_root() {
        block.header.merkle_root = root;
    }
    while !block.header.target().is_met_by(block.block_hash()) {
        block.header.nonce += 1;
    }
    serialize(&block)
}

fn transaction() -> impl Strategy<Value = Transaction> {
    let genesis = bitcoin::constants::genesis_block(bitcoin::Network::Regtest);
    let known = OutPoint::new(genesis.txdata[0].compute_txid(), 0);
    let outpoint = prop_oneof![
        Just(OutPoint::null()),
        Just(known),
        any::<u32>().prop_map(move |vout| OutPoint { vout, ..known }),
    ];
    let script = || {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..60),
            Just(vec![0x6a; 10_001]),
            Just(vec![0x51]),
        ]
        .prop_map(ScriptBuf::from_bytes)
    };
    let value = prop_oneof![any::<u64>(), 0..100u64].prop_map(Amount::from_sat);
    let output = (value, script()).prop_map(|(value, script_pubkey)| TxOut {
        value,
        script_pubkey,
    });
    let input = (outpoint, script(), any::<u32>(), any::<bool>()).prop_map(
        |(previous_output, script_sig, sequence, witness)| TxIn {
            previous_output,
            script_sig,
            sequence: Sequence(sequence),
            witness: if witness {
                Witness::from_slice(&[vec![7; 3]])
            } else {
                Witness::new()
            },
        },
    );
    let inputs = prop::collection::vec(input, 1..4);
    let outputs = prop::collection::vec(output, 0..4);
    (inputs, outputs, any::<i32>(), any::<u32>()).prop_map(|(input, output, version, lock)| {
        Transaction {
            version: Version(version),
            lock_time: LockTime::from_consensus(lock),
            input,
            output,
        }
    })
}

/// A coinbase; one that repeats the genesis block's, which is unspent, would condemn its block.
fn coinbase(number: u8) -> Transaction {
    let genesis = bitcoin::constants::genesis_block(bitcoin::Network::Regtest);
    let mut coinbase = genesis.txdata[0].clone();
    coinbase.input[0].script_sig = ScriptBuf::from_bytes(vec![0x51, 1, number]);
    coinbase
}

fn assert_goes_on(canister: &mut Canister) {
    let enabled = SetConfigRequest {
        syncing: Some(Flag::Enabled),
        block_validation: Some(BlockValidation::Consensus),
        ..SetConfigRequest::default()
    };
    canister.app.set_config(enabled).unwrap();
    let good = block_of(vec![coinbase(u8::MAX)], 601, true);
    canister.push_bytes(&good);
    canister.settle();
    let node = canister.app.store().tree.get(&hash_of(&good));
    assert!(node.is_some_and(|node| node.status() == millrace_core::tree::BlockStatus::Connected));
    canister.upgrade();
    canister.settle();
    canister.audit();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_argument_and_any_change_of_one_is_answered(
        calls in prop::collection::vec((call(), prop::collection::vec(mutation(), 0..4)), 1..12),
    ) {
        let (mut canister, mut in_flight) = (regtest(), None);
        for ((method, mut bytes), mutations) in calls {
            mutate(&mut bytes, &mutations);
            enter(&mut canister, &mut in_flight, method, &bytes);
        }
        assert_goes_on(&mut canister);
    }

    #[test]
    fn any_bytes_are_answered_by_every_entry_point(
        bytes in prop::collection::vec(any::<u8>(), 0..64),
        with_magic in any::<bool>(),
    ) {
        let (mut canister, mut in_flight) = (regtest(), None);
        let bytes = if with_magic { [b"DIDL", bytes.as_slice()].concat() } else { bytes };
        for method in [
            "get_utxos", "get_balance", "get_block_headers", "verify_tx_inclusion", "feed_state",
            "push_blocks", "http_request", "set_config", "init", "reply",
        ] {
            enter(&mut canister, &mut in_flight, method, &bytes);
        }
        assert_goes_on(&mut canister);
    }

    #[test]
    fn any_block_with_a_proof_of_work_is_connected_or_refused(
        blocks in prop::collection::vec(
            (prop::collection::vec(transaction(), 0..5), any::<bool>(), any::<bool>(),
             prop::collection::vec(mutation(), 0..3)),
            1..6,
        ),
        validation in prop_oneof![
            Just(BlockValidation::ProofOfWork),
            Just(BlockValidation::Consensus),
        ],
    ) {
        let mut canister = regtest();
        let change = SetConfigRequest {
            block_validation: Some(validation),
            ..SetConfigRequest::default()
        };
        canister.app.set_config(change).unwrap();
        for (index, (transactions, has_coinbase, merkle, mutations)) in blocks.into_iter().enumerate() {
            let first = coinbase(index as u8);
            let all = has_coinbase.then_some(first).into_iter().chain(transactions).collect();
            let mut bytes = block_of(all, 600 + index as u32, merkle);
            // Past the header, whose proof of work would be lost.
            let mut body = bytes.split_off(80);
            mutate(&mut body, &mutations);
            bytes.extend(body);
            canister.push_bytes(&bytes);
            canister.settle();
            canister.audit();
        }
        assert_goes_on(&mut canister);
    }

    #[test]
    fn any_change_of_a_real_block_is_refused_or_taken(
        mutations in prop::collection::vec(mutation(), 1..5),
        at in 0..6usize,
    ) {
        let (mut canister, real) = (Canister::new(pushed()), real_blocks());
        canister.feed(&real[..3]);
        let mut bytes = real[at].clone();
        mutate(&mut bytes, &mutations);
        let mut part = whole(&bytes);
        part.hash = whole(&real[at]).hash;
        canister.push_parts(vec![part, whole(&bytes)]);
        canister.settle();
        canister.audit();
        canister.feed(&real[..6]);
        prop_assert_eq!(canister.tip().1, 6);
        prop_assert!(deserialize::<Block>(&real[at]).is_ok());
    }
}
