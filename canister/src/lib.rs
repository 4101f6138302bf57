//! The canister's logic without its Wasm entry points, so that tests run it natively.
//!
//! [`App`] owns all state and decides everything; `main.rs` only decodes, calls it and encodes.
//! Time, the instruction counter and the log come through [`Env`].
//!
//! | module | does |
//! |---|---|
//! | [`app`] | owns store, configuration and the block in hand |
//! | [`config`] | checks and stores the configuration |
//! | [`burning`] | burns cycles once the heartbeat's call has its own |
//! | [`argument`] | decodes the arguments of calls |
//! | [`lifecycle`] | decodes the arguments of `init` and `post_upgrade` |
//! | [`tick`] | one heartbeat: drain, work within budgets, ask for more |
//! | [`drain`] | takes delivered blocks into the tree |
//! | [`connect`] | judges and connects one block, step by step |
//! | [`watchdog`] | finds work that traps again and again, and gives it up |
//! | [`feed`] | pushed blocks in |
//! | [`pull`] | asked-for blocks in |
//! | [`guard`] | decides whether a call is answered: access, network, sync, cycles |
//! | [`api`] | typed reads |
//! | [`official`] | the official Bitcoin canister's endpoints |
//! | [`relay`] | transactions out |
//! | [`convert`] | domain types to Candid types |
//! | [`paid_memory`] | stable memory that stops growing before the cycles to pay for it are used up |
//! | [`http`] | `/metrics`, `/health` and a page for people |
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

pub mod api;
pub mod app;
pub mod argument;
pub mod burning;
pub mod commit;
pub mod config;
pub mod connect;
pub mod convert;
pub mod drain;
pub mod env;
pub mod feed;
pub mod guard;
pub mod http;
pub mod lifecycle;
pub mod official;
pub mod paid_memory;
pub mod pull;
pub mod relay;
pub mod reply;
pub mod snapshot;
pub mod tick;
pub mod watchdog;
mod window;

#[cfg(test)]
mod tests;

pub use app::App;
pub use env::Env;
