//! Support for tests and the demo: real and mined blocks, an independent UTXO recomputation, and a
//! canister set up through the unmodified `pocket-ic` crate.
//!
//! Nothing here uses `millrace-core`, `millrace-store` or the adapter's code: what these are judged
//! by must not share their mistakes. The contract types of `millrace-candid` are the only link; the
//! chain generator's own tests ask `millrace-core` whether its blocks keep the rules.

pub mod adapter;
pub mod artifacts;
pub mod bitcoind;
pub mod block_file;
pub mod chain;
pub mod coins;
pub mod compare;
pub mod deployment;
pub mod local_replica;
pub mod mining;
pub mod process;
pub mod scripted_peer;
pub mod setup;
pub mod tree;
