//! A fixed number of schedules in every test run; schedules that once found something have a test each.

use millrace_sim::campaign::{Plan, campaign};
use millrace_sim::flaw::Flaw;
use millrace_sim::mine::Kind;
use millrace_sim::native::Native;
use millrace_sim::run::run;
use millrace_sim::schedule::{Answer, Event, Pick, Profile, Schedule, of_seed};

/// Schedules of a test run: some seconds of a lightly optimised build.
const RUNS: u64 = 150;

#[test]
fn a_fixed_number_of_schedules_finds_nothing() {
    let report = campaign::<Native>(Plan {
        from: 0,
        runs: RUNS,
        time: None,
        threads: 2,
        failures: 1,
        is_minimising: true,
    });
    assert_eq!(report.runs, RUNS);
    assert!(report.found.is_empty(), "{:#?}", report.found);
}

#[test]
fn a_seed_means_the_same_schedule_and_the_same_run_every_time() {
    for seed in 0..5 {
        let schedule = of_seed(seed);
        assert_eq!(schedule, of_seed(seed));
        let once = run::<Native>(&schedule);
        assert_eq!(once, run::<Native>(&schedule));
        assert!(once.is_ok(), "{once:?}");
    }
}

/// Seed 2332: one item at a time, but connected all the same.
#[test]
fn heartbeats_after_traps_connect_nothing_without_cycles() {
    let beats = |count, seconds| Event::Beats { count, seconds };
    let schedule = Schedule {
        profile: Profile {
            is_consensus: false,
            is_pulling: true,
            is_pushed: false,
            threshold: 2,
        },
        events: vec![
            Event::Full(true),
            Event::Mine {
                on: Pick::Best,
                kind: Kind::Broken(Flaw::Sigops),
                count: 6,
                salt: 13_921_555,
            },
            beats(1, 1),
            Event::Answer(Answer::Blocks(4)),
            beats(3, 30),
            Event::Poor(true),
            beats(19, 30),
        ],
    };
    let covered = run::<Native>(&schedule);
    assert!(covered.is_ok(), "{covered:?}");
}
