//! Pushing: parts, receipts, back-pressure, what adapters are told.

use super::setup::*;
use candid::Principal;
use millrace_candid::{BlockPart, FeedError, FeedStateArgs, PartOutcome};
use millrace_store::queue::{MAX_PENDING_BLOCKS, MAX_PENDING_BYTES};
use serde_bytes::ByteBuf;

fn part(bytes: &[u8], range: std::ops::Range<usize>) -> BlockPart {
    BlockPart {
        offset: range.start as u32,
        bytes: ByteBuf::from(&bytes[range]),
        ..whole(bytes)
    }
}

#[test]
fn a_block_in_parts_is_assembled_over_upgrades() {
    let mut canister = Canister::new(pushed());
    let block = &real_blocks()[0];
    let first = canister.push_parts(vec![part(block, 0..90)]);
    assert_eq!(first.outcomes, [PartOutcome::Incomplete { received: 90 }]);
    canister.upgrade();
    let state = canister.feed_state(vec![]);
    assert_eq!(state.half_received.len(), 1);
    assert_eq!(state.half_received[0].received, 90);
    let repeated = canister.push_parts(vec![part(block, 0..90)]);
    assert_eq!(
        repeated.outcomes,
        [PartOutcome::Incomplete { received: 90 }]
    );
    canister.audit();
    let last = canister.push_parts(vec![part(block, 90..block.len())]);
    assert_eq!(last.outcomes, [PartOutcome::Queued]);
    canister.upgrade();
    canister.settle();
    assert_eq!(canister.tip(), (hash_of(block), 1));
    canister.audit();
}

#[test]
fn pushing_again_what_is_known_changes_nothing() {
    let mut canister = Canister::new(pushed());
    let blocks = real_blocks();
    assert_eq!(canister.push_bytes(&blocks[0]), PartOutcome::Queued);
    assert_eq!(canister.push_bytes(&blocks[0]), PartOutcome::Known);
    canister.feed(&blocks[..300]);
    let digest = canister.app.store().digest();
    for block in [&blocks[0], &blocks[160], &blocks[299]] {
        assert_eq!(canister.push_bytes(block), PartOutcome::Known);
    }
    assert_eq!(canister.app.store().digest(), digest);
}

#[test]
fn receipts_count_down_and_a_full_queue_refuses_without_loss() {
    let mut canister = Canister::new(pushed());
    let blocks = real_blocks();
    for chunk in blocks[..MAX_PENDING_BLOCKS as usize].chunks(500) {
        let receipt = canister.push_parts(chunk.iter().map(|block| whole(block)).collect());
        assert!(
            receipt
                .outcomes
                .iter()
                .all(|outcome| *outcome == PartOutcome::Queued)
        );
    }
    let next = &blocks[MAX_PENDING_BLOCKS as usize];
    let receipt = canister.push_parts(vec![whole(next)]);
    assert_eq!(receipt.outcomes, [PartOutcome::NoRoom]);
    assert_eq!(receipt.free_blocks, 0);
    canister.audit();
    canister.settle();
    assert_eq!(canister.tip().1, MAX_PENDING_BLOCKS);
    let receipt = canister.push_parts(vec![whole(next)]);
    assert_eq!(receipt.outcomes, [PartOutcome::Queued]);
    assert_eq!(receipt.free_blocks, MAX_PENDING_BLOCKS - 1);
    assert_eq!(
        receipt.free_bytes,
        MAX_PENDING_BYTES.get() - next.len() as u64
    );
}

#[test]
fn adapters_learn_where_to_go_on() {
    let mut canister = Canister::new(pushed());
    let blocks = real_blocks();
    canister.feed(&blocks[..200]);
    canister.push_bytes(&blocks[200]);
    let locator = vec![
        hash_of(&blocks[300]),
        hash_of(&blocks[200]),
        hash_of(&blocks[10]),
    ];
    let state = canister.feed_state(locator);
    let common = state.common.unwrap();
    assert_eq!(
        (common.height, state.tip.height),
        (201, 200),
        "queued counts"
    );
    let state = canister.feed_state(vec![hash_of(&blocks[300]), hash_of(&blocks[10])]);
    assert_eq!(state.common.unwrap().height, 11, "stable counts");
    assert_eq!(
        canister.feed_state(vec![hash_of(&blocks[300])]).common,
        None
    );
}

#[test]
fn only_adapters_feed() {
    let mut canister = Canister::new(pushed());
    let digest = canister.app.store().digest();
    let block = &real_blocks()[0];
    for caller in [Principal::anonymous(), Principal::management_canister()] {
        let refused = FeedError::NotAnAdapter { caller };
        let state = canister.app.feed_state(caller, &FeedStateArgs::default());
        assert_eq!(state.unwrap_err(), refused);
        let pushed = canister
            .app
            .push_blocks(&canister.world, caller, &[whole(block)]);
        assert_eq!(pushed.unwrap_err(), refused);
    }
    assert_eq!(canister.app.store().digest(), digest);
    let counter = millrace_store::cells::Counter::PushesUnauthorised;
    assert_eq!(canister.app.store().counters.get(counter), 2);
}

#[test]
fn an_adapter_that_lost_its_right_loses_what_it_began() {
    let mut canister = Canister::new(pushed());
    let block = &real_blocks()[0];
    canister.push_parts(vec![part(block, 0..90)]);
    let change = millrace_candid::SetConfigRequest {
        adapters: Some(vec![]),
        ..Default::default()
    };
    canister.app.set_config(change).unwrap();
    canister.audit();
    assert!(canister.app.store().assembly.is_empty());
}
