//! Executes one canister message on wasmtime under the Internet Computer's rules.
//!
//! Values in, effects out: no networking, no queues, no management canister. [`Engine::prepare`]
//! turns Wasm into a [`CanisterModule`], [`CanisterState`] holds what a canister keeps between
//! messages, and [`execute()`] runs one message: it either commits everything or changes nothing.
//!
//! What is exact: instructions (the IC's cost table and placement), system-call prices, distinct
//! pages written and read, limits, and what each call may do where. What is not modelled:
//! deterministic time slicing (a message runs in one go, whatever its limit), and the reservation of
//! cycles for storage.
//!
//! Needs Linux: memories are `memfd` files mapped privately.

mod api;
mod candid_input;
mod engine;
mod execute;
mod fees;
mod input;
mod memory;
mod module;
mod module_files;
mod output;
mod profile;
mod state;
mod trap;
mod units;
mod wasm;

#[cfg(test)]
mod tests;

pub use candid_input::{candid_quotas, decode_candid};
pub use engine::{CACHE_BYTES_MAX, Engine, EngineError, EngineOptions};
pub use execute::execute;
pub use fees::{
    FLEXIBLE_RESPONSE_PROOF_BYTES, Fees, HttpRequestEstimate, INTER_CANISTER_PAYLOAD_BYTES_MAX,
};
pub use input::{
    Callback, CallerInfo, CanisterFacts, CanisterStatus, EntryPoint, Fault, Input, Limits,
    MemoryLimits, MessageFacts, Mode, Rejection, SubnetKind,
};
pub use memory::heap::HeapTracking;
pub use module::{
    CanisterModule, CustomSection, Exports, MODULE_BYTES_MAX, ModuleError, decode_module,
};
pub use output::{CallPrepayment, Effects, LogRecord, OutgoingCall, Output, Response, Usage};
pub use profile::Profiler;
pub use state::{CanisterState, StateError};
pub use trap::{Trap, TrapKind};
pub use units::{Cycles, Instructions, OS_PAGE_BYTES, OsPages, WASM_PAGE_BYTES};
