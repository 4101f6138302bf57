//! One run of a canister's code: what millrace-vm is told about canister, message and limits.

use crate::canister::Canister;
use crate::faults::FaultKind;
use crate::fees::Fees;
use crate::limits::SubnetLimits;
use crate::message::Origin;
use crate::network::Certifier;
use crate::routing::Routing;
use crate::topology::{SubnetSpec, SubnetType};
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

/// Where and when code runs.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) env: &'a Env,
    pub(crate) rules: &'a Rules,
    pub(crate) round: Round,
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
/// Runs code on the canister's own state, which changes when the run succeeds.
pub(crate) fn run_code(scene: Scene<'_>, canister: &mut Canister, run: Run) -> vm::Output {
    // What the canister's memory costs is known while its code is there.
    let facts = canister_facts(scene, canister);
    let mut code = canister
        .code
        .take()
        .expect("callers check that code is installed");
    let output = run_with(scene, canister, &mut code.state, run, facts);
    canister.code = Some(code);
    output
}

/// Runs code on a copy of the canister's state, which is dropped.
pub(crate) fn run_throw_away(scene: Scene<'_>, canister: &mut Canister, run: Run) -> vm::Output {
    let code = canister
        .code
        .as_ref()
        .expect("callers check that code is installed");
    let mut state = code.state.fork();
    run_on(scene, canister, &mut state, run)
}

/// Runs code on the given state with this canister's facts; logs and usage are kept.
pub(crate) fn run_on(
    scene: Scene<'_>,
    canister: &mut Canister,
    state: &mut vm::CanisterState,
    run: Run,
) -> vm::Output {
    let facts = canister_facts(scene, canister);
    run_with(scene, canister, state, run, facts)
}

fn run_with(
    scene: Scene<'_>,
    canister: &mut Canister,
    state: &mut vm::CanisterState,
    run: Run,
    mut facts: vm::CanisterFacts,
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
    facts.data_certificate = certificate;
    let mut limits = limits;
    let mut fault = None;
    for struck in canister
        .faults
        .of_message(scene.round.number, kind, &method)
    {
        match struck {
            FaultKind::TrapAtSystemCall(number) => {
                fault = Some(vm::Fault::TrapAtSystemCall(number));
            }
            FaultKind::InstructionLimit(most) => {
                limits.instructions = limits.instructions.min(vm::Instructions(most));
            }
            FaultKind::FullMemory => facts.memory.growth_bytes_available = 0,
            // The others strike replies and rounds.
            _ => {}
        }
    }
    let input = vm::Input {
        entry,
        mode,
        facts,
        message,
        limits,
        fault,
    };
    let output = vm::execute(&scene.env.engine, state, input);
    if mode == vm::Mode::Replicated {
        canister
            .log
            .append(output.logs.clone(), canister.settings.log_bytes);
    }
    canister.usage.push(
        UsageRecord {
            sequence: 0,
            round: scene.round.number,
            time_ns: scene.env.time_ns,
            kind,
            method,
            instructions: output.usage.instructions.get(),
            heap_pages_dirtied: output.usage.heap_pages_dirtied.get(),
            stable_pages_dirtied: output.usage.stable_pages_dirtied.get(),
            stable_pages_read: output.usage.stable_pages_read.get(),
            system_calls: output.usage.system_calls,
            succeeded: output.result.is_ok(),
        },
        scene.rules.limits.usage_records,
    );
    output
}

fn canister_facts(scene: Scene<'_>, canister: &Canister) -> vm::CanisterFacts {
    let limits = &scene.rules.limits;
    let subnet_kind = match scene.rules.spec.kind.subnet_type() {
        SubnetType::Application => vm::SubnetKind::Application,
        SubnetType::VerifiedApplication => vm::SubnetKind::VerifiedApplication,
        SubnetType::System => vm::SubnetKind::System,
    };
    vm::CanisterFacts {
        canister_id: canister.id,
        controllers: canister.settings.controllers.iter().copied().collect(),
        version: canister.version,
        status: canister.vm_status(),
        time_ns: scene.env.time_ns,
        balance: vm::Cycles(canister.balance),
        freezing_threshold: vm::Cycles(canister.freezing_balance(limits, &scene.rules.fees)),
        data_certificate: None,
        global_timer_ns: canister.global_timer_ns,
        subnet_id: scene.rules.spec.id,
        subnet_kind,
        fees: scene.rules.fees.vm,
        root_key: Arc::clone(&scene.env.root_key),
        environment: Arc::new(canister.settings.environment.clone()),
        memory: vm::MemoryLimits {
            wasm_memory_limit: Some(canister.settings.wasm_memory_limit),
            heap_bytes_max: limits.wasm_memory_bytes,
            stable_bytes_max: limits.stable_memory_bytes,
            growth_bytes_available: scene.round.memory_available,
            reserved_bytes_unused: canister.reserved_bytes_unused(limits),
            freezing_cycles_per_gib: vm::Cycles(scene.rules.fees.freezing_balance(
                1 << 30,
                0,
                canister.settings.freezing_threshold_s,
            )),
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
        caller_info: origin.caller_info().cloned(),
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
        response_instructions: vm::Instructions(limits.prepaid_message()),
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
