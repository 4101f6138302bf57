//! `cargo xtask bench canister`: measures the canister's module in our replica and compares the counts
//! with the committed ones.

mod cache;
mod canister;
mod counts;
mod feeding;
mod mark;
mod official;
mod profile;
mod reads;
mod reference;
mod render;
mod results;
mod sample;
mod workload;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Parser;

use results::{Difference, Results};
use workload::{ALL, Bench, Workload};

/// The command that brings the committed counts up to date.
const UPDATE: &str = "cargo xtask bench canister";

/// Measures the canister's module and compares the counts with the committed ones.
#[derive(Parser)]
#[command(name = "bench-canister", max_term_width = 100)]
struct Arguments {
    /// The module, compressed as it is installed
    #[arg(long, value_name = "FILE")]
    wasm: PathBuf,
    /// Folder of the committed counts
    #[arg(long, value_name = "DIR")]
    results: PathBuf,
    /// Folder that keeps canisters which took in a chain; without it nothing is kept
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Measure only what takes seconds
    #[arg(long)]
    quick: bool,
    /// Compare with the committed counts and change nothing; fail when one is more than 5 % worse
    #[arg(long)]
    check: bool,
    /// Measure only workloads whose name contains this; may be given several times
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Name of the file of counts that is read and written
    #[arg(long, value_name = "NAME", default_value = "current")]
    version: String,
    /// Also write where instructions go to this file, as `outer;inner count` lines for flame graphs, and
    /// print the functions that take the most; functions have names if the module has a name section
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Instructions between two stacks of a profile: few for reads, many for whole chains
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 100_000,
        requires = "profile"
    )]
    profile_interval: u64,
    /// Only write RESULTS.md from the counts that are there
    #[arg(long)]
    render: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nbench canister: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let path = arguments
        .results
        .join(format!("{}.toml", arguments.version));
    let mut committed = Results::read(&path)?;
    if arguments.render {
        return render::write(&arguments.results);
    }
    let module = std::fs::read(&arguments.wasm).with_context(|| {
        format!(
            "cannot read {}; run `cargo xtask wasm` to build it",
            arguments.wasm.display()
        )
    })?;
    if arguments.profile.is_some() {
        profile::start(arguments.profile_interval);
    }
    let bench = Bench {
        module: Arc::from(module),
        cache: arguments.cache.clone(),
        talks: true,
    };
    let mut measured = Results::default();
    for workload in chosen(arguments)? {
        let start = Instant::now();
        let rows = (workload.run)(&bench)
            .with_context(|| format!("the workload {} failed", workload.name))?;
        eprintln!(
            "{:<32} {:>4} rows {:>5} s",
            workload.name,
            rows.len(),
            start.elapsed().as_secs()
        );
        measured.update(Results(rows.into_iter().collect()));
        if !arguments.check {
            // After each workload: an interrupted run keeps what it measured.
            let mut so_far = committed.clone();
            so_far.update(measured.clone());
            so_far.write(&path)?;
        }
    }
    if let Some(path) = &arguments.profile {
        profile::report(&bench.module, path)?;
    }
    let differences = committed.differences(&measured);
    for difference in &differences {
        println!("{difference}");
    }
    if !arguments.check {
        committed.update(measured);
        committed.write(&path)?;
        return render::write(&arguments.results);
    }
    verdict(&differences, measured.0.len())
}

fn chosen(arguments: &Arguments) -> Result<Vec<&'static Workload>> {
    let wanted = |workload: &&Workload| {
        let is_named = arguments
            .only
            .iter()
            .any(|text| workload.name.contains(text.as_str()));
        let in_mode = !arguments.quick || workload.is_quick;
        in_mode && (arguments.only.is_empty() || is_named)
    };
    let chosen: Vec<&Workload> = ALL.iter().filter(wanted).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = ALL.iter().map(|workload| workload.name).collect();
        bail!("no workload fits; there are {}", names.join(", "));
    }
    Ok(chosen)
}

/// Fails when a count worsened or is not on record.
fn verdict(differences: &[Difference], rows: usize) -> Result<()> {
    let failed = differences
        .iter()
        .filter(|found| found.is_failure())
        .count();
    if failed > 0 {
        bail!(
            "{failed} counts are more than {} % worse than committed, or not on record (above); if \
             that is meant to be, run `{UPDATE}` (with `--quick` for quick ones) and commit what it writes",
            results::TOLERANCE_PERCENT
        );
    }
    println!("{rows} rows are as committed, or better");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worsened_count_fails_the_check_and_names_the_command() {
        let difference = |measured| Difference {
            name: "small.x, instructions".to_owned(),
            committed: Some(100),
            measured: Some(measured),
        };
        let error = verdict(&[difference(90), difference(106)], 2).expect_err("one is worse");
        let text = error.to_string();
        assert!(text.starts_with("1 counts"), "{text}");
        assert!(text.contains("cargo xtask bench canister"), "{text}");
        verdict(&[difference(90)], 1).expect("better counts pass");
        verdict(&[], 1).expect("equal counts pass");
    }

    #[test]
    fn rows_of_workloads_never_share_a_name() {
        let mut names: Vec<&str> = ALL.iter().map(|workload| workload.name).collect();
        names.sort_unstable();
        let before = names.len();
        names.dedup();
        assert_eq!(names.len(), before);
    }
}
