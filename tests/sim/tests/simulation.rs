//! A fixed number of schedules in every test run; schedules that once found something have a test each.

use millrace_sim::campaign::{Plan, campaign};
use millrace_sim::native::Native;
use millrace_sim::run::run;
use millrace_sim::schedule::of_seed;

/// Schedules of a test run: some seconds of a lightly optimised build.
const RUNS: u64 = 150;

#[test]
fn a_fixed_number_of_schedules_finds_nothing() {
    let report = campaign(Plan {
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
