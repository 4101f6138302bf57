//! The simulator's command line: run it as `cargo xtask sim`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use millrace_sim::campaign::{Found, LONG_RUNS, Plan, Report, campaign};
use millrace_sim::mutations;

/// Run the canister's logic through schedules of blocks and faults.
#[derive(Parser)]
#[command(name = "cargo xtask sim", max_term_width = 100)]
struct Arguments {
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
    /// Plant bugs in a copy of the sources, one at a time, and require that each is found
    #[arg(long, conflicts_with_all = ["seed", "runs", "minutes", "first"])]
    mutations: bool,
    /// Threads; one for each core by default
    #[arg(long)]
    threads: Option<usize>,
}

/// Seeds of a run without options.
const DEFAULT_RUNS: u64 = 1_000;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let plan = Plan {
        from: arguments.seed.unwrap_or(arguments.from),
        runs: match (arguments.seed, arguments.runs, arguments.minutes) {
            (Some(_), ..) => 1,
            (None, Some(runs), _) => runs,
            (None, None, Some(_)) => u64::MAX,
            (None, None, None) => DEFAULT_RUNS,
        },
        time: arguments
            .minutes
            .map(|minutes| Duration::from_secs(60 * minutes)),
        threads: arguments.threads.unwrap_or(cores),
        failures: if arguments.first { 1 } else { 3 },
        is_minimising: !arguments.first,
    };
    if arguments.mutations {
        return check_mutations();
    }
    let report = campaign(plan);
    if arguments.first {
        for found in &report.found {
            println!(
                "found by {} after {} runs",
                found.failure.check, report.runs
            );
        }
        return ExitCode::from(u8::from(!report.found.is_empty()));
    }
    print_coverage(&report);
    for found in &report.found {
        print_found(found);
    }
    let never = report.never_happened();
    for name in &never {
        println!("never happened in {} runs: {name}", report.runs);
    }
    let seconds = report.elapsed.as_secs_f64();
    println!(
        "{} runs in {seconds:.0} s ({:.0} a second), {} failed",
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

fn check_mutations() -> ExitCode {
    let target = std::env::current_exe();
    let target = target
        .ok()
        .and_then(|path| path.ancestors().nth(2).map(Path::to_owned));
    let checked = target
        .context("the program lies in no target folder")
        .and_then(|target| mutations::check(&mutations::repository(), &target));
    match checked {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
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
