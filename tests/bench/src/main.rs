//! `cargo xtask bench canister`: measures the canister's module in our replica and compares the counts
//! with the committed ones.

mod base;
mod baseline;
mod bundle;
mod cache;
mod canister;
mod commitment;
mod compaction;
mod counts;
mod feeding;
mod mark;
mod native;
mod official;
mod phase;
mod profile;
mod projection;
mod reads;
mod real;
mod reference;
mod render;
mod results;
mod sample;
mod snapshot;
mod tables;
mod workload;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Parser;

use baseline::{Baseline, CURRENT};
use results::Results;
use workload::{ALL, Bench, Workload};

/// Quick workloads measured at once.
const QUICK_JOBS: usize = 2;

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
    /// Folder of real blocks, with blocks/0831328.bin to 0831335.bin in it; without it they are not
    /// measured
    #[arg(long, value_name = "DIR", env = "MILLRACE_REAL_BLOCKS")]
    data: Option<PathBuf>,
    /// Measure only what takes seconds
    #[arg(long)]
    quick: bool,
    /// Compare with the committed counts and change nothing; fail when one is more than 5 % worse (25 %
    /// where no counts of a module from this compiler are committed)
    #[arg(long)]
    check: bool,
    /// What compiled the module, as it names itself: counts of two compilers are kept apart
    #[arg(long, value_name = "NAME")]
    compiler: Option<String>,
    /// Measure only workloads whose name contains this; may be given several times
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Name of the file of counts to write, and to compare with: `current`, but with --check the one of
    /// the module's compiler
    #[arg(long, value_name = "NAME")]
    version: Option<String>,
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
        data: arguments.data.clone(),
        talks: true,
    };
    // Large workloads take gigabytes each.
    let jobs = if arguments.quick && arguments.profile.is_none() {
        QUICK_JOBS
    } else {
        1
    };
    if arguments.check {
        let version = arguments.version.as_deref();
        let compiler = arguments.compiler.as_deref();
        let baseline = Baseline::find(&arguments.results, version, compiler)?;
        println!("{baseline}");
        let measured = measure(&bench, &chosen(arguments)?, jobs, |_| Ok(()))?;
        report_profile(arguments, &bench)?;
        return baseline.verdict(&measured);
    }
    let name = arguments.version.as_deref().unwrap_or(CURRENT);
    let path = arguments.results.join(format!("{name}.toml"));
    let mut committed = Results::read(&path)?;
    if let Some(compiler) = &arguments.compiler {
        baseline::own(&mut committed, compiler, name)?;
    }
    let before = committed.clone();
    // After each workload: an interrupted run keeps what it measured.
    let measured = measure(&bench, &chosen(arguments)?, jobs, |so_far| {
        committed.update(so_far.clone());
        committed.write(&path)
    })?;
    report_profile(arguments, &bench)?;
    for difference in before.differences(&measured, results::TOLERANCE_PERCENT) {
        println!("{difference}");
    }
    render::write(&arguments.results)
}

fn report_profile(arguments: &Arguments, bench: &Bench) -> Result<()> {
    match &arguments.profile {
        Some(path) => profile::report(&bench.module, path),
        None => Ok(()),
    }
}

/// Measures workloads, `jobs` at once, and calls `keep` after each with everything measured so far.
///
/// What is counted does not depend on what else runs. Each workload has files and a replica of its own.
fn measure(
    bench: &Bench,
    workloads: &[&Workload],
    jobs: usize,
    mut keep: impl FnMut(&Results) -> Result<()>,
) -> Result<Results> {
    let waiting = Mutex::new(workloads.iter());
    let mut measured = Results::default();
    thread::scope(|scope| {
        let (send, receive) = mpsc::channel();
        for _ in 0..jobs {
            let (send, waiting) = (send.clone(), &waiting);
            scope.spawn(move || {
                // Nobody panics while holding the lock.
                while let Some(workload) = waiting.lock().ok().and_then(|mut left| left.next()) {
                    let start = Instant::now();
                    let rows = (workload.run)(bench)
                        .with_context(|| format!("the workload {} failed", workload.name));
                    if send.send((workload, rows, start.elapsed())).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        for (workload, rows, time) in receive {
            let (rows, seconds) = (rows?, time.as_secs());
            eprintln!(
                "{:<32} {:>4} rows {seconds:>5} s",
                workload.name,
                rows.len()
            );
            measured.rows.extend(rows);
            keep(&measured)?;
        }
        anyhow::Ok(())
    })?;
    Ok(measured)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_workloads_never_share_a_name() {
        let mut names: Vec<&str> = ALL.iter().map(|workload| workload.name).collect();
        names.sort_unstable();
        let before = names.len();
        names.dedup();
        assert_eq!(names.len(), before);
    }
}
