//! The table of a contest.

use std::fmt::Write;

use crate::chain::Chain;
use crate::contest::Row;

/// Writes the table in Markdown; the first row is what the others are held against.
pub fn table(chain: &Chain, rows: &[Row]) -> String {
    let megabytes = chain.bytes as f64 / 1e6;
    let mut text = format!(
        "# The adapter's sources\n\n\
         Written by `cargo xtask bench adapter`. One chain of {} blocks, {megabytes:.0} MB, is read by each from the same \
         Bitcoin Core on the same machine, one after the other: blocks are fetched, checked and packed as for a canister, \
         and dropped; `bitcoind` downloads and connects them with `-assumevalid`. Seconds are this machine's; the ratios \
         are what counts.\n\n\
         | source | s | MB/s | CPU s per GB | times as fast as bitcoind |\n|---|---|---|---|---|\n",
        chain.blocks,
    );
    let first = rows.first().map_or(1.0, |row| row.elapsed.as_secs_f64());
    for row in rows {
        let seconds = row.elapsed.as_secs_f64();
        let processor = row.processor.as_secs_f64() / (megabytes / 1e3);
        writeln!(
            text,
            "| {} | {seconds:.1} | {:.0} | {processor:.1} | {:.1} |",
            row.name,
            megabytes / seconds,
            first / seconds,
        )
        .expect("writing to a string succeeds");
    }
    text
}
