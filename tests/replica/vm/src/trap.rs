//! Why a message failed, in the IC's codes and words.

use candid::Principal;
use serde::{Deserialize, Serialize};

use crate::units::{Cycles, Instructions};

/// The IC's error code of a failed execution; the names are `pocket-ic`'s `ErrorCode` variants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TrapKind {
    /// IC0502: the Wasm code trapped.
    CanisterTrapped,
    /// IC0503: the canister called `ic0.trap`.
    CanisterCalledTrap,
    /// IC0504: the system interface was used against its contract.
    CanisterContractViolation,
    /// IC0507: memory could not grow.
    CanisterOutOfMemory,
    /// IC0513: a callback is not in the function table.
    CanisterFunctionNotFound,
    /// IC0521: the engine failed.
    CanisterWasmEngineError,
    /// IC0522: the instruction limit was reached.
    CanisterInstructionLimitExceeded,
    /// IC0524: too many stable pages were touched.
    CanisterMemoryAccessLimitExceeded,
    /// IC0532: the balance does not cover the freezing threshold of a larger memory.
    InsufficientCyclesInMemoryGrow,
    /// IC0536: the method is not exported.
    CanisterMethodNotFound,
    /// IC0539: the heap outgrew the canister's own limit.
    CanisterWasmMemoryLimitExceeded,
}

/// A failed execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Trap {
    /// The code.
    pub kind: TrapKind,
    /// What happened, as the IC words it, without the canister's id.
    pub message: String,
    /// What to do about it, as the IC words it; may be empty.
    pub help: String,
    /// The line the IC writes to the canister's log, for traps of the canister's code.
    pub log: Option<String>,
}

const TOOLCHAIN_HELP: &str = "This is likely an error with the compiler/CDK toolchain being used to build the canister. Please report the error to IC devs on the forum: https://forum.dfinity.org and include which language/CDK was used to create the canister.";
const EXECUTION_ERRORS: &str =
    "https://internetcomputer.org/docs/current/references/execution-errors";
const HANDLE_FAILURES: &str = "Consider gracefully handling failures from this canister or altering the canister to handle exceptions.";

fn help(suggestion: &str, anchor: &str) -> String {
    format!("{suggestion} See documentation: {EXECUTION_ERRORS}#{anchor}")
}

impl Trap {
    /// Returns the text the IC puts into a rejection: the canister, the message and the help.
    #[must_use]
    pub fn user_message(&self, canister_id: &Principal) -> String {
        if self.help.is_empty() {
            format!("Error from Canister {canister_id}: {}", self.message)
        } else {
            // The IC ends the message with a full stop even when it already has one.
            format!(
                "Error from Canister {canister_id}: {}.\n{}",
                self.message, self.help
            )
        }
    }

    fn new(kind: TrapKind, message: String, help: String) -> Self {
        Self {
            kind,
            message,
            help,
            log: None,
        }
    }

    /// The Wasm code trapped; `code` is the IC's name of the reason.
    pub(crate) fn trapped(code: &str) -> Self {
        Self {
            log: Some(format!("[TRAP]: {code}")),
            ..Self::new(
                TrapKind::CanisterTrapped,
                format!("Canister trapped: {code}"),
                help(HANDLE_FAILURES, "trapped"),
            )
        }
    }

    /// The canister called `ic0.trap`.
    pub(crate) fn called(message: &str) -> Self {
        let logged = if message.is_empty() {
            "(no message)"
        } else {
            message
        };
        Self {
            log: Some(format!("[TRAP]: {logged}")),
            ..Self::new(
                TrapKind::CanisterCalledTrap,
                format!("Canister called `ic0.trap` with message: '{message}'"),
                help(HANDLE_FAILURES, "trapped-explicitly"),
            )
        }
    }

    /// The toolchain that built the canister used the system interface wrongly.
    pub(crate) fn toolchain(error: impl std::fmt::Display) -> Self {
        Self::new(
            TrapKind::CanisterContractViolation,
            format!("Canister violated contract: {error}"),
            TOOLCHAIN_HELP.to_owned(),
        )
    }

    /// The canister's author used the system interface wrongly.
    pub(crate) fn user(error: impl std::fmt::Display, suggestion: &str, anchor: &str) -> Self {
        Self::new(
            TrapKind::CanisterContractViolation,
            format!("Canister violated contract: {error}"),
            if suggestion.is_empty() {
                String::new()
            } else {
                help(suggestion, anchor)
            },
        )
    }

    /// A contract violation the IC gives no advice for.
    pub(crate) fn contract(message: impl Into<String>) -> Self {
        Self::new(
            TrapKind::CanisterContractViolation,
            message.into(),
            String::new(),
        )
    }

    /// A principal's bytes are too many.
    pub(crate) fn invalid_principal() -> Self {
        Self {
            help: TOOLCHAIN_HELP.to_owned(),
            ..Self::contract("Canister provided invalid principal id")
        }
    }

    /// A system call outside the contexts that allow it.
    pub(crate) fn wrong_mode(label: &str, context: &str) -> Self {
        Self::user(
            format!("\"{label}\" cannot be executed in {context} mode"),
            "Check the ICP documentation to make sure APIs are being called in the correct message types.",
            "calling-a-system-api-from-the-wrong-mode",
        )
    }

    /// The message used up its instructions.
    pub(crate) fn instruction_limit(limit: Instructions) -> Self {
        Self::new(
            TrapKind::CanisterInstructionLimitExceeded,
            format!(
                "Canister exceeded the limit of {limit} instructions for single message execution."
            ),
            help(
                "Try optimizing this method to consume fewer instructions or split the work across multiple messages.",
                "instruction-limit-exceeded",
            ),
        )
    }

    /// The message touched more stable pages than it may.
    pub(crate) fn memory_access(detail: &str) -> Self {
        Self::new(
            TrapKind::CanisterMemoryAccessLimitExceeded,
            format!("Canister exceeded memory access limits: {detail}"),
            help(
                "Try optimizing the use of stable memory so that individual messages don't need to access as much stable memory.",
                "memory-access-limit-exceeded",
            ),
        )
    }

    /// There is no memory left to grow into.
    pub(crate) fn out_of_memory() -> Self {
        Self::new(
            TrapKind::CanisterOutOfMemory,
            "Canister cannot grow its memory usage.".to_owned(),
            help(
                "Check the canister's memory usage against its allocation and the system wide limits to determine why more memory cannot be allocated.",
                "out-of-memory",
            ),
        )
    }

    /// The canister could not pay for a larger memory for as long as its freezing threshold says.
    pub(crate) fn insufficient_cycles(bytes: u64, missing: Cycles) -> Self {
        Self::new(
            TrapKind::InsufficientCyclesInMemoryGrow,
            format!(
                "Canister cannot grow memory by {bytes} bytes due to insufficient cycles. At least {missing} additional cycles are required."
            ),
            help(
                "Top up the canister with more cycles.",
                "insufficient-cycles-in-memory-grow",
            ),
        )
    }

    /// The heap grew beyond the canister's own limit.
    pub(crate) fn wasm_memory_limit(bytes: u64, limit: u64) -> Self {
        Self::new(
            TrapKind::CanisterWasmMemoryLimitExceeded,
            format!(
                "Canister exceeded its current Wasm memory limit of {limit} bytes. The peak Wasm memory usage was {bytes} bytes. If the canister reaches 4GiB, then it may stop functioning and may become unrecoverable. Please reach out to the canister owner to investigate the reason for the increased memory usage. It might be necessary to move data from the Wasm memory to the stable memory. If such high Wasm memory usage is expected and safe, then the developer can increase the Wasm memory limit in the canister settings."
            ),
            help(
                "Try checking the canister for a possible memory leak or modifying it to use more stable memory instead of Wasm memory.",
                "wasm-memory-limit-exceeded",
            ),
        )
    }

    /// The module does not export the method.
    pub(crate) fn method_not_found(kind: &str, name: &str) -> Self {
        Self::new(
            TrapKind::CanisterMethodNotFound,
            format!("Canister has no {kind} method '{name}'."),
            help(
                "Check that the method being called is exported by the target canister.",
                "method-not-found",
            ),
        )
    }

    /// A callback names a function that is not in the table.
    pub(crate) fn function_not_found(function: u32) -> Self {
        Self::new(
            TrapKind::CanisterFunctionNotFound,
            format!(
                "Canister requested to invoke a non-existent Wasm function {function} from table 0"
            ),
            TOOLCHAIN_HELP.to_owned(),
        )
    }

    /// wasmtime or the host failed.
    pub(crate) fn engine(detail: impl std::fmt::Display) -> Self {
        Self::new(
            TrapKind::CanisterWasmEngineError,
            format!("Canister encountered a Wasm engine error: {detail}"),
            String::new(),
        )
    }

    /// Returns what wasmtime stopped with, in the IC's terms.
    pub(crate) fn from_wasmtime(error: &wasmtime::Error) -> Self {
        if let Some(trap) = error.downcast_ref::<Self>() {
            return trap.clone();
        }
        match error.downcast_ref::<wasmtime::Trap>() {
            Some(wasmtime::Trap::StackOverflow) => Self::trapped("stack overflow"),
            Some(wasmtime::Trap::MemoryOutOfBounds) => Self::trapped("heap out of bounds"),
            Some(wasmtime::Trap::TableOutOfBounds) => Self::trapped("table out of bounds"),
            Some(wasmtime::Trap::IntegerDivisionByZero) => Self::trapped("integer division by 0"),
            Some(wasmtime::Trap::UnreachableCodeReached) => Self::trapped("unreachable"),
            Some(wasmtime::Trap::BadSignature) => {
                Self::toolchain("function invocation does not match its signature")
            }
            Some(_) => Self::trapped("unknown"),
            None => Self::engine(error),
        }
    }
}
