//! One canister: settings, balance, code, queues, contexts, history and log.

use crate::contexts::CallContexts;
use crate::error::{ErrorCode, UserError};
use crate::faults::Faults;
use crate::fees::Fees;
use crate::history::History;
use crate::limits::SubnetLimits;
use crate::log::CanisterLog;
use crate::message::Origin;
use crate::queues::InputQueues;
use crate::topology::CanisterId;
use crate::usage::UsageRing;
use candid::Principal;
use ic_management_canister_types::{LogVisibility, SnapshotVisibility};
use millrace_vm::{CanisterModule, CanisterState};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Whether a canister accepts calls, and who waits for it to stop.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Status {
    #[default]
    Running,
    Stopping(Vec<StopRequest>),
    Stopped,
}

/// A `stop_canister` call that waits for open call contexts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StopRequest {
    pub(crate) origin: Origin,
    pub(crate) cycles: u128,
    pub(crate) since_ns: u64,
}

/// State of `canister_on_low_wasm_memory`, which runs once each time memory becomes low.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum LowMemoryHook {
    #[default]
    NotSatisfied,
    Ready,
    Executed,
}

/// What controllers set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) controllers: BTreeSet<Principal>,
    pub(crate) compute_percent: u64,
    pub(crate) memory_allocation: u64,
    pub(crate) freezing_threshold_s: u64,
    pub(crate) reserved_cycles_limit: u128,
    pub(crate) log_visibility: LogVisibility,
    pub(crate) snapshot_visibility: SnapshotVisibility,
    pub(crate) log_bytes: u64,
    pub(crate) wasm_memory_limit: u64,
    pub(crate) wasm_memory_threshold: u64,
    pub(crate) environment: BTreeMap<String, String>,
}

/// Statistics of non-replicated queries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QueryStatistics {
    pub(crate) calls: u64,
    pub(crate) instructions: u64,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
}

/// Installed code with its memories.
pub(crate) struct Code {
    pub(crate) state: CanisterState,
    /// The module as it was uploaded, perhaps compressed.
    pub(crate) uploaded: Arc<[u8]>,
    /// SHA-256 of `uploaded`.
    pub(crate) module_hash: [u8; 32],
}

impl Code {
    pub(crate) fn module(&self) -> &Arc<CanisterModule> {
        self.state.module()
    }
}

/// A chunk store: chunks in the order they were uploaded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChunkStore {
    pub(crate) chunks: BTreeMap<[u8; 32], serde_bytes::ByteBuf>,
}

/// Everything about one canister. The code is saved apart, in files of its own.
#[derive(Serialize, Deserialize)]
pub(crate) struct Canister {
    pub(crate) id: CanisterId,
    pub(crate) settings: Settings,
    pub(crate) status: Status,
    pub(crate) balance: u128,
    /// Cycles this canister has paid for resources.
    pub(crate) consumed: u128,
    pub(crate) version: u64,
    #[serde(with = "serde_bytes")]
    pub(crate) certified_data: Vec<u8>,
    /// Time of the global timer in ns; 0 when it is off.
    pub(crate) global_timer_ns: u64,
    pub(crate) low_memory_hook: LowMemoryHook,
    pub(crate) history: History,
    pub(crate) log: CanisterLog,
    pub(crate) chunks: ChunkStore,
    pub(crate) queues: InputQueues,
    pub(crate) contexts: CallContexts,
    pub(crate) usage: UsageRing,
    pub(crate) query_statistics: QueryStatistics,
    /// Bytes of its snapshots.
    pub(crate) snapshot_bytes: u64,
    /// Snapshots taken so far, which numbers them.
    pub(crate) snapshots_taken: u64,
    /// Dirty bytes above the rate limit.
    pub(crate) heap_delta_debit: u64,
    /// Instructions of `install_code` above the rate limit.
    pub(crate) install_debit: u64,
    /// Rounds the last long execution would still occupy this canister with time slicing.
    pub(crate) slices_left: u64,
    /// What runs first in the next round.
    pub(crate) next_method: NextMethod,
    /// What is to go wrong with it.
    #[serde(default)]
    pub(crate) faults: Faults,
    #[serde(skip)]
    pub(crate) code: Option<Code>,
}

/// Rotation between messages and system tasks, so that neither starves the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum NextMethod {
    GlobalTimer,
    #[default]
    Heartbeat,
    Message,
}

impl NextMethod {
    pub(crate) const fn following(self) -> Self {
        match self {
            Self::GlobalTimer => Self::Heartbeat,
            Self::Heartbeat => Self::Message,
            Self::Message => Self::GlobalTimer,
        }
    }
}

impl Canister {
    pub(crate) fn new(id: CanisterId, controller: Principal, limits: &SubnetLimits) -> Self {
        const DEFAULT_RESERVED_CYCLES_LIMIT: u128 = 5_000_000_000_000;
        Self {
            id,
            settings: Settings {
                controllers: BTreeSet::from([controller]),
                compute_percent: 0,
                memory_allocation: 0,
                freezing_threshold_s: limits.freezing_threshold_s,
                reserved_cycles_limit: DEFAULT_RESERVED_CYCLES_LIMIT,
                log_visibility: LogVisibility::Controllers,
                snapshot_visibility: SnapshotVisibility::default(),
                log_bytes: limits.log_bytes,
                wasm_memory_limit: limits.default_wasm_memory_limit,
                wasm_memory_threshold: 0,
                environment: BTreeMap::new(),
            },
            status: Status::Running,
            balance: 0,
            consumed: 0,
            version: 0,
            certified_data: Vec::new(),
            global_timer_ns: 0,
            low_memory_hook: LowMemoryHook::default(),
            history: History::default(),
            log: CanisterLog::default(),
            chunks: ChunkStore::default(),
            queues: InputQueues::default(),
            contexts: CallContexts::default(),
            usage: UsageRing::default(),
            query_statistics: QueryStatistics::default(),
            snapshot_bytes: 0,
            snapshots_taken: 0,
            heap_delta_debit: 0,
            install_debit: 0,
            slices_left: 0,
            next_method: NextMethod::default(),
            faults: Faults::default(),
            code: None,
        }
    }

    /// Returns the bytes of each kind of memory.
    pub(crate) fn memory(&self, limits: &SubnetLimits) -> MemoryUsage {
        let (heap, stable, binary, custom) = match &self.code {
            None => (0, 0, 0, 0),
            Some(code) => (
                code.state.heap_bytes(),
                code.state.stable_bytes(),
                code.uploaded.len() as u64,
                code.module().custom_sections_bytes(),
            ),
        };
        MemoryUsage {
            heap,
            stable,
            binary,
            custom,
            history: self.history.bytes(),
            // A chunk occupies a whole slot of the store.
            chunks: self.chunks.chunks.len() as u64 * limits.chunk_bytes,
            snapshots: self.snapshot_bytes,
            log: self.log.bytes(),
        }
    }

    /// Returns the bytes the canister pays for: what it uses, or what it reserved if that is more.
    pub(crate) fn charged_bytes(&self, limits: &SubnetLimits) -> u64 {
        self.memory(limits)
            .total()
            .max(self.settings.memory_allocation)
    }

    /// Returns the bytes that are reserved and not used.
    pub(crate) fn reserved_bytes_unused(&self, limits: &SubnetLimits) -> u64 {
        let used = self.memory(limits).total();
        self.settings.memory_allocation.saturating_sub(used)
    }

    /// Returns the balance below which the canister is frozen.
    pub(crate) fn freezing_balance(&self, limits: &SubnetLimits, fees: &Fees) -> u128 {
        fees.freezing_balance(
            self.charged_bytes(limits),
            self.settings.compute_percent,
            self.settings.freezing_threshold_s,
        )
    }

    pub(crate) fn idle_per_day(&self, limits: &SubnetLimits, fees: &Fees) -> u128 {
        fees.idle_per_day(self.charged_bytes(limits), self.settings.compute_percent)
    }

    /// Takes cycles from the balance unless that would freeze the canister.
    ///
    /// The shortfall is told only to those who may top up: `reveal`.
    pub(crate) fn withdraw(
        &mut self,
        cycles: u128,
        limits: &SubnetLimits,
        fees: &Fees,
        reveal: bool,
    ) -> Result<(), UserError> {
        if cycles == 0 {
            return Ok(());
        }
        let needed = cycles.saturating_add(self.freezing_balance(limits, fees));
        if self.balance < needed {
            let missing = needed - self.balance;
            return Err(out_of_cycles(&self.id, missing, reveal));
        }
        self.balance -= cycles;
        Ok(())
    }

    pub(crate) fn is_controller(&self, principal: &Principal) -> bool {
        self.settings.controllers.contains(principal)
    }

    /// Returns why the canister takes no calls, if so.
    pub(crate) fn not_running(&self) -> Option<UserError> {
        match self.status {
            Status::Running => None,
            Status::Stopping(_) => Some(UserError::new(
                ErrorCode::CanisterStopping,
                format!("Canister {} is stopping", self.id),
            )),
            Status::Stopped => Some(UserError::new(
                ErrorCode::CanisterStopped,
                format!("Canister {} is stopped", self.id),
            )),
        }
    }

    pub(crate) fn vm_status(&self) -> millrace_vm::CanisterStatus {
        match self.status {
            Status::Running => millrace_vm::CanisterStatus::Running,
            Status::Stopping(_) => millrace_vm::CanisterStatus::Stopping,
            Status::Stopped => millrace_vm::CanisterStatus::Stopped,
        }
    }

    /// Re-evaluates whether the heap is close to its limit.
    pub(crate) fn update_low_memory_hook(&mut self, limits: &SubnetLimits) {
        let Some(code) = &self.code else {
            self.low_memory_hook = LowMemoryHook::NotSatisfied;
            return;
        };
        let limit = match self.settings.wasm_memory_limit {
            0 => limits.wasm_memory_bytes,
            limit => limit,
        };
        let free = limit.saturating_sub(code.state.heap_bytes());
        self.low_memory_hook = match (
            free < self.settings.wasm_memory_threshold,
            self.low_memory_hook,
        ) {
            (false, _) => LowMemoryHook::NotSatisfied,
            (true, LowMemoryHook::NotSatisfied) => LowMemoryHook::Ready,
            (true, status) => status,
        };
    }

    /// Returns whether anything would run in the next round at this time.
    pub(crate) fn has_work(&self, now_ns: u64) -> bool {
        !self.queues.is_empty()
            || self.slices_left > 0
            || (self.status == Status::Running && (self.has_heartbeat() || self.timer_due(now_ns)))
            || self.low_memory_hook == LowMemoryHook::Ready
    }

    pub(crate) fn has_heartbeat(&self) -> bool {
        self.code
            .as_ref()
            .is_some_and(|code| code.module().exports().heartbeat)
    }

    pub(crate) fn timer_due(&self, now_ns: u64) -> bool {
        self.global_timer_ns != 0
            && self.global_timer_ns <= now_ns
            && self
                .code
                .as_ref()
                .is_some_and(|code| code.module().exports().global_timer)
    }
}

/// Bytes a canister occupies, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MemoryUsage {
    pub(crate) heap: u64,
    pub(crate) stable: u64,
    pub(crate) binary: u64,
    pub(crate) custom: u64,
    pub(crate) history: u64,
    pub(crate) chunks: u64,
    pub(crate) snapshots: u64,
    pub(crate) log: u64,
}

impl MemoryUsage {
    pub(crate) const fn total(&self) -> u64 {
        self.heap
            + self.stable
            + self.binary
            + self.custom
            + self.history
            + self.chunks
            + self.snapshots
            + self.log
    }
}

/// Returns the IC's error for a canister that cannot pay.
pub(crate) fn out_of_cycles(id: &CanisterId, missing: u128, reveal: bool) -> UserError {
    let message = if reveal {
        format!(
            "Canister {id} is out of cycles: please top up the canister with at least {} additional cycles",
            grouped(missing)
        )
    } else {
        format!("Canister {id} is out of cycles")
    };
    UserError::new(ErrorCode::CanisterOutOfCycles, message)
}

/// Writes a number with `_` between groups of three digits, as the IC prints cycles.
pub(crate) fn grouped(number: u128) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('_');
        }
        text.push(digit);
    }
    text
}
