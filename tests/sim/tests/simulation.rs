//! A fixed number of schedules in every test run; schedules that once found something have a test each.

use millrace_sim::campaign::{Plan, campaign};
use millrace_sim::draw::of_seed;
use millrace_sim::flaw::Flaw;
use millrace_sim::mine::Kind;
use millrace_sim::native::Native;
use millrace_sim::run::run;
use millrace_sim::schedule::{Answer, Delivery, Event, Load, Parts, Pick, Profile, Schedule};

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

/// Seed 30005363: one step lets nine blocks of another branch go, and writes for each of them.
#[test]
fn a_step_that_lets_blocks_go_may_write_for_each_of_them() {
    let beats = |count, seconds| Event::Beats { count, seconds };
    let mine = |on, kind, count, salt| Event::Mine {
        on,
        kind,
        count,
        salt,
    };
    let push = |who, count| Event::Push {
        who,
        load: Load::Missing(Pick::Best, count),
        delivery: Delivery::Plain,
        parts: Parts::Whole,
    };
    let schedule = Schedule {
        profile: Profile {
            is_consensus: true,
            is_pulling: true,
            is_pushed: true,
            threshold: 7,
        },
        events: vec![
            mine(Pick::Best, Kind::Plain, 1, 1_269_518_916),
            mine(Pick::Below(9), Kind::Plain, 1, 1_556_408_526),
            mine(Pick::Recent(4), Kind::Plain, 6, 580_444_080),
            beats(1, 0),
            Event::Answer(Answer::Pages(1)),
            mine(
                Pick::Best,
                Kind::Broken(Flaw::RepeatedCoinbase),
                6,
                2_740_470_188,
            ),
            mine(Pick::Best, Kind::Broken(Flaw::Forward), 5, 447_640_598),
            push(0, 9),
            Event::Window(1),
            mine(Pick::Recent(3), Kind::Plain, 2, 2_249_541_450),
            beats(1, 0),
            beats(1, 1),
            Event::Answer(Answer::Blocks(9)),
            mine(Pick::Best, Kind::Plain, 6, 3_630_979_802),
            beats(1, 3),
            push(1, 11),
            beats(1, 0),
            beats(1, 30),
            Event::Threshold(0),
            beats(5, 0),
        ],
    };
    let covered = run::<Native>(&schedule);
    assert!(covered.is_ok(), "{covered:?}");
}
