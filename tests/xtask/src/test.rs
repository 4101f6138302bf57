//! `cargo xtask test`: everything a change must pass, as CI runs it.
//!
//! Later stages run even when an earlier check failed, so that one run shows everything; only a
//! stage that others build on ends it.

mod javascript;
mod tally;

use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::binaries::{self, POCKET_IC_SERVER};
use crate::workspace::Workspace;
use crate::{bench, bitcoind, process, wasm};
use tally::Tally;

/// Which part of the tests to run.
#[derive(Args)]
pub struct Options {
    /// Leave out formatting, clippy and documentation
    #[arg(long)]
    no_lint: bool,
    /// Run only tests whose name contains this, and no benchmarks
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
}

/// Sets up, checks and tests everything, and prints a summary.
///
/// # Errors
/// When any stage failed: the summary says which.
pub fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    binaries::require_linux()?;
    let mut summary = Summary::default();
    let outcome = stages(workspace, options, &mut summary);
    let passed = summary.print();
    outcome?;
    if !passed {
        bail!("not everything passed: see the summary above");
    }
    Ok(())
}

fn stages(workspace: &Workspace, options: &Options, summary: &mut Summary) -> Result<()> {
    let cargo = |arguments: &[&str]| {
        let mut cargo = process::cargo(workspace.root());
        cargo.args(arguments);
        cargo
    };
    let node = summary.needed("npm packages", || javascript::install(workspace))?;
    summary.needed("wasm", || wasm::run(workspace, &wasm::Options::tests()))?;
    if !options.no_lint {
        summary.check("format", || {
            process::run(&mut cargo(&["fmt", "--all", "--check"]))
        });
        let clippy = [
            "clippy",
            "--workspace",
            "--all-targets",
            "--quiet",
            "--",
            "--deny",
            "warnings",
        ];
        summary.check("clippy", || process::run(&mut cargo(&clippy)));
        let doc = ["doc", "--workspace", "--no-deps", "--quiet"];
        summary.check("documentation", || {
            process::run(cargo(&doc).env("RUSTDOCFLAGS", "--deny warnings"))
        });
    }
    // The very targets the tests need, so that cargo resolves features once and builds once.
    summary.needed("build", || {
        process::run(&mut cargo(&["build", "--workspace", "--all-targets"]))
    })?;
    let mut tests = cargo(&["test", "--workspace", "--no-fail-fast"]);
    tests.arg("--").args(&options.filter);
    match bitcoind::find() {
        // Tests that are ignored otherwise need it, and nothing else.
        Some(bitcoind) => {
            tests.arg("--include-ignored");
            tests.env("BITCOIND_EXE", bitcoind);
        }
        None => {
            eprintln!("tests with a Bitcoin Core are skipped: `cargo xtask bitcoind` builds one")
        }
    }
    let [server] = binaries::locate(workspace, [POCKET_IC_SERVER])?;
    if env::var_os("POCKET_IC_BIN").is_none() {
        tests.env("POCKET_IC_BIN", server);
    }
    tests.env("MILLRACE_WASM_DIR", workspace.wasm_dir());
    node.put_in_path(&mut tests)?;
    let mut tally = Tally::default();
    summary.check("tests", || count(&mut tests, &mut tally));
    if tally.passed == 0 {
        summary.check("tests ran", || {
            bail!("no test ran: does the filter match a test's name?")
        });
    }
    summary.tally = Some(tally);
    if options.filter.is_none() {
        summary.check("benchmarks", || bench::check(workspace));
    }
    Ok(())
}

/// Runs cargo's tests, showing their output as it comes and adding up their results.
fn count(tests: &mut Command, tally: &mut Tally) -> Result<()> {
    let shown = process::shown(tests);
    eprintln!("$ {shown}");
    let mut child = tests
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{shown}`"))?;
    let output = child.stdout.take().context("the output is piped")?;
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("cannot read the tests' output")?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        tally.read(&line);
    }
    let status = child
        .wait()
        .with_context(|| format!("cannot wait for `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed: {status}");
    }
    Ok(())
}

/// What happened in each stage so far.
#[derive(Default)]
struct Summary {
    stages: Vec<Stage>,
    tally: Option<Tally>,
}

struct Stage {
    name: &'static str,
    passed: bool,
    seconds: u64,
}

impl Summary {
    /// Runs a stage that later ones build on.
    fn needed<T>(&mut self, name: &'static str, stage: impl FnOnce() -> Result<T>) -> Result<T> {
        eprintln!("\n== {name}");
        let start = Instant::now();
        let outcome = stage();
        self.stages.push(Stage {
            name,
            passed: outcome.is_ok(),
            seconds: start.elapsed().as_secs(),
        });
        outcome
    }

    /// Runs a stage whose failure is shown at once and does not keep later ones from running.
    fn check(&mut self, name: &'static str, stage: impl FnOnce() -> Result<()>) {
        if let Err(error) = self.needed(name, stage) {
            eprintln!("{name}: {error:#}");
        }
    }

    /// Prints one line for each stage, then the tests; returns whether everything passed.
    fn print(&self) -> bool {
        println!("\n== summary");
        for Stage {
            name,
            passed,
            seconds,
        } in &self.stages
        {
            println!(
                "{name:<14} {:<6} {seconds:>5} s",
                if *passed { "ok" } else { "FAILED" }
            );
        }
        if let Some(tally) = &self.tally {
            println!("tests: {tally}");
        }
        self.stages.iter().all(|stage| stage.passed)
    }
}
