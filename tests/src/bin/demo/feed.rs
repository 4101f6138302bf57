//! Runs the `adapter` program until the canister has every recorded block.

use std::path::Path;

use anyhow::{Context, Result, bail};
use candid::Principal;
use millrace_tests::adapter;
use millrace_tests::local_replica::Ready;
use tokio::process::Command;

use crate::Args;
use crate::state::StateDir;

/// Feeds the canister; the adapter's own progress line is what a person sees.
///
/// # Errors
/// The adapter cannot be started or fails: it has said why on this terminal.
pub async fn feed(args: &Args, state: &StateDir, ready: &Ready, canister: Principal) -> Result<()> {
    let (key, _) = state.identity("adapter")?;
    let absolute = |path: &Path| {
        path.canonicalize()
            .with_context(|| format!("cannot find {}", path.display()))
    };
    let (program, blocks) = (absolute(&args.adapter)?, absolute(&args.blocks)?);
    let mut command = Command::from(adapter::command(&program, state.path()));
    command
        .arg("run")
        .arg("--once")
        .args(["--network", "mainnet"])
        .args(["--replica-url", &ready.url])
        .args(["--canister", &canister.to_text()])
        .args([Path::new("--identity-pem"), &key])
        .args([Path::new("--blocks"), &blocks])
        .kill_on_drop(true);
    println!("adapter    {} run --once …", args.adapter.display());
    let status = command
        .status()
        .await
        .with_context(|| format!("cannot start {}", args.adapter.display()))?;
    if !status.success() {
        bail!("the adapter ended with {status}: its message is above");
    }
    Ok(())
}
