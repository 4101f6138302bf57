//! Log lines on standard error, around the progress line if there is one.

use std::io::{self, Write};

use indicatif::ProgressBar;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::cli::LogFormat;

/// Why logging cannot start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoggingError {
    /// The filter does not parse.
    #[error("log level {filter:?} is none: {reason}; give error, warn, info, debug or trace")]
    BadFilter {
        /// What was given.
        filter: String,
        /// Why not.
        reason: String,
    },
    /// Logging was started before.
    #[error("logging cannot start: {reason}")]
    Started {
        /// Why not.
        reason: String,
    },
}

/// Reads what is logged.
///
/// # Errors
/// [`LoggingError::BadFilter`].
pub fn parse(filter: &str) -> Result<EnvFilter, LoggingError> {
    EnvFilter::try_new(filter).map_err(|error| LoggingError::BadFilter {
        filter: filter.to_owned(),
        reason: error.to_string(),
    })
}

/// Starts logging. Lines are written above `bar`.
///
/// # Errors
/// [`LoggingError`].
pub fn start(format: LogFormat, filter: &str, bar: &ProgressBar) -> Result<(), LoggingError> {
    let parsed = parse(filter)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_target(false)
        .with_ansi(false)
        .with_writer(AboveBar(bar.clone()));
    let result = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    result.map_err(|error| LoggingError::Started {
        reason: error.to_string(),
    })
}

/// Writes to standard error with the progress line out of the way.
#[derive(Clone, Debug)]
struct AboveBar(ProgressBar);

impl<'a> MakeWriter<'a> for AboveBar {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for AboveBar {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A whole line at a time: the formatter writes each event with one call.
        self.0.suspend(|| io::stderr().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
