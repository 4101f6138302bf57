//! The projection to mainnet: 170 million coins of 900,000 blocks, from the counts of smaller sets.
//!
//! What is measured is taken as it is. What is not follows from the levels: a block's change takes part
//! in one merge for each level, and a look-up meets some changes of each.

use std::fmt::Write;

use crate::render::{grouped, scaled};
use crate::results::Results;

/// Blocks of the chain.
const BLOCKS: u64 = 900_000;

/// Coins of its set.
const COINS: u64 = 170_000_000;

/// Changes merged into one.
const FAN_OUT: u64 = 8;

/// Changes of one level in the mean: a level fills up to eight, and keeps them until they are merged.
const LEVEL_CHANGES: f64 = 5.5;

/// Inputs, and inputs and outputs, of a full block.
const BLOCK_INPUTS: f64 = 6_714.0;
const BLOCK_IOS: u64 = 14_011;

/// Bytes of a filter for each entry of a run of coins, transaction ids being shared.
const FILTER_BYTES: f64 = 0.9;

/// What is read of a change that has the coin: fences and a leaf.
const HIT_PAGES: f64 = 2.0;

/// Bytes of a page.
const PAGE_BYTES: f64 = 4_096.0;

/// The measured counts it begins with.
struct Measured {
    /// Of full blocks on the largest set: merges of level 0 included, no others.
    instructions: u64,
    dirtied_per_1000: u64,
    /// Keys of merging 8 and 64 full blocks, for a thousand of their inputs and outputs.
    keys_per_1000_io: [u64; 2],
    /// Of merging 64 full blocks.
    instructions_per_key: u64,
    dirtied_per_million: u64,
    /// Of the largest set.
    bytes_per_coin: u64,
}

impl Measured {
    fn of(current: &Results) -> Option<Self> {
        let merge = |count| current.count("compaction.64_full_blocks", count);
        let steady = |count| current.count("base_20_m.taking_in.steady", count);
        let bytes = "stable_bytes_per_stable_utxo";
        Some(Self {
            instructions: steady("instructions_per_io")?,
            dirtied_per_1000: steady("stable_pages_dirtied_per_1000_io")?,
            keys_per_1000_io: [
                current.count("compaction.8_full_blocks", "keys")? * 1_000 / (8 * BLOCK_IOS),
                merge("keys")? * 1_000 / (64 * BLOCK_IOS),
            ],
            instructions_per_key: merge("instructions_per_key")?,
            dirtied_per_million: merge("stable_pages_dirtied_per_million_keys")?,
            bytes_per_coin: current.count("base_20_m.memory", bytes)?,
        })
    }
}

/// What one more level of merging costs per input and output, and all of them.
struct Merging {
    /// Levels above the first that a change is merged on.
    levels: u64,
    instructions: u64,
    dirtied_per_1000: u64,
}

impl Merging {
    fn of(measured: &Measured) -> Self {
        let keys = measured.keys_per_1000_io[1];
        Self {
            levels: highest_level().saturating_sub(1),
            instructions: keys * measured.instructions_per_key / 1_000,
            dirtied_per_1000: keys * measured.dirtied_per_million / 1_000_000,
        }
    }
}

/// The level of the largest changes of a chain of [`BLOCKS`].
fn highest_level() -> u64 {
    u64::from(BLOCKS.ilog(FAN_OUT))
}

/// Pages of filters read for each input of a block, level by level: probes come in the order of keys, so
/// a page is read once for all of a block's inputs.
fn filter_pages(level: u64) -> f64 {
    let blocks = FAN_OUT.pow(u32::try_from(level).unwrap_or(u32::MAX)) as f64;
    let pages = (blocks * BLOCK_IOS as f64 * FILTER_BYTES / PAGE_BYTES).max(1.0);
    let changes = if level == highest_level() {
        (BLOCKS as f64 / blocks).floor()
    } else {
        LEVEL_CHANGES
    };
    // What a number of uniform probes meets of that many pages.
    changes * pages * (1.0 - (-BLOCK_INPUTS / pages).exp()) / BLOCK_INPUTS
}

/// The section of RESULTS.md, if all it needs was measured.
pub fn section(text: &mut String, current: &Results) {
    let Some(measured) = Measured::of(current) else {
        return;
    };
    let merging = Merging::of(&measured);
    let highest = highest_level();
    let more = merging.levels * merging.instructions;
    let more_dirtied = merging.levels * merging.dirtied_per_1000;
    let changes = LEVEL_CHANGES * highest as f64 + (BLOCKS / FAN_OUT.pow(6)) as f64;
    let _ = writeln!(
        text,
        "\n## Projection to mainnet\n\n{} blocks and {} coins; the counts above are measured, the rest is \
         arithmetic on them.\n",
        grouped(BLOCKS),
        grouped(COINS)
    );
    let _ = writeln!(
        text,
        "- *Levels*: a change of level n has 8^n blocks, so there are levels 0 to {highest}, and a block's change \
         is merged {highest} times. The first merge is part of the steady state on 20 million coins: {} \
         instructions and {} pages dirtied per input + output.\n\
         - *Merging above that*: a thousand inputs and outputs bring {} keys to the first merge and {} to the \
         second. At {} instructions and {} pages a key, a level costs at most {} instructions and {} pages per input + output \
         (on each level fewer keys are left, because puts meet their spends), and {} levels {} and {}.\n\
         - *Sum*: at most {} instructions and {} pages dirtied per input + output, for blocks like the made-up \
         full ones.",
        grouped(measured.instructions),
        scaled(measured.dirtied_per_1000, 1_000),
        grouped(measured.keys_per_1000_io[0]),
        grouped(measured.keys_per_1000_io[1]),
        grouped(measured.instructions_per_key),
        scaled(measured.dirtied_per_million, 1_000_000),
        grouped(merging.instructions),
        scaled(merging.dirtied_per_1000, 1_000),
        merging.levels,
        grouped(more),
        scaled(more_dirtied, 1_000),
        grouped(measured.instructions + more),
        scaled(measured.dirtied_per_1000 + more_dirtied, 1_000),
    );
    let pages: Vec<f64> = (0..=highest).map(filter_pages).collect();
    let sum: f64 = pages.iter().sum();
    let shown: Vec<String> = pages.iter().map(|pages| format!("{pages:.2}")).collect();
    let _ = writeln!(
        text,
        "- *Filter probes*: {changes:.0} stable changes in the mean ({LEVEL_CHANGES} a level), and for 144 \
         unstable blocks two or three merges of 64, up to 8 of 8 and up to 8 single blocks: some {:.0} probes for a \
         key that is nowhere, and as many pages for a read that comes alone (a balance of nobody). Twelve \
         a level, {} in all, is the most.\n\
         - *Pages read* for the inputs of a block, looked up together: a filter of level n has 8^n x {} x {FILTER_BYTES} \
         bytes, and {} uniform probes meet so many of its pages per input, level by level: {}; {sum:.1} in all, and \
         {HIT_PAGES} where the coin is. Reading has no price but the call's, and {:.0} MB a block are far below what \
         messages may read.\n\
         - *Bytes*: at the {} bytes a coin that 20 million coins take, unmerged entries and the unstable \
         blocks' bytes included, {} GB of 500 GiB. A merge of the highest level needs room for its output besides: at most as \
         much as its eight inputs, {:.0} % of the runs.\n\
         - *Heap*: some 600 bytes for each change: nothing that counts.",
        changes + 11.0,
        12 * (highest + 1) + 17,
        grouped(BLOCK_IOS),
        grouped(BLOCK_INPUTS as u64),
        shown.join(", "),
        (sum + HIT_PAGES) * BLOCK_INPUTS * PAGE_BYTES / 1e6,
        measured.bytes_per_coin,
        scaled(COINS * measured.bytes_per_coin, 1_000_000_000),
        100.0 * (FAN_OUT.pow(6) as f64 / BLOCKS as f64),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::row;

    #[test]
    fn a_chain_of_mainnets_length_has_seven_levels_and_small_filters_are_read_once() {
        assert_eq!(highest_level(), 6);
        // A filter of one block has 4 pages: each is read once for thousands of inputs.
        assert!(filter_pages(0) < 0.01, "{}", filter_pages(0));
        // One of 262,144 blocks has hundreds of thousands: each input reads its own, in three changes.
        assert!(
            (2.9..=3.0).contains(&filter_pages(6)),
            "{}",
            filter_pages(6)
        );
    }

    #[test]
    fn the_sum_adds_a_merge_for_each_level_above_the_first() {
        let mut current = Results::default();
        let mut text = String::new();
        section(&mut text, &current);
        assert_eq!(text, "", "nothing is projected from nothing");
        let keys = 64 * BLOCK_IOS;
        current.rows = [
            (
                "base_20_m.taking_in.steady".to_owned(),
                row(&[
                    ("instructions_per_io", 20_000),
                    ("stable_pages_dirtied_per_1000_io", 70),
                ]),
            ),
            (
                "base_20_m.memory".to_owned(),
                row(&[("stable_bytes_per_stable_utxo", 150)]),
            ),
            (
                "compaction.8_full_blocks".to_owned(),
                row(&[("keys", keys / 8)]),
            ),
            (
                "compaction.64_full_blocks".to_owned(),
                row(&[
                    ("keys", keys),
                    ("instructions_per_key", 3_000),
                    ("stable_pages_dirtied_per_million_keys", 8_000),
                ]),
            ),
        ]
        .into();
        section(&mut text, &current);
        // Five levels of 1,000 keys for a thousand inputs and outputs.
        assert!(
            text.contains("at most 35,000 instructions and 0.110"),
            "{text}"
        );
        assert!(text.contains("25.5 GB"), "{text}");
    }
}
