//! Everything the canister keeps, in stable memory.
//!
//! All state lives behind [`Store`], generic over [`ic_stable_structures::Memory`], so that tests
//! run natively on a vector. The heap holds caches only: dropping a [`Store`] between two messages
//! and opening it again changes nothing.
//!
//! | module | keeps |
//! |---|---|
//! | [`layout`] | the table of regions, the header page |
//! | [`counting`] | how many distinct pages a message touched |
//! | [`queue`] | delivered blocks nobody has looked at, and what may be admitted |
//! | [`blobs`] | bytes of blocks and transactions, in chains of pages |
//! | [`headers`] | headers of the stable chain |
//! | [`nodes`] | records of the unstable tree |
//! | [`coins`] | the UTXO set: which changes make it up at a tip |
//! | [`runs`] | the changes: sorted runs, written once and merged |
//! | [`import`] | how far the import of a snapshot is |
//! | [`commitments`] | what Bitcoin Core says of the stable set |
//! | [`cells`] | small durable values: counters, pull and watchdog state |
//! | [`rejections`] | refused blocks: the last ones, and those refused for good |
//! | [`fee_rates`] | what transactions of unstable blocks paid |
//! | [`median_times`] | how late a chain was at a height |
//! | [`outbox`] | transactions to relay |
//! | [`transactions`] | where transactions of held blocks are |
//! | [`audit`] | checks of all invariants |
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

pub mod audit;
pub mod blobs;
pub mod cells;
pub mod coins;
pub mod commitments;
pub mod counting;
mod error;
pub mod fee_rates;
pub mod headers;
pub mod import;
pub mod layout;
#[cfg(test)]
mod limited;
#[cfg(test)]
mod mainnet_like;
pub mod median_times;
pub mod nodes;
pub mod outbox;
pub mod queue;
mod record;
pub mod regions;
pub mod rejections;
pub mod runs;
mod store;
pub mod transactions;

pub use error::StoreError;
pub use layout::OpenError;
pub use store::Store;
