//! The Wasm entry points: decode, call [`App`], encode. No decisions. What the system calls is here,
//! what users call in `endpoints`.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

mod endpoints;

use std::cell::RefCell;

use candid::CandidType;
use ic_cdk::call::Call;
use ic_stable_structures::DefaultMemoryImpl;
use millrace_canister::env::System;
use millrace_canister::paid_memory::PaidMemory;
use millrace_canister::pull::GET_SUCCESSORS;
use millrace_canister::watchdog::WATCH_SECONDS;
use millrace_canister::{App, argument, burning, lifecycle, reply};
use millrace_store::layout;
use serde::de::DeserializeOwned;

/// The canister's stable memory.
type StableMemory = PaidMemory<DefaultMemoryImpl, System>;

thread_local! {
    /// The only state. Absent until the first message after an upgrade opens it.
    static APP: RefCell<Option<App<StableMemory>>> = const { RefCell::new(None) };
}

/// Runs `f` on the state, opening it first if need be.
fn with<R>(f: impl FnOnce(&mut App<StableMemory>) -> R) -> R {
    APP.with_borrow_mut(|app| {
        let app = match app {
            Some(app) => {
                app.begin_message(&System);
                app
            }
            // What opening writes is this message's.
            None => app.insert(or_trap(App::open(StableMemory::default()))),
        };
        f(app)
    })
}

/// Refuses an installation or a controller's call, or reports damaged memory: there is nobody to
/// return a typed error to.
fn or_trap<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| ic_cdk::trap(error.to_string()))
}

/// Decodes the argument of a method, or refuses the call: the macros alone would report a failed
/// `unwrap`, and set no limit to what decoding costs. A method that uses it says its signature with
/// `candid_method`, because the macro exports `blob` for an argument it does not decode itself.
fn decode<T: CandidType + DeserializeOwned>(bytes: Vec<u8>) -> T {
    or_trap(argument::decode(&bytes))
}

/// Encodes the reply of a method.
fn encode<T: CandidType + 'static>(value: T) -> Vec<u8> {
    or_trap(reply::encode(&value))
}

/// Encodes the reply of a method that may fail.
fn encode_result<T: CandidType + 'static, E: CandidType + 'static>(
    result: Result<T, E>,
) -> Vec<u8> {
    or_trap(reply::encode_result(result))
}

/// Bytes of heap that are taken when the module starts, more than twice what 144 unstable blocks of mainnet's
/// size need: later the subnet may have none to give, and a heap that cannot grow traps.
const HEAP_BYTES: usize = 16 << 20;

/// Takes the heap that messages will need. Touches no page of it.
fn take_heap() {
    let mut heap: Vec<u8> = Vec::new();
    // Without it the canister works as long as less is enough.
    drop(heap.try_reserve_exact(HEAP_BYTES));
    std::hint::black_box(&mut heap);
}

/// Sets the watchdog's timer. Returns whether it was off.
fn watch() -> bool {
    ic_cdk::api::global_timer_set(ic_cdk::api::time() + WATCH_SECONDS * 1_000_000_000) == 0
}

/// Installs. Exported by hand: the macro would decode the argument itself, which must be absent,
/// `null` or a `canister_arg`, with this canister's texts.
#[unsafe(export_name = "canister_init")]
extern "C" fn init() {
    ic_cdk::futures::internals::in_executor_context(|| {
        take_heap();
        let config = or_trap(lifecycle::init_config(&ic_cdk::api::msg_arg_data()));
        let app = or_trap(App::install(StableMemory::default(), config));
        APP.set(Some(app));
        watch();
    });
}

/// Upgrades: reads the header page, and opens the rest only to change the configuration.
#[unsafe(export_name = "canister_post_upgrade")]
extern "C" fn post_upgrade() {
    ic_cdk::futures::internals::in_executor_context(|| {
        take_heap();
        let change = or_trap(lifecycle::upgrade_config(&ic_cdk::api::msg_arg_data()));
        or_trap(layout::check(&StableMemory::default()));
        if let Some(change) = change {
            with(|app| or_trap(app.set_config(change)));
        }
        watch();
    });
}

#[ic_cdk::heartbeat]
async fn heartbeat() {
    if watch() {
        // The watchdog trapped. Nothing else happens here, so that the timer stays set.
        with(|app| app.note_dead_watchdog(&System));
        return;
    }
    or_trap(endpoints::keep_tables());
    let Some(ask) = with(|app| app.heartbeat(&System)) else {
        burn();
        return;
    };
    let call = Call::unbounded_wait(ask.source, GET_SUCCESSORS).with_arg(ask.request);
    let outcome = match burning::start_then(call.into_future(), burn).await {
        Ok(response) => Ok(response.into_bytes()),
        Err(error) => Err(error.to_string()),
    };
    with(|app| app.on_reply(&System, ask.id, outcome));
}

/// Burns all cycles above the freezing threshold, if the configuration says so.
fn burn() {
    with(|app| {
        if app.burns_cycles() {
            let liquid = ic_cdk::api::canister_liquid_cycle_balance();
            app.note_burnt(ic_cdk::api::cycles_burn(liquid));
        }
    });
}

/// The system's timer; it has no macro.
#[unsafe(export_name = "canister_global_timer")]
extern "C" fn global_timer() {
    ic_cdk::futures::internals::in_executor_context(|| {
        watch();
        with(|app| app.watchdog(&System));
    });
}

/// Spares strangers' pushes their way through consensus. Opens nothing: until the first message
/// after an upgrade did, `push_blocks` itself refuses them.
#[ic_cdk::inspect_message]
fn inspect_message() {
    let is_wanted = match ic_cdk::api::msg_method_name().as_str() {
        // They refuse replicated calls anyway.
        "bitcoin_get_utxos_query" | "bitcoin_get_balance_query" => false,
        "push_blocks" | "report_transactions" => is_adapter(),
        "begin_snapshot_import"
        | "push_snapshot_headers"
        | "push_snapshot_coins"
        | "discard_snapshot_import" => {
            is_adapter() || ic_cdk::api::is_controller(&ic_cdk::api::msg_caller())
        }
        _ => true,
    };
    if is_wanted {
        ic_cdk::api::accept_message();
    }
}

fn is_adapter() -> bool {
    let caller = ic_cdk::api::msg_caller();
    APP.with_borrow(|app| app.as_ref().is_none_or(|app| app.is_adapter(&caller)))
}

fn main() {}

#[cfg(test)]
mod tests {
    use std::marker::PhantomData;

    use candid_parser::utils::{CandidSource, service_equal};
    // The exported service names types as the endpoints do.
    use millrace_candid::*;

    /// Declares the argument that `init` reads from raw bytes.
    #[candid::candid_method(init)]
    #[expect(dead_code, reason = "only its signature matters")]
    fn init_argument(argument: millrace_candid::CanisterArg) {
        drop(argument);
    }

    candid::export_service!();

    #[test]
    fn the_exported_interface_equals_the_contract() {
        let exported = __export_service();
        service_equal(
            CandidSource::Text(&exported),
            CandidSource::Text(millrace_candid::BTC_DID),
        )
        .unwrap();
    }
}
