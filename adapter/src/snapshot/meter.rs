//! How far a long job is: on the progress line, or in log lines where that is hidden.

use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use tracing::info;

/// How long between log lines.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Shows how far a job is.
#[derive(Debug)]
pub struct Meter {
    bar: ProgressBar,
    /// The stage, when it began, and how far it was then.
    stage: Option<(&'static str, Instant, u64)>,
    logged_at: Instant,
}

impl Meter {
    /// Shows it on `bar`, or in log lines if that is hidden.
    pub fn new(bar: ProgressBar) -> Self {
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {percent}% {msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        Self {
            bar,
            stage: None,
            logged_at: Instant::now(),
        }
    }

    /// Shows that a stage is at `done` of `of`.
    pub fn show(&mut self, stage: &'static str, done: u64, of: u64) {
        let begun = self.stage.filter(|(name, _, _)| *name == stage);
        let (_, since, from) = begun.unwrap_or_else(|| (stage, Instant::now(), done));
        self.stage = Some((stage, since, from));
        let rate = done.saturating_sub(from) as f64 / since.elapsed().as_secs_f64().max(0.001);
        let left = of.saturating_sub(done) as f64 / rate;
        let time_left = if left.is_finite() && left < f64::from(u32::MAX) {
            HumanDuration(Duration::from_secs(left as u64)).to_string()
        } else {
            "?".to_owned()
        };
        self.bar.set_length(of);
        self.bar.set_position(done);
        self.bar.set_message(format!("{stage}, {time_left} left"));
        if self.bar.is_hidden() && self.logged_at.elapsed() >= LOG_INTERVAL {
            self.logged_at = Instant::now();
            info!(done, of, time_left, "{stage}");
        }
    }

    /// Removes the progress line.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}
