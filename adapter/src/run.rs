//! Drives the engine: carries out its commands and reports events, the clock and signals.

use std::future::Future;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use millrace_core::UnixSeconds;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant as TokioInstant, sleep_until};

use crate::engine::{Command, Engine, EngineConfig, Event, Now, Outcome};
use crate::progress::Reporter;
use crate::sink::{Sink, SinkError};
use crate::source::{BlockSource, SourceError};

/// How long pushes in flight may take to end after a stop; then they are abandoned, which loses
/// nothing.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// How often progress is shown at least.
const REFRESH: Duration = Duration::from_millis(250);

/// Answers of the canister under way. The engine has few at a time; the bound is never reached, and
/// reaching it would only delay.
const CHANNEL_LENGTH: usize = 64;

/// Feeds `sink` from `source` until the engine is done or `stop` completes.
pub async fn run(
    config: EngineConfig,
    source: impl BlockSource,
    sink: impl Sink,
    mut reporter: Reporter,
    stop: impl Future<Output = ()>,
) -> Outcome {
    let started = Instant::now();
    let mut engine = Engine::new(config, source.reads_max());
    let (events, mut inbox) = mpsc::channel(CHANNEL_LENGTH);
    // At most one discovery and the source's own number of reads, blocks that wait here included.
    let mut asked = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    let mut stopped_at = None;
    let mut event = Event::Tick;
    let outcome = 'run: loop {
        for command in engine.on(now(started), event) {
            match command {
                Command::Discover { locator } => {
                    let discovery = source.discover(locator);
                    asked.spawn(async move { Event::Discovered(discovery.await) });
                }
                Command::Read(hashes) => {
                    for hash in hashes {
                        let read = source.read(hash);
                        asked.spawn(async move { Event::Read(hash, read.await) });
                    }
                }
                Command::Ask { locator } => {
                    let sink = sink.clone();
                    let call = async move { sink.feed_state(locator).await };
                    report(&events, call, Event::Answered);
                }
                Command::Push(id, parts) => {
                    let sink = sink.clone();
                    let call = async move { sink.push(parts).await };
                    report(&events, call, move |result| Event::Pushed(id, result));
                }
                Command::Notify(notice) => reporter.notice(&notice),
                Command::Finish(outcome) => break 'run outcome,
            }
        }
        let elapsed = started.elapsed();
        reporter.progress(elapsed, engine.progress());
        if stopped_at.is_some_and(|time| elapsed >= time + STOP_PATIENCE) {
            break Outcome::Stopped;
        }
        let wake_at = engine.wake_at().min(elapsed.saturating_add(REFRESH));
        event = tokio::select! {
            Some(event) = inbox.recv() => event,
            Some(answer) = asked.join_next() => match answer {
                Ok(event) => event,
                // A defect: what was asked for would never come.
                Err(error) => {
                    let reason = error.to_string();
                    break 'run Outcome::SourceFailed(SourceError::Stopped { reason });
                }
            },
            () = &mut stop, if stopped_at.is_none() => {
                stopped_at = Some(started.elapsed());
                Event::Stop
            }
            () = sleep_until(TokioInstant::from_std(started + wake_at)) => Event::Tick,
        };
    };
    reporter.end();
    outcome
}

/// Makes a call in the background and reports how it ended, however that was: the engine waits for
/// each of its calls.
fn report<T: Send + 'static>(
    events: &mpsc::Sender<Event>,
    call: impl Future<Output = Result<T, SinkError>> + Send + 'static,
    event: impl FnOnce(Result<T, SinkError>) -> Event + Send + 'static,
) {
    let events = events.clone();
    tokio::spawn(async move {
        let result = tokio::spawn(call).await.unwrap_or_else(|error| {
            let reason = error.to_string();
            Err(SinkError::Interrupted { reason })
        });
        // Nobody listens any more after the end.
        let _ = events.send(event(result)).await;
    });
}

fn now(started: Instant) -> Now {
    let unix = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Now {
        elapsed: started.elapsed(),
        unix: UnixSeconds::new(unix.as_secs()),
    }
}

/// Completes at the first SIGINT or SIGTERM. A second one ends the process at once.
pub async fn stop_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let Ok(mut terminate) = signal(SignalKind::terminate()) else {
            // Without the handler the signal ends the process, which loses nothing either.
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    }
    #[cfg(not(unix))]
    if tokio::signal::ctrl_c().await.is_err() {
        return std::future::pending().await;
    }
    tracing::info!("stopping; waiting for pushes in flight");
}
