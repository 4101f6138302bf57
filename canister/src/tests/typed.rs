//! The typed reads beyond coins and headers: batches, outpoints, blocks, transactions, branches.

use super::regtest::*;
use super::setup::*;
use crate::api::{MAX_BATCH, MAX_TIPS};
use crate::convert;
use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::Hash;
use bitcoin::{Block, OutPoint, Transaction};
use millrace_candid as wire;
use millrace_candid::{
    BlockId, BlockSelector, ChainTip, ChainTipStatus, GetBalancesArgs, GetBlockArgs,
    GetBlockHeadersArgs, GetFeePercentilesArgs, GetOutpointsArgs, GetTransactionArgs,
    HeaderSelector, InitConfig, Owner, OwnerBalance, ReadError, UnspentOutput,
};
use serde_bytes::ByteBuf;

fn owner() -> Owner {
    Owner::Address(OWNER.to_owned())
}

fn id(block: &Block, height: u32) -> BlockId {
    BlockId {
        hash: convert::hash(block.block_hash()),
        height,
    }
}

fn wire_outpoint(outpoint: &OutPoint) -> wire::OutPoint {
    wire::OutPoint {
        txid: ByteBuf::from(outpoint.txid.to_byte_array()),
        vout: outpoint.vout,
    }
}

/// Two blocks; the second spends the first one's coin.
fn two_blocks() -> (Block, Block, Transaction) {
    let first = block(&genesis(), 1, 0, &[5_000, 70], &[]);
    let spend = payment(&[coinbase_coin(&first)], &[4_000]);
    let second = block(&first, 2, 0, &[6], std::slice::from_ref(&spend));
    (first, second, spend)
}

#[test]
fn balances_of_many_owners_come_from_one_tip() {
    let mut canister = Canister::new(regtest());
    let (first, second, _) = two_blocks();
    canister.feed_blocks(&[first.clone(), second.clone()]);
    let args = |at_tip: Option<&Block>| GetBalancesArgs {
        owners: vec![owner(), Owner::Script(ByteBuf::from([0x51]))],
        min_confirmations: None,
        at_tip: at_tip.map(|block| convert::hash(block.block_hash())),
    };
    let nothing = OwnerBalance {
        balance: 0,
        utxo_count: 0,
    };
    for (at_tip, balance, utxo_count, tip) in [
        (None, 4_076, 3, id(&second, 2)),
        (Some(&first), 5_070, 2, id(&first, 1)),
    ] {
        let found = canister.app.get_balances(&args(at_tip)).unwrap();
        let expected = OwnerBalance {
            balance,
            utxo_count,
        };
        assert_eq!(found.balances, [expected, nothing.clone()]);
        assert_eq!(found.tip, tip);
    }
    let mut with_confirmations = args(None);
    with_confirmations.min_confirmations = Some(2);
    let found = canister.app.get_balances(&with_confirmations).unwrap();
    assert_eq!(found.balances[0].balance, 5_070);
}

#[test]
fn outpoints_are_unspent_or_not_at_a_tip() {
    let mut canister = Canister::new(regtest());
    let (first, second, spend) = two_blocks();
    canister.feed_blocks(&[first.clone(), second.clone()]);
    let made = OutPoint {
        txid: spend.compute_txid(),
        vout: 0,
    };
    let never = OutPoint { vout: 9, ..made };
    let args = |at_tip| GetOutpointsArgs {
        outpoints: [coinbase_coin(&first), made, never]
            .iter()
            .map(wire_outpoint)
            .collect(),
        at_tip,
    };
    let unspent = |value, height, confirmations, coinbase| {
        Some(UnspentOutput {
            value,
            script: ByteBuf::from(owner_script().to_bytes()),
            height,
            confirmations,
            coinbase,
        })
    };
    let found = canister.app.get_outpoints(&args(None)).unwrap();
    assert_eq!(found.outputs, [None, unspent(4_000, 2, 1, false), None]);
    assert_eq!(found.tip, id(&second, 2));
    let at_first = args(Some(convert::hash(first.block_hash())));
    let found = canister.app.get_outpoints(&at_first).unwrap();
    assert_eq!(found.outputs, [unspent(5_000, 1, 1, true), None, None]);
}

#[test]
fn batches_are_bounded_and_one_bad_item_refuses_all() {
    let canister = Canister::new(regtest());
    let balances = |owners| {
        canister.app.get_balances(&GetBalancesArgs {
            owners,
            min_confirmations: None,
            at_tip: None,
        })
    };
    let outpoints = |outpoints| {
        canister.app.get_outpoints(&GetOutpointsArgs {
            outpoints,
            at_tip: None,
        })
    };
    let max = MAX_BATCH as u32;
    let too_many = ReadError::TooManyItems {
        given: max + 1,
        max,
    };
    assert!(balances(vec![owner(); MAX_BATCH]).is_ok());
    assert_eq!(
        balances(vec![owner(); MAX_BATCH + 1]),
        Err(too_many.clone())
    );
    let coin = wire_outpoint(&coinbase_coin(&genesis()));
    assert!(outpoints(vec![coin.clone(); MAX_BATCH]).is_ok());
    assert_eq!(outpoints(vec![coin.clone(); MAX_BATCH + 1]), Err(too_many));
    let bad = Owner::Address(MAINNET_ADDRESS.to_owned());
    assert!(matches!(
        balances(vec![owner(), bad]),
        Err(ReadError::AddressForWrongNetwork { .. })
    ));
    let bad = wire::OutPoint {
        txid: ByteBuf::from([1; 33]),
        vout: 0,
    };
    assert_eq!(
        outpoints(vec![coin, bad]),
        Err(ReadError::MalformedHash {
            given_bytes: 33,
            expected_bytes: 32
        })
    );
}

fn block_args(select: BlockSelector) -> GetBlockArgs {
    GetBlockArgs {
        select,
        offset: None,
        max_bytes: None,
        at_tip: None,
    }
}

#[test]
fn held_blocks_are_read_whole_and_in_pieces() {
    let mut canister = Canister::new(regtest());
    let (first, second, _) = two_blocks();
    canister.feed_blocks(&[first.clone(), second.clone()]);
    let bytes = serialize(&second);
    for select in [
        BlockSelector::Height(2),
        BlockSelector::Hash(convert::hash(second.block_hash())),
    ] {
        let found = canister.app.get_block(&block_args(select)).unwrap();
        assert_eq!(found.block, id(&second, 2));
        assert_eq!((found.size as usize, found.offset), (bytes.len(), 0));
        assert_eq!(found.bytes, bytes);
    }
    let mut args = block_args(BlockSelector::Height(2));
    args.max_bytes = Some(100);
    let mut pieces = Vec::new();
    while pieces.len() < bytes.len() {
        args.offset = Some(pieces.len() as u32);
        let piece = canister.app.get_block(&args).unwrap();
        assert_eq!(piece.size as usize, bytes.len());
        pieces.extend(piece.bytes.into_vec());
    }
    assert_eq!(pieces, bytes);
    args.max_bytes = Some(0);
    assert_eq!(
        canister.app.get_block(&args),
        Err(ReadError::LimitOutOfRange {
            given: 0,
            max: crate::api::MAX_RESPONSE_BYTES
        })
    );
    args.max_bytes = None;
    args.offset = Some(bytes.len() as u32);
    let size = bytes.len() as u32;
    assert_eq!(
        canister.app.get_block(&args),
        Err(ReadError::OffsetOutOfRange { given: size, size })
    );
}

#[test]
fn a_header_is_found_by_its_hash_wherever_it_is() {
    let mut canister = Canister::new(InitConfig {
        stability_threshold: Some(3u8.into()),
        ..regtest()
    });
    let best = chain(6);
    canister.feed_blocks(&best);
    let fork = block(&best[4], 6, 9, &[1], &[]);
    canister.feed_blocks(std::slice::from_ref(&fork));
    let missing = block(&best[5], 7, 0, &[1], &[]);
    canister.announce(std::slice::from_ref(&missing));
    let nowhere = bitcoin::OutPoint::null();
    let nowhere = bitcoin::OutPoint { vout: 3, ..nowhere };
    let condemned = block(&best[5], 7, 5, &[1], &[payment(&[nowhere], &[1])]);
    canister.feed_blocks(std::slice::from_ref(&condemned));
    let get = |block: &bitcoin::Block, at_tip| {
        let hash = convert::hash(block.block_hash());
        let select = HeaderSelector::Hash(hash);
        canister
            .app
            .get_block_headers(&GetBlockHeadersArgs { select, at_tip })
    };
    assert!(canister.status().anchor.height > 1);
    for (block, height, on_chain) in [
        (&best[0], 1, true),
        (&best[5], 6, true),
        (&fork, 6, false),
        (&missing, 7, false),
    ] {
        let found = get(block, None).unwrap();
        let header = ByteBuf::from(bitcoin::consensus::serialize(&block.header));
        assert_eq!(found.headers, [header]);
        assert_eq!((found.first_height, found.on_chain), (height, on_chain));
        assert_eq!(found.tip.height, 6);
    }
    let at_fork = Some(convert::hash(fork.block_hash()));
    assert!(get(&fork, at_fork.clone()).unwrap().on_chain);
    assert!(!get(&best[5], at_fork).unwrap().on_chain);
    let hash = convert::hash(condemned.block_hash());
    assert_eq!(get(&condemned, None), Err(ReadError::UnknownBlock { hash }));
}

#[test]
fn blocks_that_are_not_held_are_told_apart() {
    let mut canister = Canister::new(InitConfig {
        stability_threshold: Some(2u8.into()),
        ..regtest()
    });
    let blocks = chain(6);
    canister.feed_blocks(&blocks);
    let get = |select| canister.app.get_block(&block_args(select));
    let anchor = canister.status().anchor.height;
    assert!(anchor > 1);
    let not_held = |hash| {
        Err(ReadError::BlockNotHeld {
            hash,
            min_height: anchor + 1,
        })
    };
    let stable = convert::hash(blocks[0].block_hash());
    assert_eq!(get(BlockSelector::Height(1)), not_held(stable.clone()));
    assert_eq!(get(BlockSelector::Hash(stable.clone())), not_held(stable));
    let unknown = ByteBuf::from([5; 32]);
    assert_eq!(
        get(BlockSelector::Hash(unknown.clone())),
        Err(ReadError::UnknownBlock { hash: unknown })
    );
    assert_eq!(
        get(BlockSelector::Height(7)),
        Err(ReadError::StartHeightDoesNotExist {
            requested: 7,
            tip_height: 6
        })
    );
    assert!(get(BlockSelector::Height(anchor + 1)).is_ok());
}

#[test]
fn transactions_of_held_blocks_are_found_with_and_without_naming_their_block() {
    let mut canister = Canister::new(regtest());
    let (first, second, spend) = two_blocks();
    canister.feed_blocks(&[first.clone(), second.clone()]);
    let third = block(&second, 3, 0, &[1], &[]);
    canister.feed_blocks(std::slice::from_ref(&third));
    let mut args = GetTransactionArgs {
        txid: ByteBuf::from(spend.compute_txid().to_byte_array()),
        block: None,
        at_tip: None,
    };
    for block in [None, Some(convert::hash(second.block_hash()))] {
        args.block = block;
        let found = canister.app.get_transaction(&args).unwrap();
        let transaction: Transaction = deserialize(&found.transaction).unwrap();
        assert_eq!(transaction, spend);
        assert_eq!(found.block, id(&second, 2));
        assert_eq!((found.index, found.confirmations), (1, 2));
        assert_eq!(found.tip, id(&third, 3));
    }
    let missing = ReadError::TransactionNotFound {
        txid: args.txid.clone(),
        min_height: 1,
    };
    args.block = Some(convert::hash(first.block_hash()));
    assert_eq!(canister.app.get_transaction(&args), Err(missing.clone()));
    // At a tip below it, the transaction is not there yet, and its block is on another chain.
    args.at_tip = Some(convert::hash(first.block_hash()));
    args.block = None;
    assert_eq!(canister.app.get_transaction(&args), Err(missing));
    args.block = Some(convert::hash(second.block_hash()));
    let hash = convert::hash(second.block_hash());
    assert_eq!(
        canister.app.get_transaction(&args),
        Err(ReadError::UnknownBlock { hash })
    );
}

#[test]
fn branches_are_listed_with_how_far_they_have_come() {
    let mut canister = Canister::new(regtest());
    let best = chain(4);
    let fork = block(&best[0], 2, 9, &[1], &[]);
    let longer = block(&fork, 3, 9, &[1], &[]);
    let header_only = block(&best[2], 4, 9, &[1], &[]);
    canister.feed_blocks(&best);
    canister.feed_blocks(&[fork, longer.clone()]);
    canister.announce(std::slice::from_ref(&header_only));
    let tips = canister.chain_tips(None);
    let tip = |block, height, status, branch_length| ChainTip {
        block: id(block, height),
        status,
        branch_length,
    };
    let expected = [
        tip(&best[3], 4, ChainTipStatus::Active, 0),
        tip(&header_only, 4, ChainTipStatus::HeaderOnly, 1),
        tip(&longer, 3, ChainTipStatus::Connected, 2),
    ];
    assert_eq!((tips.tips.as_slice(), tips.omitted), (&expected[..], 0));
}

#[test]
fn more_branches_than_fit_are_counted() {
    let mut canister = Canister::new(regtest());
    let base = block(&genesis(), 1, 0, &[1], &[]);
    canister.feed_blocks(std::slice::from_ref(&base));
    let siblings: Vec<Block> = (0..=MAX_TIPS as u8)
        .map(|salt| block(&base, 2, salt, &[1], &[]))
        .collect();
    canister.announce(&siblings);
    let tips = canister.chain_tips(None);
    assert_eq!(tips.tips.len(), MAX_TIPS);
    // The best connected block is none of the branches' ends, but is listed first.
    assert_eq!(tips.omitted, 2);
    assert_eq!(tips.tips[0].block, id(&base, 1));
}

#[test]
fn the_status_tells_heights_and_what_waits() {
    let mut canister = Canister::new(regtest());
    let blocks = chain(3);
    canister.feed_blocks(&blocks);
    let status = canister.status();
    assert_eq!(status.tip, id(&blocks[2], 3));
    assert_eq!(status.best_header, status.tip);
    assert_eq!(status.anchor, id(&genesis(), 0));
    assert!(status.synced);
    assert_eq!((status.unstable_blocks, status.pending_blocks), (3, 0));
    assert_eq!(status.utxos_length, 4, "the genesis coinbase counts");
    assert_eq!(status.chain, wire::Chain::Regtest);
}

#[test]
fn fee_percentiles_of_a_named_tip_are_those_of_its_chain() {
    let mut canister = Canister::new(regtest());
    let (first, second, spend) = two_blocks();
    canister.feed_blocks(&[first.clone(), second.clone()]);
    let rate = 1_000 * 1_000 / spend.vsize() as u64;
    for (at_tip, values, tip) in [
        (None, vec![rate; 101], id(&second, 2)),
        (
            Some(convert::hash(first.block_hash())),
            vec![],
            id(&first, 1),
        ),
    ] {
        let args = GetFeePercentilesArgs { at_tip };
        let found = canister.app.get_fee_percentiles(&args).unwrap();
        assert_eq!(found.millisatoshi_per_vbyte, values);
        assert_eq!(found.tip, tip);
    }
}
