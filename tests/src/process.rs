//! Child processes of tests and the demo: started with a log file, stopped politely, never left behind.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// How often a process is looked at while it is waited for.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Log lines quoted when a process fails.
const QUOTED_LINES: usize = 15;

/// A running program. Killed when dropped, unless it was [detached](Process::detach).
pub struct Process {
    name: String,
    child: Option<Child>,
    log: PathBuf,
}

impl Process {
    /// Starts a program with its output going to `log`, which is replaced.
    ///
    /// # Errors
    /// The log cannot be written or the program cannot be started.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let errors = file
            .try_clone()
            .with_context(|| format!("cannot write {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .spawn()
            .with_context(|| {
                let program = Path::new(command.get_program());
                format!("cannot start {name} ({})", program.display())
            })?;
        Ok(Self {
            name: name.to_owned(),
            child: Some(child),
            log: log.to_owned(),
        })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child().id()
    }

    /// How the program ended, if it has.
    ///
    /// # Errors
    /// The system cannot tell.
    pub fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        let name = self.name.clone();
        self.child_mut()
            .try_wait()
            .with_context(|| format!("cannot watch {name}"))
    }

    /// Waits until `ready` gives a value, as long as the program runs and for at most `patience`.
    ///
    /// # Errors
    /// The program ends first or takes too long; the message quotes the end of its log.
    pub fn wait_for<T>(
        &mut self,
        what: &str,
        patience: Duration,
        mut ready: impl FnMut() -> Option<T>,
    ) -> Result<T> {
        let start = Instant::now();
        loop {
            if let Some(value) = ready() {
                return Ok(value);
            }
            if let Some(status) = self.exit_status()? {
                bail!(
                    "{} ended with {status} before {what}\n{}",
                    self.name,
                    self.log_end()
                );
            }
            if start.elapsed() > patience {
                bail!(
                    "{} gave no {what} within {} s\n{}",
                    self.name,
                    patience.as_secs(),
                    self.log_end()
                );
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Waits for the program to end by itself.
    ///
    /// # Errors
    /// It does not within `patience`.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.exit_status()? {
                return Ok(status);
            }
            if start.elapsed() > patience {
                bail!(
                    "{} still runs after {} s\n{}",
                    self.name,
                    patience.as_secs(),
                    self.log_end()
                );
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Asks the program to end (SIGTERM) and waits for it.
    ///
    /// # Errors
    /// It does not end within `patience`; it is killed then.
    pub fn stop(mut self, patience: Duration) -> Result<ExitStatus> {
        let process = i32::try_from(self.id()).ok().and_then(Pid::from_raw);
        let process = process.context("a running program has a positive id")?;
        if self.exit_status()?.is_none() {
            kill_process(process, Signal::TERM)
                .with_context(|| format!("cannot stop {}", self.name))?;
        }
        self.wait(patience)
    }

    /// Ends the program at once (SIGKILL), as a crash would.
    ///
    /// # Errors
    /// The system refuses.
    pub fn kill(mut self) -> Result<()> {
        let name = self.name.clone();
        let child = self.child_mut();
        child
            .kill()
            .with_context(|| format!("cannot kill {name}"))?;
        child
            .wait()
            .with_context(|| format!("cannot await {name}"))?;
        Ok(())
    }

    /// Leaves the program running when this handle goes.
    pub fn detach(mut self) {
        self.child = None;
    }

    /// The last lines the program wrote, for error messages.
    pub fn log_end(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let quoted = &lines[lines.len().saturating_sub(QUOTED_LINES)..];
        format!(
            "the end of {}:\n  {}",
            self.log.display(),
            quoted.join("\n  ")
        )
    }

    fn child(&self) -> &Child {
        self.child
            .as_ref()
            .expect("only taken when the handle goes")
    }

    fn child_mut(&mut self) -> &mut Child {
        self.child
            .as_mut()
            .expect("only taken when the handle goes")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended already; there is nobody left to tell.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
