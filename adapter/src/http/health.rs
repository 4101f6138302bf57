//! Whether all is well, and if not, why, in one line.

use std::time::Duration;

use super::snapshot::Snapshot;
use crate::engine::Waiting;
use crate::progress::words;

/// What `/healthz` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Whether the canister was near enough to the source's best block lately enough.
    pub is_healthy: bool,
    /// Why, in one line.
    pub line: String,
}

impl Health {
    /// Judges at a time since the start. The adapter is healthy as long as it is at most
    /// [`super::snapshot::About::healthy_lag`] since both canister and source were known and at most
    /// [`super::snapshot::About::healthy_lag_blocks`] apart: a short silence, or a few blocks found at once, is nobody's trouble.
    pub fn of(snapshot: &Snapshot, now: Duration) -> Self {
        let limit = snapshot.about.healthy_lag;
        let is_healthy = snapshot
            .caught_up_at
            .is_some_and(|at| now.saturating_sub(at) <= limit);
        let state = state(snapshot, now);
        let line = match (is_healthy, snapshot.caught_up_at) {
            (true, _) => format!("healthy: {state}"),
            (false, None) => format!("not in sync since the start: {state}"),
            (false, Some(at)) => {
                let since = words(now.saturating_sub(at));
                format!("not in sync for {since}: {state}")
            }
        };
        Self { is_healthy, line }
    }
}

/// Says how things are: what stands in the way, if anything does.
fn state(snapshot: &Snapshot, now: Duration) -> String {
    let waiting_for = || words(now.saturating_sub(snapshot.waiting_since));
    let silence = now.saturating_sub(snapshot.at);
    let Some(progress) = snapshot.progress else {
        return "the adapter is starting".to_owned();
    };
    if silence > snapshot.about.healthy_lag {
        let silence = words(silence);
        return format!("the adapter has done nothing for {silence}; restart it, and report this");
    }
    match progress.waiting {
        Some(Waiting::Unreachable) => {
            return format!("the canister has not answered for {}", waiting_for());
        }
        Some(waiting @ (Waiting::SyncingDisabled | Waiting::Indexing)) => {
            return format!("{waiting}, for {}", waiting_for());
        }
        _ => {}
    }
    if let Some(table) = snapshot
        .peers
        .as_ref()
        .filter(|table| table.peers.is_empty())
    {
        let why = table.waiting.as_deref().unwrap_or("no reason is known");
        return format!("no peer is connected: {why}");
    }
    let Some(height) = progress.canister_height else {
        return "the canister has not answered yet".to_owned();
    };
    let source_height = progress.source_height;
    let (lag, source_lag) = (snapshot.lag(), snapshot.source_lag());
    if let Some(lag) = source_lag.filter(|lag| *lag > 0) {
        return format!(
            "the source, at {source_height}, is {lag} blocks behind the canister, at {height}"
        );
    }
    let lag = lag.unwrap_or_default();
    if lag == 0 {
        return format!("the canister is at {height} with the source");
    }
    let left = snapshot.pace.time_left();
    format!(
        "the canister, at {height}, is {lag} blocks behind the source, at {source_height}; {left} left"
    )
}
