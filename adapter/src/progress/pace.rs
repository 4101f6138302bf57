//! How fast it goes: the pace of the last minute, which tells more than an average since the start.

use std::collections::VecDeque;
use std::time::Duration;

use millrace_core::Height;

/// How far back the pace looks.
const SPAN: Duration = Duration::from_secs(60);
/// How far apart samples are.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// Samples kept: those of the span, and the newest one.
const SAMPLES_MAX: usize = 62;
/// Bytes in the megabyte of MB/s.
const MEGABYTE: f64 = 1_000_000.0;

/// Where a run stood at a time.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Duration,
    bytes: u64,
    height: Height,
}

/// Samples of the last minute.
#[derive(Debug, Default)]
pub struct PaceMeter {
    samples: VecDeque<Sample>,
}

/// How fast it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pace {
    /// Megabytes (10^6 bytes) that the canister acknowledged in a second.
    pub megabytes_per_second: f64,
    /// Blocks that it connected in a second.
    pub blocks_per_second: f64,
    /// Until it has all blocks at this pace; 0 where it has them, absent where nothing moves.
    pub left: Option<Duration>,
}

impl PaceMeter {
    /// Returns how many samples are kept.
    #[cfg(test)]
    pub(super) fn samples(&self) -> usize {
        self.samples.len()
    }

    /// Notes where the run stands and returns the pace. `left` is how many blocks are to come.
    pub fn pace(&mut self, at: Duration, bytes: u64, height: Height, left: u32) -> Pace {
        let sample = Sample { at, bytes, height };
        // Nothing of the canister's chain is known at first, or it moved back: what was before says nothing.
        if self
            .samples
            .back()
            .is_some_and(|last| last.height > height || last.height == Height::ZERO)
        {
            self.samples.clear();
        }
        let since_last = self
            .samples
            .iter()
            .rev()
            .nth(1)
            .map(|last| at.saturating_sub(last.at));
        if since_last.is_some_and(|since| since < SAMPLE_INTERVAL) {
            self.samples.pop_back();
        }
        self.samples.push_back(sample);
        while self.samples.len() > SAMPLES_MAX
            || self
                .samples
                .front()
                .is_some_and(|first| first.at.saturating_add(SPAN) < at)
        {
            self.samples.pop_front();
        }
        let first = self.samples.front().copied().unwrap_or(sample);
        let seconds = at.saturating_sub(first.at).as_secs_f64();
        let blocks = height.saturating_sub(first.height).get();
        let blocks_per_second = per_second(f64::from(blocks), seconds);
        Pace {
            megabytes_per_second: per_second(
                bytes.saturating_sub(first.bytes) as f64 / MEGABYTE,
                seconds,
            ),
            blocks_per_second,
            left: time_left(left, blocks_per_second),
        }
    }
}

fn per_second(amount: f64, seconds: f64) -> f64 {
    if seconds > 0.0 { amount / seconds } else { 0.0 }
}

fn time_left(blocks: u32, per_second: f64) -> Option<Duration> {
    if blocks == 0 {
        return Some(Duration::ZERO);
    }
    let seconds = (f64::from(blocks) / per_second).ceil();
    // Casting saturates; a pace of nothing gives infinity.
    seconds
        .is_finite()
        .then(|| Duration::from_secs(seconds as u64))
}

impl Pace {
    /// Returns the time left, for people.
    pub fn time_left(&self) -> String {
        match self.left {
            None => "?".to_owned(),
            Some(left) => words(left),
        }
    }
}

/// Returns a duration in its two largest units: `3d 4h`, `12m 5s`, `7s`.
pub fn words(duration: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let mut rest = duration.as_secs();
    let mut shown = Vec::new();
    for (size, name) in UNITS {
        let count = rest / size;
        rest %= size;
        if count > 0 || (!shown.is_empty() && shown.len() < 2) {
            shown.push(format!("{count}{name}"));
        }
        if shown.len() == 2 {
            break;
        }
    }
    if shown.is_empty() {
        return "0s".to_owned();
    }
    shown.join(" ")
}
