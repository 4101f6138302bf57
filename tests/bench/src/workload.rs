//! The list of workloads, and what they share.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use millrace_tests::chain::Body;

use crate::base;
use crate::commitment;
use crate::compaction;
use crate::mark::{self, full, full_blocks, small, unstable};
use crate::reads::Rows;
use crate::real;
use crate::reference;
use crate::snapshot;

/// What workloads measure with.
pub struct Bench {
    /// The module, as it is installed.
    pub module: Arc<[u8]>,
    /// Where canisters that took in a chain are kept, if anywhere.
    pub cache: Option<PathBuf>,
    /// The folder of real blocks, if one is named.
    pub data: Option<PathBuf>,
    /// Whether progress is printed.
    pub talks: bool,
}

impl Bench {
    /// Says how far a chain is taken in, now and then.
    pub fn progress(&self, name: &str, height: u32, length: u32) {
        if self.talks && (height.is_multiple_of(20) || height == length) {
            eprintln!("  {name}: block {height} of {length}");
        }
    }
}

/// One thing to measure.
pub struct Workload {
    /// Its name; with a dot after it, the beginning of its rows' names.
    pub name: &'static str,
    /// Whether it takes seconds, so that every run of the tests can measure it.
    pub is_quick: bool,
    /// Measures it.
    pub run: fn(&Bench) -> Result<Rows>,
}

/// All workloads, quick ones first.
pub static ALL: [Workload; 27] = [
    quick("small", |bench| mark::measure(bench, &small())),
    quick("upgrade_500_small_blocks", |bench| {
        let mark = unstable("upgrade_500_small_blocks", 500, Body::of(6));
        mark::measure_upgrade(bench, &mark)
    }),
    quick("reference.headers_baseline", reference::headers_baseline),
    quick("reference.headers_stress", reference::headers_stress),
    quick("reference.heartbeat_synced", reference::heartbeat_synced),
    quick("reference.insert_block_1k", reference::insert_block_1k),
    quick("reference.insert_block_10k", reference::insert_block_10k),
    quick("reference.insert_300_blocks", reference::insert_300_blocks),
    quick(
        "reference.insert_100_headers",
        reference::insert_100_headers,
    ),
    quick("base_quick", base::measure_quick),
    quick("commitment", commitment::measure),
    quick("snapshot_quick", snapshot::measure_quick),
    slow("30_full_blocks", |bench| {
        mark::measure(bench, &full_blocks())
    }),
    slow(
        "reference.get_balance_baseline",
        reference::address_baseline,
    ),
    slow("reference.get_balance_stress", reference::address_stress),
    slow("reference.blockchain_info", reference::blockchain_info),
    slow("reference.upgrade_3000_blocks", reference::upgrade_3000),
    slow("full", |bench| mark::measure(bench, &full())),
    slow("surge_50_full_blocks", mark::measure_surge),
    slow("base_200_k", |bench| base::measure(bench, &base::small())),
    slow("base_2_m", |bench| base::measure(bench, &base::medium())),
    slow("base_20_m", |bench| base::measure(bench, &base::large())),
    slow("snapshot_1_m", snapshot::measure_million),
    slow("compaction", compaction::measure),
    slow("real_blocks", real::measure),
    slow("upgrade_100_full_blocks", |bench| {
        let mark = unstable("upgrade_100_full_blocks", 100, Body::MAINNET);
        mark::measure_upgrade(bench, &mark)
    }),
    slow("upgrade_500_full_blocks", |bench| {
        let mark = unstable("upgrade_500_full_blocks", 500, Body::MAINNET);
        mark::measure_upgrade(bench, &mark)
    }),
];

const fn quick(name: &'static str, run: fn(&Bench) -> Result<Rows>) -> Workload {
    Workload {
        name,
        is_quick: true,
        run,
    }
}

const fn slow(name: &'static str, run: fn(&Bench) -> Result<Rows>) -> Workload {
    Workload {
        name,
        is_quick: false,
        run,
    }
}
