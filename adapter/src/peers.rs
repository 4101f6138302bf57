//! `peers`: a table of a running adapter's peers.

use std::fmt::Write;
use std::time::Duration;

use serde_json::Value;

use crate::progress::words;

/// Bytes in a megabyte.
const MEGABYTE: f64 = 1_000_000.0;

/// Characters of a peer's software that are shown; peers choose it.
const USER_AGENT_SHOWN: usize = 40;

/// Writes what `/peers` answered as a table.
pub fn table(answer: &Value) -> String {
    let source = text(answer, "source");
    let Some(peers) = answer.get("peers").and_then(Value::as_array) else {
        return format!("the adapter's source is {source}: it has no peers\n");
    };
    let mut table = String::new();
    if !peers.is_empty() {
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(
            table,
            "{:<46} {:<9} {:<3} {:>8} {:>7} {:>9} {:>6} {:>8} {:>10}  software",
            "address", "kind", "via", "height", "ping", "connected", "asked", "blocks", "MB"
        );
    }
    for peer in peers {
        let ping = peer.get("ping_ms").and_then(Value::as_u64);
        let _ = writeln!(
            table,
            "{:<46} {:<9} {:<3} {:>8} {:>7} {:>9} {:>6} {:>8} {:>10.1}  {}",
            printable(&text(peer, "address"), 62),
            text(peer, "kind"),
            text(peer, "transport"),
            number(peer, "height"),
            ping.map_or_else(|| "?".to_owned(), |ping| format!("{ping} ms")),
            words(Duration::from_secs(number(peer, "connected_seconds"))),
            number(peer, "in_flight"),
            number(peer, "blocks"),
            number(peer, "block_bytes") as f64 / MEGABYTE,
            printable(&text(peer, "user_agent"), USER_AGENT_SHOWN),
        );
    }
    let _ = writeln!(
        table,
        "{} peers, {} addresses known, {} banned, headers to {}",
        peers.len(),
        number(answer, "addresses"),
        number(answer, "banned"),
        number(answer, "height"),
    );
    if let Some(waiting) = answer.get("waiting").and_then(Value::as_str) {
        let _ = writeln!(table, "waiting: {}", printable(waiting, 200));
    }
    table
}

fn text(value: &Value, key: &str) -> String {
    let text = value.get(key).and_then(Value::as_str);
    text.unwrap_or("?").to_owned()
}

fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or_default()
}

/// Leaves out what could steer a terminal, and what is too long.
fn printable(text: &str, length: usize) -> String {
    let shown = |letter: char| match letter {
        ' '..='~' => letter,
        _ => '?',
    };
    text.chars().map(shown).take(length).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn peers_are_a_table_and_their_words_cannot_steer_a_terminal() {
        let answer = json!({
            "source": "p2p", "addresses": 12, "banned": 1, "height": 900_000, "waiting": null,
            "peers": [{
                "address": "203.0.113.7:8333", "kind": "outbound", "transport": "v2",
                "user_agent": format!("/evil\u{1b}[2J{}", "x".repeat(300)), "height": 899_999,
                "connected_seconds": 3_661, "ping_ms": 41, "in_flight": 16, "blocks": 3,
                "block_bytes": 4_500_000,
            }],
        });
        let table = table(&answer);
        let row = table.lines().nth(1).expect("a row");
        for expected in [
            "203.0.113.7:8333",
            "outbound",
            "v2",
            "41 ms",
            "1h 1m",
            "4.5",
            "/evil?[2Jxx",
        ] {
            assert!(row.contains(expected), "{expected}: {row}");
        }
        assert!(row.len() < 160, "{row}");
        assert!(!table.contains('\u{1b}'));
        assert!(table.ends_with("1 peers, 12 addresses known, 1 banned, headers to 900000\n"));
    }

    #[test]
    fn a_source_without_peers_says_so() {
        let table = table(&json!({ "source": "blocks", "peers": null }));
        assert_eq!(table, "the adapter's source is blocks: it has no peers\n");
        let none = json!({ "source": "p2p", "peers": [], "waiting": "no seed answers" });
        assert!(super::table(&none).contains("waiting: no seed answers"));
        // Nonsense is not trusted either.
        assert!(super::table(&json!({ "peers": [7] })).contains("1 peers"));
    }
}
