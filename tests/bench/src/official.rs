//! The official Bitcoin canister's figures, and the goals: what the tables show beside ours.
//!
//! The mark's were measured on one host with the IC's prices, 1,000 instructions for a dirtied stable
//! page included, on chains of the same shape. Those of the reference's workloads are the official
//! canister's own, published with its source (release of 30 July 2026).

/// A figure of the mark: where ours stands, and what stands beside it.
pub struct Figure {
    /// What it is.
    pub title: &'static str,
    /// The row's name after `small.` or `full.`.
    pub row: &'static str,
    /// The count.
    pub count: &'static str,
    /// What a reader's unit is worth in counts.
    pub scale: u64,
    /// The official canister's on the small chain.
    pub small: &'static str,
    /// The official canister's on the full chain.
    pub full: &'static str,
    /// The goal.
    pub goal: &'static str,
}

const fn figure(
    title: &'static str,
    (row, count, scale): (&'static str, &'static str, u64),
    small: &'static str,
    full: &'static str,
    goal: &'static str,
) -> Figure {
    Figure {
        title,
        row,
        count,
        scale,
        small,
        full,
        goal,
    }
}

const STEADY: &str = "taking_in.steady";
const INSTRUCTIONS: &str = "instructions";

/// The table of the mark to beat.
pub const MARK: [Figure; 23] = [
    figure(
        "instructions per input + output, each block inserted and one retired",
        (STEADY, "instructions_per_io", 1),
        "543,000",
        "683,000",
        "20,000",
    ),
    figure(
        "stable 4 KiB pages dirtied per input + output",
        (STEADY, "stable_pages_dirtied_per_1000_io", 1_000),
        "1.7",
        "4.9",
        "0.12",
    ),
    figure(
        "heap 4 KiB pages dirtied per input + output",
        (STEADY, "heap_pages_per_1000_io", 1_000),
        "0.8",
        "9.8",
        "0.1",
    ),
    figure(
        "heap delta per block, MB",
        (STEADY, "heap_delta_bytes_per_block", 1_000_000),
        "",
        "847",
        "15",
    ),
    figure(
        "messages per block",
        (STEADY, "messages_per_1000_blocks", 1_000),
        "",
        "11.7",
        "4",
    ),
    figure(
        "stable bytes per stable UTXO, everything included",
        ("memory", "stable_bytes_per_stable_utxo", 1),
        "500 to 680",
        "660 to 790",
        "",
    ),
    figure(
        "stable bytes per stable UTXO, unstable blocks apart",
        (
            "memory",
            "stable_bytes_per_stable_utxo_unstable_blocks_apart",
            1,
        ),
        "",
        "",
        "160",
    ),
    figure(
        "Wasm heap, MB",
        ("memory", "heap_bytes", 1_000_000),
        "67",
        "679",
        "64",
    ),
    figure(
        "Wasm heap after an upgrade, MB",
        ("upgrade.memory", "heap_bytes", 1_000_000),
        "",
        "1,032",
        "64",
    ),
    figure(
        "longest single message, G",
        ("taking_in.all", "longest_message", 1_000_000_000),
        "4.6",
        "5.1",
        "1",
    ),
    figure(
        "get_balance: none, k",
        ("read.get_balance.0.update", INSTRUCTIONS, 1_000),
        "400",
        "2,100",
        "60",
    ),
    figure(
        "get_balance: 1 UTXO, k",
        ("read.get_balance.1.update", INSTRUCTIONS, 1_000),
        "400",
        "2,300",
        "60",
    ),
    figure(
        "get_balance: 6,246 UTXOs, k",
        ("read.get_balance.6246.update", INSTRUCTIONS, 1_000),
        "",
        "96,000",
        "120",
    ),
    figure(
        "get_balance: 21,463 UTXOs, k",
        ("read.get_balance.21463.update", INSTRUCTIONS, 1_000),
        "",
        "986,000",
        "120",
    ),
    figure(
        "get_utxos: none, k",
        ("read.get_utxos.0.first_page.update", INSTRUCTIONS, 1_000),
        "600",
        "2,400",
        "100",
    ),
    figure(
        "get_utxos: 1 UTXO, k",
        ("read.get_utxos.1.first_page.update", INSTRUCTIONS, 1_000),
        "700",
        "2,600",
        "100",
    ),
    figure(
        "get_utxos: first page of 6,246 UTXOs, M",
        (
            "read.get_utxos.6246.first_page.update",
            INSTRUCTIONS,
            1_000_000,
        ),
        "59 to 80",
        "81 to 586",
        "6",
    ),
    figure(
        "get_utxos: worst page of 21,463 UTXOs, M",
        ("read.get_utxos.21463.worst_page", INSTRUCTIONS, 1_000_000),
        "",
        "1,600",
        "6",
    ),
    figure(
        "get_utxos: 21,463 UTXOs in 22 pages, M",
        ("read.get_utxos.21463.all_pages", INSTRUCTIONS, 1_000_000),
        "",
        "14,100",
        "130",
    ),
    figure(
        "upgrade, without opening the store, M",
        ("upgrade", INSTRUCTIONS, 1_000_000),
        "1,750",
        "104,000",
        "20",
    ),
    figure(
        "idle heartbeat, synced, k",
        ("idle_heartbeat", INSTRUCTIONS, 1_000),
        "190",
        "588",
        "30",
    ),
    figure(
        "100 headers, M",
        (
            "read.bitcoin_get_block_headers.100.update",
            INSTRUCTIONS,
            1_000_000,
        ),
        "3.1",
        "3.1",
        "0.5",
    ),
    figure(
        "`/metrics`, M",
        ("read.http.metrics.query", INSTRUCTIONS, 1_000_000),
        "2.3",
        "2.4",
        "0.5",
    ),
];

/// The reference's workloads: row after `reference.`, workload, the official canister's instructions.
pub const REFERENCE: [(&str, &str, &str); 14] = [
    ("get_balance_baseline", "Chain(100, 3000, 3, 3)", "6.19 M"),
    ("get_balance_stress", "Chain(100, 3000, 3, 100)", "254.3 M"),
    (
        "get_utxos_baseline",
        "the same; all pages, 300 UTXOs",
        "7.81 M",
    ),
    (
        "get_utxos_stress",
        "the same; all pages, 10,000 UTXOs",
        "4,686 M",
    ),
    (
        "headers_baseline",
        "Chain(100, 1, 1, 0), 100 headers",
        "0.366 M",
    ),
    (
        "headers_stress",
        "Chain(5000, 1, 1, 0), 100 headers",
        "2.57 M",
    ),
    (
        "blockchain_info_single_branch",
        "Chain(1000, 300, 3, 0)",
        "0.346 M",
    ),
    (
        "blockchain_info_many_branches",
        "the same with 99 forks",
        "0.828 M",
    ),
    (
        "heartbeat_synced",
        "Chain(100, 300, 3, 0), threshold 200",
        "0.0469 M",
    ),
    (
        "insert_block_1k",
        "one transaction, 1,000 inputs, as many outputs",
        "116 M",
    ),
    (
        "insert_block_10k",
        "one transaction, 10,000 inputs, as many outputs",
        "1,402 M",
    ),
    (
        "insert_300_blocks",
        "300 real blocks; testnet4 there, mainnet 1 to 300 here",
        "441 M",
    ),
    (
        "insert_100_headers",
        "100 headers after 1,000 blocks",
        "2,844 M",
    ),
    (
        "upgrade_3000_blocks",
        "3,000 blocks of 100 one-output transactions",
        "3,384 M",
    ),
];
