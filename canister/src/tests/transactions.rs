//! `get_transaction`: every transaction of every held block of the chain read is found by its id.

use super::regtest::*;
use super::setup::*;
use crate::convert;
use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::Hash;
use bitcoin::transaction::Version;
use bitcoin::{Block, OutPoint, Transaction, Txid};
use millrace_candid::{
    BlockId, Budgets, FoundTransaction, GetTransactionArgs, InitConfig, ReadError,
};
use serde_bytes::ByteBuf;

fn id(block: &Block, height: u32) -> BlockId {
    BlockId {
        hash: convert::hash(block.block_hash()),
        height,
    }
}

fn find(
    canister: &Canister,
    txid: Txid,
    at_tip: Option<&Block>,
) -> Result<FoundTransaction, ReadError> {
    canister.app.get_transaction(&GetTransactionArgs {
        txid: ByteBuf::from(txid.to_byte_array()),
        block: None,
        at_tip: at_tip.map(|block| convert::hash(block.block_hash())),
    })
}

fn not_found(txid: Txid, min_height: u32) -> Result<FoundTransaction, ReadError> {
    Err(ReadError::TransactionNotFound {
        txid: ByteBuf::from(txid.to_byte_array()),
        min_height,
    })
}

/// Asks for every transaction of these blocks, which lie on one chain from height 1 on.
fn assert_all_found(canister: &Canister, blocks: &[Block]) {
    for (height, block) in (1..).zip(blocks) {
        for (index, transaction) in (0..).zip(&block.txdata) {
            let found = find(canister, transaction.compute_txid(), None).unwrap();
            assert_eq!(found.transaction, serialize(transaction));
            assert_eq!((found.block, found.index), (id(block, height), index));
            assert_eq!(found.confirmations, blocks.len() as u32 + 1 - height);
        }
    }
}

fn output_of(transaction: &Transaction) -> OutPoint {
    OutPoint {
        txid: transaction.compute_txid(),
        vout: 0,
    }
}

/// Three blocks: in the second a transaction and one that spends it whole, in the third one that
/// spends what was left, so that nothing of the first two has any output.
fn spent_blocks() -> Vec<Block> {
    let first = block(&genesis(), 1, 0, &[5_000], &[]);
    let spend = payment(&[coinbase_coin(&first)], &[4_000]);
    let again = payment(&[output_of(&spend)], &[3_000]);
    let second = block(&first, 2, 0, &[7], &[spend, again.clone()]);
    let last = payment(&[output_of(&again), coinbase_coin(&second)], &[]);
    let third = block(&second, 3, 0, &[8], &[last]);
    vec![first, second, third]
}

#[test]
fn transactions_without_any_unspent_output_are_found() {
    let mut canister = Canister::new(regtest());
    let blocks = spent_blocks();
    canister.feed_blocks(&blocks);
    canister.audit();
    assert_all_found(&canister, &blocks);
    // Below their block they are not there yet, and no other id is ever there.
    let spend = blocks[1].txdata[1].compute_txid();
    assert_eq!(
        find(&canister, spend, Some(&blocks[0])),
        not_found(spend, 1)
    );
    let never = Txid::from_byte_array([9; 32]);
    assert_eq!(find(&canister, never, None), not_found(never, 1));
    // Its first bytes alone are not enough.
    let mut alike = spend.to_byte_array();
    alike[31] ^= 1;
    let alike = Txid::from_byte_array(alike);
    assert_eq!(find(&canister, alike, None), not_found(alike, 1));
}

#[test]
fn a_transaction_on_two_forks_is_found_on_the_chain_read() {
    let mut canister = Canister::new(regtest());
    let first = block(&genesis(), 1, 0, &[5_000], &[]);
    let shared = payment(&[coinbase_coin(&first)], &[4_000]);
    let here = block(&first, 2, 0, &[1], std::slice::from_ref(&shared));
    let between = block(&first, 2, 9, &[1], &[]);
    let there = block(&between, 3, 9, &[1], std::slice::from_ref(&shared));
    canister.feed_blocks(&[first.clone(), here.clone(), between.clone(), there.clone()]);
    canister.audit();
    let txid = shared.compute_txid();
    for (at_tip, expected) in [
        (None, Ok(id(&there, 3))),
        (Some(&there), Ok(id(&there, 3))),
        (Some(&here), Ok(id(&here, 2))),
        (Some(&between), Err(not_found(txid, 1))),
        (Some(&first), Err(not_found(txid, 1))),
    ] {
        let found = find(&canister, txid, at_tip);
        match expected {
            Ok(block) => assert_eq!(found.unwrap().block, block),
            Err(error) => assert_eq!(found, error),
        }
    }
}

#[test]
fn a_retired_block_s_transactions_are_gone_and_the_error_says_from_where_on_blocks_are_held() {
    let mut canister = Canister::new(InitConfig {
        stability_threshold: Some(2u8.into()),
        ..regtest()
    });
    let mut blocks = spent_blocks();
    for height in 4..9 {
        let next = block(&blocks[blocks.len() - 1], height, 0, &[9], &[]);
        blocks.push(next);
    }
    canister.feed_blocks(&blocks);
    canister.audit();
    let anchor = canister.app.get_blockchain_info().height - 1;
    let spend = blocks[1].txdata[1].compute_txid();
    assert_eq!(find(&canister, spend, None), not_found(spend, anchor + 1));
    let kept = &blocks[anchor as usize];
    let kept_id = find(&canister, kept.txdata[0].compute_txid(), None).unwrap();
    assert_eq!(kept_id.block, id(kept, anchor + 1));
    let named = canister.app.get_transaction(&GetTransactionArgs {
        txid: ByteBuf::from(spend.to_byte_array()),
        block: Some(convert::hash(blocks[1].block_hash())),
        at_tip: None,
    });
    let hash = convert::hash(blocks[1].block_hash());
    let min_height = anchor + 1;
    assert_eq!(named, Err(ReadError::BlockNotHeld { hash, min_height }));
}

#[test]
fn a_block_of_as_many_transactions_as_fit_is_indexed_and_searched() {
    let mut canister = Canister::new(regtest());
    // Further coinbases, which proof of work alone allows, of 51 bytes each.
    let smallest = |number: i32| Transaction {
        version: Version(number),
        ..payment(&[OutPoint::null()], &[])
    };
    let many: Vec<Transaction> = (1..19_600).map(smallest).collect();
    let full = block(&genesis(), 1, 0, &[1], &many);
    canister.feed_blocks(std::slice::from_ref(&full));
    assert_eq!(canister.tip(), (full.block_hash(), 1));
    let indexes = &canister.app.store().transaction_indexes;
    assert_eq!(indexes.count(&full.block_hash()), Some(19_600));
    for number in [1, 2, 10_000, 19_599] {
        let wanted = smallest(number);
        canister.app.store().pages().reset();
        let found = find(&canister, wanted.compute_txid(), None).unwrap();
        assert_eq!(found.index, number as u32);
        let transaction: Transaction = deserialize(&found.transaction).unwrap();
        assert_eq!(transaction, wanted);
        // The index has 96 pages; the block's own pages are linked one to the next.
        let before = number as u64 * 51 / 4_092;
        let read = canister.app.store().pages().pages_read().get();
        assert!(read <= before + 20, "{read} pages for transaction {number}");
    }
    canister.audit();
}

#[test]
fn a_block_whose_bytes_were_exchanged_while_it_was_in_hand_is_begun_again() {
    let mut canister = Canister::new(InitConfig {
        budgets: Some(Budgets {
            instructions_per_heartbeat: 1,
            stable_pages_per_heartbeat: 1,
        }),
        ..regtest()
    });
    let blocks = chain(1);
    let bytes = serialize(&blocks[0]);
    canister.push_bytes(&bytes);
    canister.heartbeat();
    // It is being read now. Other bytes take the place of its own, and then its own again.
    let key = millrace_store::blobs::BlobKey::Block(blocks[0].block_hash());
    let blobs = &mut canister.app.store.blobs;
    blobs.append(&key, &[0]).unwrap();
    canister.heartbeat();
    assert_eq!(canister.tip().1, 0);
    let blobs = &mut canister.app.store.blobs;
    blobs.remove(&key);
    blobs.append(&key, &bytes).unwrap();
    canister.settle();
    canister.audit();
    assert_all_found(&canister, &blocks);
}

#[test]
fn indexes_survive_upgrades_at_every_step_of_connecting_and_retiring() {
    let mut canister = Canister::new(InitConfig {
        stability_threshold: Some(3u8.into()),
        budgets: Some(Budgets {
            instructions_per_heartbeat: 1,
            stable_pages_per_heartbeat: 1,
        }),
        ..regtest()
    });
    let blocks = spent_blocks();
    canister.push_parts(
        blocks
            .iter()
            .map(|block| whole(&serialize(block)))
            .collect(),
    );
    for beat in 0..60 {
        canister.heartbeat();
        // Each block takes three steps, which an upgrade after every other one would repeat.
        if beat % 5 == 2 {
            canister.upgrade();
        }
        canister.audit();
    }
    assert_all_found(&canister, &blocks);
    canister.upgrade();
    assert_all_found(&canister, &blocks);
}
