//! `cargo xtask bench`: builds what is measured and the program that measures it, then runs that.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::binaries::{self, BENCH_ADAPTER, BENCH_CANISTER};
use crate::metadata::Metadata;
use crate::toolchain::Toolchain;
use crate::workspace::Workspace;
use crate::{bitcoind, process, wasm};

/// The committed counts.
const RESULTS: &str = "tests/bench/results";

/// Canisters that took in a chain, and chains, apart from cargo's own folders.
const CACHE: &str = "target/bench";

/// The adapter as users build it.
const ADAPTER: &str = "release/adapter";

/// What the adapter's sources did on the machine of whoever changed them last.
const ADAPTER_RESULTS: &str = "ADAPTER.md";

/// What to measure.
#[derive(Args)]
pub struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Count instructions, pages and bytes of the canister's module in the local replica
    Canister(CanisterOptions),
    /// Measure how fast the adapter reads a chain from each source, beside a bitcoind that downloads it
    Adapter(AdapterOptions),
}

/// How to measure the adapter.
#[derive(Args)]
pub struct AdapterOptions {
    /// Large blocks of the chain, 1.6 MB each [default: 400]
    #[arg(long, value_name = "N")]
    blocks: Option<u32>,
    /// Leave the committed table alone
    #[arg(long)]
    dry_run: bool,
}

/// How to measure the canister.
#[derive(Args)]
pub struct CanisterOptions {
    /// Measure only what takes seconds
    #[arg(long)]
    quick: bool,
    /// Compare with the committed counts and change nothing; fail when one is more than 5 % worse (25 %
    /// where no counts of a module from this compiler are committed)
    #[arg(long)]
    check: bool,
    /// Further options of the program: --only TEXT for some workloads, --data DIR for real blocks, --version
    /// NAME for another file of counts, --render to write RESULTS.md alone
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "OPTION"
    )]
    rest: Vec<String>,
}

/// Builds what is needed and measures.
///
/// # Errors
/// When something does not build, a workload fails, or a count worsened under `--check`.
pub fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    binaries::require_linux()?;
    match &options.what {
        What::Canister(options) => run_canister(workspace, options),
        What::Adapter(options) => run_adapter(workspace, options),
    }
}

fn run_adapter(workspace: &Workspace, options: &AdapterOptions) -> Result<()> {
    let bitcoind = bitcoind::find_or_build(&bitcoind::Options::default())?;
    let build = ["build", "--release", "--package", "millrace-adapter"];
    process::run(process::cargo(workspace.root()).args(build))?;
    let adapter = Metadata::load(workspace)?.target_dir.join(ADAPTER);
    let [program] = binaries::build(workspace, [BENCH_ADAPTER])?;
    let mut command = process::command(&program);
    command
        .env("BITCOIND_EXE", bitcoind)
        .arg("--adapter")
        .arg(adapter);
    command.arg("--cache").arg(workspace.path(CACHE));
    if let Some(blocks) = options.blocks {
        command.args(["--blocks", &blocks.to_string()]);
    }
    if !options.dry_run {
        let results = workspace.path(RESULTS).join(ADAPTER_RESULTS);
        command.arg("--results").arg(results);
    }
    process::run(&mut command)
}

fn run_canister(workspace: &Workspace, options: &CanisterOptions) -> Result<()> {
    wasm::run(workspace, &wasm::Options::measured())?;
    let [program] = binaries::build(workspace, [BENCH_CANISTER])?;
    let mut arguments = options.rest.clone();
    if options.quick {
        arguments.push("--quick".to_owned());
    }
    if options.check {
        arguments.push("--check".to_owned());
    }
    process::run(command(workspace, &program)?.args(arguments))
}

/// Compares the counts that take seconds with the committed ones; module and program are there.
///
/// # Errors
/// When a workload fails or a count worsened.
pub fn check(workspace: &Workspace) -> Result<()> {
    let [program] = binaries::locate(workspace, [BENCH_CANISTER])?;
    process::run(command(workspace, &program)?.args(["--quick", "--check"]))
}

/// The program, with the module and the places of what it reads and writes.
fn command(workspace: &Workspace, program: &Path) -> Result<Command> {
    let mut command = process::command(program);
    command
        .arg("--wasm")
        .arg(workspace.wasm_dir().join("millrace.wasm.gz"))
        .arg("--compiler")
        .arg(Toolchain::find_or_install()?.version()?)
        .arg("--results")
        .arg(workspace.path(RESULTS))
        .arg("--cache")
        .arg(workspace.path(CACHE));
    Ok(command)
}
