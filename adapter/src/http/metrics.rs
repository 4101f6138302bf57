//! Metrics in Prometheus' text format, version 0.0.4.

use std::fmt::{Display, Write};
use std::time::Duration;

use super::health::Health;
use super::snapshot::{PeerTable, Snapshot};
use crate::engine::{Progress, Waiting};

/// What every name begins with.
const PREFIX: &str = "millrace_adapter_";

/// Kinds of connections, and transports, of which there are always samples.
const KINDS: [&str; 4] = ["fixed", "outbound", "rescue", "feeler"];
const TRANSPORTS: [&str; 2] = ["v1", "v2"];

/// Writes the metrics of a snapshot at a time since the start.
pub fn render(snapshot: &Snapshot, now: Duration) -> String {
    let mut text = Text::default();
    let about = &snapshot.about;
    text.family("build_info", "gauge", "What runs; always 1.");
    text.labelled(
        "build_info",
        &[
            ("version", env!("CARGO_PKG_VERSION")),
            ("network", &about.network.to_string()),
            ("source", about.source),
            ("canister", &about.canister),
        ],
        1,
    );
    text.gauge(
        "uptime_seconds",
        "Time since the adapter started.",
        now.as_secs(),
    );
    let is_healthy = Health::of(snapshot, now).is_healthy;
    text.gauge(
        "healthy",
        "Whether /healthz answers 200.",
        u8::from(is_healthy),
    );
    let silence = now.saturating_sub(snapshot.at).as_secs();
    text.gauge(
        "silence_seconds",
        "Time since the engine last did anything.",
        silence,
    );
    if let Some(progress) = &snapshot.progress {
        render_heights(&mut text, snapshot, progress);
        render_pushes(&mut text, progress);
        render_waiting(&mut text, snapshot, progress, now);
    }
    render_counters(&mut text, snapshot);
    if let Some(table) = &snapshot.peers {
        render_peers(&mut text, table);
    }
    text.0
}

fn render_heights(text: &mut Text, snapshot: &Snapshot, progress: &Progress) {
    text.gauge(
        "source_height",
        "Height of the source's best block.",
        progress.source_height,
    );
    text.gauge(
        "source_tip_timestamp_seconds",
        "Time in the header of the source's best block, since 1970.",
        progress.source_time.get(),
    );
    text.gauge(
        "pushed_height",
        "Height up to which blocks are acknowledged or on their way.",
        progress.pushed_height,
    );
    if let Some(height) = progress.canister_height {
        text.gauge(
            "canister_height",
            "Height of the canister's best block.",
            height,
        );
    }
    if let Some(lag) = snapshot.lag() {
        text.gauge(
            "lag_blocks",
            "Blocks the canister is behind the source.",
            lag,
        );
    }
}

fn render_pushes(text: &mut Text, progress: &Progress) {
    text.counter(
        "pushed_blocks_total",
        "Blocks pushed whole, repetitions included.",
        progress.pushed_blocks,
    );
    text.counter(
        "pushed_bytes_total",
        "Bytes of blocks pushed, repetitions included.",
        progress.pushed_bytes,
    );
    text.counter(
        "acknowledged_blocks_total",
        "Blocks whose last byte the canister acknowledged.",
        progress.acknowledged_blocks,
    );
    text.counter(
        "acknowledged_bytes_total",
        "Bytes of blocks the canister acknowledged.",
        progress.acknowledged_bytes,
    );
    text.gauge(
        "pushes_in_flight",
        "Pushes without an answer yet.",
        progress.in_flight,
    );
    text.gauge(
        "held_bytes",
        "Bytes of blocks read and not pushed yet.",
        progress.held_bytes,
    );
    text.gauge(
        "queue_free_bytes",
        "Bytes the canister's queue still takes.",
        progress.free_bytes,
    );
    text.gauge(
        "queue_free_blocks",
        "Blocks the canister's queue still takes.",
        progress.free_blocks,
    );
    text.gauge(
        "pending_blocks",
        "Blocks in the canister that wait to be connected.",
        progress.pending_blocks,
    );
}

fn render_waiting(text: &mut Text, snapshot: &Snapshot, progress: &Progress, now: Duration) {
    text.family(
        "waiting",
        "gauge",
        "Why nothing moves: 1 for the reason that holds.",
    );
    for waiting in Waiting::ALL {
        let holds = progress.waiting == Some(waiting);
        text.labelled("waiting", &[("reason", waiting.name())], u8::from(holds));
    }
    let waited = match progress.waiting {
        Some(_) => now.saturating_sub(snapshot.waiting_since).as_secs(),
        None => 0,
    };
    text.gauge(
        "waiting_seconds",
        "For how long that reason has held; 0 for none.",
        waited,
    );
}

fn render_counters(text: &mut Text, snapshot: &Snapshot) {
    let counters = &snapshot.counters;
    let all = [
        (
            "call_failures_total",
            "Calls to the canister that failed and were repeated.",
            counters.call_failures,
        ),
        (
            "set_backs_total",
            "Times something had to be pushed again.",
            counters.set_backs,
        ),
        (
            "blocks_given_up_total",
            "Blocks that the canister did not take or that could not be read.",
            counters.blocks_given_up,
        ),
        (
            "reorganisations_total",
            "Times the best chain became another one.",
            counters.reorganisations,
        ),
        (
            "headers_refused_total",
            "Headers of the source that break a rule.",
            counters.headers_refused,
        ),
        (
            "source_remarks_total",
            "Oddities and errors of the source.",
            counters.source_remarks,
        ),
    ];
    for (name, help, value) in all {
        text.counter(name, help, value);
    }
    let relay = &snapshot.relay;
    text.family(
        "relay_outcomes_total",
        "counter",
        "What became of transactions.",
    );
    let outcomes = [
        ("announced", relay.announced),
        ("seen", relay.seen),
        ("rejected", relay.rejected),
    ];
    for (outcome, value) in outcomes {
        text.labelled("relay_outcomes_total", &[("outcome", outcome)], value);
    }
}

fn render_peers(text: &mut Text, table: &PeerTable) {
    text.family("peers", "gauge", "Peers with a finished handshake.");
    for kind in KINDS {
        for transport in TRANSPORTS {
            let are = table.peers.iter();
            let count = are
                .filter(|peer| peer.kind == kind && peer.transport == transport)
                .count();
            text.labelled("peers", &[("kind", kind), ("transport", transport)], count);
        }
    }
    text.gauge(
        "headers_height",
        "Height of the best headers of the network.",
        table.height,
    );
    text.gauge(
        "known_addresses",
        "Addresses in the address book.",
        table.addresses,
    );
    text.gauge(
        "banned_addresses",
        "Addresses that may not come back for a time.",
        table.banned,
    );
    text.gauge(
        "network_blocks_held",
        "Blocks from peers at hand.",
        table.blocks_held,
    );
    text.gauge(
        "network_held_bytes",
        "Bytes of blocks from peers at hand.",
        table.bytes_held,
    );
    text.gauge(
        "network_blocks_in_flight",
        "Blocks on their way from peers.",
        table.in_flight,
    );
    text.gauge(
        "relayed_transactions",
        "Transactions being relayed.",
        table.transactions,
    );
}

/// The text as far as it is written.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {PREFIX}{name} {help}"));
        self.line(format_args!("# TYPE {PREFIX}{name} {kind}"));
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help);
        self.line(format_args!("{PREFIX}{name} {value}"));
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "counter", help);
        self.line(format_args!("{PREFIX}{name} {value}"));
    }

    fn labelled(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{}\"", escape(value)))
            .collect();
        self.line(format_args!(
            "{PREFIX}{name}{{{}}} {value}",
            labels.join(",")
        ));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{line}");
    }
}

/// Writes a label's value as the format wants it.
fn escape(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
