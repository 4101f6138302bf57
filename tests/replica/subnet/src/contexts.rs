//! Call contexts and callbacks: what a canister has begun and not yet answered.

use crate::message::Origin;
use crate::topology::CanisterId;
use millrace_vm::Callback;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One call being processed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CallContext {
    pub(crate) origin: Origin,
    pub(crate) responded: bool,
    /// The code that opened it is gone; its callbacks no longer run.
    pub(crate) deleted: bool,
    /// Cycles of the call that can still be accepted.
    pub(crate) cycles: u128,
    /// Instructions its messages used so far.
    pub(crate) instructions: u64,
    /// Calls made on its behalf and not yet answered.
    pub(crate) outstanding: u32,
}

/// What happens when a call is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PendingCall {
    pub(crate) context: u64,
    pub(crate) callee: CanisterId,
    pub(crate) on_reply: Callback,
    pub(crate) on_reject: Callback,
    pub(crate) on_cleanup: Option<Callback>,
    /// Cycles the call carried; lost in the caller's books until the refund arrives.
    pub(crate) cycles: u128,
    /// Cycles set aside for transmitting the response.
    pub(crate) response_transmission: u128,
    /// Cycles set aside for executing the callback.
    pub(crate) response_execution: u128,
    pub(crate) deadline_ns: Option<u64>,
}

/// All open contexts and callbacks of a canister.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CallContexts {
    contexts: BTreeMap<u64, CallContext>,
    calls: BTreeMap<u64, PendingCall>,
    next_context: u64,
    next_callback: u64,
    /// Outstanding calls per callee, which the queue capacity bounds.
    outstanding: BTreeMap<CanisterId, u32>,
}

impl CallContexts {
    pub(crate) fn open(&mut self, origin: Origin, cycles: u128) -> u64 {
        let id = self.next_context;
        self.next_context += 1;
        let responded = origin == Origin::SystemTask;
        self.contexts.insert(
            id,
            CallContext {
                origin,
                responded,
                deleted: false,
                cycles,
                instructions: 0,
                outstanding: 0,
            },
        );
        id
    }

    pub(crate) fn get(&self, id: u64) -> Option<&CallContext> {
        self.contexts.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut CallContext> {
        self.contexts.get_mut(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &CallContext> {
        self.contexts.values()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut CallContext> {
        self.contexts.values_mut()
    }

    /// Removes the context when nothing can happen in it any more.
    pub(crate) fn close_if_done(&mut self, id: u64) {
        let done = self.contexts.get(&id).is_some_and(|context| {
            (context.responded || context.deleted) && context.outstanding == 0
        });
        if done {
            self.contexts.remove(&id);
        }
    }

    /// Removes every context in which nothing can happen any more.
    pub(crate) fn drop_done(&mut self) {
        self.contexts
            .retain(|_, context| !context.deleted || context.outstanding > 0);
    }

    /// Returns whether nothing is open; a stopping canister stops then.
    pub(crate) fn is_empty(&self) -> bool {
        self.contexts.is_empty()
    }

    pub(crate) fn register(&mut self, call: PendingCall) -> u64 {
        let id = self.next_callback;
        self.next_callback += 1;
        if let Some(context) = self.contexts.get_mut(&call.context) {
            context.outstanding += 1;
        }
        *self.outstanding.entry(call.callee).or_default() += 1;
        self.calls.insert(id, call);
        id
    }

    /// Removes a callback; its context's count of outstanding calls goes down.
    pub(crate) fn take_call(&mut self, callback: u64) -> Option<PendingCall> {
        let call = self.calls.remove(&callback)?;
        if let Some(context) = self.contexts.get_mut(&call.context) {
            context.outstanding -= 1;
        }
        if let Some(count) = self.outstanding.get_mut(&call.callee) {
            *count -= 1;
            if *count == 0 {
                self.outstanding.remove(&call.callee);
            }
        }
        Some(call)
    }

    pub(crate) fn has_call(&self, callback: u64) -> bool {
        self.calls.contains_key(&callback)
    }

    pub(crate) fn calls_len(&self) -> u64 {
        self.calls.len() as u64
    }

    /// Returns the outstanding calls per callee.
    pub(crate) const fn outstanding(&self) -> &BTreeMap<CanisterId, u32> {
        &self.outstanding
    }

    /// Returns best-effort calls whose deadline passed, marking each so that it is returned once.
    pub(crate) fn expire(&mut self, now_ns: u64) -> Vec<(u64, CanisterId)> {
        let mut expired = Vec::new();
        for (&id, call) in &mut self.calls {
            if call.deadline_ns.is_some_and(|deadline| deadline < now_ns) {
                call.deadline_ns = None;
                expired.push((id, call.callee));
            }
        }
        expired
    }

    /// Returns cycles that are neither in the balance nor on the way: set aside, or not yet accepted.
    #[cfg(test)]
    pub(crate) fn cycles_held(&self) -> u128 {
        let contexts: u128 = self
            .contexts
            .values()
            .map(|c| if c.responded { 0 } else { c.cycles })
            .sum();
        let calls: u128 = self
            .calls
            .values()
            .map(|c| c.response_transmission + c.response_execution)
            .sum();
        contexts + calls
    }
}
