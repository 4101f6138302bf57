//! The command line of simulations of the module: run it as `cargo xtask sim --wasm`.

use std::process::ExitCode;

use clap::Parser;
use millrace_sim::cli::Options;
use millrace_sim_wasm::subject::Wasm;

/// Run the canister's module in the replica through schedules of blocks and faults.
#[derive(Parser)]
#[command(name = "cargo xtask sim --wasm", max_term_width = 100)]
struct Arguments {
    #[command(flatten)]
    options: Options,
}

/// Seeds of a run without options.
const DEFAULT_RUNS: u64 = 200;

fn main() -> ExitCode {
    Arguments::parse().options.run::<Wasm>(DEFAULT_RUNS)
}
