//! `cargo xtask sim`: builds the simulator, optimised but with the checks of a debug build, and runs it;
//! with `--wasm` the one that runs the module in the replica, built as for tests.

use anyhow::Result;
use clap::Args;

use crate::process;
use crate::workspace::Workspace;

/// What `sim` hands on.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub struct Options {
    /// Options of the simulator: --seed N, --runs N, --minutes N, --mutations, and
    /// --wasm to run the module in the replica (try `--help`)
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "OPTION"
    )]
    rest: Vec<String>,
}

/// Builds and runs the simulator.
///
/// # Errors
/// When it does not build, or finds something.
pub fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let mut cargo = process::cargo(workspace.root());
    let is_wasm = |option: &&String| option.as_str() == "--wasm";
    if options.rest.iter().any(|option| is_wasm(&option)) {
        // What it spends its time with is compiled by the replica.
        cargo.args(["run", "--package", "millrace-sim-wasm", "--"]);
    } else {
        cargo.args(["run", "--profile", "sim", "--package", "millrace-sim", "--"]);
    }
    let rest = options.rest.iter().filter(|option| !is_wasm(option));
    process::run(cargo.args(rest))
}
