//! Executes one input or task of one canister: contexts, cycles and answers around millrace-vm.

use crate::canister::{Canister, LowMemoryHook};
use crate::contexts::PendingCall;
use crate::error::{ErrorCode, UserError};
use crate::fees::Fees;
use crate::ingress::{IngressState, MessageId};
use crate::limits::SubnetLimits;
use crate::message::{Answer, CanisterMessage, Input, Origin, Request, Response};
use crate::network::Certifier;
use crate::routing::Routing;
use crate::topology::{CanisterId, SubnetSpec, SubnetType};
use crate::usage::{MessageKind, UsageRecord};
use millrace_vm as vm;
use std::sync::Arc;

/// What all subnets of a network share.
pub(crate) struct Env {
    pub(crate) engine: vm::Engine,
    pub(crate) certifier: Arc<dyn Certifier>,
    pub(crate) root_key: Arc<[u8]>,
    pub(crate) time_ns: u64,
    pub(crate) routing: Routing,
}

/// What a subnet's canisters run under.
pub(crate) struct Rules {
    pub(crate) spec: SubnetSpec,
    pub(crate) limits: SubnetLimits,
    pub(crate) fees: Fees,
}

/// The round an execution belongs to.
#[derive(Clone, Copy)]
pub(crate) struct Round {
    pub(crate) number: u64,
    /// Bytes the subnet's canisters may still allocate.
    pub(crate) memory_available: u64,
}

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

/// Work a canister does without a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Heartbeat,
    GlobalTimer,
    LowWasmMemory,
}

/// One run of a canister's code, before the canister's own facts are added.
pub(crate) struct Run {
    pub(crate) entry: vm::EntryPoint,
    pub(crate) mode: vm::Mode,
    pub(crate) kind: MessageKind,
    pub(crate) method: String,
    pub(crate) message: vm::MessageFacts,
    pub(crate) limits: vm::Limits,
    pub(crate) certificate: Option<Arc<[u8]>>,
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

    fn count(&mut self, usage: &vm::Usage, succeeded: bool) {
        self.executed = true;
        self.instructions += usage.instructions.get();
        if succeeded {
            self.heap_delta +=
                usage.heap_pages_dirtied.bytes() + usage.stable_pages_dirtied.bytes();
        }
    }
}

/// A call about to be executed.
struct Call {
    origin: Origin,
    method: String,
    payload: Vec<u8>,
    cycles: u128,
}

/// Executes one input of a canister.
pub(crate) fn execute_input(
    env: &Env,
    rules: &Rules,
    round: Round,
    canister: &mut Canister,
    input: Input,
) -> Step {
    match input {
        Input::Response(response) => execute_response(env, rules, round, canister, response),
        Input::Ingress(message) => {
            let call = Call {
                origin: Origin::Ingress {
                    sender: message.sender,
                    id: message.id,
                },
                method: message.method,
                payload: message.payload,
                cycles: 0,
            };
            execute_call(env, rules, round, canister, call)
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
                env,
                rules,
                round,
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

fn execute_call(
    env: &Env,
    rules: &Rules,
    round: Round,
    canister: &mut Canister,
    call: Call,
) -> Step {
    let mut step = Step::default();
    let id = canister.id;
    if let Err(error) = prepare_call(rules, canister, &call) {
        step.answer(&call.origin, id, Err(error), call.cycles);
        return step;
    }
    let exports = canister
        .code
        .as_ref()
        .map(|code| code.module().exports().clone());
    let is_query = exports.is_some_and(|exports| exports.queries.contains(&call.method));
    let instructions = if is_query {
        rules.limits.query_instructions
    } else {
        rules.limits.message_instructions
    };
    let prepaid = rules.fees.execution(instructions);
    let reveal = canister.is_controller(&call.origin.caller());
    if let Err(error) = canister.withdraw(prepaid, &rules.limits, &rules.fees, reveal) {
        step.answer(&call.origin, id, Err(error), call.cycles);
        return step;
    }
    if is_query {
        replicated_query(env, rules, round, canister, call, &mut step);
    } else {
        update(env, rules, round, canister, call, &mut step);
    }
    settle(rules, canister, prepaid, step.instructions);
    step
}

/// Checks what must hold before a call may cost anything.
fn prepare_call(_rules: &Rules, canister: &Canister, call: &Call) -> Result<(), UserError> {
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

fn update(
    env: &Env,
    rules: &Rules,
    round: Round,
    canister: &mut Canister,
    call: Call,
    step: &mut Step,
) {
    let context = canister.contexts.open(call.origin.clone(), call.cycles);
    let run = Run {
        entry: vm::EntryPoint::Update(call.method.clone()),
        mode: vm::Mode::Replicated,
        kind: MessageKind::Update,
        method: call.method,
        message: message_facts(&call.origin, call.payload, call.cycles, false, 0),
        limits: vm_limits(rules, canister, rules.limits.message_instructions),
        certificate: None,
    };
    let output = run_code(env, rules, round, canister, run);
    step.count(&output.usage, output.result.is_ok());
    let trap = match output.result {
        Ok(effects) => {
            apply(env, canister, context, effects, &output.usage, step);
            None
        }
        Err(trap) => Some(trapped(&canister.id, &trap)),
    };
    finish(rules, canister, context, trap, step);
}

/// Runs a query whose answer every node computes; its changes are dropped.
fn replicated_query(
    env: &Env,
    rules: &Rules,
    round: Round,
    canister: &mut Canister,
    call: Call,
    step: &mut Step,
) {
    let run = Run {
        entry: vm::EntryPoint::Query(call.method.clone()),
        mode: vm::Mode::Replicated,
        kind: MessageKind::ReplicatedQuery,
        method: call.method,
        message: message_facts(&call.origin, call.payload, call.cycles, false, 0),
        limits: vm_limits(rules, canister, rules.limits.query_instructions),
        certificate: None,
    };
    let output = run_throw_away(env, rules, round, canister, run);
    step.count(&output.usage, false);
    let result = query_result(&canister.id, output.result);
    step.answer(&call.origin, canister.id, result, call.cycles);
}

fn execute_response(
    env: &Env,
    rules: &Rules,
    round: Round,
    canister: &mut Canister,
    response: Response,
) -> Step {
    let mut step = Step::default();
    let Some(call) = canister.contexts.take_call(response.callback) else {
        // The answer of a best-effort call that was given up: its refund is still the caller's.
        canister.balance += response.refund;
        return step;
    };
    let transmission = rules
        .fees
        .transmission(response.answer.bytes())
        .min(call.response_transmission);
    canister.consumed += transmission;
    canister.balance += response.refund + call.response_transmission - transmission;
    let context = match canister.contexts.get(call.context) {
        Some(context) if !context.deleted && canister.code.is_some() => context.clone(),
        _ => {
            canister.balance += call.response_execution;
            canister.contexts.close_if_done(call.context);
            return step;
        }
    };
    let trap = run_callback(
        env, rules, round, canister, &call, &context, response, &mut step,
    );
    let cost = rules
        .fees
        .execution(step.instructions)
        .min(call.response_execution);
    canister.balance += call.response_execution - cost;
    canister.consumed += cost;
    finish(rules, canister, call.context, trap, &mut step);
    step
}

/// Runs the callback and, when it traps, the clean-up; returns the error of the trap.
#[expect(
    clippy::too_many_arguments,
    reason = "the parts of one execution, used once"
)]
fn run_callback(
    env: &Env,
    rules: &Rules,
    round: Round,
    canister: &mut Canister,
    call: &PendingCall,
    context: &crate::contexts::CallContext,
    response: Response,
    step: &mut Step,
) -> Option<UserError> {
    /// Function index by which a canister says that it wants no callback.
    const NO_CALLBACK: u32 = u32::MAX;
    /// Part of the instructions that is kept for the clean-up.
    const CLEANUP_FRACTION: u64 = 20;

    let total = rules.limits.message_instructions;
    let reserved = total / CLEANUP_FRACTION;
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
    let entry = match kind {
        MessageKind::ReplyCallback => vm::EntryPoint::ReplyCallback(callback),
        _ => vm::EntryPoint::RejectCallback(callback),
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
    let run = Run {
        entry,
        mode: vm::Mode::Replicated,
        kind,
        method: String::new(),
        message: message.clone(),
        limits: vm_limits(rules, canister, total - reserved),
        certificate: None,
    };
    let output = run_code(env, rules, round, canister, run);
    step.count(&output.usage, output.result.is_ok());
    let trap = match output.result {
        Ok(effects) => {
            apply(env, canister, call.context, effects, &output.usage, step);
            return None;
        }
        Err(trap) => trapped(&canister.id, &trap),
    };
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
        limits: vm_limits(rules, canister, total.saturating_sub(step.instructions)),
        certificate: None,
    };
    let output = run_code(env, rules, round, canister, run);
    step.count(&output.usage, output.result.is_ok());
    match output.result {
        Ok(effects) => {
            apply(env, canister, call.context, effects, &output.usage, step);
            Some(trap)
        }
        Err(second) => {
            let second = trapped(&canister.id, &second);
            let text = format!(
                "{}\ncall_on_cleanup also failed:\n\n{}",
                trap.message, second.message
            );
            Some(UserError::new(trap.code, text))
        }
    }
}

/// Executes a heartbeat, timer or hook; one that cannot be paid for does not run.
pub(crate) fn execute_task(
    env: &Env,
    rules: &Rules,
    round: Round,
    canister: &mut Canister,
    task: Task,
) -> Step {
    let mut step = Step::default();
    let instructions = rules.limits.message_instructions;
    let prepaid = rules.fees.execution(instructions);
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
            .withdraw(prepaid, &rules.limits, &rules.fees, false)
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
        limits: vm_limits(rules, canister, instructions),
        certificate: None,
    };
    let output = run_code(env, rules, round, canister, run);
    step.count(&output.usage, output.result.is_ok());
    if let Ok(effects) = output.result {
        apply(env, canister, context, effects, &output.usage, &mut step);
    }
    finish(rules, canister, context, None, &mut step);
    settle(rules, canister, prepaid, step.instructions);
    step
}

/// Runs code on the canister's own state, which changes when the run succeeds.
pub(crate) fn run_code(
    env: &Env,
    rules: &Rules,
    round: Round,
    canister: &mut Canister,
    run: Run,
) -> vm::Output {
    let mut code = canister
        .code
        .take()
        .expect("callers check that code is installed");
    let output = run_on(env, rules, round, canister, &mut code.state, run);
    canister.code = Some(code);
    output
}

/// Runs code on a copy of the canister's state, which is dropped.
pub(crate) fn run_throw_away(
    env: &Env,
    rules: &Rules,
    round: Round,
    canister: &mut Canister,
    run: Run,
) -> vm::Output {
    let code = canister
        .code
        .as_ref()
        .expect("callers check that code is installed");
    let mut state = code.state.fork();
    run_on(env, rules, round, canister, &mut state, run)
}

/// Runs code on the given state with this canister's facts; logs and usage are kept.
pub(crate) fn run_on(
    env: &Env,
    rules: &Rules,
    round: Round,
    canister: &mut Canister,
    state: &mut vm::CanisterState,
    run: Run,
) -> vm::Output {
    let Run {
        entry,
        mode,
        kind,
        method,
        message,
        limits,
        certificate,
    } = run;
    let mut facts = canister_facts(env, rules, round, canister);
    facts.data_certificate = certificate;
    let input = vm::Input {
        entry,
        mode,
        facts,
        message,
        limits,
        fault: None,
    };
    let output = vm::execute(&env.engine, state, input);
    if mode == vm::Mode::Replicated {
        canister
            .log
            .append(output.logs.clone(), canister.settings.log_bytes);
    }
    canister.usage.push(
        UsageRecord {
            sequence: 0,
            round: round.number,
            time_ns: env.time_ns,
            kind,
            method,
            instructions: output.usage.instructions.get(),
            heap_pages_dirtied: output.usage.heap_pages_dirtied.get(),
            stable_pages_dirtied: output.usage.stable_pages_dirtied.get(),
            stable_pages_read: output.usage.stable_pages_read.get(),
            system_calls: output.usage.system_calls,
            succeeded: output.result.is_ok(),
        },
        rules.limits.usage_records,
    );
    output
}

fn canister_facts(
    env: &Env,
    rules: &Rules,
    round: Round,
    canister: &Canister,
) -> vm::CanisterFacts {
    let limits = &rules.limits;
    let subnet_kind = match rules.spec.kind.subnet_type() {
        SubnetType::Application => vm::SubnetKind::Application,
        SubnetType::VerifiedApplication => vm::SubnetKind::VerifiedApplication,
        SubnetType::System => vm::SubnetKind::System,
    };
    vm::CanisterFacts {
        canister_id: canister.id,
        controllers: canister.settings.controllers.iter().copied().collect(),
        version: canister.version,
        status: canister.vm_status(),
        time_ns: env.time_ns,
        balance: vm::Cycles(canister.balance),
        freezing_threshold: vm::Cycles(canister.freezing_balance(limits, &rules.fees)),
        data_certificate: None,
        global_timer_ns: canister.global_timer_ns,
        subnet_id: rules.spec.id,
        subnet_kind,
        fees: rules.fees.vm,
        root_key: Arc::clone(&env.root_key),
        environment: Arc::clone(&canister.settings.environment),
        memory: vm::MemoryLimits {
            wasm_memory_limit: Some(canister.settings.wasm_memory_limit),
            heap_bytes_max: limits.wasm_memory_bytes,
            stable_bytes_max: limits.stable_memory_bytes,
            growth_bytes_available: round.memory_available,
        },
    }
}

/// Returns the facts of a message within a call context.
pub(crate) fn message_facts(
    origin: &Origin,
    payload: Vec<u8>,
    cycles_available: u128,
    already_responded: bool,
    context_instructions: u64,
) -> vm::MessageFacts {
    vm::MessageFacts {
        caller: origin.caller(),
        payload: Arc::from(payload),
        method_name: String::new(),
        rejection: None,
        deadline_ns: origin.deadline_ns(),
        cycles_available: vm::Cycles(cycles_available),
        cycles_refunded: vm::Cycles::ZERO,
        already_responded,
        call_context_instructions: vm::Instructions(context_instructions),
        caller_info: None,
    }
}

/// Returns the limits of one replicated message.
pub(crate) fn vm_limits(rules: &Rules, canister: &Canister, instructions: u64) -> vm::Limits {
    let limits = &rules.limits;
    let slots = |used: u32| {
        let free = limits.queue_capacity.saturating_sub(u64::from(used));
        u32::try_from(free).unwrap_or(u32::MAX)
    };
    let outstanding = canister.contexts.outstanding();
    let callbacks = limits
        .callbacks
        .saturating_sub(canister.contexts.calls_len());
    vm::Limits {
        instructions: vm::Instructions(instructions),
        response_instructions: vm::Instructions(limits.message_instructions),
        stable_dirty_pages: pages(limits.message_stable_bytes),
        stable_accessed_pages: pages(limits.message_stable_bytes),
        reply_bytes: limits.inter_canister_bytes,
        call_payload_bytes: limits.local_call_bytes,
        output_slots_default: slots(0),
        output_slots: outstanding
            .iter()
            .map(|(callee, &used)| (*callee, slots(used)))
            .collect(),
        callbacks: u32::try_from(callbacks).unwrap_or(u32::MAX),
        log_bytes: canister.settings.log_bytes,
    }
}

pub(crate) const fn pages(bytes: u64) -> vm::OsPages {
    vm::OsPages(bytes / vm::OS_PAGE_BYTES)
}

/// Takes over what a successful message did.
fn apply(
    env: &Env,
    canister: &mut Canister,
    context: u64,
    effects: vm::Effects,
    usage: &vm::Usage,
    step: &mut Step,
) {
    canister.balance = effects.balance.get();
    canister.consumed += effects.cycles_burned.get();
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
    canister.consumed += call.prepayment.request_transmission.get();
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
fn finish(
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
    canister.balance += prepaid - cost;
    canister.consumed += cost;
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
        Kind::CanisterOutOfMemory => ErrorCode::CanisterOutOfMemory,
        Kind::CanisterWasmEngineError => ErrorCode::CanisterWasmEngineError,
    };
    UserError::new(code, trap.user_message(id))
}
