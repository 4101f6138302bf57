//! The progress line on a terminal, and log lines in its place elsewhere.

mod pace;
mod schedule;

#[cfg(test)]
mod tests;

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing::{error, info, warn};

use crate::cli::{LogFormat, ProgressMode};
use crate::engine::{Notice, Progress, Waiting};
use crate::http::Observer;

pub use pace::{Pace, PaceMeter, words};

use schedule::Schedule;

/// Makes the progress line; a hidden one unless it is wanted.
pub fn bar(mode: ProgressMode, format: LogFormat) -> ProgressBar {
    let is_shown = match mode {
        ProgressMode::Always => true,
        ProgressMode::Never => false,
        ProgressMode::Auto => format == LogFormat::Text && std::io::stderr().is_terminal(),
    };
    let target = if is_shown {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(0), target);
    let template = "{bar:30} {pos}/{len} blocks {percent}% {msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

/// Turns notices and progress into what people see, and what is served over HTTP.
#[derive(Debug)]
pub struct Reporter {
    bar: ProgressBar,
    observer: Option<Observer>,
    meter: PaceMeter,
    schedule: Schedule,
    /// What is waited for, and since when.
    waiting: Option<(Waiting, Duration)>,
}

impl Reporter {
    /// Reports on `bar`, or in log lines if that is hidden.
    pub fn new(bar: ProgressBar) -> Self {
        Self {
            bar,
            observer: None,
            meter: PaceMeter::default(),
            schedule: Schedule::default(),
            waiting: None,
        }
    }

    /// Tells an observer, too.
    #[must_use]
    pub fn observed_by(self, observer: Observer) -> Self {
        Self {
            observer: Some(observer),
            ..self
        }
    }

    /// Logs a notice.
    pub fn notice(&self, notice: &Notice) {
        if let Some(observer) = &self.observer {
            observer.notice(notice);
        }
        match notice {
            Notice::SourceRemark(remark) => warn!("{remark}"),
            Notice::Indexed {
                tip,
                headers,
                orphans,
            } => info!(
                height = tip.height.get(),
                tip = %tip.hash,
                headers,
                without_parent = orphans,
                "source is indexed"
            ),
            Notice::HeaderRefused(error) => warn!("source: {error}"),
            Notice::OrphansDropped(count) => warn!(
                count,
                "source: too many blocks without their parents; some were forgotten"
            ),
            Notice::Reorganised { from } => {
                info!(
                    height = from.get(),
                    "source's best chain changed; pushing again from there"
                );
            }
            Notice::Located { common, tip } => info!(
                height = common.get(),
                to_push = tip.get().saturating_sub(common.get()),
                "canister's position found"
            ),
            Notice::SetBack { pause } => warn!(
                pause_ms = millis(*pause),
                "canister dropped some of what was pushed, or wants it from another byte on; \
                 pushing that again"
            ),
            Notice::BlockGivenUp { block, reason } => error!(
                height = block.height.get(),
                hash = %block.hash,
                "block cannot be delivered, it and what follows it are left out: {reason}"
            ),
            Notice::CallFailed { error, pause } => {
                warn!(retry_in_ms = millis(*pause), "{error}");
            }
            Notice::Recovered => info!("canister answers again"),
            Notice::Waiting(Some(waiting)) => info!("{waiting}"),
            Notice::Waiting(None) => {}
        }
    }

    /// Shows where the run stands.
    pub fn progress(&mut self, elapsed: Duration, progress: Progress) {
        let height = progress.canister_height.unwrap_or_default();
        let left = progress.source_height.saturating_sub(height).get();
        let bytes = progress.acknowledged_bytes;
        let pace = self.meter.pace(elapsed, bytes, height, left);
        if let Some(observer) = &self.observer {
            observer.progress(progress, pace);
        }
        self.bar.set_length(u64::from(progress.source_height.get()));
        self.bar.set_position(u64::from(height.get()));
        let waiting = self.waiting(elapsed, progress.waiting);
        if self.bar.is_hidden() {
            if self.schedule.is_due(elapsed, &progress) {
                log(&progress, pace, &waiting);
            }
            return;
        }
        let why = match waiting.as_str() {
            "" => String::new(),
            waiting => format!(" | {waiting}"),
        };
        let rate = pace.megabytes_per_second;
        let time_left = pace.time_left();
        self.bar
            .set_message(format!("{rate:.2} MB/s, {time_left} left{why}"));
    }

    /// Says what is waited for, and from the second second on for how long.
    fn waiting(&mut self, elapsed: Duration, waiting: Option<Waiting>) -> String {
        let Some(waiting) = waiting else {
            self.waiting = None;
            return String::new();
        };
        if self.waiting.is_none_or(|(before, _)| before != waiting) {
            self.waiting = Some((waiting, elapsed));
        }
        let since = self.waiting.map_or(elapsed, |(_, since)| since);
        let so_far = elapsed.saturating_sub(since);
        if so_far < Duration::from_secs(1) {
            return waiting.to_string();
        }
        format!("{waiting}, for {}", words(so_far))
    }

    /// Removes the progress line.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

fn log(progress: &Progress, pace: Pace, waiting: &str) {
    info!(
        height = progress.canister_height.map(|height| height.get()),
        pushed = progress.pushed_height.get(),
        of = progress.source_height.get(),
        blocks = progress.acknowledged_blocks,
        in_flight = progress.in_flight,
        blocks_per_s = format!("{:.1}", pace.blocks_per_second),
        mb_per_s = format!("{:.2}", pace.megabytes_per_second),
        time_left = pace.time_left(),
        waiting,
        "progress"
    );
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
