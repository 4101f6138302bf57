//! RESULTS.md: the committed counts with words, and the official canister's beside them.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};

use crate::official::{Figure, MARK, REFERENCE};
use crate::results::Results;
use crate::{projection, tables};

/// The first version's counts, kept for comparison.
const FIRST: &str = "b-trees";

const HEAD: &str = "\
# What the canister costs

Written by `cargo xtask bench canister` from `b-trees.toml` (the first version of the store, kept for
comparison) and `current.toml`; do not edit. The module runs in our replica under the IC's price list,
which charges 1,000 instructions for each stable page a message dirties, so instructions here include
them. Pages have 4 KiB and are distinct within a message. Counts are the same on every machine, but not
with every compiler: those of `current` are of the one that `current.toml` names.

Blocks are pushed one by one as an adapter does, with the default budgets, and the next one follows when
a heartbeat finds nothing to do. Messages are pushes and heartbeats that do something. Blocks are checked
under `block_validation = consensus` on the chains of the mark, `proof_of_work` on the reference's.
";

/// Writes RESULTS.md beside the counts.
///
/// # Errors
/// The counts cannot be read, or the file not written.
pub fn write(folder: &Path) -> Result<()> {
    let first = Results::read(&folder.join(format!("{FIRST}.toml")))?;
    let current = Results::read(&folder.join("current.toml"))?;
    let path = folder.join("RESULTS.md");
    std::fs::write(&path, text(&first, &current))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn text(first: &Results, current: &Results) -> String {
    let mut text = HEAD.to_owned();
    for (chain, about) in [
        (
            "small",
            "160 regtest blocks, the last 50 with 300 transactions, threshold 20, 220,000 UTXOs at the end",
        ),
        (
            "full",
            "300 blocks, the last 190 of mainnet's size (2,919 transactions, 2.3 inputs and 2.5 outputs each, \
             1.57 MB), threshold 144, 965,000 UTXOs at the end",
        ),
        (
            "30_full_blocks",
            "30 blocks of mainnet's size on 220,000 UTXOs, threshold 10; nothing official to compare with",
        ),
    ] {
        let lines: Vec<String> = MARK
            .iter()
            .filter_map(|figure| mark_line(chain, figure, first, current))
            .collect();
        if lines.is_empty() {
            continue;
        }
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(
            text,
            "\n## The mark on the chain `{chain}`\n\n{about}.\n\n\
             | figure | official | b-trees | current | goal |\n|---|---|---|---|---|\n{}",
            lines.join("\n")
        );
    }
    tables::taking_in(&mut text, current);
    tables::growth(&mut text, current);
    tables::compaction(&mut text, current);
    projection::section(&mut text, current);
    reference_table(&mut text, first, current);
    all_rows(&mut text, first, current);
    text
}

/// A line of the mark's table, if either version has the figure.
fn mark_line(chain: &str, figure: &Figure, first: &Results, current: &Results) -> Option<String> {
    let row = format!("{chain}.{}", figure.row);
    let ours = |results: &Results| {
        let count = results.count(&row, figure.count)?;
        Some(scaled(count, figure.scale))
    };
    let (before, now) = (ours(first), ours(current));
    if before.is_none() && now.is_none() {
        return None;
    }
    let official = match chain {
        "small" => figure.small,
        "full" => figure.full,
        _ => "",
    };
    Some(format!(
        "| {} | {official} | {} | {} | {} |",
        figure.title,
        before.unwrap_or_default(),
        now.unwrap_or_default(),
        figure.goal
    ))
}

fn reference_table(text: &mut String, first: &Results, current: &Results) {
    let _ = writeln!(
        text,
        "\n## The reference's workloads, millions of instructions\n\nChain(B, T, O, A): B blocks of T \
         transactions with O outputs, A of a block's to one address. Theirs are functions measured inside \
         the canister; ours are whole messages. Chains of more than 500 blocks are partly stable here.\n\n\
         | workload | shape | official | b-trees | current |\n|---|---|---|---|---|"
    );
    for (name, shape, official) in REFERENCE {
        let ours = |results: &Results| {
            let count = results.count(&format!("reference.{name}"), "instructions")?;
            Some(format!("{} M", scaled(count, 1_000_000)))
        };
        let _ = writeln!(
            text,
            "| {name} | {shape} | {official} | {} | {} |",
            ours(first).unwrap_or_default(),
            ours(current).unwrap_or_default()
        );
    }
}

fn all_rows(text: &mut String, first: &Results, current: &Results) {
    let _ = writeln!(
        text,
        "\n## All rows\n\nEach count as `current`, with `b-trees` in brackets where it differs.\n\n\
         | row | counts |\n|---|---|"
    );
    let names: BTreeSet<&String> = first.rows.keys().chain(current.rows.keys()).collect();
    for name in names {
        let row = current.rows.get(name).or_else(|| first.rows.get(name));
        let counts = row.into_iter().flatten().map(|(count, _)| {
            let (before, now) = (first.count(name, count), current.count(name, count));
            let count = count.replace('_', " ");
            match (before, now) {
                (Some(before), Some(now)) if before != now => {
                    format!("{count} {} ({})", grouped(now), grouped(before))
                }
                (_, Some(now)) => format!("{count} {}", grouped(now)),
                (before, None) => format!("{count} ({})", grouped(before.unwrap_or_default())),
            }
        });
        let counts: Vec<String> = counts.collect();
        let _ = writeln!(text, "| {name} | {} |", counts.join("; "));
    }
}

/// A count in units of `scale`, with three significant digits at least.
pub fn scaled(count: u64, scale: u64) -> String {
    let whole = count / scale;
    if scale == 1 || whole >= 100 {
        return grouped(whole);
    }
    let digits: u32 = match whole {
        10..=99 => 1,
        1..=9 => 2,
        _ => 4,
    };
    let unit = 10_u128.pow(digits);
    let parts = u128::from(count) * unit / u128::from(scale);
    let width = digits as usize;
    format!("{}.{:0width$}", parts / unit, parts % unit)
}

/// A number with commas between groups of three digits.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::counts::row;

    #[test]
    fn numbers_read_well() {
        let cases = [
            (1_234_567, 1, "1,234,567"),
            (1_234_567, 1_000, "1,234"),
            (12_345, 1_000, "12.3"),
            (1_055, 1_000, "1.05"),
            (37, 1_000, "0.0370"),
            (0, 1_000, "0.0000"),
        ];
        for (count, scale, text) in cases {
            assert_eq!(scaled(count, scale), text, "{count} / {scale}");
        }
    }

    #[test]
    fn both_versions_stand_beside_the_official_figure() {
        let results = |instructions| {
            let row = row(&[("instructions", instructions)]);
            Results {
                compiler: None,
                rows: BTreeMap::from([("small.idle_heartbeat".to_owned(), row)]),
            }
        };
        let text = text(&results(150_000), &results(20_000));
        let line = "| idle heartbeat, synced, k | 190 | 150 | 20.0 | 30 |";
        assert!(text.contains(line), "{text}");
        let line = "| small.idle_heartbeat | instructions 20,000 (150,000) |";
        assert!(text.contains(line), "{text}");
    }
}
