//! Why a message failed, in the IC's codes and words.

use candid::Principal;
use serde::{Deserialize, Serialize};

/// The IC's error code of a failed execution; the names are `pocket-ic`'s `ErrorCode` variants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TrapKind {
    /// IC0502: the Wasm code trapped.
    CanisterTrapped,
    /// IC0503: the canister called `ic0.trap`.
    CanisterCalledTrap,
    /// IC0504: the system interface was used against its contract.
    CanisterContractViolation,
    /// IC0513: a callback is not in the function table.
    CanisterFunctionNotFound,
    /// IC0522: the instruction limit was reached.
    CanisterInstructionLimitExceeded,
    /// IC0524: too many stable pages were touched.
    CanisterMemoryAccessLimitExceeded,
    /// IC0536: the method is not exported.
    CanisterMethodNotFound,
    /// IC0539: the heap outgrew the canister's own limit.
    CanisterWasmMemoryLimitExceeded,
    /// IC0507: memory could not grow.
    CanisterOutOfMemory,
    /// IC0521: the engine failed.
    CanisterWasmEngineError,
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
}
