//! What system calls act on: the message's facts and its effects so far, and the price of a call.

use std::sync::Arc;

use wasmtime::{Caller, Global, Memory, StoreLimits, StoreLimitsBuilder, Val};

use super::context::Context;
use super::heap::Heap;
use super::table::Api;
use crate::input::{CanisterFacts, Fault, Input, Limits, MessageFacts};
use crate::memory::stable::StableSession;
use crate::output::{LogRecord, OutgoingCall, Response};
use crate::profile::Profiler;
use crate::trap::Trap;
use crate::units::{Cycles, Instructions, WASM_PAGE_BYTES};

/// Elements of all tables of a canister, as the IC bounds them: a table's elements are host memory.
const TABLE_ELEMENTS_MAX: usize = 1_000_000;

/// A call between `call_new` and `call_perform`: whatever it will be, minus its prepayment.
#[derive(Debug)]
pub(crate) struct PreparedCall(pub OutgoingCall);

/// The state of one message.
pub(crate) struct Host {
    pub context: Context,
    pub facts: CanisterFacts,
    pub message: MessageFacts,
    pub limits: Limits,
    fault: Option<Fault>,
    /// What wasmtime asks before tables grow.
    pub store_limits: StoreLimits,
    heap: Option<Memory>,
    counter: Option<Global>,
    profile: Option<(Arc<Profiler>, Global)>,
    pub stable: StableSession,
    pub balance: Cycles,
    pub cycles_accepted: Cycles,
    pub cycles_burned: Cycles,
    pub reply: Vec<u8>,
    pub response: Option<Response>,
    pub prepared: Option<PreparedCall>,
    pub calls: Vec<OutgoingCall>,
    pub certified_data: Option<Vec<u8>>,
    pub global_timer_ns: Option<u64>,
    pub message_accepted: bool,
    pub growth_bytes: u64,
    pub system_calls: u64,
    pub logs: Vec<LogRecord>,
    pub log_bytes: u64,
}

impl Host {
    /// Returns the state at the start of the message.
    pub(crate) fn new(input: Input, stable: StableSession) -> Self {
        Self {
            context: Context::of(&input.entry, input.mode),
            balance: input.facts.balance,
            facts: input.facts,
            message: input.message,
            limits: input.limits,
            fault: input.fault,
            store_limits: StoreLimitsBuilder::new()
                .table_elements(TABLE_ELEMENTS_MAX)
                .build(),
            heap: None,
            counter: None,
            profile: None,
            stable,
            cycles_accepted: Cycles::ZERO,
            cycles_burned: Cycles::ZERO,
            reply: Vec::new(),
            response: None,
            prepared: None,
            calls: Vec::new(),
            certified_data: None,
            global_timer_ns: None,
            message_accepted: false,
            growth_bytes: 0,
            system_calls: 0,
            logs: Vec::new(),
            log_bytes: 0,
        }
    }

    /// Tells the host where the instance keeps its heap and instruction counter.
    pub(crate) fn attach(&mut self, heap: Option<Memory>, counter: Global) {
        self.heap = heap;
        self.counter = Some(counter);
    }

    /// Takes stacks from here on, each time the counter falls below the watermark.
    pub(crate) fn attach_profiler(&mut self, profiler: Arc<Profiler>, watermark: Global) {
        self.profile = Some((profiler, watermark));
    }

    /// Returns whether the call context has been answered, now or before.
    pub(crate) fn answered(&self) -> bool {
        self.message.already_responded || self.response.is_some()
    }

    /// Returns the cycles above what must stay in the balance.
    pub(crate) fn liquid(&self) -> Cycles {
        self.balance
            .saturating_sub(self.freezing_threshold(self.growth_bytes))
    }

    /// Returns what must stay in the balance once the memory has grown by so much.
    fn freezing_threshold(&self, growth_bytes: u64) -> Cycles {
        const GIB: u128 = 1 << 30;
        let memory = &self.facts.memory;
        let paid = growth_bytes.saturating_sub(memory.reserved_bytes_unused);
        let more = memory
            .freezing_cycles_per_gib
            .get()
            .saturating_mul(u128::from(paid))
            / GIB;
        self.facts.freezing_threshold.saturating_add(Cycles(more))
    }

    /// Takes `bytes` of memory growth out of what is available. A lack of cycles is told apart from a lack
    /// of memory: it traps whatever asked for it.
    pub(crate) fn allocate(&mut self, bytes: u64) -> Result<(), Trap> {
        let total = self.growth_bytes.saturating_add(bytes);
        if self.context.pays_for_growth() {
            let needed = self.freezing_threshold(total);
            if let Some(missing) = needed.checked_sub(self.balance)
                && missing > Cycles::ZERO
            {
                return Err(Trap::insufficient_cycles(bytes, missing));
            }
        }
        if self.context.takes_subnet_memory() && total > self.facts.memory.growth_bytes_available {
            return Err(Trap::out_of_memory());
        }
        self.growth_bytes = total;
        Ok(())
    }

    /// Keeps a line of the canister's log, cut to the log's size; the oldest make room.
    pub(crate) fn log(&mut self, mut content: Vec<u8>) {
        content.truncate(usize::try_from(self.limits.log_bytes).unwrap_or(usize::MAX));
        self.log_bytes += content.len() as u64;
        self.logs.push(LogRecord {
            time_ns: self.facts.time_ns,
            content,
        });
        let mut dropped = 0;
        while self.log_bytes > self.limits.log_bytes && dropped < self.logs.len() {
            self.log_bytes -= self.logs[dropped].content.len() as u64;
            dropped += 1;
        }
        self.logs.drain(..dropped);
    }
}

/// Starts a system call: counts it, injects the fault, charges, and checks the context.
pub(crate) fn enter(
    caller: &mut Caller<'_, Host>,
    api: Api,
    byte_instructions: u64,
) -> Result<(), Trap> {
    let host = caller.data_mut();
    host.system_calls += 1;
    if host.fault == Some(Fault::TrapAtSystemCall(host.system_calls)) {
        let reason = format!(
            "injected fault at system call {} ({})",
            host.system_calls,
            api.name()
        );
        return Err(Trap::trapped(&reason));
    }
    let context = host.context;
    charge(caller, api.overhead().saturating_add(byte_instructions))?;
    if api.allowed().contains(context) {
        Ok(())
    } else {
        Err(Trap::wrong_mode(&api.label(), context.describe()))
    }
}

impl Api {
    /// Returns how the IC's messages call the function.
    fn label(self) -> String {
        match self {
            // The IC spells these two differently from all others.
            Self::RootKeyCopy | Self::SubnetSelfCopy => format!("ic0.{}", self.name()),
            _ => format!("ic0_{}", self.name()),
        }
    }
}

/// Charges `amount` instructions; system calls never start or end below zero.
pub(crate) fn charge(caller: &mut Caller<'_, Host>, amount: u64) -> Result<(), Trap> {
    if amount == 0 {
        return Ok(());
    }
    let before = remaining(caller);
    let after = before.saturating_sub(i64::try_from(amount).unwrap_or(i64::MAX));
    let counter = caller
        .data()
        .counter
        .expect("attached before any code runs");
    counter
        .set(&mut *caller, Val::I64(after))
        .expect("the counter is a mutable i64");
    if before < 0 || after < 0 {
        return Err(Trap::instruction_limit(caller.data().limits.instructions));
    }
    take_stack(caller, after);
    Ok(())
}

/// Answers a counter below the watermark.
///
/// # Errors
/// When it is below zero.
pub(crate) fn out_of_instructions(caller: &mut Caller<'_, Host>) -> Result<(), Trap> {
    let remaining = remaining(caller);
    if remaining < 0 {
        return Err(Trap::instruction_limit(caller.data().limits.instructions));
    }
    take_stack(caller, remaining);
    Ok(())
}

fn take_stack(caller: &mut Caller<'_, Host>, remaining: i64) {
    let Some((profiler, watermark)) = caller.data().profile.clone() else {
        return;
    };
    let now = watermark
        .get(&mut *caller)
        .i64()
        .expect("the watermark is an i64");
    let next = profiler.sample(&*caller, remaining, now);
    watermark
        .set(&mut *caller, Val::I64(next))
        .expect("the watermark is a mutable i64");
}

/// Returns the instructions left; negative when the last block overran.
pub(crate) fn remaining(caller: &mut Caller<'_, Host>) -> i64 {
    let counter = caller
        .data()
        .counter
        .expect("attached before any code runs");
    counter
        .get(&mut *caller)
        .i64()
        .expect("the counter is an i64")
}

/// Returns the instructions used of `limit` when `remaining` are left, at most `limit`.
pub(crate) fn used(limit: Instructions, remaining: i64) -> Instructions {
    Instructions(
        limit
            .get()
            .saturating_sub(u64::try_from(remaining).unwrap_or(0)),
    )
}

/// Lends the heap and the host to a system call.
pub(crate) fn with_heap<R>(
    caller: &mut Caller<'_, Host>,
    call: impl FnOnce(&mut Host, Heap<'_>) -> R,
) -> R {
    match caller.data().heap {
        Some(memory) => {
            let (bytes, host) = memory.data_and_store_mut(caller);
            call(host, Heap::new(Some(bytes)))
        }
        None => call(caller.data_mut(), Heap::new(None)),
    }
}

/// Grows the heap by `delta` Wasm pages and returns its old size, or -1: `memory.grow`.
pub(crate) fn grow_heap(caller: &mut Caller<'_, Host>, delta: u32) -> Result<i32, Trap> {
    let Some(memory) = caller.data().heap else {
        return Ok(-1);
    };
    let old_bytes = memory.data_size(&*caller) as u64;
    let new_bytes = old_bytes + u64::from(delta) * WASM_PAGE_BYTES;
    if new_bytes > caller.data().facts.memory.heap_bytes_max {
        return Ok(-1);
    }
    let Ok(old_pages) = memory.grow(&mut *caller, u64::from(delta)) else {
        return Ok(-1);
    };
    let host = caller.data_mut();
    if host.context.enforces_wasm_memory_limit()
        && let Some(limit) = host
            .facts
            .memory
            .wasm_memory_limit
            .filter(|limit| *limit != 0)
        && new_bytes > limit
    {
        return Err(Trap::wasm_memory_limit(new_bytes, limit));
    }
    host.allocate(u64::from(delta) * WASM_PAGE_BYTES)?;
    Ok(i32::try_from(old_pages).expect("a 32-bit heap has at most 65,536 pages"))
}

/// Defines one system call.
///
/// `system_call!(linker, MsgReply(a: u32), bytes, |host, heap| body)` charges the fixed price and
/// `bytes` instructions, checks the context, and runs `body`, a `Result<_, Trap>`.
macro_rules! system_call {
    ($linker:ident, $api:ident($($arg:ident: $ty:ty),*), $bytes:expr, |$host:pat_param, $heap:pat_param| $body:expr) => {
        $linker.func_wrap(
            "ic0",
            $crate::api::table::Api::$api.name(),
            |mut caller: wasmtime::Caller<'_, $crate::api::Host>, $($arg: $ty),*| {
                $crate::api::host::enter(&mut caller, $crate::api::table::Api::$api, $bytes)
                    .and_then(|()| {
                        $crate::api::host::with_heap(&mut caller, |$host, $heap| $body)
                    })
                    .map_err(wasmtime::Error::new)
            },
        )?
    };
}
pub(crate) use system_call;
