//! `cargo xtask bench canister`: builds the module and the program that measures it, then runs that.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::binaries::{self, BENCH_CANISTER};
use crate::toolchain::Toolchain;
use crate::workspace::Workspace;
use crate::{process, wasm};

/// The committed counts.
const RESULTS: &str = "tests/bench/results";

/// Canisters that took in a chain, apart from cargo's own folders.
const CACHE: &str = "target/bench";

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
    let What::Canister(options) = &options.what;
    binaries::require_linux()?;
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
