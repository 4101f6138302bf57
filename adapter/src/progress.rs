//! The progress line on a terminal, and log lines in its place elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing::{error, info, warn};

use crate::cli::{LogFormat, ProgressMode};
use crate::engine::{Notice, Progress};

/// How long between log lines about progress where there is no progress line.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// How long between log lines that say why nothing moves.
const WAITING_INTERVAL: Duration = Duration::from_secs(60);

/// Bytes in the megabyte of MB/s.
const MEGABYTE: f64 = 1_000_000.0;

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

/// Turns notices and progress into what people see.
#[derive(Debug)]
pub struct Reporter {
    bar: ProgressBar,
    started: Option<(Duration, u32)>,
    logged_at: Duration,
    logged: Option<Progress>,
}

impl Reporter {
    /// Reports on `bar`, or in log lines if that is hidden.
    pub const fn new(bar: ProgressBar) -> Self {
        Self {
            bar,
            started: None,
            logged_at: Duration::ZERO,
            logged: None,
        }
    }

    /// Logs a notice.
    pub fn notice(&self, notice: &Notice) {
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
        let height = progress.canister_height.map_or(0, |height| height.get());
        let (since, from) = *self.started.get_or_insert((elapsed, height));
        let seconds = elapsed.saturating_sub(since).as_secs_f64();
        let rate = per_second(progress.acknowledged_bytes as f64 / MEGABYTE, seconds);
        let left = progress.source_height.get().saturating_sub(height);
        let blocks_rate = per_second(f64::from(height.saturating_sub(from)), seconds);
        let time_left = time_left(left, blocks_rate);
        self.bar.set_length(u64::from(progress.source_height.get()));
        self.bar.set_position(u64::from(height));
        let waiting = progress
            .waiting
            .map(|waiting| format!(" | {waiting}"))
            .unwrap_or_default();
        self.bar
            .set_message(format!("{rate:.2} MB/s, {time_left} left{waiting}"));
        if self.bar.is_hidden() {
            self.log(elapsed, progress, rate, &time_left);
        }
    }

    fn log(&mut self, elapsed: Duration, progress: Progress, rate: f64, time_left: &str) {
        let is_still = self.logged == Some(progress);
        let interval = if is_still {
            WAITING_INTERVAL
        } else {
            LOG_INTERVAL
        };
        if elapsed.saturating_sub(self.logged_at) < interval {
            return;
        }
        self.logged_at = elapsed;
        self.logged = Some(progress);
        let why = progress
            .waiting
            .map(|waiting| waiting.to_string())
            .unwrap_or_default();
        info!(
            height = progress.canister_height.map(|height| height.get()),
            pushed = progress.pushed_height.get(),
            of = progress.source_height.get(),
            in_flight = progress.in_flight,
            mb_per_s = format!("{rate:.2}"),
            time_left,
            waiting = why,
            "progress"
        );
    }

    /// Removes the progress line.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

fn per_second(amount: f64, seconds: f64) -> f64 {
    if seconds > 0.0 { amount / seconds } else { 0.0 }
}

fn time_left(blocks: u32, per_second: f64) -> String {
    if blocks == 0 {
        return "0s".to_owned();
    }
    if per_second <= 0.0 {
        return "?".to_owned();
    }
    let seconds = (f64::from(blocks) / per_second).ceil();
    indicatif::HumanDuration(Duration::from_secs(seconds as u64)).to_string()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
