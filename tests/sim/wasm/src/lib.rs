//! The simulator's schedules on the canister's module: the same events, checks and minimiser as
//! `millrace-sim` has for the canister's logic in this process, on Wasm in the replica.
//!
//! | module | does |
//! |---|---|
//! | [`subject`] | the module as a simulation sees it |
//! | `calls` | its methods |
//! | `modules` | what runs there, compiled once |
//! | `replica` | a subnet with the module and its blocks source, one message at a time |
//!
//! What this level adds: the shell's entry points, Candid on both ways, traps that roll a heap back, an
//! upgrade that throws one away, calls through queues and callbacks, and the system's own count of
//! instructions and pages. What it cannot do, [`subject`] says.

mod calls;
mod modules;
mod replica;
pub mod subject;
