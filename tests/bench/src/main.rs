//! `cargo xtask bench canister`: measures the canister's module in our replica and compares the counts
//! with the committed ones.

mod base;
mod bundle;
mod cache;
mod canister;
mod compaction;
mod counts;
mod feeding;
mod mark;
mod native;
mod official;
mod phase;
mod projection;
mod reads;
mod real;
mod reference;
mod render;
mod results;
mod sample;
mod tables;
mod workload;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Parser;

use counts::Row;
use results::Results;
use workload::{ALL, Bench, Workload};

/// The file of counts that RESULTS.md shows.
const CURRENT: &str = "current";

/// Quick workloads measured at once.
const QUICK_JOBS: usize = 2;

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
    /// What compiled the module, as it names itself
    #[arg(long, value_name = "NAME")]
    compiler: String,
    /// Measure only workloads whose name contains this; may be given several times
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Name of the file of counts to write, and to compare with: `current`, but with --check the one of
    /// the module's compiler
    #[arg(long, value_name = "NAME")]
    version: Option<String>,
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
    let bench = Bench {
        module: Arc::from(module),
        cache: arguments.cache.clone(),
        data: arguments.data.clone(),
        talks: true,
    };
    // Large workloads take gigabytes each.
    let jobs = if arguments.quick { QUICK_JOBS } else { 1 };
    if arguments.check {
        let baseline = Baseline::find(arguments)?;
        println!("{baseline}");
        let measured = measure(&bench, &chosen(arguments)?, jobs, |_| Ok(()))?;
        return verdict(&baseline, &measured);
    }
    let name = arguments.version.as_deref().unwrap_or(CURRENT);
    let path = arguments.results.join(format!("{name}.toml"));
    let mut committed = Results::read(&path)?;
    check_compiler(&mut committed, &arguments.compiler, name)?;
    let before = committed.clone();
    // After each workload: an interrupted run keeps what it measured.
    let measured = measure(&bench, &chosen(arguments)?, jobs, |so_far| {
        committed.update(so_far.clone());
        committed.write(&path)
    })?;
    for difference in before.differences(&measured, results::TOLERANCE_PERCENT) {
        println!("{difference}");
    }
    render::write(&arguments.results)
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

/// Refuses to mix counts of modules from two compilers in one file; a new file takes the name.
fn check_compiler(committed: &mut Results, compiler: &str, name: &str) -> Result<()> {
    match &committed.compiler {
        Some(other) if other != compiler && !committed.rows.is_empty() => bail!(
            "{name}.toml holds counts of modules from {other}, and this one is from {compiler}: name \
             another file with `--version`, such as `{UPDATE} --quick --version rustup`"
        ),
        _ => committed.compiler = Some(compiler.to_owned()),
    }
    Ok(())
}

/// What a run is compared with.
struct Baseline {
    /// The file.
    name: String,
    committed: Results,
    /// What compiled the module that is measured.
    compiler: String,
    /// By how much a count may be higher.
    percent: u64,
}

impl Baseline {
    /// Finds the counts of modules from the same compiler, or else the current ones.
    fn find(arguments: &Arguments) -> Result<Self> {
        let (folder, compiler) = (&arguments.results, arguments.compiler.clone());
        let found = match &arguments.version {
            None => Results::find(folder, &compiler)?,
            Some(_) => None,
        };
        let (name, committed) = match found {
            Some(found) => found,
            None => {
                let name = arguments.version.as_deref().unwrap_or(CURRENT);
                let name = format!("{name}.toml");
                let committed = Results::read(&folder.join(&name))?;
                (name, committed)
            }
        };
        let percent = if committed.compiler.as_ref() == Some(&compiler) {
            results::TOLERANCE_PERCENT
        } else {
            results::OTHER_COMPILER_PERCENT
        };
        Ok(Self {
            name,
            committed,
            compiler,
            percent,
        })
    }
}

impl std::fmt::Display for Baseline {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            name,
            committed,
            compiler,
            percent,
        } = self;
        write!(
            formatter,
            "comparing a module from {compiler} with {name}, {percent} % more is allowed"
        )?;
        match &committed.compiler {
            Some(same) if same == compiler => Ok(()),
            other => write!(
                formatter,
                " because those counts are of a module from {}: no file in tests/bench/results has counts \
                 of this compiler. `{UPDATE} --quick --version NAME` writes one",
                other.as_deref().unwrap_or("a compiler it does not name")
            ),
        }
    }
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

/// Fails when a count worsened or is not on record, and says what was compared.
fn verdict(baseline: &Baseline, measured: &Results) -> Result<()> {
    let differences = baseline.committed.differences(measured, baseline.percent);
    for difference in &differences {
        println!("{difference}");
    }
    let failed: Vec<_> = differences
        .iter()
        .filter(|found| found.is_failure())
        .collect();
    let (rows, counts) = (
        measured.rows.len(),
        measured.rows.values().map(Row::len).sum::<usize>(),
    );
    if counts == 0 {
        bail!("nothing was measured, so nothing was compared");
    }
    let (name, percent) = (&baseline.name, baseline.percent);
    if !failed.is_empty() {
        bail!(
            "{} of {counts} counts are more than {percent} % worse than in {name}, or not in it (above); if \
             that is meant to be, run `{UPDATE} --quick` (without `--quick` for all counts) and commit what \
             it writes",
            failed.len()
        );
    }
    println!("{counts} counts in {rows} rows are as in {name}, or better");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(compiler: &str, instructions: u64) -> Results {
        let row = counts::row(&[("instructions", instructions)]);
        Results {
            compiler: Some(compiler.to_owned()),
            rows: [("small.x".to_owned(), row)].into(),
        }
    }

    fn baseline(compiler: &str, percent: u64) -> Baseline {
        Baseline {
            name: "current.toml".to_owned(),
            committed: results(compiler, 100),
            compiler: "rustc 1".to_owned(),
            percent,
        }
    }

    #[test]
    fn a_worsened_count_fails_the_check_and_names_the_command() {
        let same = baseline("rustc 1", 5);
        let error = verdict(&same, &results("rustc 1", 106)).expect_err("it is worse");
        let text = error.to_string();
        assert!(text.starts_with("1 of 1 counts"), "{text}");
        assert!(
            text.contains("cargo xtask bench canister --quick"),
            "{text}"
        );
        for instructions in [90, 100, 105] {
            verdict(&same, &results("rustc 1", instructions)).expect("better, equal or close");
        }
    }

    #[test]
    fn a_check_that_compares_nothing_fails() {
        let error = verdict(&baseline("rustc 1", 5), &Results::default());
        let text = error.expect_err("nothing was measured").to_string();
        assert!(text.contains("nothing was compared"), "{text}");
        let nothing = Baseline {
            committed: Results::default(),
            ..baseline("rustc 1", 5)
        };
        verdict(&nothing, &results("rustc 1", 1)).expect_err("nothing is committed");
    }

    #[test]
    fn a_check_says_with_what_it_compares_and_why() {
        let same = baseline("rustc 1", 5).to_string();
        assert!(
            same.ends_with("current.toml, 5 % more is allowed"),
            "{same}"
        );
        let other = baseline("rustc 2", 25).to_string();
        assert!(other.contains("from rustc 1 with"), "{other}");
        assert!(other.contains("of a module from rustc 2"), "{other}");
    }

    #[test]
    fn counts_of_two_compilers_are_never_mixed_in_a_file() {
        let mut committed = results("rustc 1", 1);
        check_compiler(&mut committed, "rustc 1", "current").expect("the same");
        let error = check_compiler(&mut committed, "rustc 2", "current").expect_err("another");
        assert!(error.to_string().contains("--version"), "{error}");
        let mut empty = Results::default();
        check_compiler(&mut empty, "rustc 2", "new").expect("a new file");
        assert_eq!(empty.compiler.as_deref(), Some("rustc 2"));
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
