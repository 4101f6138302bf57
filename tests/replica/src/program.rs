//! What the programs have in common: logging, limits, the runtime and how they end.

use crate::instance::limits_file;
use millrace_subnet::LimitsConfig;
use std::path::Path;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// The log option of a program.
pub struct Log<'a> {
    /// How users write it.
    pub option: &'a str,
    /// Which records are written to standard error.
    pub filter: &'a str,
}

/// Starts logging, reads the limits (the IC's without a file), and runs `serve` to its end. An error is told
/// on standard error under the program's name.
pub fn run<F: Future<Output = Result<(), String>>>(
    program: &str,
    log: &Log<'_>,
    limits: Option<&Path>,
    serve: impl FnOnce(LimitsConfig) -> F,
) -> ExitCode {
    match started(log, limits, serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{program}: {message}");
            ExitCode::FAILURE
        }
    }
}

fn started<F: Future<Output = Result<(), String>>>(
    log: &Log<'_>,
    limits: Option<&Path>,
    serve: impl FnOnce(LimitsConfig) -> F,
) -> Result<(), String> {
    let Log { option, filter } = log;
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| format!("{option} {filter:?} is invalid: {error}"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init()
        .map_err(|error| format!("cannot start logging: {error}"))?;
    let limits = limits
        .map(limits_file::read)
        .transpose()
        .map_err(|error| error.to_string())?
        .unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the runtime: {error}"))?;
    let served = runtime.block_on(serve(limits));
    // What still executes when the server ends is not waited for.
    runtime.shutdown_background();
    served
}
