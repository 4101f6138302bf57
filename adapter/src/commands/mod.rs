//! The commands: settings, wiring, and what is printed at the end.

mod feeding;
mod inspecting;
mod snapshots;

use std::time::{SystemTime, UNIX_EPOCH};

use millrace_adapter::config::Settings;
use millrace_adapter::exit::Exit;
use millrace_adapter::logging;
use millrace_adapter::progress;
use millrace_adapter::sink::agent::AgentSink;
use millrace_adapter::snapshot::meter::Meter;
use millrace_core::UnixSeconds;

pub use feeding::{broadcast_command, measure_command, run_command};
pub use inspecting::{check_command, peers_command, status_command, verify_command};
pub use snapshots::{export_command, import_command};

/// An error that ends the process.
pub struct Failure {
    /// What went wrong and what to do.
    pub message: String,
    /// The process's exit code.
    pub exit: Exit,
}

impl Failure {
    fn usage(error: impl std::fmt::Display) -> Self {
        Self::new(error, Exit::Usage)
    }

    fn new(error: impl std::fmt::Display, exit: Exit) -> Self {
        Self {
            message: error.to_string(),
            exit,
        }
    }
}

/// Starts logging around a progress line of a long job.
fn meter(settings: &Settings) -> Result<Meter, Failure> {
    let bar = progress::bar(settings.progress, settings.log_format);
    logging::start(settings.log_format, &settings.log_level, &bar).map_err(Failure::usage)?;
    Ok(Meter::new(bar))
}

fn sink(settings: &Settings) -> Result<AgentSink, Failure> {
    let identity = settings.identity.load().map_err(Failure::usage)?;
    AgentSink::new(
        &settings.replica_url,
        settings.canister,
        identity,
        settings.fetch_root_key,
    )
    .map_err(Failure::usage)
}

/// Returns a seed for jitter. Two adapters need different ones; the process number is enough for that.
fn seed() -> u64 {
    unix_now().get() ^ u64::from(std::process::id()).rotate_left(40)
}

fn unix_now() -> UnixSeconds {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    UnixSeconds::new(since.unwrap_or_default().as_secs())
}
