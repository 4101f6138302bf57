//! The system interface, module `ic0`: one file per topic over the table in [`table`].

mod calls;
mod canister;
pub(crate) mod context;
mod costs;
mod cycles;
mod environment;
mod heap;
pub(crate) mod host;
mod message;
mod output;
mod stable;
pub(crate) mod table;

use wasmtime::Linker;

pub(crate) use host::Host;

/// Adds every function of the system interface to `linker`.
///
/// # Errors
/// When two functions have one name.
pub(crate) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    message::link(linker)?;
    canister::link(linker)?;
    calls::link(linker)?;
    cycles::link(linker)?;
    costs::link(linker)?;
    environment::link(linker)?;
    output::link(linker)?;
    stable::link(linker)
}
