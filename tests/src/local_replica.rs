//! The `replica` program as a process, for clients that talk to it as they would to any network.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use candid::Principal;
use serde::Deserialize;

use crate::process::Process;

/// How long the replica may take to load its state and answer.
const START_PATIENCE: Duration = Duration::from_secs(120);

/// How long the replica may take to save its state.
const STOP_PATIENCE: Duration = Duration::from_secs(120);

/// What the replica writes about itself once it answers.
#[derive(Clone, Debug, Deserialize)]
pub struct Ready {
    /// Where its IC interface is.
    pub url: String,
    /// Where canisters are created.
    pub default_effective_canister_id: Principal,
}

/// A running replica.
pub struct LocalReplica {
    /// How to reach it.
    pub ready: Ready,
    process: Process,
}

impl LocalReplica {
    /// Starts the program on any free port if `port` is 0, with its state, log and ready file in
    /// `folder`, and waits until it answers.
    ///
    /// # Errors
    /// It ends, or does not answer in time: the message quotes what it said.
    pub fn start(program: &Path, port: u16, folder: &Path) -> Result<Self> {
        let ready_file = folder.join("replica.ready.json");
        // What a killed replica left would name a port nobody listens on.
        if ready_file.exists() {
            std::fs::remove_file(&ready_file)
                .with_context(|| format!("cannot delete {}", ready_file.display()))?;
        }
        let mut command = Command::new(program);
        command
            .args(["--port", &port.to_string(), "--state-dir"])
            .arg(folder.join("replica"))
            .arg("--ready-file")
            .arg(&ready_file)
            // A Ctrl-C at the terminal is for whoever started it, to stop it in good order.
            .process_group(0);
        let mut process = Process::start("the replica", &mut command, &folder.join("replica.log"))?;
        let text =
            process.wait_for("answer", START_PATIENCE, || std::fs::read(&ready_file).ok())?;
        let ready = serde_json::from_slice(&text)
            .with_context(|| format!("{} is damaged", ready_file.display()))?;
        Ok(Self { ready, process })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Stops the replica, which saves its state.
    ///
    /// # Errors
    /// It fails to.
    pub fn stop(self) -> Result<()> {
        let status = self.process.stop(STOP_PATIENCE)?;
        if !status.success() {
            bail!("the replica ended with {status}: its state may not be saved");
        }
        Ok(())
    }

    /// Leaves the replica running when this handle goes.
    pub fn detach(self) {
        self.process.detach();
    }
}
