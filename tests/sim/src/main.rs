//! The simulator's command line: run it as `cargo xtask sim`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use millrace_sim::cli::Options;
use millrace_sim::mutations;
use millrace_sim::native::Native;

/// Run the canister's logic through schedules of blocks and faults; --wasm runs its module instead
#[derive(Parser)]
#[command(name = "cargo xtask sim", max_term_width = 100)]
struct Arguments {
    #[command(flatten)]
    options: Options,
    /// Plant bugs in a copy of the sources, one at a time, and require that each is found
    #[arg(long, conflicts_with_all = ["seed", "runs", "minutes", "first"])]
    mutations: bool,
}

/// Seeds of a run without options.
const DEFAULT_RUNS: u64 = 1_000;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.mutations {
        return check_mutations();
    }
    arguments.options.run::<Native>(DEFAULT_RUNS)
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
