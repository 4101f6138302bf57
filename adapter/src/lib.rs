//! The adapter: a native process that reads Bitcoin blocks and feeds them to a Millrace canister.
//!
//! | module | does |
//! |---|---|
//! | [`engine`] | decides what to read and what to push: a state machine without I/O or clock |
//! | [`headers`] | judges headers and knows the best chain (of `millrace-p2p`) |
//! | [`source`] | where blocks come from: block files, a Bitcoin Core node |
//! | [`state`] | what is known beyond one run, in a folder |
//! | [`sink`] | where they go: a canister, through `ic-agent` |
//! | [`open`] | makes the source that the settings name |
//! | [`node`] | asks a Bitcoin Core node |
//! | [`p2p`] | sockets, names, time and chance for the peer-to-peer node |
//! | [`snapshot`] | whole UTXO sets in files: imports and exports |
//! | [`measure`] | how fast a source is |
//! | [`relay`] | brings transactions from the canister to Bitcoin's network |
//! | [`run`] | drives the engine with a source, a sink, a clock and signals |
//! | [`verify`] | compares a canister's coins with a node's or a file's |
//! | [`status`] | one screen about a canister |
//! | [`http`] | what a running adapter serves: metrics, health, status, peers |
//! | [`cli`], [`config`] | flags, environment and file, merged into settings |
//! | [`logging`], [`progress`] | what people see |
//! | [`peers`] | a table of a running adapter's peers |
//! | [`broadcast`] | one transaction to Bitcoin's network |
//! | [`check`] | whether settings can work |
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

pub mod broadcast;
pub mod check;
pub mod cli;
pub mod config;
pub mod engine;
pub mod exit;
pub use millrace_p2p::headers;
pub mod http;
pub mod logging;
pub mod measure;
pub mod node;
pub mod open;
pub mod p2p;
pub mod peers;
pub mod progress;
pub mod relay;
pub mod run;
pub mod sink;
pub mod snapshot;
pub mod source;
pub mod state;
pub mod status;
pub mod verify;
