//! The adapter: a native process that reads Bitcoin blocks and feeds them to a Millrace canister.
//!
//! | module | does |
//! |---|---|
//! | [`engine`] | decides what to read and what to push: a state machine without I/O or clock |
//! | [`headers`] | judges headers and knows the best chain (of `millrace-p2p`) |
//! | [`source`] | where blocks come from: block files |
//! | [`sink`] | where they go: a canister, through `ic-agent` |
//! | [`node`] | asks a Bitcoin Core node |
//! | [`p2p`] | sockets, names, time and chance for the peer-to-peer node |
//! | [`snapshot`] | whole UTXO sets in files: imports and exports |
//! | [`run`] | drives the engine with a source, a sink, a clock and signals |
//! | [`verify`] | compares a canister's coins with a node's or a file's |
//! | [`status`] | one screen about a canister |
//! | [`cli`], [`config`] | flags, environment and file, merged into settings |
//! | [`logging`], [`progress`] | what people see |
//! | [`exit`] | exit codes |
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

pub mod cli;
pub mod config;
pub mod engine;
pub mod exit;
pub use millrace_p2p::headers;
pub mod logging;
pub mod node;
pub mod p2p;
pub mod progress;
pub mod run;
pub mod sink;
pub mod snapshot;
pub mod source;
pub mod status;
pub mod verify;
