//! `cargo xtask demo` and `cargo xtask replica`: build what they run, then run it.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use clap::Args;

use crate::binaries::{self, ADAPTER, DEMO, REPLICA};
use crate::workspace::Workspace;
use crate::{process, wasm};

const BLOCKS: &str = "tests/fixtures/blocktools/1M.dat";
const STATE: &str = ".millrace/demo";

/// What `demo` hands on.
#[derive(Args)]
pub struct DemoOptions {
    /// Options of the demo program: --fresh to start from nothing, --keep-running to leave the
    /// replica running for calls of your own, --port PORT
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "OPTION"
    )]
    rest: Vec<String>,
}

/// What `replica` hands on.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub struct ReplicaOptions {
    /// Options of the replica program (try `--help`)
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "OPTION"
    )]
    rest: Vec<String>,
}

/// Builds canister, replica, adapter and demo, and runs the demo on the recorded blocks.
///
/// # Errors
/// When something does not build, or the demo cannot be started.
pub fn demo(workspace: &Workspace, options: &DemoOptions) -> Result<()> {
    binaries::require_linux()?;
    wasm::run(workspace, &wasm::Options::canister())?;
    let [demo, replica, adapter] = binaries::build(workspace, [DEMO, REPLICA, ADAPTER])?;
    let state = workspace.path(STATE);
    let mut command = process::command(demo);
    command
        .arg("--wasm")
        .arg(workspace.wasm_dir().join("millrace.wasm.gz"));
    command
        .arg("--replica")
        .arg(replica)
        .arg("--adapter")
        .arg(adapter);
    command
        .arg("--blocks")
        .arg(workspace.path(BLOCKS))
        .arg("--state")
        .arg(&state);
    become_program(command.args(&options.rest))
}

/// Builds the replica and runs it with the options given.
///
/// # Errors
/// When it does not build or cannot be started.
pub fn replica(workspace: &Workspace, options: &ReplicaOptions) -> Result<()> {
    let [replica] = binaries::build(workspace, [REPLICA])?;
    become_program(process::command(replica).args(&options.rest))
}

/// Becomes the program, so that it has this terminal, its Ctrl-C and its exit code to itself.
#[cfg(unix)]
fn become_program(command: &mut Command) -> Result<()> {
    use std::os::unix::process::CommandExt;

    let shown = process::shown(command);
    eprintln!("$ {shown}");
    let error = command.stdin(Stdio::inherit()).exec();
    Err(error).with_context(|| format!("cannot start `{shown}`"))
}

/// Never reached: [`binaries::require_linux`] comes first, and this only lets it be compiled and say so.
#[cfg(not(unix))]
fn become_program(command: &mut Command) -> Result<()> {
    process::run(command.stdin(Stdio::inherit()))
}
