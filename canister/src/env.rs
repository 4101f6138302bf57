//! What the system tells the canister.

use millrace_core::{Bytes, Instructions, UnixSeconds};

/// The outside world, as far as the logic needs it.
pub trait Env {
    /// Returns the system's time.
    fn now(&self) -> UnixSeconds;

    /// Returns the instructions executed since this message began.
    fn instructions(&self) -> Instructions;

    /// Returns the size of the Wasm heap.
    fn heap_bytes(&self) -> Bytes;

    /// Returns the canister's cycles.
    fn cycles_balance(&self) -> u128;

    /// Returns the cycles above the freezing threshold; nothing where messages cost no cycles.
    fn cycles_to_spend(&self) -> Option<u128>;

    /// Writes one line to the canister's log.
    fn log(&self, line: &str);
}

/// The canister's own system.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Env for System {
    fn now(&self) -> UnixSeconds {
        UnixSeconds::new(ic_cdk::api::time() / 1_000_000_000)
    }

    fn instructions(&self) -> Instructions {
        Instructions::new(ic_cdk::api::performance_counter(0))
    }

    fn heap_bytes(&self) -> Bytes {
        #[cfg(target_arch = "wasm32")]
        let pages = core::arch::wasm32::memory_size(0) as u64;
        // Only the Wasm module is ever run by a system that has one.
        #[cfg(not(target_arch = "wasm32"))]
        let pages = 0;
        Bytes::new(pages * 65_536)
    }

    fn cycles_balance(&self) -> u128 {
        ic_cdk::api::canister_cycle_balance()
    }

    fn cycles_to_spend(&self) -> Option<u128> {
        let costs_cycles = ic_cdk::api::cost_call(0, 0) > 0;
        costs_cycles.then(ic_cdk::api::canister_liquid_cycle_balance)
    }

    fn log(&self, line: &str) {
        ic_cdk::api::debug_print(line);
    }
}
