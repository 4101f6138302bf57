//! Runs many seeds in threads, adds up what they covered and minimises what fails.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::coverage::Coverage;
use crate::draw::of_seed;
use crate::expected::expected;
use crate::minimise::minimise;
use crate::run::{Failure, run};
use crate::schedule::Schedule;
use crate::subject::Subject;

/// Runs from which on everything must have happened.
pub const LONG_RUNS: u64 = 5_000;

/// What is to be run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The first seed.
    pub from: u64,
    /// Seeds, at most.
    pub runs: u64,
    /// Time, at most.
    pub time: Option<Duration>,
    /// Threads.
    pub threads: usize,
    /// Failing seeds after which nothing more is begun.
    pub failures: usize,
    /// Whether failing schedules are minimised.
    pub is_minimising: bool,
}

/// A failing seed.
#[derive(Clone, Debug)]
pub struct Found {
    /// The seed.
    pub seed: u64,
    /// How the minimised schedule fails.
    pub failure: Failure,
    /// The minimised schedule.
    pub schedule: Schedule,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    /// Seeds that were run.
    pub runs: u64,
    /// What happened how often.
    pub coverage: Coverage,
    /// Failing seeds, in order.
    pub found: Vec<Found>,
    /// How long it took.
    pub elapsed: Duration,
}

impl Report {
    /// Returns what never happened, where there were enough runs for everything to happen.
    pub fn never_happened(&self) -> Vec<String> {
        if self.runs < LONG_RUNS {
            return Vec::new();
        }
        let expected = expected();
        self.coverage
            .missing(&expected)
            .into_iter()
            .map(str::to_owned)
            .collect()
    }
}

/// Runs the plan.
pub fn campaign<S: Subject>(plan: Plan) -> Report {
    let start = Instant::now();
    let next = AtomicU64::new(plan.from);
    let is_over = AtomicBool::new(false);
    let report = Mutex::new(Report::default());
    std::thread::scope(|scope| {
        for _ in 0..plan.threads.max(1) {
            scope.spawn(|| {
                let mut coverage = Coverage::default();
                let mut runs = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let is_late = plan.time.is_some_and(|time| start.elapsed() >= time);
                    if seed - plan.from >= plan.runs || is_late {
                        break;
                    }
                    runs += 1;
                    let schedule = of_seed(seed);
                    match run::<S>(&schedule) {
                        Ok(covered) => coverage.merge(&covered),
                        Err(failure) => {
                            let (schedule, failure) = if plan.is_minimising {
                                minimise::<S>(&schedule, &failure)
                            } else {
                                (schedule, failure)
                            };
                            let mut report = lock(&report);
                            report.found.push(Found {
                                seed,
                                failure,
                                schedule,
                            });
                            if report.found.len() >= plan.failures {
                                is_over.store(true, Ordering::Relaxed);
                            }
                        }
                    }
                }
                let mut report = lock(&report);
                report.runs += runs;
                report.coverage.merge(&coverage);
            });
        }
    });
    let mut report = report
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    report.elapsed = start.elapsed();
    report.found.sort_by_key(|found| found.seed);
    report
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
