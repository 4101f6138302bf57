//! Developer commands: parses the command line and hands over to one module per command.
//!
//! Run as `cargo xtask <command>` from any folder of the repository.

mod bench;
mod binaries;
mod bitcoind;
mod demo;
mod fuzz;
mod metadata;
mod module;
mod node;
mod packages;
mod process;
mod shrink;
mod sim;
mod test;
mod toolchain;
mod wasm;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use workspace::Workspace;

/// Developer commands of Millrace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the canister and the test canisters into target/wasm/
    Wasm(wasm::Options),
    /// Run the main job: local replica, canister, adapter, 4,522 real blocks, balances in a table
    Demo(demo::DemoOptions),
    /// Run every check and every test, as CI does
    Test(test::Options),
    /// Measure the canister's module, or the adapter's sources
    Bench(bench::Options),
    /// Run the canister's logic through seeded schedules of blocks, faults, upgrades and readers
    Sim(sim::Options),
    /// Feed what the adapter reads from others with whatever a fuzzer thinks of
    Fuzz(fuzz::Options),
    /// Build and run the local replica
    Replica(demo::ReplicaOptions),
    /// Build Bitcoin Core's bitcoind and bitcoin-cli for differential tests, and print their paths
    Bitcoind(bitcoind::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = Workspace::find().and_then(|workspace| match arguments.command {
        Command::Wasm(options) => wasm::run(&workspace, &options),
        Command::Demo(options) => demo::demo(&workspace, &options),
        Command::Test(options) => test::run(&workspace, &options),
        Command::Bench(options) => bench::run(&workspace, &options),
        Command::Sim(options) => sim::run(&workspace, &options),
        Command::Fuzz(options) => fuzz::run(&workspace, &options),
        Command::Replica(options) => demo::replica(&workspace, &options),
        Command::Bitcoind(options) => bitcoind::run(&options),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nxtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
