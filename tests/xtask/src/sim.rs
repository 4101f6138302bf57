//! `cargo xtask sim`: builds the simulator, optimised but with the checks of a debug build, and runs it.

use anyhow::Result;
use clap::Args;

use crate::process;
use crate::workspace::Workspace;

/// What `sim` hands on.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub struct Options {
    /// Options of the simulator: --seed N, --runs N, --minutes N, --mutations (try `--help`)
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
    cargo.args(["run", "--profile", "sim", "--package", "millrace-sim", "--"]);
    process::run(cargo.args(&options.rest))
}
