//! The options of a campaign, and its report.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::campaign::{Found, LONG_RUNS, Plan, Report, campaign};
use crate::subject::Subject;

/// What is to be run.
#[derive(Args)]
pub struct Options {
    /// Run this seed alone
    #[arg(long, conflicts_with_all = ["runs", "minutes", "from"])]
    seed: Option<u64>,
    /// Run so many seeds
    #[arg(long)]
    runs: Option<u64>,
    /// Run for so many minutes
    #[arg(long)]
    minutes: Option<u64>,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// End at the first failing seed, and only say which check found it after how many runs
    #[arg(long)]
    first: bool,
    /// Threads; one for each core by default
    #[arg(long)]
    threads: Option<usize>,
}

impl Options {
    /// Runs the seeds, prints what they covered and found. `default_runs` are run without options.
    pub fn run<S: Subject>(&self, default_runs: u64) -> ExitCode {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let report = campaign::<S>(Plan {
            from: self.seed.unwrap_or(self.from),
            runs: match (self.seed, self.runs, self.minutes) {
                (Some(_), ..) => 1,
                (None, Some(runs), _) => runs,
                (None, None, Some(_)) => u64::MAX,
                (None, None, None) => default_runs,
            },
            time: self
                .minutes
                .map(|minutes| Duration::from_secs(60 * minutes)),
            threads: self.threads.unwrap_or(cores),
            failures: if self.first { 1 } else { 3 },
            is_minimising: !self.first,
        });
        if self.first {
            for found in &report.found {
                println!(
                    "found by {} after {} runs",
                    found.failure.check, report.runs
                );
            }
            return ExitCode::from(u8::from(!report.found.is_empty()));
        }
        print_report(&report)
    }
}

fn print_report(report: &Report) -> ExitCode {
    print_coverage(report);
    for found in &report.found {
        print_found(found);
    }
    let never = report.never_happened();
    for name in &never {
        println!("never happened in {} runs: {name}", report.runs);
    }
    let seconds = report.elapsed.as_secs_f64();
    println!(
        "{} runs in {seconds:.0} s ({:.1} a second), {} failed",
        report.runs,
        report.runs as f64 / seconds,
        report.found.len(),
    );
    if report.found.is_empty() && never.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn print_coverage(report: &Report) {
    for (name, count) in report.coverage.counts() {
        println!("{count:>10}  {name}");
    }
    for (name, value) in report.coverage.peaks() {
        println!("{value:>10}  at most: {name}");
    }
    if report.runs < LONG_RUNS {
        println!("(fewer than {LONG_RUNS} runs: what never happened is no failure)");
    }
}

fn print_found(found: &Found) {
    println!("\nseed {} fails: {}", found.seed, found.failure.check);
    println!("  {}", found.failure.detail);
    println!("  commit {}", commit());
    println!("  {:?}", found.schedule.profile);
    for event in &found.schedule.events {
        println!("  {event:?}");
    }
}

/// Names the commit that failed, if git can tell.
fn commit() -> String {
    let output = std::process::Command::new("git")
        .args(["describe", "--always", "--dirty"])
        .output();
    let text = output
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok());
    text.map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned())
}
