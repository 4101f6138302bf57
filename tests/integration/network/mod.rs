//! The `adapter` program between real Bitcoin Core nodes and the real canister.
//!
//! Tests that need a node are ignored unless asked for; `cargo xtask test` runs them where one is there.

mod compare;
mod crowd;
mod following;
mod killing;
mod nodes;
mod relaying;
mod world;
