//! Work that never ends, and what operators see.

use super::setup::*;
use crate::watchdog::{BLAME_STRIKES, CAUTIOUS_BEATS};
use millrace_candid::{Budgets, HttpRequest, InitConfig, PartError, PartOutcome, RejectionKind};
use millrace_core::tree::{BlockStatus, InvalidReason};
use millrace_store::cells::Counter;
use serde_bytes::ByteBuf;

fn get(canister: &Canister, url: &str) -> (u16, String) {
    let request = HttpRequest {
        url: url.to_owned(),
        method: "GET".to_owned(),
        body: ByteBuf::new(),
        headers: vec![],
    };
    let response = canister.app.http_request(&canister.world, &request);
    (
        response.status_code,
        String::from_utf8(response.body.into_vec()).unwrap(),
    )
}

/// The system rolls back a heartbeat that traps, so for the canister it never happened; only the
/// watchdog's message does.
fn trap_until_blamed(canister: &mut Canister) {
    for _ in 0..BLAME_STRIKES {
        canister.app.watchdog(&canister.world);
    }
}

#[test]
fn a_block_whose_processing_never_ends_is_quarantined_and_others_go_on() {
    let mut canister = Canister::new(pushed());
    let (real, other) = (real_blocks(), other_blocks());
    canister.feed(&real[..5]);
    canister.push_parts(vec![whole(&real[5]), whole(&real[6]), whole(&other[0])]);
    canister.app.drain(&canister.world, 10);
    trap_until_blamed(&mut canister);
    let status = |canister: &Canister, block: &[u8]| {
        canister
            .app
            .store()
            .tree
            .get(&hash_of(block))
            .map(|node| node.status())
    };
    let quarantined = BlockStatus::Invalid(InvalidReason::Quarantined);
    assert_eq!(status(&canister, &real[5]), Some(quarantined));
    let orphan = BlockStatus::Invalid(InvalidReason::Ancestor);
    assert_eq!(status(&canister, &real[6]), Some(orphan));
    canister.settle();
    assert_eq!(status(&canister, &other[0]), Some(BlockStatus::Connected));
    assert_eq!(canister.tip().1, 5);
    canister.audit();
    // The next version may know better.
    canister.upgrade();
    assert_eq!(status(&canister, &real[5]), None);
    canister.audit();
    canister.feed(&real[5..7]);
    assert_eq!(canister.tip().1, 7);
    canister.audit();
}

#[test]
fn a_queued_block_that_cannot_be_drained_is_refused_until_the_next_upgrade() {
    let mut canister = Canister::new(pushed());
    let real = real_blocks();
    canister.push_parts(vec![whole(&real[0]), whole(&real[1])]);
    trap_until_blamed(&mut canister);
    assert_eq!(canister.app.store().queue.len(), 1);
    assert_eq!(
        canister
            .app
            .store()
            .counters
            .get(Counter::RejectedQuarantined),
        1
    );
    canister.settle();
    let digest = canister.app.store().digest();
    let again = canister.push_bytes(&real[0]);
    let PartOutcome::Rejected(PartError::InvalidBlock { kind, reason }) = again else {
        panic!("it comes back for ever: {again:?}");
    };
    assert_eq!(kind, Some(RejectionKind::Quarantined));
    assert!(reason.starts_with("processing it never ended"), "{reason}");
    assert_eq!(canister.app.store().digest(), digest);
    let (_, metrics) = get(&canister, "/metrics");
    assert!(
        metrics.contains("\nmillrace_refused_blocks 1\n"),
        "{metrics}"
    );
    canister.audit();
    canister.upgrade();
    canister.feed(&real[..2]);
    assert_eq!(canister.tip().1, 2, "the next version may know better");
    canister.audit();
}

#[test]
fn strikes_end_with_the_next_good_heartbeat() {
    let mut canister = Canister::new(pushed());
    let real = real_blocks();
    for block in &real[..20] {
        canister.push_bytes(block);
        canister.app.watchdog(&canister.world);
        canister.heartbeat();
    }
    assert_eq!(canister.tip().1, 20, "one strike has no effect");
    canister.app.watchdog(&canister.world);
    assert_eq!(
        canister.app.store().cells.watch().strikes,
        0,
        "nothing to do, no strike"
    );
}

#[test]
fn a_block_of_many_heartbeats_work_connects_although_heartbeats_are_rare() {
    let mut canister = Canister::new(InitConfig {
        budgets: Some(Budgets {
            instructions_per_heartbeat: 1,
            stable_pages_per_heartbeat: 1,
        }),
        ..pushed()
    });
    canister.push_bytes(&real_blocks()[0]);
    let mut beats = 0;
    while canister.tip().1 < 1 {
        canister.app.watchdog(&canister.world);
        canister.heartbeat();
        beats += 1;
        assert!(beats < 100, "each strike starts the block over");
    }
    assert!(beats > 1, "one heartbeat does not finish the block");
    canister.audit();
}

#[test]
fn cautious_heartbeats_touch_one_item_each() {
    let mut canister = Canister::new(pushed());
    let real = real_blocks();
    canister.push_parts(real[..10].iter().map(|block| whole(block)).collect());
    canister.app.watchdog(&canister.world);
    canister.app.watchdog(&canister.world);
    canister.heartbeat();
    assert_eq!(canister.app.store().queue.len(), 9);
    for _ in 0..CAUTIOUS_BEATS {
        canister.heartbeat();
    }
    canister.heartbeat();
    assert_eq!(canister.tip().1, 10, "normal again");
}

#[test]
fn retiring_that_never_ends_is_halted_and_connecting_goes_on() {
    let mut canister = Canister::new(InitConfig {
        stability_threshold: Some(3u8.into()),
        ..pushed()
    });
    let real = real_blocks();
    canister.feed(&real[..3]);
    canister.app.drain(&canister.world, 1);
    canister.push_bytes(&real[3]);
    while canister.tip().1 < 4 {
        canister.app.drain(&canister.world, 1);
        let hash = canister.app.next_to_connect().unwrap();
        canister.app.connect_step(&canister.world, hash).unwrap();
    }
    trap_until_blamed(&mut canister);
    canister.feed(&real[4..10]);
    let state = canister.feed_state(vec![]);
    assert_eq!((state.tip.height, state.anchor.height), (10, 1));
    canister.upgrade();
    canister.settle();
    assert_eq!(canister.feed_state(vec![]).anchor.height, 8);
    canister.audit();
}

#[test]
fn metrics_are_well_formed_and_tell_the_truth() {
    let mut canister = Canister::new(pushed());
    canister.feed(&real_blocks()[..200]);
    canister.push_bytes(&real_blocks()[400]);
    canister.settle();
    let (status, body) = get(&canister, "/metrics?x=1");
    assert_eq!(status, 200);
    let mut values = std::collections::BTreeMap::new();
    let lines: Vec<&str> = body.lines().collect();
    for block in lines.chunks(3) {
        let [help, kind, sample] = block else {
            panic!("incomplete metric {block:?}");
        };
        let (name, value) = sample.split_once(' ').unwrap();
        assert!(help.starts_with(&format!("# HELP {name} ")), "{help}");
        assert!(
            [
                format!("# TYPE {name} gauge"),
                format!("# TYPE {name} counter")
            ]
            .contains(&(*kind).to_owned()),
            "{kind}"
        );
        let previous = values.insert(name.to_owned(), value.parse::<u64>().unwrap());
        assert_eq!(previous, None, "{name} appears once");
    }
    assert_eq!(values["millrace_main_chain_height"], 200);
    assert_eq!(values["millrace_anchor_height"], 57);
    assert_eq!(values["millrace_rejected_unknown_parent_total"], 1);
    assert_eq!(values["millrace_blocks_connected_total"], 200);
    assert_eq!(values["millrace_blocks_retired_total"], 57);
}

#[test]
fn other_pages_are_health_and_nothing() {
    let canister = Canister::new(pushed());
    let (status, body) = get(&canister, "/health");
    assert_eq!(status, 200);
    assert!(
        body.starts_with("{\"status\":\"ok\",\"network\":\"mainnet\",\"height\":0,"),
        "{body}"
    );
    assert_eq!(get(&canister, "/other"), (404, "Not found.".to_owned()));
}
