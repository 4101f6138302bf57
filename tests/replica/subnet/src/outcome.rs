//! What an execution leads to: effects taken over, contexts answered, errors worded.

use crate::canister::Canister;
use crate::contexts::PendingCall;
use crate::error::{ErrorCode, UserError};
use crate::ingress::{IngressState, MessageId};
use crate::message::{Answer, CanisterMessage, Origin, Request, Response};
use crate::run::{Env, Rules};
use crate::topology::CanisterId;
use millrace_vm as vm;

/// What an execution did outside of its canister.
#[derive(Default)]
pub(crate) struct Step {
    pub(crate) messages: Vec<CanisterMessage>,
    pub(crate) ingress: Vec<(MessageId, IngressState)>,
    pub(crate) instructions: u64,
    /// Bytes dirtied.
    pub(crate) heap_delta: u64,
    /// Whether code ran.
    pub(crate) executed: bool,
}

impl Step {
    /// Answers whoever waits, returning what is left of the call's cycles.
    pub(crate) fn answer(
        &mut self,
        origin: &Origin,
        respondent: CanisterId,
        result: Result<Vec<u8>, UserError>,
        refund: u128,
    ) {
        match origin {
            Origin::SystemTask => {}
            Origin::Ingress { id, .. } => self.ingress.push((
                *id,
                match result {
                    Ok(bytes) => IngressState::Replied(bytes),
                    Err(error) => IngressState::Rejected(error),
                },
            )),
            Origin::Canister {
                sender, callback, ..
            } => {
                self.messages.push(CanisterMessage::Response(Response {
                    originator: *sender,
                    respondent,
                    callback: *callback,
                    answer: Answer::from(result),
                    refund,
                }));
            }
        }
    }

    pub(crate) fn count(&mut self, usage: &vm::Usage, succeeded: bool) {
        self.executed = true;
        self.instructions += usage.instructions.get();
        if succeeded {
            self.heap_delta +=
                usage.heap_pages_dirtied.bytes() + usage.stable_pages_dirtied.bytes();
        }
    }
}
/// Takes over what a successful message did.
pub(crate) fn apply(
    env: &Env,
    canister: &mut Canister,
    context: u64,
    effects: vm::Effects,
    usage: &vm::Usage,
    step: &mut Step,
) {
    canister.balance = effects.balance.get();
    canister.consumed = canister
        .consumed
        .saturating_add(effects.cycles_burned.get());
    canister.version += 1;
    if let Some(data) = effects.certified_data {
        canister.certified_data = data;
    }
    if let Some(timer) = effects.global_timer_ns {
        canister.global_timer_ns = timer;
    }
    for call in effects.calls {
        let request = register(env, canister, context, call);
        step.messages.push(CanisterMessage::Request(request));
    }
    let Some(state) = canister.contexts.get_mut(context) else {
        return;
    };
    state.instructions += usage.instructions.get();
    state.cycles = state.cycles.saturating_sub(effects.cycles_accepted.get());
    if let Some(response) = effects.response {
        state.responded = true;
        let refund = std::mem::take(&mut state.cycles);
        let origin = state.origin.clone();
        step.answer(&origin, canister.id, response_result(response), refund);
    }
}

/// Registers the callback of an outgoing call and returns its request.
pub(crate) fn register(
    env: &Env,
    canister: &mut Canister,
    context: u64,
    call: vm::OutgoingCall,
) -> Request {
    const SECOND_NS: u64 = 1_000_000_000;
    let deadline_ns = call
        .best_effort_timeout_seconds
        .map(|timeout_s| (env.time_ns / SECOND_NS + u64::from(timeout_s)) * SECOND_NS);
    canister.consumed = canister
        .consumed
        .saturating_add(call.prepayment.request_transmission.get());
    let callback = canister.contexts.register(PendingCall {
        context,
        callee: call.callee,
        on_reply: call.on_reply,
        on_reject: call.on_reject,
        on_cleanup: call.on_cleanup,
        cycles: call.cycles.get(),
        response_transmission: call.prepayment.response_transmission.get(),
        response_execution: call.prepayment.response_execution.get(),
        deadline_ns,
    });
    Request {
        sender: canister.id,
        receiver: call.callee,
        callback,
        method: call.method,
        payload: call.payload,
        cycles: call.cycles.get(),
        deadline_ns,
        sent_ns: env.time_ns,
    }
}

/// Ends a message: answers for a context in which nothing can happen any more.
pub(crate) fn finish(
    rules: &Rules,
    canister: &mut Canister,
    context: u64,
    trap: Option<UserError>,
    step: &mut Step,
) {
    canister.slices_left = step
        .instructions
        .div_ceil(rules.limits.slice_instructions.max(1))
        .saturating_sub(1);
    canister.update_low_memory_hook(&rules.limits);
    let id = canister.id;
    if let Some(state) = canister.contexts.get_mut(context) {
        if !state.responded && state.outstanding == 0 {
            state.responded = true;
            let refund = std::mem::take(&mut state.cycles);
            let error = trap.unwrap_or_else(|| did_not_reply(&id));
            let origin = state.origin.clone();
            step.answer(&origin, id, Err(error), refund);
        } else if let (false, Origin::Ingress { id, .. }) = (state.responded, &state.origin) {
            step.ingress.push((*id, IngressState::Processing));
        }
    }
    canister.contexts.close_if_done(context);
}

/// Returns the unused part of the prepayment to the canister.
pub(crate) fn settle(rules: &Rules, canister: &mut Canister, prepaid: u128, instructions: u64) {
    let cost = rules.fees.execution(instructions).min(prepaid);
    canister.balance = canister.balance.saturating_add(prepaid - cost);
    canister.consumed = canister.consumed.saturating_add(cost);
}

/// Returns the answer of a query that ran to its end.
pub(crate) fn query_result(
    id: &CanisterId,
    result: Result<vm::Effects, vm::Trap>,
) -> Result<Vec<u8>, UserError> {
    match result {
        Err(trap) => Err(trapped(id, &trap)),
        Ok(effects) => effects
            .response
            .map_or_else(|| Err(did_not_reply(id)), response_result),
    }
}

pub(crate) fn response_result(response: vm::Response) -> Result<Vec<u8>, UserError> {
    match response {
        vm::Response::Reply(bytes) => Ok(bytes),
        vm::Response::Reject(text) => Err(UserError::new(ErrorCode::CanisterRejectedMessage, text)),
    }
}

pub(crate) fn did_not_reply(id: &CanisterId) -> UserError {
    UserError::new(
        ErrorCode::CanisterDidNotReply,
        format!("Canister {id} did not reply to the call"),
    )
}

pub(crate) fn no_module(id: &CanisterId) -> UserError {
    UserError::new(
        ErrorCode::CanisterWasmModuleNotFound,
        format!(
            "Error from Canister {id}: Attempted to execute a message, but the canister contains no \
             Wasm module.\nPlease install code to the canister before calling it. {}",
            crate::management::see_documentation("wasm-module-not-found")
        ),
    )
}

/// Returns the rejection of a trap.
pub(crate) fn trapped(id: &CanisterId, trap: &vm::Trap) -> UserError {
    use vm::TrapKind as Kind;
    let code = match trap.kind {
        Kind::CanisterTrapped => ErrorCode::CanisterTrapped,
        Kind::CanisterCalledTrap => ErrorCode::CanisterCalledTrap,
        Kind::CanisterContractViolation => ErrorCode::CanisterContractViolation,
        Kind::CanisterFunctionNotFound => ErrorCode::CanisterFunctionNotFound,
        Kind::CanisterInstructionLimitExceeded => ErrorCode::CanisterInstructionLimitExceeded,
        Kind::CanisterMemoryAccessLimitExceeded => ErrorCode::CanisterMemoryAccessLimitExceeded,
        Kind::CanisterMethodNotFound => ErrorCode::CanisterMethodNotFound,
        Kind::CanisterWasmMemoryLimitExceeded => ErrorCode::CanisterWasmMemoryLimitExceeded,
        Kind::InsufficientCyclesInMemoryGrow => ErrorCode::InsufficientCyclesInMemoryGrow,
        Kind::CanisterOutOfMemory => ErrorCode::CanisterOutOfMemory,
        Kind::CanisterWasmEngineError => ErrorCode::CanisterWasmEngineError,
    };
    UserError::new(code, trap.user_message(id))
}
