//! Limits gate work, never input: budgets, the pages of ten minutes, the reserve of cycles, and steps that
//! stay small however much there is to do.

use super::floods::{THRESHOLD, canister, count, flood, kept};
use super::regtest::*;
use super::setup::*;
use bitcoin::Block;
use bitcoin::consensus::serialize;
use candid::Nat;
use millrace_candid::{Budgets, Flag, InitConfig, SetConfigRequest};
use millrace_store::cells::Counter;

use crate::tick::STEP_RETIRED;

/// More headers of other branches than several steps let go.
const HEADERS: usize = 5 * STEP_RETIRED + 10;

/// Pages that one step writes at most when it lets blocks go that are known by their headers only.
const STEP_PAGES: u64 = 600;

fn push(canister: &mut Canister, blocks: &[Block]) {
    let parts = blocks.iter().map(|block| whole(&serialize(block)));
    canister.push_parts(parts.collect());
}

fn change(canister: &mut Canister, change: SetConfigRequest) {
    canister.app.set_config(change).unwrap();
}

#[test]
fn a_block_that_lets_many_others_go_is_retired_in_small_steps_that_each_may_be_the_last_for_now() {
    let one_step = Budgets {
        instructions_per_heartbeat: 1,
        stable_pages_per_heartbeat: 1,
    };
    let mut quiet = canister();
    let mut canister = canister();
    let blocks = chain(2 * THRESHOLD);
    let (before, after) = blocks.split_at(4);
    canister.feed_blocks(before);
    quiet.feed_blocks(&blocks);
    let root = genesis();
    let mut salt = 0;
    assert_eq!(
        flood(&mut canister, &[root], 3, HEADERS, &mut salt),
        HEADERS / 3 * 3
    );
    change(
        &mut canister,
        SetConfigRequest {
            budgets: Some(one_step),
            ..SetConfigRequest::default()
        },
    );
    push(&mut canister, after);
    let mut largest = 0;
    let mut beats = 0;
    let mut partly = 0;
    while canister.app.plan().is_some() || !canister.app.store().queue.is_empty() {
        let nodes = canister.app.store().tree.len();
        canister.heartbeat();
        let spent = canister.app.last_beat;
        let gone = nodes.saturating_sub(canister.app.store().tree.len());
        assert!(gone <= STEP_RETIRED + 1, "{gone} in one step");
        if gone >= STEP_RETIRED {
            largest = largest.max(spent.pages_written.get());
            partly += 1;
            // What a pause leaves is whole.
            canister.audit();
            canister.upgrade();
        }
        beats += 1;
        assert!(beats < 20_000, "it never ends");
    }
    assert!(partly >= 5, "{partly} steps");
    assert!(largest <= STEP_PAGES, "{largest} pages in one step");
    assert_eq!(kept(&canister), kept(&quiet));
    let dropped = count(&canister, Counter::BlocksDropped);
    assert_eq!(dropped as usize, HEADERS / 3 * 3);
    assert_eq!(
        count(&canister, Counter::BlocksRetired),
        count(&quiet, Counter::BlocksRetired)
    );
    canister.audit();
}

#[test]
fn without_cycles_to_spend_blocks_are_taken_in_and_wait() {
    let mut canister = canister();
    let blocks = chain(9);
    canister.feed_blocks(&blocks[..3]);
    canister.world.cycles_to_spend.set(Some(99_999_999_999));
    push(&mut canister, &blocks[3..]);
    for _ in 0..5 {
        assert!(canister.heartbeat().is_none());
    }
    assert!(canister.app.store().queue.is_empty(), "drained");
    assert_eq!(canister.tip().1, 3, "answers go on, at the same tip");
    let limits = canister.status().limits;
    assert!(limits.low_on_cycles);
    assert_eq!(limits.low_on_cycles_heartbeats, 5);
    assert_eq!(limits.cycles_reserve, Nat::from(100_000_000_000_u64));
    canister.world.cycles_to_spend.set(Some(100_000_000_000));
    canister.settle();
    assert_eq!(canister.tip().1, 9);
    assert!(!canister.status().limits.low_on_cycles);
}

#[test]
fn a_canister_that_burns_its_cycles_or_needs_no_reserve_goes_on_without_any() {
    for freed in [
        SetConfigRequest {
            burn_cycles: Some(Flag::Enabled),
            ..SetConfigRequest::default()
        },
        SetConfigRequest {
            cycles_reserve: Some(Nat::from(0u8)),
            ..SetConfigRequest::default()
        },
    ] {
        let mut canister = canister();
        canister.world.cycles_to_spend.set(Some(0));
        change(&mut canister, freed);
        canister.feed_blocks(&chain(3));
        assert_eq!(canister.tip().1, 3);
    }
}

#[test]
fn each_limit_is_counted_when_it_leaves_work_for_later() {
    let tight = |instructions, pages, window| SetConfigRequest {
        budgets: Some(Budgets {
            instructions_per_heartbeat: instructions,
            stable_pages_per_heartbeat: pages,
        }),
        stable_pages_per_ten_minutes: Some(window),
        ..SetConfigRequest::default()
    };
    let large = 100_000;
    for (limit, request) in [
        (Counter::InstructionsHit, tight(1, large, large)),
        (
            Counter::PagesHit,
            tight(u64::from(large) * 10_000, 1, large),
        ),
        (
            Counter::WindowHit,
            tight(u64::from(large) * 10_000, large, 1),
        ),
    ] {
        let mut canister = canister();
        change(&mut canister, request);
        push(&mut canister, &chain(4));
        canister.settle();
        assert_eq!(canister.tip().1, 4, "{limit:?}: each heartbeat does a step");
        for counter in [
            Counter::InstructionsHit,
            Counter::PagesHit,
            Counter::WindowHit,
        ] {
            let hits = count(&canister, counter);
            assert_eq!(hits > 0, counter == limit, "{limit:?}: {counter:?} {hits}");
        }
        let idle = count(&canister, limit);
        canister.heartbeat();
        assert_eq!(count(&canister, limit), idle, "nothing is left for later");
    }
}

#[test]
fn pages_of_ten_minutes_count_again_when_they_are_over() {
    let mut canister = canister();
    let blocks = chain(6);
    canister.feed_blocks(&blocks[..3]);
    canister.heartbeat();
    let written = canister.status().limits.stable_pages_in_ten_minutes;
    assert!(written > 0);
    let window = u32::try_from(written).unwrap();
    change(
        &mut canister,
        SetConfigRequest {
            stable_pages_per_ten_minutes: Some(window),
            ..SetConfigRequest::default()
        },
    );
    push(&mut canister, &blocks[3..]);
    canister.heartbeat();
    assert_eq!(
        count(&canister, Counter::WindowHit),
        1,
        "one step and no more"
    );
    canister.world.now.set(canister.world.now.get() + 600);
    canister.heartbeat();
    assert_eq!(canister.tip().1, 6);
    assert_eq!(count(&canister, Counter::WindowHit), 1);
}

#[test]
fn settings_that_would_stop_the_canister_are_refused() {
    let refused = |request: InitConfig| {
        let error = crate::config::Config::initial(request).unwrap_err();
        error.to_string()
    };
    let none = InitConfig {
        stable_pages_per_ten_minutes: Some(0),
        ..InitConfig::default()
    };
    assert!(refused(none).starts_with("stable_pages_per_ten_minutes is 0"));
    let beyond = InitConfig {
        cycles_reserve: Some(Nat::from(u128::MAX) + 1u8),
        ..InitConfig::default()
    };
    assert!(refused(beyond).contains("340282366920938463463374607431768211456"));
}
