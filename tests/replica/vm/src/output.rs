//! What one message execution returns: effects or a trap, usage, and log lines.

use candid::Principal;
use serde::{Deserialize, Serialize};

use crate::input::Callback;
use crate::trap::Trap;
use crate::units::{Cycles, Instructions, OsPages};

/// The message's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// `msg_reply` with this data.
    Reply(Vec<u8>),
    /// `msg_reject` with this text.
    Reject(String),
}

/// What a call set aside from the caller's balance, besides the cycles it carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallPrepayment {
    /// For the request's bytes: spent.
    pub request_transmission: Cycles,
    /// For the largest response's bytes: the unused part is refunded with the response.
    pub response_transmission: Cycles,
    /// For executing the response's callback: the unused part is refunded after it ran.
    pub response_execution: Cycles,
}

impl CallPrepayment {
    /// Returns the sum.
    #[must_use]
    pub fn total(&self) -> Cycles {
        self.request_transmission
            .saturating_add(self.response_transmission)
            .saturating_add(self.response_execution)
    }
}

/// A call the message performed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutgoingCall {
    /// The called canister.
    pub callee: Principal,
    /// Its method.
    pub method: String,
    /// The argument.
    pub payload: Vec<u8>,
    /// The cycles it carries, already taken from the balance.
    pub cycles: Cycles,
    /// What else was taken from the balance for it.
    pub prepayment: CallPrepayment,
    /// Runs on a reply.
    pub on_reply: Callback,
    /// Runs on a rejection.
    pub on_reject: Callback,
    /// Runs when the reply or reject callback traps.
    pub on_cleanup: Option<Callback>,
    /// Present for best-effort calls: seconds until the caller stops waiting (at most 300).
    pub best_effort_timeout_seconds: Option<u32>,
}

/// What a successful message did besides changing heap, globals and stable memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effects {
    /// The answer, when this message gave it.
    pub response: Option<Response>,
    /// The calls, in the order of `call_perform`.
    pub calls: Vec<OutgoingCall>,
    /// Cycles taken from the call context; part of `balance` already.
    pub cycles_accepted: Cycles,
    /// Cycles burned; gone from `balance` already.
    pub cycles_burned: Cycles,
    /// The balance after acceptance, burning and calls.
    pub balance: Cycles,
    /// The new certified data, when set.
    pub certified_data: Option<Vec<u8>>,
    /// The new global timer in nanoseconds (0 switches it off), when set.
    pub global_timer_ns: Option<u64>,
    /// Whether `inspect_message` accepted the message.
    pub message_accepted: bool,
    /// Bytes by which heap and stable memory grew.
    pub memory_growth_bytes: u64,
}

/// What the message consumed; measured whether it succeeded or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Instructions, at most the limit.
    pub instructions: Instructions,
    /// Distinct heap pages written, also when the same bytes were written.
    pub heap_pages_dirtied: OsPages,
    /// Distinct stable pages written.
    pub stable_pages_dirtied: OsPages,
    /// Distinct stable pages read or written: what the access limit counts.
    pub stable_pages_accessed: OsPages,
    /// Distinct stable pages read by `stable64_read`.
    pub stable_pages_read: OsPages,
    /// System calls, the failing one included.
    pub system_calls: u64,
    /// Pages copied to make the changes durable: the real work of a commit, 0 after a trap.
    pub pages_committed: OsPages,
}

/// One line of the canister's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRecord {
    /// When, nanoseconds since 1970.
    pub time_ns: u64,
    /// The text's bytes, as printed.
    pub content: Vec<u8>,
}

/// The result of one message execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The effects, or why the message trapped.
    pub result: Result<Effects, Trap>,
    /// What it used.
    pub usage: Usage,
    /// `debug_print` lines and the trap's text, oldest first; kept after a trap.
    pub logs: Vec<LogRecord>,
}
