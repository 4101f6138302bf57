//! Executes one input or task of one canister: call contexts, callbacks and their cycles.

use crate::canister::{Canister, LowMemoryHook};
use crate::contexts::{CallContext, PendingCall};
use crate::error::{ErrorCode, UserError};
use crate::message::{Answer, Input, Origin, Request, Response};
use crate::outcome::{Step, apply, finish, no_module, query_result, settle, trapped};
use crate::run::{Run, Scene, message_facts, run_code, run_throw_away, vm_limits};
use crate::usage::MessageKind;
use millrace_vm as vm;
use std::sync::Arc;

/// Work a canister does without a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Heartbeat,
    GlobalTimer,
    LowWasmMemory,
}

/// A call about to be executed.
struct Call {
    origin: Origin,
    method: String,
    payload: Vec<u8>,
    cycles: u128,
}

/// Executes one input of a canister.
pub(crate) fn execute_input(scene: Scene<'_>, canister: &mut Canister, input: Input) -> Step {
    match input {
        Input::Response(response) => execute_response(scene, canister, response),
        Input::Ingress(message) => {
            let call = Call {
                origin: Origin::Ingress {
                    sender: message.sender,
                    id: message.id,
                    caller_info: message.caller_info,
                },
                method: message.method,
                payload: message.payload,
                cycles: 0,
            };
            execute_call(scene, canister, call)
        }
        Input::Request(Request {
            sender,
            callback,
            method,
            payload,
            cycles,
            deadline_ns,
            ..
        }) => {
            let origin = Origin::Canister {
                sender,
                callback,
                deadline_ns,
            };
            execute_call(
                scene,
                canister,
                Call {
                    origin,
                    method,
                    payload,
                    cycles,
                },
            )
        }
    }
}

fn execute_call(scene: Scene<'_>, canister: &mut Canister, call: Call) -> Step {
    let mut step = Step::default();
    let id = canister.id;
    if let Err(error) = prepare_call(canister, &call) {
        step.answer(&call.origin, id, Err(error), call.cycles);
        return step;
    }
    let exports = canister
        .code
        .as_ref()
        .map(|code| code.module().exports().clone());
    let is_query = exports.is_some_and(|exports| exports.queries.contains(&call.method));
    let instructions = if is_query {
        scene.rules.limits.prepaid_query()
    } else {
        scene.rules.limits.prepaid_message()
    };
    let prepaid = scene.rules.fees.execution(instructions);
    let reveal = canister.is_controller(&call.origin.caller());
    if let Err(error) = canister.withdraw(prepaid, &scene.rules.limits, &scene.rules.fees, reveal) {
        step.answer(&call.origin, id, Err(error), call.cycles);
        return step;
    }
    if is_query {
        replicated_query(scene, canister, call, &mut step);
    } else {
        update(scene, canister, call, &mut step);
    }
    settle(scene.rules, canister, prepaid, step.instructions);
    step
}

/// Checks what must hold before a call may cost anything.
fn prepare_call(canister: &Canister, call: &Call) -> Result<(), UserError> {
    if let Some(error) = canister.not_running() {
        return Err(error);
    }
    let Some(code) = &canister.code else {
        return Err(no_module(&canister.id));
    };
    if code
        .module()
        .exports()
        .composite_queries
        .contains(&call.method)
    {
        return Err(UserError::new(
            ErrorCode::CompositeQueryCalledInReplicatedMode,
            "Composite query cannot be called in replicated mode",
        ));
    }
    Ok(())
}

fn update(scene: Scene<'_>, canister: &mut Canister, call: Call, step: &mut Step) {
    let context = canister.contexts.open(call.origin.clone(), call.cycles);
    let run = Run {
        entry: vm::EntryPoint::Update(call.method.clone()),
        mode: vm::Mode::Replicated,
        kind: MessageKind::Update,
        method: call.method,
        message: message_facts(&call.origin, call.payload, call.cycles, false, 0),
        limits: vm_limits(
            scene.rules,
            canister,
            scene.rules.limits.message_instructions,
        ),
        certificate: None,
    };
    let trap = run_in_context(scene, canister, context, run, step).err();
    finish(scene.rules, canister, context, trap, step);
}

/// Runs a query whose answer every node computes; its changes are dropped.
fn replicated_query(scene: Scene<'_>, canister: &mut Canister, call: Call, step: &mut Step) {
    let run = Run {
        entry: vm::EntryPoint::Query(call.method.clone()),
        mode: vm::Mode::Replicated,
        kind: MessageKind::ReplicatedQuery,
        method: call.method,
        message: message_facts(&call.origin, call.payload, call.cycles, false, 0),
        limits: vm_limits(scene.rules, canister, scene.rules.limits.query_instructions),
        certificate: None,
    };
    let output = run_throw_away(scene, canister, run);
    step.count(&output.usage, false);
    let result = query_result(&canister.id, output.result);
    step.answer(&call.origin, canister.id, result, call.cycles);
}

fn execute_response(scene: Scene<'_>, canister: &mut Canister, response: Response) -> Step {
    let mut step = Step::default();
    let Some(call) = canister.contexts.take_call(response.callback) else {
        // The answer of a best-effort call that was given up: its refund is still the caller's.
        canister.balance = canister.balance.saturating_add(response.refund);
        return step;
    };
    let transmission = scene
        .rules
        .fees
        .transmission(response.answer.bytes())
        .min(call.response_transmission);
    canister.consumed = canister.consumed.saturating_add(transmission);
    canister.balance = canister
        .balance
        .saturating_add(response.refund + call.response_transmission - transmission);
    let context = match canister.contexts.get(call.context) {
        Some(context) if !context.deleted && canister.code.is_some() => context.clone(),
        _ => {
            canister.balance = canister.balance.saturating_add(call.response_execution);
            canister.contexts.close_if_done(call.context);
            return step;
        }
    };
    let trap = run_callback(scene, canister, &call, &context, response, &mut step);
    let cost = scene
        .rules
        .fees
        .execution(step.instructions)
        .min(call.response_execution);
    canister.balance = canister
        .balance
        .saturating_add(call.response_execution - cost);
    canister.consumed = canister.consumed.saturating_add(cost);
    finish(scene.rules, canister, call.context, trap, &mut step);
    step
}

/// Part of a callback's instructions that is kept for its clean-up.
const CLEANUP_FRACTION: u64 = 20;
/// Function index by which a canister says that it wants no callback.
pub(crate) const NO_CALLBACK: u32 = u32::MAX;

/// Runs the callback and, when it traps, the clean-up; returns the error of the trap.
fn run_callback(
    scene: Scene<'_>,
    canister: &mut Canister,
    call: &PendingCall,
    context: &CallContext,
    response: Response,
    step: &mut Step,
) -> Option<UserError> {
    let mut run = callback_run(scene, canister, call, context, response)?;
    let total = scene.rules.limits.message_instructions;
    run.limits = vm_limits(scene.rules, canister, total - total / CLEANUP_FRACTION);
    let mut message = run.message.clone();
    let trap = run_in_context(scene, canister, call.context, run, step).err()?;
    let Some(cleanup) = call.on_cleanup else {
        return Some(trap);
    };
    message.payload = Arc::from([]);
    message.rejection = None;
    let run = Run {
        entry: vm::EntryPoint::Cleanup(cleanup),
        mode: vm::Mode::Replicated,
        kind: MessageKind::Cleanup,
        method: String::new(),
        message,
        limits: vm_limits(
            scene.rules,
            canister,
            total.saturating_sub(step.instructions),
        ),
        certificate: None,
    };
    let Err(second) = run_in_context(scene, canister, call.context, run, step) else {
        return Some(trap);
    };
    let text = format!(
        "{}\ncall_on_cleanup also failed:\n\n{}",
        trap.message, second.message
    );
    Some(UserError::new(trap.code, text))
}

/// Returns the run of the callback that an answer calls for; `None` when the canister wants none.
fn callback_run(
    scene: Scene<'_>,
    canister: &Canister,
    call: &PendingCall,
    context: &CallContext,
    response: Response,
) -> Option<Run> {
    let (callback, kind, payload, rejection) = match response.answer {
        Answer::Reply(bytes) => (call.on_reply, MessageKind::ReplyCallback, bytes, None),
        Answer::Reject { code, message } => {
            let rejection = vm::Rejection {
                code: u32::from(code.number()),
                message,
            };
            (
                call.on_reject,
                MessageKind::RejectCallback,
                Vec::new(),
                Some(rejection),
            )
        }
    };
    if callback.fun == NO_CALLBACK {
        return None;
    }
    let entry = match rejection {
        None => vm::EntryPoint::ReplyCallback(callback),
        Some(_) => vm::EntryPoint::RejectCallback(callback),
    };
    let mut message = message_facts(
        &context.origin,
        payload,
        context.cycles,
        context.responded,
        context.instructions,
    );
    message.rejection = rejection;
    message.cycles_refunded = vm::Cycles(response.refund);
    Some(Run {
        entry,
        mode: vm::Mode::Replicated,
        kind,
        method: String::new(),
        message,
        limits: vm_limits(
            scene.rules,
            canister,
            scene.rules.limits.message_instructions,
        ),
        certificate: None,
    })
}

/// Runs code and takes over its effects, or returns the error of its trap.
fn run_in_context(
    scene: Scene<'_>,
    canister: &mut Canister,
    context: u64,
    run: Run,
    step: &mut Step,
) -> Result<(), UserError> {
    let output = run_code(scene, canister, run);
    step.count(&output.usage, output.result.is_ok());
    match output.result {
        Ok(effects) => {
            apply(scene.env, canister, context, effects, &output.usage, step);
            Ok(())
        }
        Err(trap) => Err(trapped(&canister.id, &trap)),
    }
}

/// Executes a heartbeat, timer or hook; one that cannot be paid for does not run.
pub(crate) fn execute_task(scene: Scene<'_>, canister: &mut Canister, task: Task) -> Step {
    let mut step = Step::default();
    let limits = &scene.rules.limits;
    let instructions = limits.message_instructions;
    let prepaid = scene.rules.fees.execution(limits.prepaid_message());
    let (entry, kind) = match task {
        Task::Heartbeat => (vm::EntryPoint::Heartbeat, MessageKind::Heartbeat),
        Task::GlobalTimer => (vm::EntryPoint::GlobalTimer, MessageKind::GlobalTimer),
        Task::LowWasmMemory => (vm::EntryPoint::LowWasmMemory, MessageKind::LowWasmMemory),
    };
    match task {
        // Timers fire once, also when the execution fails.
        Task::GlobalTimer => canister.global_timer_ns = 0,
        Task::LowWasmMemory => canister.low_memory_hook = LowMemoryHook::Executed,
        Task::Heartbeat => {}
    }
    let exported = canister
        .code
        .as_ref()
        .is_some_and(|code| code.module().exports().contains(&entry));
    if !exported
        || canister
            .withdraw(prepaid, limits, &scene.rules.fees, false)
            .is_err()
    {
        return step;
    }
    let context = canister.contexts.open(Origin::SystemTask, 0);
    let run = Run {
        entry,
        mode: vm::Mode::Replicated,
        kind,
        method: String::new(),
        message: message_facts(&Origin::SystemTask, Vec::new(), 0, true, 0),
        limits: vm_limits(scene.rules, canister, instructions),
        certificate: None,
    };
    // A trap ends up in the log; nobody waits for an answer.
    let _ = run_in_context(scene, canister, context, run, &mut step);
    finish(scene.rules, canister, context, None, &mut step);
    settle(scene.rules, canister, prepaid, step.instructions);
    step
}
