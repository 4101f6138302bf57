//! What one message execution is given: the entry point, facts, limits and faults.

use std::collections::BTreeMap;
use std::sync::Arc;

use candid::Principal;
use serde::{Deserialize, Serialize};

use crate::fees::Fees;
use crate::units::{Cycles, Instructions, OsPages};

/// A function of the canister's table together with the argument it was registered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Callback {
    /// Index into the module's function table.
    pub fun: u32,
    /// Opaque value passed to the function; a pointer in practice.
    pub env: u32,
}

/// The function of a module that a message runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EntryPoint {
    /// The module's `start` function.
    Start,
    /// `canister_init`.
    Init,
    /// `canister_pre_upgrade`.
    PreUpgrade,
    /// `canister_post_upgrade`.
    PostUpgrade,
    /// `canister_update <name>`.
    Update(String),
    /// `canister_query <name>`; replicated or not, as [`Input::mode`] says.
    Query(String),
    /// `canister_composite_query <name>`.
    CompositeQuery(String),
    /// `canister_heartbeat`.
    Heartbeat,
    /// `canister_global_timer`.
    GlobalTimer,
    /// `canister_on_low_wasm_memory`.
    LowWasmMemory,
    /// `canister_inspect_message`.
    InspectMessage,
    /// The callback for a reply.
    ReplyCallback(Callback),
    /// The callback for a rejection.
    RejectCallback(Callback),
    /// The clean-up callback after a reply or reject callback trapped.
    Cleanup(Callback),
}

/// Who executes the message, which decides what the system interface allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Mode {
    /// Every node executes it: updates, replicated queries, tasks and their callbacks.
    Replicated,
    /// One node executes it: queries and `inspect_message`.
    NonReplicated,
    /// One node executes it as part of a composite query: the query itself and its callbacks.
    Composite,
}

/// Whether the canister accepts messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CanisterStatus {
    /// Accepts everything.
    Running,
    /// Waits for its open call contexts, accepts responses only.
    Stopping,
    /// Accepts nothing.
    Stopped,
}

/// The kind of subnet the canister lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SubnetKind {
    /// Charges fees.
    Application,
    /// Charges fees; its canisters are vetted.
    VerifiedApplication,
    /// Charges nothing and logs every `debug_print`.
    System,
}

/// Limits on memory growth, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryLimits {
    /// The canister's `wasm_memory_limit` setting; `None` or 0 is no limit. As on the IC it holds
    /// in start, init, post_upgrade and updates; not in tasks, responses, queries, pre_upgrade.
    pub wasm_memory_limit: Option<u64>,
    /// The largest heap of any canister.
    pub heap_bytes_max: u64,
    /// The largest stable memory of any canister.
    pub stable_bytes_max: u64,
    /// What heap and stable memory together may still grow by (memory allocation or subnet). Not
    /// checked in install_code's messages and queries: the caller checks
    /// [`Effects::memory_growth_bytes`](crate::Effects::memory_growth_bytes) once at the end.
    pub growth_bytes_available: u64,
    /// What the canister has reserved and not used: growing into it makes no memory dearer.
    pub reserved_bytes_unused: u64,
    /// By how much the freezing threshold rises with each GiB beyond that.
    pub freezing_cycles_per_gib: Cycles,
}

impl Default for MemoryLimits {
    fn default() -> Self {
        const GIB: u64 = 1 << 30;
        Self {
            wasm_memory_limit: Some(3 * GIB),
            heap_bytes_max: 4 * GIB,
            stable_bytes_max: 500 * GIB,
            growth_bytes_available: u64::MAX,
            reserved_bytes_unused: 0,
            freezing_cycles_per_gib: Cycles::ZERO,
        }
    }
}

/// What is known about the canister when the message starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanisterFacts {
    /// The canister's id.
    pub canister_id: Principal,
    /// Its controllers, in the order of its settings.
    pub controllers: Vec<Principal>,
    /// Its version counter.
    pub version: u64,
    /// Whether it runs.
    pub status: CanisterStatus,
    /// The block time in nanoseconds since 1970.
    pub time_ns: u64,
    /// Its cycles, after prepayment for this execution.
    pub balance: Cycles,
    /// What must stay in the balance when cycles are sent or burned: the freezing threshold.
    pub freezing_threshold: Cycles,
    /// The certificate of its certified data; only queries have one.
    pub data_certificate: Option<Arc<[u8]>>,
    /// The time its global timer is set to, in nanoseconds; 0 when inactive.
    pub global_timer_ns: u64,
    /// The subnet's id.
    pub subnet_id: Principal,
    /// The subnet's kind.
    pub subnet_kind: SubnetKind,
    /// The subnet's prices and number of nodes.
    pub fees: Fees,
    /// The network's root key, DER.
    pub root_key: Arc<[u8]>,
    /// Its environment variables, by name.
    pub environment: Arc<BTreeMap<String, String>>,
    /// Limits on its memory.
    pub memory: MemoryLimits,
}

/// A rejected call's code and text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// The IC's reject code, 1 to 6.
    pub code: u32,
    /// Why.
    pub message: String,
}

/// What is known about the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageFacts {
    /// Who sent it; for callbacks, the caller of the call context.
    pub caller: Principal,
    /// The argument, or the reply's data.
    pub payload: Arc<[u8]>,
    /// The called method, for `inspect_message`.
    pub method_name: String,
    /// Present in reject callbacks.
    pub rejection: Option<Rejection>,
    /// When a best-effort call expires, nanoseconds since 1970; `None` for guaranteed responses.
    pub deadline_ns: Option<u64>,
    /// Cycles of the call context that can still be accepted.
    pub cycles_available: Cycles,
    /// Cycles that came back with the response.
    pub cycles_refunded: Cycles,
    /// Whether the call context has been answered already, or (for system tasks) cannot be.
    pub already_responded: bool,
    /// Instructions earlier messages of this call context used, for `performance_counter(1)`.
    pub call_context_instructions: Instructions,
    /// `sender_info` of the request: the data and the signer, when the sender attached them.
    pub caller_info: Option<CallerInfo>,
}

/// What a sender attached about itself, as `msg_caller_info_*` returns it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallerInfo {
    /// Opaque data.
    pub data: Vec<u8>,
    /// The principal of the canister that signed the data.
    pub signer: Principal,
}

/// What the message may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Instructions; reaching it traps with `CanisterInstructionLimitExceeded`.
    pub instructions: Instructions,
    /// Instructions of a response callback that calls pay for in advance.
    pub response_instructions: Instructions,
    /// Distinct stable pages written.
    pub stable_dirty_pages: OsPages,
    /// Distinct stable pages read or written.
    pub stable_accessed_pages: OsPages,
    /// Bytes of a reply's data or a rejection's text.
    pub reply_bytes: u64,
    /// Bytes of an outgoing call's method name and payload.
    pub call_payload_bytes: u64,
    /// Free slots of the output queue to any callee not named in `output_slots`.
    pub output_slots_default: u32,
    /// Free slots of the output queue per callee.
    pub output_slots: BTreeMap<Principal, u32>,
    /// Callbacks the canister may still register.
    pub callbacks: u32,
    /// Bytes of debug output kept per message; more is cut off.
    pub log_bytes: u64,
}

impl Limits {
    /// Returns the IC's limits for an update, heartbeat, timer or response on an application subnet.
    #[must_use]
    pub fn update() -> Self {
        const PAGES_PER_GIB: u64 = 262_144;
        Self {
            instructions: Instructions(40_000_000_000),
            response_instructions: Instructions(40_000_000_000),
            stable_dirty_pages: OsPages(2 * PAGES_PER_GIB),
            stable_accessed_pages: OsPages(2 * PAGES_PER_GIB),
            reply_bytes: 2 << 20,
            call_payload_bytes: 10 << 20,
            output_slots_default: 500,
            output_slots: BTreeMap::new(),
            callbacks: 1_000_000,
            log_bytes: 4_096,
        }
    }

    /// Returns the IC's limits for installing or upgrading code on an application subnet.
    #[must_use]
    pub fn install() -> Self {
        const PAGES_PER_GIB: u64 = 262_144;
        Self {
            instructions: Instructions(300_000_000_000),
            stable_dirty_pages: OsPages(8 * PAGES_PER_GIB),
            stable_accessed_pages: OsPages(8 * PAGES_PER_GIB),
            ..Self::update()
        }
    }

    /// Returns the IC's limits for a non-replicated query on an application subnet.
    #[must_use]
    pub fn query() -> Self {
        const PAGES_PER_GIB: u64 = 262_144;
        Self {
            instructions: Instructions(5_000_000_000),
            stable_dirty_pages: OsPages(PAGES_PER_GIB),
            stable_accessed_pages: OsPages(PAGES_PER_GIB),
            reply_bytes: 3 << 20,
            ..Self::update()
        }
    }

    /// Returns the IC's limits for `inspect_message`.
    #[must_use]
    pub fn inspect() -> Self {
        Self {
            instructions: Instructions(200_000_000),
            ..Self::query()
        }
    }
}

/// A fault to inject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// The n-th system call of the message (counted from 1) traps instead of executing.
    TrapAtSystemCall(u64),
}

/// Everything one message execution depends on, besides the canister's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The function to run.
    pub entry: EntryPoint,
    /// How it runs.
    pub mode: Mode,
    /// The canister.
    pub facts: CanisterFacts,
    /// The message.
    pub message: MessageFacts,
    /// The limits.
    pub limits: Limits,
    /// The fault to inject, if any.
    pub fault: Option<Fault>,
}
