//! The engine against a model canister: whatever is lost, delayed, reordered or restarted, in the
//! end everything is pushed, and little of it twice.

mod model;
mod several;
mod simulation;

use std::time::Duration;

use bitcoin::BlockHash;
use millrace_core::{Height, Network};
use proptest::prelude::*;

use super::*;
use model::{Chain, Model};
use simulation::{Faults, Simulation};

fn config(until: Until) -> EngineConfig {
    EngineConfig {
        network: Network::Regtest,
        until,
        pushes_max: 4,
        message_bytes_max: 200_000,
        read_ahead_bytes: 64_000_000,
        give_up_after: None,
        witness: None,
        seed: 1,
    }
}

fn synced(height: u32) -> impl Fn(&Outcome) -> bool {
    move |outcome| {
        matches!(outcome, Outcome::Synced { tip, refused_blocks: 0 }
            if tip.height == Height::new(height))
    }
}

#[test]
fn without_faults_every_byte_is_pushed_exactly_once() {
    let chain = Chain::linear(500, |height| 300 + (height * 7919) % 5_000);
    let mut simulation = Simulation::new(config(Until::Synced), &chain, Model::default(), 1);
    let outcome = simulation.run(Faults::none());
    assert!(synced(500)(&outcome), "{outcome:?}");
    assert_eq!(simulation.pushed_bytes, chain.bytes_after_genesis());
    assert_eq!(simulation.model.tip().height, Height::new(500));
}

#[test]
fn small_blocks_share_a_message() {
    let chain = Chain::linear(400, |_| 250);
    let mut simulation = Simulation::new(config(Until::Synced), &chain, Model::default(), 1);
    simulation.run(Faults::none());
    // 400 parts of 250 + 64 bytes fill a message of 200,000 bytes hardly once.
    assert!(simulation.pushes <= 3, "{} pushes", simulation.pushes);
}

#[test]
fn a_block_larger_than_a_message_goes_in_parts() {
    let chain = Chain::linear(5, |_| 1_000_000);
    let mut simulation = Simulation::new(config(Until::Synced), &chain, Model::default(), 1);
    let outcome = simulation.run(Faults::none());
    assert!(synced(5)(&outcome), "{outcome:?}");
    assert!(simulation.pushes >= 25, "{} pushes", simulation.pushes);
    assert_eq!(simulation.pushed_bytes, chain.bytes_after_genesis());
}

#[test]
fn a_queue_smaller_than_the_chain_holds_pushes_back_without_loss() {
    let chain = Chain::linear(300, |_| 10_000);
    let model = Model {
        queue_bytes_max: 60_000,
        queue_blocks_max: 7,
        connects_per_heartbeat: 2,
        ..Model::default()
    };
    let mut simulation = Simulation::new(config(Until::Synced), &chain, model, 1);
    let outcome = simulation.run(Faults::none());
    assert!(synced(300)(&outcome), "{outcome:?}");
    assert_eq!(simulation.pushed_bytes, chain.bytes_after_genesis());
    assert!(simulation.waits.contains(&Waiting::QueueFull));
}

#[test]
fn a_block_without_room_though_the_queue_has_some_is_pushed_again_ever_more_rarely() {
    let chain = Chain::linear(5, |_| 1_000_000);
    let model = Model {
        is_assembly_full: true,
        ..Model::default()
    };
    let mut simulation = Simulation::new(config(Until::Synced), &chain, model, 1);
    simulation.run_for(Duration::from_secs(600), Faults::none());
    // 0.5 + 1 + 2 + 4 + 8 + 16 s, then 30 s each, by half or half again.
    assert!(
        (15..=50).contains(&simulation.pushes),
        "{} pushes in 10 minutes",
        simulation.pushes
    );
    assert!(simulation.waits.contains(&Waiting::QueueFull));
    simulation.model.is_assembly_full = false;
    let outcome = simulation.run(Faults::none());
    assert!(synced(5)(&outcome), "{outcome:?}");
}

#[test]
fn many_parts_without_room_in_one_message_are_one_setback() {
    let chain = Chain::linear(400, |_| 250);
    let model = Model {
        is_next_push_without_room: true,
        ..Model::default()
    };
    let mut simulation = Simulation::new(config(Until::Stopped), &chain, model, 1);
    // One pause, a question, a push and two heartbeats; the longest pause alone takes longer.
    simulation.run_for(Duration::from_secs(8), Faults::none());
    assert_eq!(simulation.model.tip().height, Height::new(400));
}

#[test]
fn a_canister_that_has_everything_is_sent_nothing() {
    let chain = Chain::linear(2_000, |_| 300);
    let model = Model::default().holding(&chain, 2_000);
    let mut simulation = Simulation::new(config(Until::Synced), &chain, model, 1);
    let outcome = simulation.run(Faults::none());
    assert!(synced(2_000)(&outcome), "{outcome:?}");
    assert_eq!(simulation.pushed_bytes, 0);
}

#[test]
fn pushing_goes_on_where_the_canister_stands_and_in_the_middle_of_a_block() {
    let chain = Chain::linear(2_000, |height| if height == 1_235 { 900_000 } else { 300 });
    let mut model = Model::default().holding(&chain, 1_234);
    model.begin(&chain, 1_235, 500_001);
    let mut simulation = Simulation::new(config(Until::Synced), &chain, model, 1);
    let outcome = simulation.run(Faults::none());
    assert!(synced(2_000)(&outcome), "{outcome:?}");
    assert_eq!(simulation.pushed_bytes, (900_000 - 500_001) + 765 * 300);
}

#[test]
fn a_canister_ahead_of_the_source_is_in_sync() {
    let chain = Chain::linear(50, |_| 300);
    let model = Model::default().holding(&chain, 50);
    let mut simulation = Simulation::new(config(Until::Synced), &chain.truncated(30), model, 1);
    let outcome = simulation.run(Faults::none());
    assert!(synced(30)(&outcome), "{outcome:?}");
    assert_eq!(simulation.pushed_bytes, 0);
}

#[test]
fn a_heavier_branch_is_pushed_from_the_fork_and_a_lighter_one_is_not() {
    let chain = Chain::linear(60, |_| 300);
    let longer = chain.fork(40, 30);
    let both = longer.with(&chain);
    let mut simulation = Simulation::new(
        config(Until::Synced),
        &both,
        Model::default().holding(&chain, 60),
        1,
    );
    let outcome = simulation.run(Faults::none());
    assert!(synced(70)(&outcome), "{outcome:?}");
    assert_eq!(simulation.pushed_bytes, 30 * 300);
    assert_eq!(simulation.model.tip().hash, longer.tip());
}

#[test]
fn following_pushes_what_the_source_gains_later() {
    let chain = Chain::linear(80, |_| 300);
    let mut simulation = Simulation::new(
        config(Until::Stopped),
        &chain.truncated(50),
        Model::default(),
        1,
    );
    simulation.run_for(Duration::from_secs(30), Faults::none());
    assert_eq!(simulation.model.tip().height, Height::new(50));
    simulation.source.add(&chain);
    simulation.run_for(Duration::from_secs(30), Faults::none());
    assert_eq!(simulation.model.tip().height, Height::new(80));
    let longer = chain.fork(45, 60);
    simulation.source.add(&longer);
    simulation.run_for(Duration::from_secs(30), Faults::none());
    assert_eq!(simulation.model.tip().hash, longer.tip());
    assert_eq!(
        simulation.stop(),
        Outcome::Stopped,
        "a stop ends the run once nothing is in flight"
    );
}

#[test]
fn a_block_the_canister_refuses_is_left_out_with_its_descendants() {
    let chain = Chain::linear(60, |_| 300);
    let other = chain.fork(30, 20);
    let mut model = Model::default();
    model.bad.insert(chain.hash(45));
    let mut simulation = Simulation::new(config(Until::Synced), &chain.with(&other), model, 1);
    let outcome = simulation.run(Faults::none());
    // 44 good blocks of the one branch are less than 50 of the other.
    let Outcome::Synced {
        tip,
        refused_blocks,
    } = outcome
    else {
        panic!("{outcome:?}");
    };
    assert_eq!((tip.hash, refused_blocks), (other.tip(), 1));
    assert_eq!(simulation.given_up, [chain.hash(45)]);
}

#[test]
fn a_block_that_cannot_be_read_is_tried_again_and_then_left_out() {
    let chain = Chain::linear(20, |_| 300);
    let mut simulation = Simulation::new(config(Until::Synced), &chain, Model::default(), 1);
    simulation.source.damaged.insert(chain.hash(12));
    let outcome = simulation.run(Faults::none());
    let Outcome::Synced {
        tip,
        refused_blocks,
    } = outcome
    else {
        panic!("{outcome:?}");
    };
    assert_eq!((tip.height, refused_blocks), (Height::new(11), 1));
    assert_eq!(simulation.given_up, [chain.hash(12)]);
}

#[test]
fn a_source_that_fails_after_it_worked_is_tried_again() {
    let chain = Chain::linear(40, |_| 300);
    let source = chain.truncated(20);
    let mut simulation = Simulation::new(config(Until::Stopped), &source, Model::default(), 1);
    simulation.run_for(Duration::from_secs(30), Faults::none());
    simulation.source.add(&chain);
    simulation.source.is_refused = true;
    simulation.run_for(Duration::from_secs(120), Faults::none());
    assert_eq!(simulation.model.tip().height, Height::new(20));
    simulation.source.is_refused = false;
    simulation.run_for(Duration::from_secs(60), Faults::none());
    assert_eq!(simulation.model.tip().height, Height::new(40));

    let mut simulation = Simulation::new(config(Until::Stopped), &chain, Model::default(), 1);
    simulation.source.is_refused = true;
    assert!(matches!(
        simulation.run(Faults::none()),
        Outcome::SourceFailed(SourceError::Unreadable { .. })
    ));
}

#[test]
fn a_node_that_is_away_is_waited_for_ever_more_patiently_before_and_after_it_worked() {
    let chain = Chain::linear(400, |_| 20_000);
    let mut simulation = Simulation::new(config(Until::Synced), &chain, Model::default(), 1);
    simulation.source.is_away = true;
    simulation.run_for(Duration::from_secs(120), Faults::none());
    // 0.5 + 1 + 2 + 4 + 8 + 16 s, then 30 s each, by half or half again.
    let attempts = simulation.source.attempts.take();
    assert!((5..=20).contains(&attempts), "{attempts} attempts");
    assert!(simulation.waits.contains(&Waiting::SourceUnavailable));
    simulation.source.is_away = false;
    simulation.model.connects_per_heartbeat = 20;
    simulation.run_for(Duration::from_secs(31), Faults::none());
    assert!(simulation.model.tip().height < Height::new(400));
    simulation.source.is_away = true;
    simulation.run_for(Duration::from_secs(300), Faults::none());
    simulation.source.is_away = false;
    let outcome = simulation.run(Faults::none());
    assert!(synced(400)(&outcome), "{outcome:?}");
    assert_eq!(simulation.pushed_bytes, chain.bytes_after_genesis());
}

#[test]
fn old_blocks_are_pushed_stripped_and_those_near_the_tip_in_full() {
    fn halve(block: &[u8]) -> Result<Vec<u8>, millrace_core::block::BlockError> {
        Ok(block[..block.len() / 2].to_vec())
    }
    fn refuse(block: &[u8]) -> Result<Vec<u8>, millrace_core::block::BlockError> {
        Err(millrace_core::block::BlockError::TooLong {
            length: block.len(),
        })
    }
    type Strip = fn(&[u8]) -> Result<Vec<u8>, millrace_core::block::BlockError>;
    let chain = Chain::linear(300, |_| 10_000);
    let cases: [(&str, u32, Strip, u64); 4] = [
        ("old blocks", 100, halve, 199 * 5_000 + 101 * 10_000),
        ("the last one in full", 0, halve, 299 * 5_000 + 10_000),
        ("deeper than the chain is long", 400, halve, 300 * 10_000),
        ("blocks that cannot be stripped", 100, refuse, 300 * 10_000),
    ];
    for (name, depth, strip, expected) in cases {
        let config = EngineConfig {
            witness: Some(WitnessStripping { depth, strip }),
            ..config(Until::Synced)
        };
        let mut simulation = Simulation::new(config, &chain, Model::default(), 1);
        let outcome = simulation.run(Faults::none());
        assert!(synced(300)(&outcome), "{name}: {outcome:?}");
        assert_eq!(simulation.pushed_bytes, expected, "{name}");
    }
}

#[test]
fn permanent_conditions_end_the_run_with_their_reason() {
    let chain = Chain::linear(20, |_| 300);
    let run = |model: Model, source: &Chain| {
        Simulation::new(config(Until::Stopped), source, model, 1).run(Faults::none())
    };

    let wrong_network = Model {
        network: Network::Signet,
        ..Model::default()
    };
    assert!(matches!(
        run(wrong_network, &chain),
        Outcome::WrongNetwork {
            canister: Network::Signet,
            ..
        }
    ));

    let foreign = Model {
        knows_genesis: false,
        ..Model::default()
    };
    assert!(matches!(
        run(foreign, &chain),
        Outcome::NothingCommon { .. }
    ));

    let mut other_chain = Model::default().holding(&chain.fork(5, 20), 25);
    other_chain.anchor_height = 10;
    assert!(matches!(
        run(other_chain, &chain),
        Outcome::ForkBelowAnchor { common, .. } if common == Height::new(5)
    ));

    assert!(matches!(
        run(Model::default(), &chain.without_beginning(3)),
        Outcome::Unlinked { headers: 17, .. }
    ));

    let mut simulation = Simulation::new(config(Until::Stopped), &chain, Model::default(), 1);
    let faults = Faults {
        permanent_error_after: Some(0),
        ..Faults::none()
    };
    assert!(matches!(simulation.run(faults), Outcome::SinkFailed(_)));
}

#[test]
fn an_unreachable_canister_is_retried_with_growing_pauses_until_the_limit() {
    let chain = Chain::linear(5, |_| 300);
    let config = EngineConfig {
        give_up_after: Some(Duration::from_secs(120)),
        ..config(Until::Synced)
    };
    let mut simulation = Simulation::new(config, &chain, Model::default(), 1);
    let faults = Faults {
        lost_requests_percent: 100,
        ..Faults::none()
    };
    let outcome = simulation.run(faults);
    assert!(
        matches!(outcome, Outcome::GaveUp { after, .. } if after >= Duration::from_secs(120)),
        "{outcome:?}"
    );
    assert!(simulation.asks <= 20, "{} questions", simulation.asks);
    assert!(simulation.waits.contains(&Waiting::Unreachable));
}

#[test]
fn disabled_syncing_is_waited_out() {
    let chain = Chain::linear(30, |_| 300);
    let model = Model {
        is_syncing: false,
        ..Model::default()
    };
    let mut simulation = Simulation::new(config(Until::Synced), &chain, model, 1);
    simulation.run_for(Duration::from_secs(60), Faults::none());
    assert_eq!(simulation.pushed_bytes, 0);
    assert!(simulation.waits.contains(&Waiting::SyncingDisabled));
    assert!(simulation.asks <= 10, "{} questions", simulation.asks);
    simulation.model.is_syncing = true;
    let outcome = simulation.run(Faults::none());
    assert!(synced(30)(&outcome), "{outcome:?}");
}

#[test]
fn a_block_above_the_canisters_limit_is_given_up_unpushed() {
    let chain = Chain::linear(10, |height| if height == 6 { 1_500_000 } else { 300 });
    let model = Model {
        block_bytes_max: 1_000_000,
        ..Model::default()
    };
    let mut simulation = Simulation::new(config(Until::Synced), &chain, model, 1);
    let outcome = simulation.run(Faults::none());
    assert!(
        matches!(outcome, Outcome::Synced { tip, refused_blocks: 1 }
            if tip.height == Height::new(5)),
        "{outcome:?}"
    );
    assert_eq!(simulation.pushed_bytes, 5 * 300);
}

#[test]
fn read_ahead_stays_within_its_bound() {
    let chain = Chain::linear(60, |_| 1_000_000);
    let config = EngineConfig {
        read_ahead_bytes: 12_000_000,
        ..config(Until::Synced)
    };
    let model = Model {
        queue_bytes_max: 2_000_000,
        ..Model::default()
    };
    let mut simulation = Simulation::new(config, &chain, model, 1);
    let outcome = simulation.run(Faults::none());
    assert!(synced(60)(&outcome), "{outcome:?}");
    assert!(
        simulation.read_ahead_bytes_seen <= 12_000_000,
        "{}",
        simulation.read_ahead_bytes_seen
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn everything_arrives_whatever_is_lost_reordered_or_restarted(seed in any::<u64>()) {
        let faults = Faults::random(seed);
        let chain = Chain::random(seed);
        let model = Model::random(seed);
        let mut simulation = Simulation::new(config(Until::Synced), &chain, model, seed);
        let outcome = simulation.run(faults.clone());
        let tip: BlockHash = chain.tip();
        prop_assert!(
            matches!(outcome, Outcome::Synced { tip: reached, refused_blocks: 0 }
                if reached.hash == tip),
            "seed {seed}: {outcome:?}"
        );
        prop_assert_eq!(simulation.model.tip().hash, tip, "seed {}", seed);
        // What is pushed again is at most what was in flight or queued at each fault.
        let again = simulation.pushed_bytes.saturating_sub(chain.bytes_after_genesis());
        let each = 4 * 200_000 + simulation.model.queue_bytes_max;
        let bound = each * (simulation.faults_seen + simulation.set_backs + 1);
        prop_assert!(again <= bound, "seed {seed}: {again} bytes again, bound {bound}");
    }
}
