//! `cargo xtask sim`: builds the simulator, optimised but with the checks of a debug build, and runs it;
//! with `--wasm` the module, and the one that runs it in the replica, built as for tests.

use anyhow::Result;
use clap::Args;

use crate::binaries::{self, SIM_WASM};
use crate::process;
use crate::wasm;
use crate::workspace::Workspace;

/// Runs the module; all other options are the simulator's.
const WASM: &str = "--wasm";

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
    let is_wasm = |option: &&String| option.as_str() == WASM;
    let rest = options.rest.iter().filter(|option| !is_wasm(option));
    if options.rest.iter().any(|option| is_wasm(&option)) {
        wasm::run(workspace, &wasm::Options::canister())?;
        let [program] = binaries::build(workspace, [SIM_WASM])?;
        let mut command = process::command(&program);
        return process::run(
            command
                .env("MILLRACE_WASM_DIR", workspace.wasm_dir())
                .args(rest),
        );
    }
    let mut cargo = process::cargo(workspace.root());
    cargo.args(["run", "--profile", "sim", "--package", "millrace-sim", "--"]);
    process::run(cargo.args(rest))
}
