//! Several reads of one chain: what is read at a named tip, and that every answer names its tip.

use super::regtest::*;
use super::setup::*;
use crate::argument;
use crate::convert;
use bitcoin::Block;
use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;
use candid::{encode_args, encode_one};
use millrace_candid::official::{NetworkInRequest, SendTransactionRequest};
use millrace_candid::{
    BlockId, ChainTip, ChainTipStatus, GetChainTipsArgs, GetStatusArgs, GetTransactionStatusArgs,
    ReadError, RelayError, TransactionStatus,
};
use millrace_core::Network;
use millrace_core::header::ChainWork;
use serde_bytes::ByteBuf;

fn id(block: &Block, height: u32) -> BlockId {
    BlockId {
        hash: convert::hash(block.block_hash()),
        height,
    }
}

fn tip(block: &Block, height: u32, status: ChainTipStatus, branch_length: u32) -> ChainTip {
    ChainTip {
        block: id(block, height),
        status,
        branch_length,
    }
}

/// Four blocks, a fork of two from the first one, and a header above the third.
fn forked() -> (Canister, Vec<Block>, [Block; 2], Block) {
    let mut canister = Canister::new(regtest());
    let best = chain(4);
    let low = block(&best[0], 2, 9, &[1], &[]);
    let high = block(&low, 3, 9, &[1], &[]);
    let header_only = block(&best[2], 4, 9, &[1], &[]);
    canister.feed_blocks(&best);
    canister.feed_blocks(&[low.clone(), high.clone()]);
    canister.announce(std::slice::from_ref(&header_only));
    (canister, best, [low, high], header_only)
}

#[test]
fn branches_are_measured_from_the_chain_that_is_read() {
    use ChainTipStatus::{Active, Connected, HeaderOnly};
    let (canister, best, [low, high], header_only) = forked();
    let seen_from = |block: &Block| canister.chain_tips(Some(block.block_hash()));

    let found = seen_from(&high);
    assert_eq!(found.tip, id(&high, 3));
    let mut others = [
        tip(&best[3], 4, Connected, 3),
        tip(&header_only, 4, HeaderOnly, 3),
    ];
    others.sort_by_key(|tip| convert::block_hash(&tip.block.hash).unwrap());
    assert_eq!(found.tips[0], tip(&high, 3, Active, 0));
    assert_eq!(&found.tips[1..], &others);

    // The end of no branch: what lies above it is a branch of its own, as in Bitcoin Core.
    let found = seen_from(&low);
    assert_eq!(found.tips[0], tip(&low, 2, Active, 0));
    assert_eq!(found.tips.len(), 4);
    assert_eq!(found.tips[3], tip(&high, 3, Connected, 1));
    assert_eq!(found.tips[1].branch_length, 3);

    let found = seen_from(&best[2]);
    let lengths: Vec<u32> = found.tips.iter().map(|tip| tip.branch_length).collect();
    assert_eq!(lengths, [0, 1, 1, 2]);

    let from_best = canister.chain_tips(None);
    assert_eq!(from_best, seen_from(&best[3]));
    assert_eq!(from_best.omitted, 0);
    let genesis = seen_from(&genesis());
    let lengths: Vec<u32> = genesis.tips.iter().map(|tip| tip.branch_length).collect();
    assert_eq!(lengths, [0, 4, 4, 3]);
}

#[test]
fn the_status_describes_the_chain_that_is_read() {
    let (canister, best, [_, high], _) = forked();
    let status = |block: &Block| {
        let at_tip = Some(convert::hash(block.block_hash()));
        canister.app.get_status(&GetStatusArgs { at_tip }).unwrap()
    };
    let each = ChainWork::of(Network::Regtest.pow_limit());
    let work = |blocks: usize| {
        let sum = (0..blocks).fold(ChainWork::ZERO, |sum, _| sum.saturating_add(each));
        sum.to_string()
    };
    let at_best = canister.status();
    assert_eq!(at_best, status(&best[3]));
    assert_eq!(
        (&at_best.tip, &at_best.chain_work),
        (&id(&best[3], 4), &work(5))
    );
    let at_fork = status(&high);
    assert_eq!(
        (&at_fork.tip, &at_fork.chain_work),
        (&id(&high, 3), &work(4))
    );
    assert_eq!(
        at_fork.utxos_length, 4,
        "genesis, the shared block, two more"
    );
    // What is the canister's and not a chain's is the same wherever it is asked at.
    assert_eq!(at_fork.best_header, at_best.best_header);
    assert_eq!(at_fork.anchor, at_best.anchor);
    assert_eq!(at_fork.synced, at_best.synced);
}

#[test]
fn tips_that_cannot_be_read_at_are_refused_by_name() {
    let (canister, _, _, header_only) = forked();
    let header_only = convert::hash(header_only.block_hash());
    for (at_tip, expected) in [
        (
            ByteBuf::from([7; 32]),
            ReadError::UnknownTip {
                hash: ByteBuf::from([7; 32]),
                min_height: 0,
            },
        ),
        (
            header_only.clone(),
            ReadError::UnknownTip {
                hash: header_only,
                min_height: 0,
            },
        ),
        (
            ByteBuf::from([7; 31]),
            ReadError::MalformedHash {
                given_bytes: 31,
                expected_bytes: 32,
            },
        ),
    ] {
        let at_tip = Some(at_tip);
        let tips = canister.app.get_chain_tips(&GetChainTipsArgs {
            at_tip: at_tip.clone(),
        });
        assert_eq!(tips, Err(expected.clone()));
        let status = canister.app.get_status(&GetStatusArgs {
            at_tip: at_tip.clone(),
        });
        assert_eq!(status, Err(expected.clone()));
        let sent = canister
            .app
            .get_transaction_status(&GetTransactionStatusArgs {
                txid: ByteBuf::from([1; 32]),
                at_tip,
            });
        let expected = match expected {
            ReadError::UnknownTip { hash, min_height } => {
                RelayError::UnknownTip { hash, min_height }
            }
            _ => RelayError::MalformedHash {
                given_bytes: 31,
                expected_bytes: 32,
            },
        };
        assert_eq!(sent, Err(expected));
    }
}

#[test]
fn calls_without_an_argument_are_about_the_best_chain() {
    let none: Option<GetStatusArgs> = None;
    for bytes in [
        encode_args(()).unwrap(),
        encode_one(none).unwrap(),
        encode_one(()).unwrap(),
    ] {
        let status: Option<GetStatusArgs> = argument::decode(&bytes).unwrap();
        assert_eq!(status.unwrap_or_default(), GetStatusArgs::default());
        let tips: Option<GetChainTipsArgs> = argument::decode(&bytes).unwrap();
        assert_eq!(tips.unwrap_or_default(), GetChainTipsArgs::default());
    }
    let named = GetStatusArgs {
        at_tip: Some(ByteBuf::from([1; 32])),
    };
    for bytes in [
        encode_one(&named).unwrap(),
        encode_one(Some(&named)).unwrap(),
    ] {
        assert_eq!(
            argument::decode::<Option<GetStatusArgs>>(&bytes).unwrap(),
            Some(named.clone())
        );
    }
}

#[test]
fn a_transaction_is_confirmed_where_its_block_is_on_the_chain_read() {
    let mut canister = Canister::new(regtest());
    let first = block(&genesis(), 1, 0, &[5_000], &[]);
    let sent = payment(&[coinbase_coin(&first)], &[4_000]);
    let request = SendTransactionRequest {
        transaction: serialize(&sent),
        network: NetworkInRequest::regtest,
    };
    let Canister { app, world, .. } = &mut canister;
    app.bitcoin_send_transaction(world, &Purse::with(0), request)
        .unwrap();
    let txid = ByteBuf::from(sent.compute_txid().to_byte_array());
    let with = block(&first, 2, 0, &[1], &[sent]);
    let above = block(&with, 3, 0, &[1], &[]);
    let without = block(&first, 2, 9, &[1], &[]);
    canister.feed_blocks(&[first.clone(), with.clone(), above.clone(), without.clone()]);
    let confirmed = |confirmations| TransactionStatus::Confirmed {
        block: id(&with, 2),
        confirmations,
    };
    for (at_tip, status, tip) in [
        (None, confirmed(2), id(&above, 3)),
        (Some(&above), confirmed(2), id(&above, 3)),
        (Some(&with), confirmed(1), id(&with, 2)),
        (Some(&without), TransactionStatus::Queued, id(&without, 2)),
        (Some(&first), TransactionStatus::Queued, id(&first, 1)),
    ] {
        let found = canister
            .app
            .get_transaction_status(&GetTransactionStatusArgs {
                txid: txid.clone(),
                at_tip: at_tip.map(|block| convert::hash(block.block_hash())),
            })
            .unwrap();
        assert_eq!((found.status, found.tip), (status, tip));
    }
}
