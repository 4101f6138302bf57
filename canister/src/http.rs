//! `http_request`: `/metrics` in Prometheus' text format, `/health`, and a page for people at `/`.

mod official;
mod page;

use ic_stable_structures::Memory;
use millrace_candid::{HttpRequest, HttpResponse, UtxoSetCommitment};
use millrace_store::cells::Counter;
use serde_bytes::ByteBuf;

use crate::{App, Env};

/// Appends a gauge. All of its text but the value is one constant: each piece that is appended costs more than
/// a hundred instructions, whatever its length.
macro_rules! gauge {
    ($out:expr, $name:literal, $help:literal, $value:expr $(,)?) => {
        sample(
            $out,
            concat!(
                "# HELP millrace_",
                $name,
                " ",
                $help,
                ".\n# TYPE millrace_",
                $name,
                " gauge\nmillrace_",
                $name,
                " "
            ),
            $value,
        )
    };
}

impl<M: Memory> App<M> {
    /// Answers a request; query strings are ignored.
    pub fn http_request(&self, env: &impl Env, request: &HttpRequest) -> HttpResponse {
        let path = request.url.split(['?', '#']).next().unwrap_or_default();
        match path {
            "/metrics" => text(200, "text/plain; version=0.0.4", self.metrics(env)),
            "/" | "" => self.page_response(),
            "/health" => text(200, "application/json", self.health()),
            _ => text(404, "text/plain", "Not found.".to_owned()),
        }
    }

    fn page_response(&self) -> HttpResponse {
        let mut response = text(200, "text/html; charset=utf-8", self.page());
        // The page loads nothing, and nothing delivered can make it.
        response.headers.push((
            "Content-Security-Policy".to_owned(),
            "default-src 'none'; style-src 'unsafe-inline'".to_owned(),
        ));
        response
    }

    fn health(&self) -> String {
        let (tip, height) = self.tip();
        format!(
            "{{\"status\":\"ok\",\"network\":\"{}\",\"height\":{height},\"tip\":\"{tip}\",\"pending_blocks\":{}}}\n",
            self.store.network(),
            self.store.held().0,
        )
    }

    fn metrics(&self, env: &impl Env) -> String {
        let mut out = String::with_capacity(METRICS_BYTES);
        self.chain_metrics(&mut out);
        self.work_metrics(&mut out);
        self.queue_metrics(env, &mut out);
        self.resource_metrics(env, &mut out);
        for counter in Counter::ALL {
            let name = counter.name();
            for part in [
                "# HELP millrace_",
                name,
                "_total Since installation.\n# TYPE millrace_",
                name,
            ] {
                out.push_str(part);
            }
            out.push_str("_total counter\nmillrace_");
            out.push_str(name);
            sample(&mut out, "_total ", self.store.counters.get(*counter));
        }
        self.official_metrics(env, &mut out);
        out
    }

    fn chain_metrics(&self, out: &mut String) {
        let store = &self.store;
        let best_header = self.height(&store.tree.best_header_tip()).get();
        let (tip, height) = self.tip();
        let utxos = store.view(&tip).map_or(0, |view| view.utxo_count());
        gauge!(
            out,
            "main_chain_height",
            "Height of the best connected block",
            height.get().into(),
        );
        gauge!(
            out,
            "best_header_height",
            "Height of the best known header",
            best_header.into(),
        );
        gauge!(
            out,
            "anchor_height",
            "Height of the newest stable block",
            store.anchor_height().get().into(),
        );
        gauge!(
            out,
            "utxos_length",
            "Unspent outputs at the best connected block",
            utxos,
        );
        gauge!(
            out,
            "stable_utxos_length",
            "Unspent outputs at the newest stable block",
            store.coins.stable_count(),
        );
        gauge!(
            out,
            "synced",
            "Whether at most two blocks are missing and the chain has the work it must have",
            self.is_synced().into(),
        );
        gauge!(
            out,
            "api_access",
            "Whether coins, headers and fees can be asked for",
            self.config.access.is_api_enabled.into(),
        );
        gauge!(
            out,
            "tree_nodes",
            "Unstable headers and blocks",
            store.tree.len() as u64,
        );
        gauge!(
            out,
            "tree_nodes_max",
            "Unstable headers and blocks that fit",
            store.tree.capacity() as u64,
        );
        gauge!(
            out,
            "tree_invalid_nodes",
            "Invalid blocks remembered",
            store.tree.invalid_count() as u64,
        );
        gauge!(
            out,
            "connected_blocks",
            "Unstable blocks connected",
            store.tree.connected_count() as u64,
        );
    }

    fn work_metrics(&self, out: &mut String) {
        let minimum = self.config.access.minimum_chain_work;
        let (is_complete, coins, since) = match self.commitment_standing() {
            UtxoSetCommitment::Off => (false, 0, 0),
            UtxoSetCommitment::CatchingUp { coins, .. } => (false, coins, 0),
            UtxoSetCommitment::Complete { min_height, .. } => {
                (true, self.store.coins.stable_count(), min_height)
            }
        };
        gauge!(
            out,
            "commitment_kept",
            "Whether a commitment to the stable coins is kept",
            self.keeps_commitment().into(),
        );
        gauge!(
            out,
            "commitment_complete",
            "Whether it has all of them",
            is_complete.into(),
        );
        gauge!(out, "commitment_coins", "Coins it has", coins);
        gauge!(
            out,
            "commitment_min_height",
            "Lowest height it is known for",
            since.into(),
        );
        gauge!(
            out,
            "chain_work_bits",
            "Binary digits of the best chain's work",
            self.chain_work().bits().into(),
        );
        gauge!(
            out,
            "minimum_chain_work_bits",
            "Binary digits of the work it must have to count as synced, 0 for none",
            minimum.bits().into(),
        );
        gauge!(
            out,
            "minimum_chain_work_reached",
            "Whether it has that work",
            (self.chain_work() >= minimum).into(),
        );
    }

    fn queue_metrics(&self, env: &impl Env, out: &mut String) {
        let store = &self.store;
        let (held, held_bytes) = store.held();
        let (free_blocks, free_bytes) = self.free();
        let watch = store.cells.watch();
        gauge!(
            out,
            "queue_blocks",
            "Delivered blocks nobody looked at",
            store.queue.len() as u64,
        );
        gauge!(out, "queue_bytes", "Their bytes", store.queue.bytes().get());
        gauge!(
            out,
            "queue_free_blocks",
            "Blocks that may still be delivered",
            free_blocks.into(),
        );
        gauge!(
            out,
            "queue_free_bytes",
            "Bytes that may still be delivered",
            free_bytes.get(),
        );
        gauge!(
            out,
            "pending_blocks",
            "Blocks waiting to be connected",
            held.into(),
        );
        gauge!(out, "pending_bytes", "Their bytes", held_bytes.get());
        gauge!(
            out,
            "refused_blocks",
            "Blocks refused for good and remembered",
            store.rejections.refused_len(),
        );
        let held_off = self.copies.held_off(env.now()).count();
        gauge!(
            out,
            "held_off_blocks",
            "Blocks not asked for now because their copies were bad",
            held_off as u64,
        );
        gauge!(
            out,
            "half_received_blocks",
            "Blocks of which a beginning was pushed",
            store.assembly.len() as u64,
        );
        let (outbox, outbox_bytes) = store.outbox.kept();
        gauge!(
            out,
            "outbox_transactions",
            "Transactions to relay or being confirmed",
            outbox as u64,
        );
        gauge!(out, "outbox_bytes", "Their bytes", outbox_bytes.get());
        gauge!(
            out,
            "pull_in_flight",
            "Whether blocks_source is being asked",
            self.pull.is_asking().into(),
        );
        gauge!(
            out,
            "pull_failures",
            "Failures since the last good reply",
            self.pull.failures().into(),
        );
        gauge!(
            out,
            "watchdog_cautious",
            "Heartbeats that still touch one item",
            watch.cautious.into(),
        );
        gauge!(
            out,
            "retiring_halted",
            "Whether retiring was given up",
            watch.is_retiring_halted.into(),
        );
        gauge!(
            out,
            "compacting_halted",
            "Whether merging changes was given up",
            watch.is_compacting_halted.into(),
        );
    }

    fn resource_metrics(&self, env: &impl Env, out: &mut String) {
        let (blob_pages, free_pages) = self.store.blobs.usage();
        let beat = &self.last_beat;
        gauge!(
            out,
            "stable_bytes",
            "Size of stable memory",
            self.store.stable_bytes().get(),
        );
        gauge!(
            out,
            "heap_bytes",
            "Size of the Wasm heap",
            env.heap_bytes().get(),
        );
        gauge!(
            out,
            "blob_pages",
            "4 KiB pages of blocks and transactions",
            blob_pages.into(),
        );
        gauge!(
            out,
            "blob_free_pages",
            "4 KiB pages free for those",
            free_pages.into(),
        );
        let (run_bytes, free_bytes) = self.store.coins.run_bytes();
        gauge!(
            out,
            "coin_bytes",
            "Bytes of sorted runs of coins",
            run_bytes
        );
        gauge!(
            out,
            "coin_free_bytes",
            "Bytes free between them",
            free_bytes
        );
        gauge!(
            out,
            "unstable_coin_bytes",
            "Bytes of runs of unstable blocks, merges made ahead among them",
            self.store.coins.unstable_run_bytes(),
        );
        gauge!(
            out,
            "transaction_index_bytes",
            "Bytes of indexes of held blocks' transactions",
            self.store.transaction_indexes.bytes(),
        );
        gauge!(
            out,
            "stable_changes",
            "Sorted runs of stable coins that a read may meet",
            self.store.coins.stable_len() as u64,
        );
        gauge!(
            out,
            "budget_instructions",
            "Instructions for work in one heartbeat",
            self.config.instructions.get(),
        );
        gauge!(
            out,
            "budget_stable_pages",
            "Stable pages written in one heartbeat",
            self.config.pages.get(),
        );
        gauge!(
            out,
            "budget_ten_minutes_stable_pages",
            "Stable pages written in ten minutes, at most",
            self.config.window_pages.get(),
        );
        gauge!(
            out,
            "ten_minutes_stable_pages_written",
            "Stable pages written in the last ten minutes",
            self.window.total(env.now()).get(),
        );
        gauge!(
            out,
            "low_on_cycles",
            "Whether nothing is connected for want of cycles",
            self.is_low_on_cycles.into(),
        );
        gauge!(
            out,
            "low_on_memory",
            "Whether nothing is connected because stable memory cannot grow, or not be paid for",
            self.is_low_on_memory().into(),
        );
        gauge!(
            out,
            "cycles_reserve",
            "Cycles to spend below which nothing is connected",
            u64::try_from(self.config.cycles_reserve).unwrap_or(u64::MAX),
        );
        gauge!(
            out,
            "heartbeat_instructions",
            "Instructions of the last heartbeat",
            beat.instructions,
        );
        gauge!(
            out,
            "heartbeat_stable_pages_written",
            "Stable pages the last heartbeat wrote",
            beat.pages_written.get(),
        );
        gauge!(
            out,
            "heartbeat_stable_pages_read",
            "Stable pages the last heartbeat read",
            beat.pages_read.get(),
        );
    }
}

/// About what all metrics take.
const METRICS_BYTES: usize = 20 * 1024;

/// Appends a line's text and its value.
fn sample(out: &mut String, text: &str, value: u64) {
    out.push_str(text);
    push_number(out, value);
    out.push('\n');
}

/// Appends a number: in a tenth of what formatting it costs.
fn push_number(out: &mut String, number: u64) {
    let mut digits = [b'0'; 20];
    let mut rest = number;
    let mut length = 0;
    for digit in digits.iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
        length += 1;
        if rest == 0 {
            break;
        }
    }
    let digits = digits.get(digits.len() - length..).unwrap_or_default();
    out.push_str(std::str::from_utf8(digits).unwrap_or_default());
}

fn text(status_code: u16, content_type: &str, body: String) -> HttpResponse {
    HttpResponse {
        headers: vec![
            ("Content-Type".to_owned(), content_type.to_owned()),
            ("Content-Length".to_owned(), body.len().to_string()),
        ],
        body: ByteBuf::from(body.into_bytes()),
        status_code,
    }
}
