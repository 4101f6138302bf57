//! Pulling from a scripted source: whole replies, pages, faults.

use super::setup::*;
use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use millrace_core::tree::{BlockStatus, InvalidReason};
use millrace_store::blobs::BlobKey;
use millrace_store::cells::Counter;
use serde_bytes::ByteBuf;

use crate::pull::{
    Ask, GetSuccessorsComplete, GetSuccessorsPartial, GetSuccessorsRequest, GetSuccessorsResponse,
};

fn next_index(ask: &Ask, blocks: &[Vec<u8>]) -> usize {
    let GetSuccessorsRequest::Initial(initial) = &ask.request else {
        panic!("expected an initial request, got {:?}", ask.request);
    };
    let last = initial
        .processed_block_hashes
        .last()
        .unwrap_or(&initial.anchor);
    let last = BlockHash::from_slice(last).unwrap();
    blocks
        .iter()
        .position(|block| hash_of(block) == last)
        .map_or(0, |index| index + 1)
}

fn complete(blocks: &[Vec<u8>], next: &[Vec<u8>]) -> Vec<u8> {
    let response = GetSuccessorsResponse::Complete(GetSuccessorsComplete {
        blocks: blocks
            .iter()
            .map(|block| ByteBuf::from(block.clone()))
            .collect(),
        next: next
            .iter()
            .map(|block| ByteBuf::from(&block[..80]))
            .collect(),
    });
    candid::encode_one(response).unwrap()
}

#[test]
fn pulled_blocks_give_the_naive_utxo_set() {
    let mut canister = Canister::new(pulling());
    let blocks = real_blocks();
    let blocks = &blocks[..1_000];
    while canister.tip().1 < 1_000 {
        if let Some(ask) = canister.heartbeat() {
            let start = next_index(&ask, blocks);
            let end = (start + 150).min(blocks.len());
            let next = &blocks[end..(end + 100).min(blocks.len())];
            let reply = complete(&blocks[start..end], next);
            canister.app.on_reply(&canister.world, ask.id, Ok(reply));
        }
    }
    canister.settle();
    canister.audit();
    canister.assert_equals(&Model::mainnet(blocks), None);
}

#[test]
fn a_block_in_pages_is_put_together_over_upgrades() {
    let mut canister = Canister::new(pulling());
    let block = &real_blocks()[0];
    let ask = canister.heartbeat().unwrap();
    let partial = GetSuccessorsResponse::Partial(GetSuccessorsPartial {
        partial_block: ByteBuf::from(&block[..100]),
        next: vec![],
        remaining_follow_ups: 2,
    });
    let reply = candid::encode_one(partial).unwrap();
    canister.app.on_reply(&canister.world, ask.id, Ok(reply));
    for (page, range) in [(0u8, 100..150), (1, 150..block.len())] {
        canister.upgrade();
        let ask = canister.heartbeat().unwrap();
        assert_eq!(ask.request, GetSuccessorsRequest::FollowUp(page));
        let reply = GetSuccessorsResponse::FollowUp(ByteBuf::from(&block[range]));
        let reply = candid::encode_one(reply).unwrap();
        canister.app.on_reply(&canister.world, ask.id, Ok(reply));
    }
    canister.settle();
    assert_eq!(canister.tip(), (hash_of(block), 1));
    canister.audit();
}

#[test]
fn no_fault_of_the_source_stops_the_next_question() {
    let mut canister = Canister::new(pulling());
    let blocks = real_blocks();
    // `variant { complete : record { bomb : vec null; blocks, next : vec blob } }` with 2^31 nulls.
    let mut bomb = b"DIDL\x05\x6b\x01".to_vec();
    let label = |bytes: &mut Vec<u8>, name: &str| {
        let hash = candid::idl_hash(name);
        candid::types::leb128::encode_nat(bytes, hash.into()).unwrap();
    };
    label(&mut bomb, "complete");
    bomb.extend(b"\x01\x6c\x03");
    let mut fields = [("bomb", 2u8), ("blocks", 3), ("next", 3)];
    fields.sort_by_key(|(name, _)| candid::idl_hash(name));
    for (name, kind) in fields {
        label(&mut bomb, name);
        bomb.push(kind);
    }
    bomb.extend(b"\x6d\x7f\x6d\x04\x6d\x7b\x01\x00\x00");
    for (name, _) in fields {
        let length: &[u8] = if name == "bomb" {
            b"\x80\x80\x80\x80\x08"
        } else {
            b"\x00"
        };
        bomb.extend(length);
    }
    let faults: [Result<Vec<u8>, String>; 6] = [
        Ok(bomb),
        Err("the source trapped".to_owned()),
        Ok(b"garbage".to_vec()),
        Ok(candid::encode_one("text").unwrap()),
        Ok(candid::encode_one(GetSuccessorsResponse::FollowUp(ByteBuf::from([1]))).unwrap()),
        Ok(complete(&[], &[vec![7; 80]])),
    ];
    for fault in faults {
        let digest = canister.app.store().digest();
        let ask = canister.heartbeat().expect("asks again");
        assert!(canister.heartbeat().is_none(), "one call in flight");
        canister.app.on_reply(&canister.world, ask.id, fault);
        canister.world.now.set(canister.world.now.get() + 100);
        assert_eq!(canister.app.store().digest(), digest);
    }
    assert_eq!(canister.app.store().counters.get(Counter::PullErrors), 5);
    let lost = canister.heartbeat().unwrap();
    canister.world.now.set(canister.world.now.get() + 1_000);
    assert!(
        canister.heartbeat().is_none(),
        "the lost call is given up first"
    );
    canister.world.now.set(canister.world.now.get() + 100);
    let ask = canister.heartbeat().unwrap();
    assert_ne!(ask.id, lost.id);
    let junk = vec![vec![1; 200], vec![0; 10], blocks[0].clone()];
    canister
        .app
        .on_reply(&canister.world, ask.id, Ok(complete(&junk, &[])));
    let late = Ok(complete(&blocks[1..2], &[]));
    canister.app.on_reply(&canister.world, lost.id, late);
    canister.settle();
    assert_eq!(
        canister.tip().1,
        1,
        "good blocks beside junk are taken, late answers are not"
    );
    canister.audit();
}

#[test]
fn a_reply_on_its_way_when_syncing_stops_is_taken() {
    let mut canister = Canister::new(pulling());
    let ask = canister.heartbeat().unwrap();
    let change = millrace_candid::SetConfigRequest {
        syncing: Some(millrace_candid::Flag::Disabled),
        ..millrace_candid::SetConfigRequest::default()
    };
    canister.app.set_config(change).unwrap();
    let blocks = real_blocks();
    let reply = Ok(complete(&blocks[..2], &[]));
    canister.app.on_reply(&canister.world, ask.id, reply);
    canister.settle();
    assert_eq!(canister.tip(), (hash_of(&blocks[1]), 2));
    assert!(canister.heartbeat().is_none(), "nothing more is asked");
    canister.audit();
}

#[test]
fn a_pulled_block_given_up_in_the_queue_is_remembered_and_leaves_no_bytes() {
    let mut canister = Canister::new(pulling());
    let blocks = real_blocks();
    let ask = canister.heartbeat().unwrap();
    let reply = Ok(complete(&blocks[..1], &blocks[..3]));
    canister.app.on_reply(&canister.world, ask.id, reply);
    for _ in 0..crate::watchdog::BLAME_STRIKES {
        canister.app.watchdog(&canister.world);
    }
    let hash = hash_of(&blocks[0]);
    let status = canister.app.store().tree.get(&hash).unwrap().status();
    let quarantined = BlockStatus::Invalid(InvalidReason::Quarantined);
    assert_eq!(status, quarantined);
    let key = BlobKey::Block(hash);
    assert_eq!(canister.app.store().blobs.length(&key), None);
    canister.audit();
    // The next version may know better: the block's bytes are these alone.
    canister.upgrade();
    canister.world.now.set(canister.world.now.get() + 100);
    let ask = canister.heartbeat().unwrap();
    let reply = Ok(complete(&blocks[..3], &[]));
    canister.app.on_reply(&canister.world, ask.id, reply);
    canister.settle();
    assert_eq!(canister.tip(), (hash_of(&blocks[2]), 3));
    canister.audit();
}

#[test]
fn nothing_is_asked_while_pull_or_syncing_is_off() {
    let mut canister = Canister::new(pushed());
    assert!(canister.heartbeat().is_none(), "adapters switch pull off");
    let mut canister = Canister::new(millrace_candid::InitConfig {
        syncing: Some(millrace_candid::Flag::Disabled),
        ..pulling()
    });
    assert!(canister.heartbeat().is_none());
}
