//! Messages between canisters, and to and from the management canister.

use crate::error::{RejectCode, UserError};
use crate::ingress::MessageId;
use crate::topology::CanisterId;
use candid::Principal;
use millrace_vm::CallerInfo;
use serde::{Deserialize, Serialize};

/// A call on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) sender: CanisterId,
    pub(crate) receiver: CanisterId,
    /// The sender's callback.
    pub(crate) callback: u64,
    pub(crate) method: String,
    #[serde(with = "serde_bytes")]
    pub(crate) payload: Vec<u8>,
    pub(crate) cycles: u128,
    /// Present for best-effort calls.
    pub(crate) deadline_ns: Option<u64>,
    pub(crate) sent_ns: u64,
}

/// The content of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    Reply(#[serde(with = "serde_bytes")] Vec<u8>),
    Reject { code: RejectCode, message: String },
}

impl Answer {
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Reply(bytes) => bytes.len() as u64,
            Self::Reject { message, .. } => message.len() as u64,
        }
    }
}

impl From<Result<Vec<u8>, UserError>> for Answer {
    fn from(result: Result<Vec<u8>, UserError>) -> Self {
        match result {
            Ok(bytes) => Self::Reply(bytes),
            Err(error) => Self::Reject {
                code: error.reject_code(),
                message: error.message,
            },
        }
    }
}

/// An answer on its way back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Response {
    /// Who called.
    pub(crate) originator: CanisterId,
    /// Who answers.
    pub(crate) respondent: CanisterId,
    pub(crate) callback: u64,
    pub(crate) answer: Answer,
    /// Cycles of the call that were not accepted.
    pub(crate) refund: u128,
}

/// Anything that travels between canisters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum CanisterMessage {
    Request(Request),
    Response(Response),
}

impl CanisterMessage {
    pub(crate) fn receiver(&self) -> CanisterId {
        match self {
            Self::Request(request) => request.receiver,
            Self::Response(response) => response.originator,
        }
    }
}

impl Request {
    /// Returns the response that carries this answer and what is left of the cycles.
    pub(crate) fn respond(&self, answer: Answer, refund: u128) -> CanisterMessage {
        CanisterMessage::Response(Response {
            originator: self.sender,
            respondent: self.receiver,
            callback: self.callback,
            answer,
            refund,
        })
    }

    /// Returns the rejection of the whole call, with all its cycles.
    pub(crate) fn reject(&self, code: RejectCode, message: impl Into<String>) -> CanisterMessage {
        self.respond(
            Answer::Reject {
                code,
                message: message.into(),
            },
            self.cycles,
        )
    }
}

/// Who waits for the answer of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Origin {
    Ingress {
        sender: Principal,
        id: MessageId,
        caller_info: Option<CallerInfo>,
    },
    Canister {
        sender: CanisterId,
        callback: u64,
        deadline_ns: Option<u64>,
    },
    /// Heartbeats, timers and hooks answer nobody.
    SystemTask,
}

impl Origin {
    /// Returns the caller as the callee sees it; the management canister for system tasks.
    pub(crate) fn caller(&self) -> Principal {
        match self {
            Self::Ingress { sender, .. } | Self::Canister { sender, .. } => *sender,
            Self::SystemTask => Principal::management_canister(),
        }
    }

    /// Returns what the user attached about itself.
    pub(crate) const fn caller_info(&self) -> Option<&CallerInfo> {
        match self {
            Self::Ingress { caller_info, .. } => caller_info.as_ref(),
            Self::Canister { .. } | Self::SystemTask => None,
        }
    }

    pub(crate) const fn deadline_ns(&self) -> Option<u64> {
        match self {
            Self::Canister { deadline_ns, .. } => *deadline_ns,
            Self::Ingress { .. } | Self::SystemTask => None,
        }
    }
}

/// A message for one canister, waiting in its input queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Input {
    Ingress(QueuedIngress),
    Request(Request),
    Response(Response),
}

/// An inducted ingress message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QueuedIngress {
    pub(crate) id: MessageId,
    pub(crate) sender: Principal,
    pub(crate) caller_info: Option<CallerInfo>,
    pub(crate) method: String,
    #[serde(with = "serde_bytes")]
    pub(crate) payload: Vec<u8>,
    pub(crate) expiry_ns: u64,
}

impl QueuedIngress {
    /// Returns the bytes that the sender decided on.
    pub(crate) fn bytes(&self) -> u64 {
        (self.method.len() + self.payload.len()) as u64
    }
}

/// A call of the management canister.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ManagementCall {
    pub(crate) origin: Origin,
    pub(crate) method: String,
    #[serde(with = "serde_bytes")]
    pub(crate) payload: Vec<u8>,
    pub(crate) cycles: u128,
    /// When an ingress message may no longer start; `u64::MAX` for canisters' calls.
    pub(crate) expiry_ns: u64,
}
