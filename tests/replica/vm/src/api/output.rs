//! `debug_print` and `trap`: text for people, priced by what the canister's log keeps of it.

use wasmtime::{Caller, Linker};

use super::host::{Host, enter, with_heap};
use super::message::TRANSMISSION_COST_PER_BYTE;
use super::table::Api;
use crate::input::SubnetKind;
use crate::trap::Trap;

/// Bytes of a trap's message that are kept.
const TRAP_MESSAGE_BYTES_MAX: u32 = 32 * 1024;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "ic0",
        Api::DebugPrint.name(),
        |mut caller: Caller<'_, Host>, src, size| {
            debug_print(&mut caller, src, size).map_err(wasmtime::Error::new)
        },
    )?;
    linker.func_wrap(
        "ic0",
        Api::Trap.name(),
        |mut caller: Caller<'_, Host>, src, size| {
            trap(&mut caller, src, size).map_err(wasmtime::Error::new)
        },
    )?;
    Ok(())
}

impl Host {
    /// Returns the price of logging `bytes`: those kept count twice, for adding them and for
    /// dropping older ones, and those still free in the log are sent to the replica.
    fn logging_instructions(&self, bytes: u32) -> u64 {
        let bytes = u64::from(bytes);
        let kept = bytes.min(self.limits.log_bytes);
        let sent = bytes.min(self.limits.log_bytes.saturating_sub(self.log_bytes));
        2 * kept + TRANSMISSION_COST_PER_BYTE * sent
    }
}

fn debug_print(caller: &mut Caller<'_, Host>, src: u32, size: u32) -> Result<(), Trap> {
    let host = caller.data();
    // Elsewhere the IC's nodes do not print, only log.
    let printed = if host.facts.subnet_kind == SubnetKind::System {
        size
    } else {
        0
    };
    let instructions = host.logging_instructions(size) + u64::from(printed);
    enter(caller, Api::DebugPrint, instructions)?;
    with_heap(caller, |host, heap| {
        let content = match heap.read("save_log_message", src, size) {
            Ok(bytes) => bytes.to_vec(),
            // Printing never fails.
            Err(_) => b"(debug_print message out of memory bounds)".to_vec(),
        };
        host.log(content);
    });
    Ok(())
}

fn trap(caller: &mut Caller<'_, Host>, src: u32, size: u32) -> Result<(), Trap> {
    let instructions = caller.data().logging_instructions(size) + u64::from(size);
    enter(caller, Api::Trap, instructions)?;
    let size = size.min(TRAP_MESSAGE_BYTES_MAX);
    let message = with_heap(caller, |_, heap| match heap.read("trap", src, size) {
        Ok(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Err(_) => "(trap message out of memory bounds)".to_owned(),
    });
    Err(Trap::called(&message))
}
