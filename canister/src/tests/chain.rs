//! The chain: real blocks against a naive UTXO set, reorgs, retiring.

use super::setup::*;
use millrace_candid::{Budgets, InitConfig};

#[test]
fn pushed_real_blocks_give_the_naive_utxo_set_for_every_script() {
    let mut canister = Canister::new(pushed());
    let blocks = real_blocks();
    assert_eq!(blocks.len(), 4_521);
    canister.feed(&blocks);
    assert_eq!(canister.tip(), (hash_of(&blocks[4_520]), 4_521));
    let validation = canister.app.get_config().block_validation;
    assert_eq!(validation, millrace_candid::BlockValidation::Consensus);
    canister.audit();
    canister.assert_equals(&Model::mainnet(&blocks), None);
    // The anchor is the first of the last 144 blocks, all of equal difficulty.
    assert_eq!(canister.feed_state(vec![]).anchor.height, 4_521 - 143);
}

#[test]
fn the_branch_with_more_work_wins_at_each_moment() {
    let mut canister = Canister::new(InitConfig {
        stability_threshold: Some(5_000u32.into()),
        ..pushed()
    });
    let (real, other) = (real_blocks(), other_blocks());
    canister.feed(&real[..100]);
    let first = Model::mainnet(&real[..100]);
    canister.assert_equals(&first, None);

    canister.feed(&other[..100]);
    assert_eq!(
        canister.tip().0,
        hash_of(&real[99]),
        "the first seen wins a tie"
    );
    canister.feed(&other[100..180]);
    assert_eq!(canister.tip(), (hash_of(&other[179]), 180));
    let second = Model::mainnet(&other[..180]);
    canister.assert_equals(&second, None);
    canister.assert_equals(&first, Some(hash_of(&real[99])));

    canister.feed(&real[100..250]);
    assert_eq!(canister.tip(), (hash_of(&real[249]), 250));
    canister.assert_equals(&Model::mainnet(&real[..250]), None);
    canister.assert_equals(&second, Some(hash_of(&other[179])));
    canister.audit();
    let reorgs = millrace_store::cells::Counter::Reorgs;
    assert_eq!(canister.app.store().counters.get(reorgs), 2);
}

#[test]
fn a_branch_that_loses_for_good_leaves_nothing_behind() {
    let mut canister = Canister::new(InitConfig {
        stability_threshold: Some(20u8.into()),
        ..pushed()
    });
    let (real, other) = (real_blocks(), other_blocks());
    canister.feed(&real[..10]);
    canister.feed(&other[..15]);
    canister.feed(&real[10..60]);
    assert_eq!(canister.tip(), (hash_of(&real[59]), 60));
    assert_eq!(canister.feed_state(vec![]).anchor.height, 41);
    canister.audit();
    canister.assert_equals(&Model::mainnet(&real[..60]), None);
    assert_eq!(canister.app.store().coins.unstable_len(), 19);
    assert!(canister.app.store().tree.get(&hash_of(&other[0])).is_none());
}

#[test]
fn the_smallest_budget_makes_progress_and_any_upgrade_keeps_it() {
    let mut canister = Canister::new(InitConfig {
        stability_threshold: Some(10u8.into()),
        budgets: Some(Budgets {
            instructions_per_heartbeat: 1,
            stable_pages_per_heartbeat: 1,
        }),
        ..pushed()
    });
    let blocks = real_blocks();
    let blocks = &blocks[..200];
    canister.push_parts(blocks.iter().map(|block| whole(block)).collect());
    let mut beats = 0;
    while canister.tip().1 < 200 {
        canister.heartbeat();
        // The upgrade loses the block in hand every other time, so scanning may be repeated.
        if beats % 7 == 3 {
            canister.upgrade();
        }
        beats += 1;
        assert!(beats < 5_000, "stuck at height {}", canister.tip().1);
    }
    canister.settle();
    canister.audit();
    canister.assert_equals(&Model::mainnet(blocks), None);
}
