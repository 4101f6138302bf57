//! What executed messages consumed, kept per canister in a bounded ring.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Bytes of a method name that are kept: names that do not exist are recorded, too.
const METHOD_BYTES_MAX: usize = 256;

/// Kind of an executed message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    /// `canister_init`, with the module's start function.
    Install,
    /// `canister_pre_upgrade` and `canister_post_upgrade`, or a reinstall's `canister_init`.
    Upgrade,
    /// Update call.
    Update,
    /// Query call run in replicated mode.
    ReplicatedQuery,
    /// Query call run without replication.
    Query,
    /// Composite query.
    CompositeQuery,
    /// `canister_heartbeat`.
    Heartbeat,
    /// `canister_global_timer`.
    GlobalTimer,
    /// `canister_on_low_wasm_memory`.
    LowWasmMemory,
    /// `canister_inspect_message`.
    InspectMessage,
    /// Callback of a reply.
    ReplyCallback,
    /// Callback of a rejection.
    RejectCallback,
    /// Clean-up after a trapped callback.
    Cleanup,
}

/// What one message consumed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRecord {
    /// Position in the canister's sequence of executed messages, from 0; gaps never occur.
    pub sequence: u64,
    /// Round in which it ran; the latest finished round for queries.
    pub round: u64,
    /// Network time it ran at, in ns.
    pub time_ns: u64,
    /// Kind.
    pub kind: MessageKind,
    /// Method name, cut to 256 bytes; empty for kinds without one.
    pub method: String,
    /// Instructions.
    pub instructions: u64,
    /// Distinct 4 KiB heap pages dirtied.
    pub heap_pages_dirtied: u64,
    /// Distinct 4 KiB stable pages dirtied.
    pub stable_pages_dirtied: u64,
    /// Distinct 4 KiB stable pages read.
    pub stable_pages_read: u64,
    /// System calls made.
    pub system_calls: u64,
    /// Whether it succeeded; a failed message's writes were undone.
    pub succeeded: bool,
}

/// The latest usage records of one canister.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRing {
    records: VecDeque<UsageRecord>,
    next_sequence: u64,
}

impl UsageRing {
    /// Appends a record, dropping the oldest ones above `capacity`; sets its sequence number.
    pub(crate) fn push(&mut self, mut record: UsageRecord, capacity: u64) {
        record.sequence = self.next_sequence;
        record
            .method
            .truncate(record.method.floor_char_boundary(METHOD_BYTES_MAX));
        record.method.shrink_to_fit();
        self.next_sequence += 1;
        self.records.push_back(record);
        while self.records.len() as u64 > capacity {
            self.records.pop_front();
        }
    }

    /// Returns the kept records with a sequence number of at least `from`, oldest first.
    pub fn since(&self, from: u64) -> impl Iterator<Item = &UsageRecord> {
        self.records
            .iter()
            .filter(move |record| record.sequence >= from)
    }

    /// Returns the sequence number the next executed message gets.
    #[must_use]
    pub const fn next_sequence(&self) -> u64 {
        self.next_sequence
    }
}
