//! Drives the engine: carries out its commands and reports events, the clock and signals.

use std::future::Future;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use millrace_core::UnixSeconds;
use tokio::sync::mpsc;
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

/// Requests and events under way. The engine has few at a time; the bound is never reached, and
/// reaching it would only delay.
const CHANNEL_LENGTH: usize = 64;

/// What the source's task is asked.
enum Request {
    Discover(Vec<bitcoin::BlockHash>),
    Read(bitcoin::BlockHash),
}

/// Feeds `sink` from `source` until the engine is done or `stop` completes.
pub async fn run(
    config: EngineConfig,
    source: impl BlockSource,
    sink: impl Sink,
    mut reporter: Reporter,
    stop: impl Future<Output = ()>,
) -> Outcome {
    let started = Instant::now();
    let mut engine = Engine::new(config);
    let (events, mut inbox) = mpsc::channel(CHANNEL_LENGTH);
    let (requests, outbox) = mpsc::unbounded_channel();
    let mut source = tokio::spawn(serve(source, outbox, events.clone()));
    let mut stop = std::pin::pin!(stop);
    let mut stopped_at = None;
    let mut event = Event::Tick;
    let outcome = 'run: loop {
        for command in engine.on(now(started), event) {
            match command {
                Command::Discover { locator } => send(&requests, Request::Discover(locator)),
                Command::Read(hashes) => {
                    for hash in hashes {
                        send(&requests, Request::Read(hash));
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
            // It ends only by a defect of its own: nothing would ever be read again.
            ended = &mut source => {
                let reason = ended.map_or_else(|error| error.to_string(), |()| "it ended".to_owned());
                break 'run Outcome::SourceFailed(SourceError::Stopped { reason });
            }
            () = &mut stop, if stopped_at.is_none() => {
                stopped_at = Some(started.elapsed());
                Event::Stop
            }
            () = sleep_until(TokioInstant::from_std(started + wake_at)) => Event::Tick,
        };
    };
    source.abort();
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

/// Answers requests to the source one after another.
async fn serve(
    mut source: impl BlockSource,
    mut requests: mpsc::UnboundedReceiver<Request>,
    events: mpsc::Sender<Event>,
) {
    while let Some(request) = requests.recv().await {
        let event = match request {
            Request::Discover(locator) => Event::Discovered(source.discover(locator).await),
            Request::Read(hash) => Event::Read(hash, source.read(hash).await),
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
}

/// Passes a request on. The channel has no bound of its own: the engine's read-ahead is one.
fn send(requests: &mpsc::UnboundedSender<Request>, request: Request) {
    // A task that ended is noticed where events are waited for.
    let _ = requests.send(request);
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
