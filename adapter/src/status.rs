//! One screen about a canister: chain, tip, lag, queue, refusals.

use std::fmt;
use std::time::Duration;

use millrace_core::{Height, Network, UnixSeconds};
use serde_json::{Value, json};

use crate::engine::{BlockRef, FeedView, thinning};
use crate::headers::HeaderTree;
use crate::http::ClientError;
use crate::progress::words;
use crate::sink::{Sink, SinkError};
use crate::source::{BlockSource, SourceError};

/// Why there is no status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatusError {
    /// The canister did not tell.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The source cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// The best block of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceTip {
    /// The block.
    pub block: BlockRef,
    /// Its header's time.
    pub time: UnixSeconds,
}

/// What is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The canister.
    pub canister: String,
    /// The replica.
    pub replica_url: String,
    /// The canister's answer.
    pub view: FeedView,
    /// The source's best block, if a source is given.
    pub source: Option<SourceTip>,
    /// What the running adapter says of itself (`/status`), if it was asked.
    pub running: Option<Result<Value, ClientError>>,
}

/// Asks the canister, and reads the source's headers if there is one.
///
/// # Errors
/// [`StatusError`].
pub async fn gather(
    canister: String,
    replica_url: String,
    network: Network,
    sink: &impl Sink,
    source: Option<impl BlockSource>,
    now: UnixSeconds,
) -> Result<Status, StatusError> {
    // The canister first: it is quick, and its errors are the likelier ones.
    let genesis = HeaderTree::new(network).tip_hash();
    let mut view = sink.feed_state(vec![genesis]).await?;
    let mut tip = None;
    if let Some(source) = source {
        let headers = read_headers(source, network, now).await?;
        tip = Some(SourceTip {
            block: BlockRef {
                hash: headers.tip_hash(),
                height: headers.tip_height(),
            },
            time: headers.tip_time(),
        });
        let locator = thinning(headers.tip_height());
        let locator = locator.iter().filter_map(|height| headers.hash_at(*height));
        view = sink.feed_state(locator.collect()).await?;
    }
    Ok(Status {
        canister,
        replica_url,
        view,
        source: tip,
        running: None,
    })
}

/// Reads all headers of a source.
///
/// # Errors
/// [`SourceError`].
pub async fn read_headers(
    source: impl BlockSource,
    network: Network,
    now: UnixSeconds,
) -> Result<HeaderTree, SourceError> {
    let mut headers = HeaderTree::new(network);
    loop {
        let discovery = source.discover(vec![headers.tip_hash()]).await?;
        headers.accept(&discovery.headers, now);
        if !discovery.has_more {
            return Ok(headers);
        }
    }
}

impl Status {
    /// Returns how many blocks the canister is behind the source.
    pub fn lag(&self) -> Option<u32> {
        let source = self.source?.block.height;
        Some(source.saturating_sub(self.view.tip.height).get())
    }

    /// Returns the status for machines. Keys are stable.
    pub fn to_json(&self) -> Value {
        let view = &self.view;
        let block = |block: &BlockRef| json!({ "height": block.height.get(), "hash": block.hash.to_string() });
        json!({
            "canister": self.canister,
            "replica_url": self.replica_url,
            "chain": view.network.to_string(),
            "syncing": view.is_syncing,
            "tip": block(&view.tip),
            "anchor": block(&view.anchor),
            "best_header": block(&view.best_header),
            "source_tip": self.source.as_ref().map(|source| block(&source.block)),
            "lag_blocks": self.lag(),
            "adapter": self.running.as_ref().and_then(|running| running.as_ref().ok()),
            "pending_blocks": view.pending_blocks,
            "queue_free_bytes": view.free_bytes,
            "queue_free_blocks": view.free_blocks,
            "half_received": view.half_received.iter().map(|half| json!({
                "hash": half.hash.to_string(),
                "size": half.size,
                "received": half.received,
            })).collect::<Vec<_>>(),
            "recent_rejections": view.rejections.iter().map(|rejection| json!({
                "hash": rejection.hash.to_string(),
                "height": rejection.height.map(Height::get),
                "kind": rejection.kind.name(),
                "reason": rejection.reason,
            })).collect::<Vec<_>>(),
        })
    }
}

/// Writes what the running adapter says of itself.
fn write_running(f: &mut fmt::Formatter<'_>, running: &Result<Value, ClientError>) -> fmt::Result {
    let answer = match running {
        Ok(answer) => answer,
        Err(error) => return writeln!(f, "{:<14}{error}", "adapter"),
    };
    let number = |key: &str| answer.get(key).and_then(Value::as_u64);
    let text = |key: &str| answer.get(key).and_then(Value::as_str);
    let count = |key: &str| number(key).map_or_else(|| "?".to_owned(), |count| count.to_string());
    let time = |key: &str| {
        let seconds = number(key).map(Duration::from_secs);
        seconds.map_or_else(|| "?".to_owned(), words)
    };
    let row =
        |f: &mut fmt::Formatter<'_>, name: &str, value: String| writeln!(f, "{name:<14}{value}");
    let source = text("source").unwrap_or("?");
    let uptime = time("uptime_seconds");
    row(
        f,
        "adapter",
        format!("reads from {source}, running for {uptime}"),
    )?;
    let heights = format!("{} of {}", count("pushed_height"), count("source_height"));
    row(f, "pushed", heights)?;
    row(
        f,
        "behind",
        format!(
            "{} blocks, {} left",
            count("lag_blocks"),
            time("seconds_left")
        ),
    )?;
    let rate = answer.get("megabytes_per_second").and_then(Value::as_f64);
    row(f, "pace", format!("{:.2} MB/s", rate.unwrap_or_default()))?;
    if number("peers").is_some() {
        row(f, "peers", count("peers"))?;
    }
    if let Some(waiting) = text("waiting") {
        row(
            f,
            "waiting",
            format!("{waiting}, for {}", time("waiting_seconds")),
        )?;
    }
    Ok(())
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let view = &self.view;
        let row = |f: &mut fmt::Formatter<'_>, name: &str, value: String| {
            writeln!(f, "{name:<14}{value}")
        };
        let block = |block: &BlockRef| format!("{} {}", block.height, block.hash);
        row(
            f,
            "canister",
            format!("{} at {}", self.canister, self.replica_url),
        )?;
        let syncing = if view.is_syncing {
            ""
        } else {
            ", syncing disabled"
        };
        row(f, "chain", format!("{}{syncing}", view.network))?;
        row(f, "tip", block(&view.tip))?;
        row(f, "stable", block(&view.anchor))?;
        row(f, "best header", block(&view.best_header))?;
        if let (Some(source), Some(lag)) = (&self.source, self.lag()) {
            row(f, "source", block(&source.block))?;
            row(f, "lag", format!("{lag} blocks"))?;
        }
        row(
            f,
            "pending",
            format!("{} blocks to connect", view.pending_blocks),
        )?;
        let free = format!(
            "{} bytes, {} blocks free",
            view.free_bytes, view.free_blocks
        );
        row(f, "queue", free)?;
        if let Some(running) = &self.running {
            write_running(f, running)?;
        }
        for half in &view.half_received {
            let value = format!("{} {} of {} bytes", half.hash, half.received, half.size);
            row(f, "half received", value)?;
        }
        for rejection in &view.rejections {
            let height = rejection
                .height
                .map_or_else(|| "?".to_owned(), |height| height.to_string());
            row(
                f,
                "refused",
                format!("{height} {}: {}", rejection.hash, rejection.reason),
            )?;
        }
        Ok(())
    }
}
