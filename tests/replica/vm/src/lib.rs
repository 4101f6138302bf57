//! Executes one canister message on wasmtime under the IC's rules.
//!
//! Values in, effects out: no networking, no queues, no management canister. See [`execute()`].

mod engine;
mod execute;
mod fees;
mod input;
mod module;
mod output;
mod state;
mod trap;
mod units;

pub use engine::{Engine, EngineError, EngineOptions};
pub use execute::execute;
pub use fees::{Fees, INTER_CANISTER_PAYLOAD_BYTES_MAX};
pub use input::{
    Callback, CallerInfo, CanisterFacts, CanisterStatus, EntryPoint, Fault, Input, Limits,
    MemoryLimits, MessageFacts, Mode, Rejection, SubnetKind,
};
pub use module::{CanisterModule, CustomSection, Exports, ModuleError, decode_module};
pub use output::{CallPrepayment, Effects, LogRecord, OutgoingCall, Output, Response, Usage};
pub use state::{CanisterState, StateError};
pub use trap::{Trap, TrapKind};
pub use units::{Cycles, Instructions, OS_PAGE_BYTES, OsPages, WASM_PAGE_BYTES};
