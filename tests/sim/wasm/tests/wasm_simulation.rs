//! A fixed number of schedules on the module in every test run.

use millrace_sim::campaign::{Plan, campaign};
use millrace_sim_wasm::subject::Wasm;

/// Schedules of a test run: some seconds.
const RUNS: u64 = 10;

#[test]
fn a_fixed_number_of_schedules_on_the_module_finds_nothing() {
    let report = campaign::<Wasm>(Plan {
        from: 0,
        runs: RUNS,
        time: None,
        threads: 2,
        failures: 1,
        is_minimising: false,
    });
    assert!(report.found.is_empty(), "{:#?}", report.found);
    assert_eq!(report.runs, RUNS);
    let counts = report.coverage.counts();
    for wanted in ["event/Upgrade", "asked/Initial", "trap/Write"] {
        assert!(counts.contains_key(wanted), "no {wanted} in {counts:#?}");
    }
}
