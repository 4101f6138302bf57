//! The official canister's metrics, under its names and with its timestamps: what watches that
//! canister, its watchdog among others, reads this one's page unchanged.
//!
//! Left out are its histograms and figures of its own inner workings.

use std::fmt::Write;

use ic_stable_structures::Memory;
use millrace_store::cells::Counter;

use super::push_number;
use crate::{App, Env};

/// Reasons that the official canister counts as errors of inserting a block.
const INSERT_ERRORS: [Counter; 9] = [
    Counter::RejectedUnknownParent,
    Counter::RejectedTooNew,
    Counter::RejectedTreeFull,
    Counter::RejectedHeader,
    Counter::RejectedStructure,
    Counter::RejectedCoins,
    Counter::RejectedInvalid,
    Counter::RejectedQuarantined,
    Counter::RejectedConsensus,
];

/// Writes metrics with the time of the message.
struct Samples<'a> {
    out: &'a mut String,
    /// What ends each sample: the time in milliseconds since 1970.
    end: String,
}

impl Samples<'_> {
    fn begin(&mut self, name: &str, kind: &str, help: &str) {
        for part in [
            "# HELP ",
            name,
            " ",
            help,
            ".\n# TYPE ",
            name,
            " ",
            kind,
            "\n",
        ] {
            self.out.push_str(part);
        }
    }

    fn sample(&mut self, name: &str, value: u128) {
        self.out.push_str(name);
        self.out.push(' ');
        match u64::try_from(value) {
            Ok(value) => push_number(self.out, value),
            // Writing to a string cannot fail.
            Err(_) => {
                let _ = write!(self.out, "{value}");
            }
        }
        self.out.push_str(&self.end);
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Into<u128>) {
        self.begin(name, "gauge", help);
        self.sample(name, value.into());
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.begin(name, "counter", help);
        self.sample(name, value.into());
    }
}

impl<M: Memory> App<M> {
    /// Appends the official metrics. Costs O(unstable blocks), for the number of tips.
    pub(super) fn official_metrics(&self, env: &impl Env, out: &mut String) {
        let millis = env.now().get().saturating_mul(1_000);
        let end = format!(" {millis}\n");
        let mut samples = Samples { out, end };
        self.chain_samples(&mut samples);
        self.activity_samples(env, &mut samples);
    }

    fn chain_samples(&self, samples: &mut Samples<'_>) {
        let store = &self.store;
        let (_, height) = self.tip();
        let anchor = store.anchor_height();
        let difficulty = store.tree.root().map_or(0, |root| root.difficulty());
        let threshold = u128::from(self.config.stability_threshold);
        samples.gauge(
            "main_chain_height",
            "Height of the main chain",
            height.get(),
        );
        samples.gauge(
            "stable_height",
            "The height of the latest stable block",
            anchor.get(),
        );
        samples.gauge(
            "utxos_length",
            "The number of UTXOs in the stable set",
            store.coins.stable_count(),
        );
        samples.gauge(
            "anchor_difficulty",
            "The difficulty of the anchor block",
            difficulty,
        );
        samples.gauge(
            "normalized_stability_threshold",
            "The stability threshold times the difficulty of the anchor block",
            difficulty.saturating_mul(threshold),
        );
        samples.gauge(
            "unstable_blocks_num_tips",
            "The number of tips in the unstable block tree",
            store.tree.tips().count() as u64,
        );
        samples.gauge(
            "unstable_blocks_total",
            "The number of unstable blocks, the anchor included",
            store.tree.connected_count() as u64,
        );
        samples.gauge(
            "unstable_blocks_depth",
            "The depth of the unstable blocks, the anchor included",
            height.saturating_sub(anchor).next().get(),
        );
    }

    fn activity_samples(&self, env: &impl Env, samples: &mut Samples<'_>) {
        let count = |counter| self.store.counters.get(counter);
        samples.gauge(
            "stable_memory_size_in_bytes",
            "The size of stable memory",
            self.store.stable_bytes().get(),
        );
        samples.gauge(
            "heap_size_in_bytes",
            "The size of the heap memory",
            env.heap_bytes().get(),
        );
        samples.counter(
            "num_get_successors_rejects",
            "The number of calls to the blocks source that brought an error",
            count(Counter::PullErrors),
        );
        samples.counter(
            "num_block_deserialize_errors",
            "The number of copies of blocks with damaged bytes",
            count(Counter::RejectedDamagedBytes),
        );
        samples.counter(
            "num_insert_block_errors",
            "The number of blocks and headers refused",
            INSERT_ERRORS.map(count).iter().sum(),
        );
        samples.gauge(
            "send_transaction_count",
            "The total number of well-formed transactions sent",
            count(Counter::TransactionsSent),
        );
        samples.gauge(
            "cycles_burnt",
            "The total number of cycles burnt",
            count(Counter::CyclesBurnt),
        );
        samples.gauge(
            "cycles_balance",
            "The cycles balance of the canister",
            env.cycles_balance(),
        );
        samples.gauge(
            "is_synced",
            "Whether at most two blocks are missing",
            u64::from(self.is_synced()),
        );
        let is_enabled = self.config.access.is_api_enabled;
        samples.begin(
            "api_access",
            "gauge",
            "Whether coins, headers and fees can be asked for",
        );
        samples.sample("api_access{flag=\"enabled\"}", is_enabled.into());
        samples.sample("api_access{flag=\"disabled\"}", (!is_enabled).into());
    }
}
