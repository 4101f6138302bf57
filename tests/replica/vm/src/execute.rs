//! Runs one message: a fresh instance over private copies of the memories, then commit or nothing.

use std::ptr::NonNull;
use std::sync::Arc;

use wasmtime::{Instance, Memory, Store, Val};

use crate::api::Host;
use crate::api::host::used;
use crate::engine::{Engine, WASM_STACK_BYTES};
use crate::input::{Callback, EntryPoint, Input};
use crate::memory::heap::{HEAP_RESERVATION_BYTES, written_pages};
use crate::memory::mapping::Window;
use crate::memory::stable::{StableChanges, StableSession};
use crate::module::CanisterModule;
use crate::output::{Effects, LogRecord, Output, Usage};
use crate::state::{CanisterState, GlobalValue};
use crate::trap::Trap;
use crate::units::{Instructions, OsPages, WASM_PAGE_BYTES};
use crate::wasm::instrument::{COUNTER, HEAP, START, TABLE, WATERMARK};

/// Stack for the host's own frames below and above the Wasm code.
const HOST_STACK_BYTES: usize = 1 << 20;

/// Why a commit cannot fail for reasons of the canister's.
const COMMIT: &str = "memory files fail only when the host is out of memory";

/// The largest limit the counter, a signed global, can hold; larger ones are as good as none.
const INSTRUCTIONS_MAX: Instructions = Instructions(i64::MAX as u64);

/// Bytes of addresses of a heap.
const HEAP_WINDOW_BYTES: usize = HEAP_RESERVATION_BYTES as usize;

/// Runs one message and commits heap, globals and stable memory when it succeeds.
///
/// Queries change the state they run on, too: the caller runs them on a [`CanisterState::fork`]
/// and keeps it as long as the query's callbacks need it.
///
/// After a trap the state is exactly as before. Costs what the message does, whatever the size of
/// the state: pages it wrote are copied, nothing else is.
///
/// # Panics
/// When the host runs out of memory while changes are committed: the state would be torn.
pub fn execute(engine: &Engine, state: &mut CanisterState, mut input: Input) -> Output {
    let limit = input.limits.instructions.min(INSTRUCTIONS_MAX);
    input.limits.instructions = limit;
    let entry = input.entry.clone();
    let stable = StableSession::new(
        state.stable.clone(),
        state.stable_pages,
        input.facts.memory.stable_bytes_max,
        &input.limits,
    );
    let mut store = Store::new(engine.wasmtime(), Host::new(input, stable));
    store.limiter(|host| &mut host.store_limits);
    // Wasm may use more stack than threads have by default.
    let stack = WASM_STACK_BYTES + HOST_STACK_BYTES;
    let run = stacker::maybe_grow(stack, stack, || {
        run(engine, state, &mut store, &entry, limit)
    });
    match run {
        Ok(Run {
            called: Ok(()),
            instructions,
            heap,
            globals,
        }) => {
            let mut usage = Usage {
                instructions,
                ..Usage::default()
            };
            let mut committed = 0;
            if let Some(heap) = heap {
                usage.heap_pages_dirtied = OsPages(heap.written.len() as u64);
                committed += state
                    .heap
                    .commit(&heap.window, &heap.written)
                    .expect(COMMIT);
                state.heap_pages = heap.wasm_pages;
            }
            state.globals = Some(globals);
            let mut host = store.into_data();
            add_usage(&mut usage, &host);
            host.abandon_prepared();
            let (effects, logs, stable) = take_effects(host);
            if let Some(reservation) = &stable.reservation {
                committed += state
                    .stable
                    .commit(reservation, &stable.dirty)
                    .expect(COMMIT);
            }
            state.stable_pages = stable.size_pages;
            usage.pages_committed = OsPages(committed);
            Output {
                result: Ok(effects),
                usage,
                logs,
            }
        }
        Ok(Run {
            called: Err(trap),
            instructions,
            heap,
            ..
        }) => {
            let written = heap.map_or(0, |heap| heap.written.len() as u64);
            let heap_pages_dirtied = OsPages(written);
            let usage = Usage {
                instructions,
                heap_pages_dirtied,
                ..Usage::default()
            };
            trapped(store.into_data(), usage, trap)
        }
        Err(trap) => trapped(store.into_data(), Usage::default(), trap),
    }
}

/// A message that has run.
struct Run {
    called: Result<(), Trap>,
    instructions: Instructions,
    heap: Option<HeapChanges>,
    globals: Vec<GlobalValue>,
}

/// What a message did to the heap.
struct HeapChanges {
    /// The heap, while the store lives.
    window: Window,
    written: Vec<u64>,
    wasm_pages: u64,
}

/// Instantiates, calls, and collects what changed.
///
/// # Errors
/// When the message could not start.
fn run(
    engine: &Engine,
    state: &CanisterState,
    store: &mut Store<Host>,
    entry: &EntryPoint,
    limit: Instructions,
) -> Result<Run, Trap> {
    let module = &state.module;
    check_exported(module, entry)?;
    let instance = module
        .instance
        .instantiate(&mut *store)
        .map_err(Trap::engine)?;
    let heap = match instance.get_memory(&mut *store, HEAP) {
        Some(memory) => Some((
            memory,
            attach_heap(state, memory, store).map_err(Trap::engine)?,
        )),
        None => None,
    };
    let counter = instance
        .get_global(&mut *store, COUNTER)
        .expect("instrumentation exports it");
    let instructions = i64::try_from(limit.get()).expect("bounded by INSTRUCTIONS_MAX");
    counter
        .set(&mut *store, Val::I64(instructions))
        .expect("the counter is a mutable i64");
    store
        .data_mut()
        .attach(heap.as_ref().map(|(memory, _)| *memory), counter);
    if let Some(profiler) = engine.profiler() {
        let watermark = instance
            .get_global(&mut *store, WATERMARK)
            .expect("instrumentation exports it");
        let first = Val::I64(profiler.first_watermark(instructions));
        watermark
            .set(&mut *store, first)
            .expect("the watermark is a mutable i64");
        store
            .data_mut()
            .attach_profiler(Arc::clone(profiler), watermark);
    }
    restore_globals(state, &instance, store);

    let called = call(&instance, store, entry);

    let remaining = counter
        .get(&mut *store)
        .i64()
        .expect("the counter is an i64");
    let heap = match heap {
        Some((memory, window)) => {
            let size = memory.data_size(&*store);
            let written = written_pages(&window, size, &state.heap, engine.pagemap())
                .map_err(|error| Trap::engine(format!("cannot find written pages: {error}")))?;
            Some(HeapChanges {
                window,
                written,
                wasm_pages: size as u64 / WASM_PAGE_BYTES,
            })
        }
        None => None,
    };
    let globals = read_globals(module, &instance, store);
    Ok(Run {
        called,
        instructions: used(limit, remaining),
        heap,
        globals,
    })
}

fn check_exported(module: &CanisterModule, entry: &EntryPoint) -> Result<(), Trap> {
    if module.exports.contains(entry) {
        return Ok(());
    }
    let (kind, name) = match entry {
        EntryPoint::Update(name) => ("update", name.as_str()),
        EntryPoint::Query(name) => ("query", name.as_str()),
        EntryPoint::CompositeQuery(name) => ("composite_query", name.as_str()),
        other => ("system", system_export(other)),
    };
    Err(Trap::method_not_found(kind, name))
}

fn system_export(entry: &EntryPoint) -> &'static str {
    match entry {
        EntryPoint::Start => "canister_start",
        EntryPoint::Init => "canister_init",
        EntryPoint::PreUpgrade => "canister_pre_upgrade",
        EntryPoint::PostUpgrade => "canister_post_upgrade",
        EntryPoint::Heartbeat => "canister_heartbeat",
        EntryPoint::GlobalTimer => "canister_global_timer",
        EntryPoint::LowWasmMemory => "canister_on_low_wasm_memory",
        EntryPoint::InspectMessage => "canister_inspect_message",
        EntryPoint::Update(_)
        | EntryPoint::Query(_)
        | EntryPoint::CompositeQuery(_)
        | EntryPoint::ReplyCallback(_)
        | EntryPoint::RejectCallback(_)
        | EntryPoint::Cleanup(_) => "",
    }
}

/// Makes the instance's heap as large as the committed one and shows the committed pages in it.
fn attach_heap(
    state: &CanisterState,
    memory: Memory,
    store: &mut Store<Host>,
) -> wasmtime::Result<Window> {
    let missing = state.heap_pages.saturating_sub(memory.size(&*store));
    memory.grow(&mut *store, missing)?;
    let start = NonNull::new(memory.data_ptr(&*store)).expect("memories are never at address 0");
    // SAFETY: the heap's creator reserves the whole range for the life of the store, and no code
    // has run on the instance yet.
    let window = unsafe { Window::new(start, HEAP_WINDOW_BYTES) };
    state
        .heap
        .map(&window, memory.data_size(&*store), HEAP_WINDOW_BYTES)?;
    Ok(window)
}

fn restore_globals(state: &CanisterState, instance: &Instance, store: &mut Store<Host>) {
    let Some(values) = &state.globals else { return };
    for (name, value) in state.module.globals.iter().zip(values) {
        let global = instance
            .get_global(&mut *store, name)
            .expect("instrumentation exports it");
        global
            .set(&mut *store, value.to_val())
            .expect("the value came from this global");
    }
}

fn read_globals(
    module: &CanisterModule,
    instance: &Instance,
    store: &mut Store<Host>,
) -> Vec<GlobalValue> {
    let mut values = Vec::with_capacity(module.globals.len());
    for name in &module.globals {
        let global = instance
            .get_global(&mut *store, name)
            .expect("instrumentation exports it");
        let value = GlobalValue::from_val(&global.get(&mut *store));
        values.push(value.expect("validation refuses globals that are not numbers"));
    }
    values
}

fn call(instance: &Instance, store: &mut Store<Host>, entry: &EntryPoint) -> Result<(), Trap> {
    let callback = match entry {
        EntryPoint::ReplyCallback(callback)
        | EntryPoint::RejectCallback(callback)
        | EntryPoint::Cleanup(callback) => Some(*callback),
        _ => None,
    };
    if let Some(callback) = callback {
        return call_table(instance, store, callback);
    }
    let name = match entry {
        EntryPoint::Start => START.to_owned(),
        EntryPoint::Update(name) => format!("canister_update {name}"),
        EntryPoint::Query(name) => format!("canister_query {name}"),
        EntryPoint::CompositeQuery(name) => format!("canister_composite_query {name}"),
        other => system_export(other).to_owned(),
    };
    let function = instance
        .get_typed_func::<(), ()>(&mut *store, &name)
        .expect("the export exists and validation checked its type");
    function
        .call(&mut *store, ())
        .map_err(|error| Trap::from_wasmtime(&error))
}

fn call_table(
    instance: &Instance,
    store: &mut Store<Host>,
    Callback { fun, env }: Callback,
) -> Result<(), Trap> {
    let table = instance.get_table(&mut *store, TABLE);
    let entry = table.and_then(|table| table.get(&mut *store, fun.into()));
    let function = entry.as_ref().and_then(|entry| entry.as_func().flatten());
    let Some(function) = function else {
        return Err(Trap::function_not_found(fun));
    };
    match function.typed::<u32, ()>(&*store) {
        Ok(typed) => typed
            .call(&mut *store, env)
            .map_err(|error| Trap::from_wasmtime(&error)),
        Err(_) => Err(Trap::toolchain(
            "function invocation does not match its signature",
        )),
    }
}

fn add_usage(usage: &mut Usage, host: &Host) {
    let stable = host.stable.usage();
    usage.stable_pages_dirtied = stable.dirtied;
    usage.stable_pages_accessed = stable.accessed;
    usage.stable_pages_read = stable.read;
    usage.system_calls = host.system_calls;
}

fn take_effects(host: Host) -> (Effects, Vec<LogRecord>, StableChanges) {
    let effects = Effects {
        response: host.response,
        calls: host.calls,
        cycles_accepted: host.cycles_accepted,
        cycles_burned: host.cycles_burned,
        balance: host.balance,
        certified_data: host.certified_data,
        global_timer_ns: host.global_timer_ns,
        message_accepted: host.message_accepted,
        memory_growth_bytes: host.growth_bytes,
    };
    (effects, host.logs, host.stable.finish())
}

fn trapped(mut host: Host, mut usage: Usage, trap: Trap) -> Output {
    add_usage(&mut usage, &host);
    if let Some(line) = &trap.log {
        host.log(line.clone().into_bytes());
    }
    Output {
        result: Err(trap),
        usage,
        logs: host.logs,
    }
}
