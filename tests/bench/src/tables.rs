//! Tables of RESULTS.md beside the mark's: workloads of taking in next to each other, sets of different
//! size, and merging alone.

use std::fmt::Write;

use crate::render::{grouped, scaled};
use crate::results::Results;

/// Rows of taking in, with what they are.
const TAKING_IN: [(&str, &str); 9] = [
    ("small.taking_in.steady", "`small`, steady state"),
    (
        "30_full_blocks.taking_in.steady",
        "`30_full_blocks`, steady state",
    ),
    (
        "full.taking_in.connecting",
        "`full`, before blocks become stable",
    ),
    ("full.taking_in.steady", "`full`, steady state"),
    (
        "surge_50_full_blocks",
        "50 more full blocks on `full`, pushed as fast as there is room",
    ),
    (
        "base_200_k.taking_in.steady",
        "16 full blocks on 0.2 million coins",
    ),
    (
        "base_2_m.taking_in.steady",
        "16 full blocks on 2 million coins",
    ),
    (
        "base_20_m.taking_in.steady",
        "16 full blocks on 20 million coins",
    ),
    (
        "real_blocks.taking_in",
        "the 8 real blocks 831,328 to 831,335",
    ),
];

/// Counts of such a row, with their units.
const COLUMNS: [(&str, u64); 7] = [
    ("instructions_per_io", 1),
    ("stable_pages_dirtied_per_1000_io", 1_000),
    ("stable_pages_read_per_1000_io", 1_000),
    ("heap_pages_per_1000_io", 1_000),
    ("heap_delta_bytes_per_block", 1_000_000),
    ("messages_per_1000_blocks", 1_000),
    ("longest_message", 1_000_000_000),
];

/// Every workload of taking in, per input and output.
pub fn taking_in(text: &mut String, current: &Results) {
    let _ = writeln!(
        text,
        "\n## Taking blocks in\n\nPer input and output: instructions, stable pages dirtied and read, heap \
         pages dirtied; per block: heap delta in MB and messages; the longest message in G. Merges that come \
         due are included.\n\nThe real blocks' transactions are mainnet's byte for byte, of which 46,253 inputs and 83,835 \
         outputs count; their headers are mined anew on regtest. The coins they spend from outside lie \
         among a million others in one change; those coins' amounts are made up, and their scripts are of the \
         kind the input shows. They are judged by `proof_of_work`, each is stable once connected, and all \
         eight are merged in the end.\n\n\
         | blocks | instructions | dirtied | read | heap | delta | messages | longest |\n\
         |---|---|---|---|---|---|---|---|"
    );
    for (row, about) in TAKING_IN {
        let counts = COLUMNS.map(|(count, scale)| {
            let count = current.count(row, count)?;
            Some(scaled(count, scale))
        });
        if counts.iter().any(Option::is_some) {
            let counts = counts.map(Option::unwrap_or_default);
            let _ = writeln!(text, "| {about} | {} |", counts.join(" | "));
        }
    }
}

/// Figures that should hardly depend on a set's size: row without its base, count, unit, goal.
const GROWTH: [(&str, &str, &str, u64); 13] = [
    (
        "instructions per input + output",
        "taking_in.steady",
        "instructions_per_io",
        1,
    ),
    (
        "stable pages dirtied per input + output",
        "taking_in.steady",
        "stable_pages_dirtied_per_1000_io",
        1_000,
    ),
    (
        "stable pages read per input + output",
        "taking_in.steady",
        "stable_pages_read_per_1000_io",
        1_000,
    ),
    (
        "heap pages dirtied per input + output",
        "taking_in.steady",
        "heap_pages_per_1000_io",
        1_000,
    ),
    (
        "get_balance: none, k",
        "read.get_balance.0.update",
        "instructions",
        1_000,
    ),
    (
        "get_balance: none, pages read",
        "read.get_balance.0.update",
        "stable_pages_read",
        1,
    ),
    (
        "get_balance: 6,246 UTXOs, k",
        "read.get_balance.6246.update",
        "instructions",
        1_000,
    ),
    (
        "get_utxos: none, k",
        "read.get_utxos.0.first_page.update",
        "instructions",
        1_000,
    ),
    (
        "get_utxos: first page of 6,246 UTXOs, M",
        "read.get_utxos.6246.first_page.update",
        "instructions",
        1_000_000,
    ),
    (
        "get_outpoints: 100, M",
        "read.get_outpoints.100.update",
        "instructions",
        1_000_000,
    ),
    (
        "get_outpoints: 100, pages read",
        "read.get_outpoints.100.update",
        "stable_pages_read",
        1,
    ),
    (
        "get_balances: 100, M",
        "read.get_balances.100.update",
        "instructions",
        1_000_000,
    ),
    (
        "opening after an upgrade, M",
        "upgrade.first_heartbeat",
        "instructions",
        1_000_000,
    ),
];

const BASES: [&str; 3] = ["base_200_k", "base_2_m", "base_20_m"];

/// The same work on sets of three sizes, and the ratio of the largest to the smallest.
pub fn growth(text: &mut String, current: &Results) {
    let utxos = BASES.map(|base| {
        let utxos = current.count(&format!("{base}.coins"), "utxos");
        utxos.map(grouped).unwrap_or_default()
    });
    let _ = writeln!(
        text,
        "\n## As the set grows\n\nThe same 16 full blocks on chains of 1,456 blocks that differ in the size of \
         their growing blocks alone: 110 of coinbases, 1,330 that split coins into six, and 16 full ones, \
         taken in natively by the canister's own code, which leaves the bytes the module would have left; \
         then the module goes on as after an upgrade, threshold 10. The goal for a ratio per input and output is at \
         most 1.50.\n\n\
         | figure | {} coins | {} coins | {} coins | ratio |\n|---|---|---|---|---|",
        utxos[0], utxos[1], utxos[2]
    );
    for (title, row, count, scale) in GROWTH {
        let counts = BASES.map(|base| current.count(&format!("{base}.{row}"), count));
        if counts.iter().all(Option::is_none) {
            continue;
        }
        let ratio = match (counts[0], counts[2]) {
            (Some(small), Some(large)) if small > 0 => scaled(large * 1_000 / small, 1_000),
            _ => String::new(),
        };
        let shown = counts.map(|count| count.map(|count| scaled(count, scale)).unwrap_or_default());
        let _ = writeln!(text, "| {title} | {} | {ratio} |", shown.join(" | "));
    }
}

/// Merges, with what they merge.
const MERGES: [(&str, &str); 3] = [
    (
        "compaction.8_full_blocks",
        "8 changes of one full block each",
    ),
    (
        "compaction.64_full_blocks",
        "8 changes of 8 full blocks each",
    ),
    (
        "compaction.base",
        "8 changes of 64 blocks each, the oldest of a growing base: nothing is below",
    ),
];

/// Merging alone, per key.
pub fn compaction(text: &mut String, current: &Results) {
    let _ = writeln!(
        text,
        "\n## Merging alone\n\nCanisters whose only work is one merge. A key is an outpoint, or a coin in a \
         script's list; a coin put and spent in two inputs is one. A full block has about 24,000. Instructions and pages are per key, \
         heartbeats included; the longest step is what a heartbeat cannot divide.\n\n\
         | merge | keys | instructions | dirtied | read | messages | longest message, G | longest step, M |\n\
         |---|---|---|---|---|---|---|---|"
    );
    for (row, about) in MERGES {
        let counts = [
            ("keys", 1),
            ("instructions_per_key", 1),
            ("stable_pages_dirtied_per_million_keys", 1_000_000),
            ("stable_pages_read_per_million_keys", 1_000_000),
            ("messages", 1),
            ("longest_message", 1_000_000_000),
            ("longest_step", 1_000_000),
        ];
        let counts = counts.map(|(count, scale)| {
            let count = current.count(row, count)?;
            Some(scaled(count, scale))
        });
        if counts.iter().any(Option::is_some) {
            let counts = counts.map(Option::unwrap_or_default);
            let _ = writeln!(text, "| {about} | {} |", counts.join(" | "));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::row;

    fn results(rows: &[(&str, &[(&str, u64)])]) -> Results {
        Results {
            compiler: None,
            rows: rows
                .iter()
                .map(|(name, counts)| ((*name).to_owned(), row(counts)))
                .collect(),
        }
    }

    #[test]
    fn the_ratio_is_that_of_the_largest_set_to_the_smallest() {
        let counts = |count| [("instructions_per_io", count)];
        let current = results(&[
            ("base_200_k.taking_in.steady", &counts(20_000)),
            ("base_2_m.taking_in.steady", &counts(21_000)),
            ("base_20_m.taking_in.steady", &counts(25_000)),
            ("base_20_m.coins", &[("utxos", 20_123_456)]),
        ]);
        let mut text = String::new();
        growth(&mut text, &current);
        let line = "| instructions per input + output | 20,000 | 21,000 | 25,000 | 1.25 |";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("20,123,456 coins"), "{text}");
    }

    #[test]
    fn rows_that_were_not_measured_are_left_out() {
        let current = results(&[(
            "surge_50_full_blocks",
            &[
                ("instructions_per_io", 30_000),
                ("longest_message", 999_000_000),
            ],
        )]);
        let mut text = String::new();
        taking_in(&mut text, &current);
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| line.contains("30,000"))
            .collect();
        assert_eq!(lines.len(), 1, "{text}");
        assert!(!text.contains("real blocks 8"), "{text}");
        compaction(&mut text, &current);
        assert!(!text.contains("8 changes of one"), "{text}");
    }
}
