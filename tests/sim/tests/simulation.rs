//! A fixed number of schedules in every test run, and the seeds that found something.

use millrace_sim::campaign::{Plan, campaign};
use millrace_sim::native::Native;

/// Schedules of a test run: some seconds of an unoptimised build.
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
