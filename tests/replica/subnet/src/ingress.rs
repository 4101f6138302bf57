//! Messages from users, their identifiers and their history.

use crate::error::UserError;
use crate::topology::{CanisterId, SubnetId};
use candid::Principal;
use millrace_vm::CallerInfo;
use serde::{Deserialize, Serialize};

/// Identifier of an ingress message: the request id of its content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageId(pub [u8; 32]);

impl std::fmt::Display for MessageId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::fmt::Debug for MessageId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MessageId({self})")
    }
}

/// Where a message is routed, which for the management canister its name does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum EffectivePrincipal {
    /// Decided from the target and the payload.
    #[default]
    None,
    /// This subnet.
    SubnetId(SubnetId),
    /// The subnet that owns this id.
    CanisterId(CanisterId),
}

/// A signed update call whose signature was checked by the caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ingress {
    /// User.
    pub sender: Principal,
    /// Target; the management canister is the empty principal.
    pub canister_id: CanisterId,
    /// Method name.
    pub method: String,
    /// Argument.
    #[serde(with = "serde_bytes")]
    pub payload: Vec<u8>,
    /// Routing hint.
    pub effective: EffectivePrincipal,
    /// Request id; `None` gives the message a fresh one.
    pub message_id: Option<MessageId>,
    /// Time after which it may no longer start, in ns; `None` is the longest the limits allow.
    pub expiry_ns: Option<u64>,
    /// What the user attached about itself (`sender_info`), whose signature the caller checked.
    pub caller_info: Option<CallerInfo>,
}

/// A query call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// User.
    pub sender: Principal,
    /// Target; the management canister is the empty principal.
    pub canister_id: CanisterId,
    /// Method name.
    pub method: String,
    /// Argument.
    pub payload: Vec<u8>,
    /// Routing hint.
    pub effective: EffectivePrincipal,
    /// What the user attached about itself (`sender_info`), whose signature the caller checked.
    pub caller_info: Option<CallerInfo>,
}

/// Progress of an ingress message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IngressState {
    /// Accepted, not yet executed.
    Received,
    /// Its call context is open.
    Processing,
    /// Answered.
    Replied(#[serde(with = "serde_bytes")] Vec<u8>),
    /// Refused or failed.
    Rejected(UserError),
    /// Answered, and the answer is no longer kept.
    Done,
}

/// An ingress message's progress and who may see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IngressStatus {
    /// Who sent it: the only one who may read its status.
    pub sender: Principal,
    /// Canister the message was for; the management canister for management calls.
    pub receiver: CanisterId,
    /// Subnet that answers for it.
    pub subnet: SubnetId,
    /// Progress.
    pub state: IngressState,
}
