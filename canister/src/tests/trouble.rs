//! Work that never ends, and what operators see.

use super::setup::*;
use crate::watchdog::CAUTIOUS_BEATS;
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

/// What is known of a block in the tree.
fn status_of(canister: &Canister, block: &[u8]) -> Option<BlockStatus> {
    let node = canister.app.store().tree.get(&hash_of(block));
    node.map(|node| node.status())
}

/// What becomes of a block that is given up.
const QUARANTINED: BlockStatus = BlockStatus::Invalid(InvalidReason::Quarantined);

/// A canister that is to connect the first of the real blocks.
fn with_first_block() -> (Canister, Vec<Vec<u8>>) {
    let mut canister = Canister::new(pushed());
    let real = real_blocks();
    canister.push_bytes(&real[0]);
    canister.app.drain(&canister.world, 10);
    (canister, real)
}

/// The system rolls back a heartbeat that traps, so for the canister it never happened; only the
/// watchdog's message does.
fn trap_until_blamed(canister: &mut Canister) {
    for _ in 0..PATIENCE {
        canister.watchdog();
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
    assert_eq!(status_of(&canister, &real[5]), Some(QUARANTINED));
    let orphan = BlockStatus::Invalid(InvalidReason::Ancestor);
    assert_eq!(status_of(&canister, &real[6]), Some(orphan));
    canister.settle();
    assert_eq!(
        status_of(&canister, &other[0]),
        Some(BlockStatus::Connected)
    );
    assert_eq!(canister.tip().1, 5);
    canister.audit();
    // The next version may know better.
    canister.upgrade();
    assert_eq!(status_of(&canister, &real[5]), None);
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
fn a_block_pushed_a_moment_ago_is_not_blamed_for_one_that_never_connects() {
    let (mut canister, real) = with_first_block();
    for _ in 0..PATIENCE - 1 {
        canister.watchdog();
    }
    canister.push_bytes(&real[1]);
    canister.watchdog();
    assert_eq!(status_of(&canister, &real[0]), Some(BlockStatus::BodyHeld));
    assert_eq!(canister.app.store().queue.len(), 1, "it is not blamed");
    // A heartbeat drains it, which says nothing about the other.
    canister.heartbeat();
    assert_eq!(status_of(&canister, &real[1]), Some(BlockStatus::BodyHeld));
    canister.watchdog();
    canister.watchdog();
    assert_eq!(status_of(&canister, &real[0]), Some(QUARANTINED));
    canister.audit();
}

#[test]
fn blocks_that_are_pushed_now_and_then_do_not_acquit_one_that_never_connects() {
    let (mut canister, real) = with_first_block();
    let mut strikes = 0;
    for block in &real[1..] {
        canister.watchdog();
        strikes += 1;
        if status_of(&canister, &real[0]) == Some(QUARANTINED) {
            break;
        }
        // Heartbeats are cautious: one that has a block to drain ends, the next one traps.
        if strikes >= 2 && !canister.app.has_drained {
            canister.push_bytes(block);
            canister.heartbeat();
        }
    }
    assert!(strikes <= 2 * PATIENCE, "{strikes} strikes");
    canister.audit();
}

#[test]
fn a_block_that_found_no_memory_and_then_never_ends_is_given_up() {
    let mut canister = Canister::new(pushed());
    let real = real_blocks();
    canister.feed(&real[..3]);
    canister.push_bytes(&real[3]);
    canister.app.drain(&canister.world, 10);
    // Heartbeats that trap do not count this down: their heap is undone.
    canister.app.memory_pause = 1;
    trap_until_blamed(&mut canister);
    assert_eq!(status_of(&canister, &real[3]), Some(QUARANTINED));
    canister.audit();
}

#[test]
fn a_block_of_which_a_late_step_never_ends_is_given_up() {
    let (mut canister, real) = with_first_block();
    canister.watchdog();
    canister.watchdog();
    let mut rounds = 0;
    while status_of(&canister, &real[0]) != Some(QUARANTINED) {
        // What is in hand is lost with each second strike: the first step is done again, and ends.
        canister.heartbeat();
        assert_eq!(canister.tip().1, 0, "one step does not finish the block");
        canister.watchdog();
        canister.watchdog();
        rounds += 1;
        assert!(rounds <= PATIENCE, "it is never blamed");
    }
    canister.audit();
}

#[test]
fn a_block_of_many_steps_is_not_given_up_where_heartbeats_are_rare_after_a_trap() {
    let mut canister = Canister::new(pushed());
    canister.push_bytes(&real_blocks()[0]);
    canister.watchdog();
    canister.watchdog();
    let mut beats = 0;
    while canister.tip().1 < 1 {
        canister.heartbeat();
        canister.watchdog();
        beats += 1;
        assert!(beats < 100, "it starts over, or is given up");
    }
    assert!(beats > PATIENCE, "it takes more beats than the patience is");
    canister.audit();
}

#[test]
fn a_step_that_never_ends_is_given_up_although_blocks_come_all_the_time() {
    let (mut canister, real) = with_first_block();
    canister.watchdog();
    canister.watchdog();
    for block in &real[1..20] {
        // The queue is never empty, and the heartbeat whose turn is the step traps.
        canister.push_parts(vec![whole(block)]);
        if canister.app.has_drained {
            canister.watchdog();
        } else {
            canister.heartbeat();
        }
    }
    assert_eq!(status_of(&canister, &real[0]), Some(QUARANTINED));
    canister.audit();
}

#[test]
fn a_queued_block_that_never_ends_is_blamed_although_others_are_pushed_behind_it() {
    let mut canister = Canister::new(pushed());
    let real = real_blocks();
    for block in &real[..PATIENCE as usize] {
        canister.push_bytes(block);
        canister.watchdog();
    }
    let queue = &canister.app.store().queue;
    assert_eq!(queue.len(), PATIENCE as usize - 1);
    assert!(!queue.contains(&hash_of(&real[0])));
    canister.audit();
}

#[test]
fn strikes_end_with_the_next_good_heartbeat() {
    let mut canister = Canister::new(pushed());
    let real = real_blocks();
    for block in &real[..20] {
        canister.push_bytes(block);
        canister.watchdog();
        canister.heartbeat();
    }
    assert_eq!(canister.tip().1, 20, "one strike has no effect");
    for _ in 0..2 * PATIENCE {
        canister.watchdog();
    }
    let watch = canister.app.store().cells.watch();
    assert_eq!((watch.queued, watch.work), (None, None), "nobody to blame");
    canister.heartbeat();
    assert_eq!(canister.app.store().cells.watch().strikes, 0);
}

#[test]
fn a_timer_of_the_round_in_which_a_heartbeat_ended_is_no_strike() {
    let mut canister = Canister::new(pushed());
    canister.push_bytes(&real_blocks()[0]);
    let strikes = |canister: &Canister| canister.app.store().cells.watch().strikes;
    canister.app.watchdog(&canister.world);
    assert_eq!(strikes(&canister), 1, "no heartbeat ended yet");
    canister.heartbeat();
    canister.push_bytes(&real_blocks()[1]);
    // Both were due when the round began, and the timer runs after the heartbeat has set it anew.
    canister.app.watchdog(&canister.world);
    assert_eq!(strikes(&canister), 0);
    canister.watchdog();
    assert_eq!(strikes(&canister), 1, "the next round, much later");
    canister.audit();
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
        canister.watchdog();
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
    canister.watchdog();
    canister.watchdog();
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
    // Each name is declared once, and its samples follow.
    let mut values = std::collections::BTreeMap::new();
    let mut declared = std::collections::BTreeSet::new();
    let mut lines = body.lines().peekable();
    while let Some(help) = lines.next() {
        let (name, text) = help
            .strip_prefix("# HELP ")
            .unwrap()
            .split_once(' ')
            .unwrap();
        assert!(text.ends_with('.'), "{help}");
        assert!(declared.insert(name), "{name} is declared once");
        let kind = lines.next().unwrap();
        let kinds = [
            format!("# TYPE {name} gauge"),
            format!("# TYPE {name} counter"),
        ];
        assert!(kinds.contains(&kind.to_owned()), "{kind}");
        let mut samples = 0;
        while let Some(sample) = lines.next_if(|line| !line.starts_with('#')) {
            let words: Vec<&str> = sample.split(' ').collect();
            assert_eq!(words[0].split('{').next(), Some(name), "{sample}");
            let is_ours = name.starts_with("millrace_");
            let timestamp = (NOW * 1_000).to_string();
            match words[2..] {
                [] => assert!(is_ours, "{sample}"),
                [given] => assert!(!is_ours && given == timestamp, "{sample}"),
                _ => panic!("{sample}"),
            }
            let value: u128 = words[1].parse().unwrap();
            assert_eq!(values.insert(words[0].to_owned(), value), None, "{sample}");
            samples += 1;
        }
        assert!(samples > 0, "{name} has no sample");
    }
    assert_eq!(values["millrace_main_chain_height"], 200);
    assert_eq!(values["millrace_anchor_height"], 57);
    assert_eq!(values["millrace_rejected_unknown_parent_total"], 1);
    assert_eq!(values["millrace_blocks_connected_total"], 200);
    assert_eq!(values["millrace_blocks_retired_total"], 57);
    // What the official canister publishes.
    for (name, expected) in [
        ("main_chain_height", 200),
        ("stable_height", 57),
        ("utxos_length", 58),
        ("anchor_difficulty", 1),
        ("normalized_stability_threshold", 144),
        ("unstable_blocks_num_tips", 1),
        ("unstable_blocks_total", 144),
        ("unstable_blocks_depth", 144),
        ("num_get_successors_rejects", 0),
        ("num_block_deserialize_errors", 0),
        ("num_insert_block_errors", 1),
        ("send_transaction_count", 0),
        ("cycles_burnt", 0),
        ("cycles_balance", CYCLES),
        ("is_synced", 1),
        ("api_access{flag=\"enabled\"}", 1),
        ("api_access{flag=\"disabled\"}", 0),
    ] {
        assert_eq!(values[name], expected, "{name}");
    }
}

/// As the regular expression `\n\s*main_chain_height (\d+) \d+\n` finds it.
fn height_seen_by_the_official_watchdog(metrics: &str) -> Option<u64> {
    let (_, rest) = metrics.split_once("\nmain_chain_height ")?;
    let (line, _) = rest.split_once('\n')?;
    let (height, timestamp) = line.split_once(' ')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (is_number(height) && is_number(timestamp)).then(|| height.parse().unwrap())
}

#[test]
fn the_official_watchdog_finds_the_height() {
    let mut canister = Canister::new(pushed());
    canister.feed(&real_blocks()[..30]);
    let (_, metrics) = get(&canister, "/metrics");
    assert_eq!(height_seen_by_the_official_watchdog(&metrics), Some(30));
    let ours_alone = metrics.replace("\nmain_chain_height ", "\nother ");
    assert_eq!(height_seen_by_the_official_watchdog(&ours_alone), None);
}

#[test]
fn the_page_for_people_tells_the_state_and_escapes_what_was_delivered() {
    let mut canister = Canister::new(pushed());
    canister.feed(&real_blocks()[..3]);
    let tip = hash_of(&real_blocks()[2]).to_string();
    for url in ["/", "/?x=1", ""] {
        let (status, page) = get(&canister, url);
        assert_eq!(status, 200);
        assert!(page.contains("<h1>Millrace on mainnet</h1>"), "{page}");
        assert!(
            page.contains(&format!("<th>tip</th><td>{tip}</td>")),
            "{page}"
        );
        assert!(!page.contains("refused lately"), "{page}");
    }
    for number in 0..40u8 {
        let hash = bitcoin::hashes::Hash::from_byte_array([number; 32]);
        let reason = format!("<script>alert({number})</script>").repeat(20);
        let kind = millrace_store::rejections::RejectionKind::Coins;
        canister.app.reject(&canister.world, hash, kind, reason);
    }
    let (_, page) = get(&canister, "/");
    assert!(
        page.contains("<td>&lt;script&gt;alert(39)&lt;/script&gt;"),
        "{page}"
    );
    assert!(!page.contains("<script"), "{page}");
    assert!(page.len() < 40_000, "{}", page.len());
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
