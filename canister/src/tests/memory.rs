//! Stable memory that cannot grow: nothing traps, what was accepted is drained and kept, nothing more is
//! accepted, answers go on, and the chain is reached once there is memory again.

use super::regtest::*;
use super::setup::*;
use bitcoin::Block;
use bitcoin::consensus::serialize;
use millrace_candid::{BlockPart, Flag, PartOutcome, SetConfigRequest};
use millrace_store::StoreError;
use millrace_store::cells::Counter;
use millrace_store::queue::MAX_PENDING_BLOCKS;
use serde_bytes::ByteBuf;

use crate::relay::NotQueued;
use crate::tick::MEMORY_PAUSE_BEATS;

fn parts(blocks: &[Block]) -> Vec<BlockPart> {
    blocks
        .iter()
        .map(|block| whole(&serialize(block)))
        .collect()
}

/// Pushes block after block until there is no room. Returns how many were taken.
fn push_until_no_room(canister: &mut Canister, blocks: &[Block]) -> usize {
    let outcomes = canister.push_parts(parts(blocks)).outcomes;
    let taken = outcomes
        .iter()
        .position(|outcome| *outcome == PartOutcome::NoRoom);
    let taken = taken.expect("memory is full");
    let refused = &outcomes[taken..];
    assert!(refused.iter().all(|it| *it == PartOutcome::NoRoom));
    taken
}

#[test]
fn memory_that_cannot_grow_stops_work_and_not_answers_and_costs_only_time() {
    let mut canister = Canister::new(regtest());
    let blocks = chain(200);
    canister.feed_blocks(&blocks[..20]);
    canister.set_full(true);
    let mut taken = 20;
    let mut refusals = 0;
    for _ in 0..5 {
        taken += push_until_no_room(&mut canister, &blocks[taken..]);
        for _ in 0..=MEMORY_PAUSE_BEATS {
            canister.heartbeat();
            assert!(canister.app.store().queue.is_empty(), "drained");
        }
        refusals += 1;
    }
    assert!(taken < blocks.len(), "memory was never full");
    let status = canister.status();
    assert!(status.limits.low_on_memory);
    assert_eq!(
        (status.limits.free_blocks, status.limits.free_bytes),
        (0, 0)
    );
    let count = canister.app.store().counters.get(Counter::MemoryRefusals);
    assert!(count >= refusals, "{count} of {refusals}");
    canister.audit();
    canister.upgrade();
    canister.heartbeat();
    canister.set_full(false);
    for _ in 0..=MEMORY_PAUSE_BEATS {
        canister.heartbeat();
    }
    canister.feed_blocks(&blocks[taken..]);
    assert_eq!(canister.tip().1, 200);
    assert!(!canister.status().limits.low_on_memory);
    canister.audit();
}

#[test]
fn a_full_queue_is_drained_from_the_reserve_alone() {
    let mut canister = Canister::new(regtest());
    let blocks = chain(MAX_PENDING_BLOCKS);
    for some in blocks.chunks(500) {
        canister.push_parts(parts(some));
    }
    assert_eq!(canister.app.store().queue.len(), blocks.len());
    // From here on there is what is kept for small structures, and no more.
    canister.set_full(true);
    canister.heartbeat();
    assert!(canister.app.store().queue.is_empty());
    assert_eq!(canister.app.store().tree.len(), blocks.len() + 1);
    canister.audit();
    canister.set_full(false);
    for _ in 0..=MEMORY_PAUSE_BEATS {
        canister.heartbeat();
    }
    canister.settle();
    assert_eq!(canister.tip().1, MAX_PENDING_BLOCKS);
    canister.audit();
}

#[test]
fn a_half_received_block_that_made_room_for_one_that_finds_no_memory_is_begun_again() {
    let mut canister = Canister::new(regtest());
    let blocks = chain(12);
    let bytes: Vec<Vec<u8>> = blocks.iter().map(serialize).collect();
    let half = |index: usize| BlockPart {
        bytes: ByteBuf::from(&bytes[index][..100]),
        ..whole(&bytes[index])
    };
    canister.set_full(true);
    // Until there is neither memory nor room among the half-received.
    for index in 0..12 {
        canister.push_parts(vec![half(index)]);
    }
    canister.audit();
    canister.set_full(false);
    for _ in 0..=MEMORY_PAUSE_BEATS {
        canister.heartbeat();
    }
    canister.feed_blocks(&blocks);
    assert_eq!(canister.tip().1, 12);
    canister.audit();
}

#[test]
fn blocks_are_seldom_pulled_while_memory_cannot_grow() {
    let mut canister = Canister::new(pulling());
    let reply = super::pulling::complete(&real_blocks(), &[]);
    canister.set_full(true);
    let beat = |canister: &mut Canister| {
        canister.world.now.set(canister.world.now.get() + 1);
        canister.heartbeat()
    };
    let mut asked = 0;
    for _ in 0..10 * MEMORY_PAUSE_BEATS {
        if let Some(ask) = beat(&mut canister) {
            asked += 1;
            let app = &mut canister.app;
            app.on_reply(&canister.world, ask.id, Ok(reply.clone()));
            assert!(app.is_low_on_memory(), "the reply does not fit");
        }
    }
    assert!((2..=11).contains(&asked), "{asked} times");
    let (_, height) = canister.tip();
    canister.audit();
    canister.set_full(false);
    let asks = (0..2 * MEMORY_PAUSE_BEATS).filter_map(|_| beat(&mut canister));
    assert!(asks.count() > 0);
    assert!(canister.tip().1 >= height);
    canister.audit();
}

#[test]
fn transactions_and_headers_leave_the_reserve_to_the_drain() {
    let mut canister = Canister::new(regtest());
    let blocks = chain(20_000);
    canister.feed_blocks(&blocks[..20]);
    let pulling = SetConfigRequest {
        pull: Some(Flag::Enabled),
        ..SetConfigRequest::default()
    };
    canister.app.set_config(pulling).unwrap();
    canister.set_full(true);
    let coin = coinbase_coin(&blocks[0]);
    let send = |canister: &mut Canister, value| {
        let bytes = serialize(&payment(&[coin], &[value]));
        let Canister { app, world, .. } = canister;
        let transaction = bitcoin::consensus::deserialize(&bytes).expect("a transaction");
        let txid = bitcoin::Transaction::compute_txid(&transaction);
        app.queue_transaction(world, txid, &bytes)
    };
    // More headers than the reserve has room for.
    for some in blocks[20..].chunks(1_000) {
        let headers: Vec<Vec<u8>> = some.iter().map(serialize).collect();
        let reply = super::pulling::complete(&[], &headers);
        let ask = (0..50).find_map(|_| {
            canister.world.now.set(canister.world.now.get() + 1);
            canister.heartbeat()
        });
        let Some(ask) = ask else {
            break;
        };
        canister.app.on_reply(&canister.world, ask.id, Ok(reply));
    }
    assert!(canister.app.is_low_on_memory());
    let known = canister.app.store().tree.len();
    assert!((1_000..10_000).contains(&known), "{known} headers");
    let refused = (1..10_000).find_map(|value| send(&mut canister, value).err());
    assert!(
        matches!(
            refused,
            Some(NotQueued::Fault(StoreError::OutOfMemory { .. }))
        ),
        "{refused:?}"
    );
    canister.heartbeat();
    canister.audit();
    canister.set_full(false);
    for _ in 0..=MEMORY_PAUSE_BEATS {
        canister.heartbeat();
    }
    assert!(send(&mut canister, 20_000).is_ok());
    canister.feed_blocks(&blocks[20..30]);
    assert_eq!(canister.tip().1, 30);
    canister.audit();
}
