//! Bitcoin logic as pure functions and state machines.
//!
//! Nothing here knows the Internet Computer, stable memory, Candid, a clock, files or randomness:
//! time, look-ups and budgets are arguments, decisions and typed errors are results. That is what
//! lets the canister, the adapter and a simulator run the same code.
//!
//! | module | decides |
//! |---|---|
//! | [`header`] | whether a header may follow its parent |
//! | [`tree`] | which unstable header or block is where, and which tip is best |
//! | [`stability`] | when the oldest unstable block is final enough to retire |
//! | [`block`] | what is wrong with bytes that are no block |
//! | [`scan`] | whether bytes are a well-formed block, and what is in it |
//! | [`connect`] | what a block changes in the UTXO set |
//! | [`delta`] | which outputs are coins, and why one cannot be spent |
//! | [`consensus`] | whether a block may change it so, without running scripts |
//! | [`deployments`] | which rule holds at which height, and what a coinbase may create |
//! | [`fees`] | what recent transactions paid |
//! | [`proof`] | whether a transaction is under a header's merkle root |
//! | [`commitment`] | what Bitcoin Core says of a set of coins |
//! | [`muhash`] | what a set of coins hashes to |
//! | [`script`] | which script an address names, and the reverse |
//! | [`page`] | where a paged answer goes on |
//! | [`sync`] | what to ask a pull source next |
//! | [`outbox`] | which transactions to relay, and what became of them |
//! | [`assembly`] | which pushed chunk may be written where |
//! | [`causes`] | what an error of another crate says |
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

pub mod assembly;
pub mod block;
mod bytes;
pub mod causes;
pub mod commitment;
pub mod connect;
pub mod consensus;
pub mod delta;
pub mod deployments;
pub mod fees;
pub mod header;
pub mod muhash;
pub mod network;
pub mod outbox;
pub mod page;
pub mod proof;
pub mod scan;
pub mod script;
pub mod sha256;
pub mod snapshot;
pub mod stability;
pub mod sync;
pub mod tree;
pub mod units;

#[cfg(test)]
mod fixtures;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use bitcoin::{Amount, BlockHash, OutPoint, Script, ScriptBuf, Txid};
pub use network::Network;
pub use units::{Bytes, FeeRate, Height, Instructions, Pages, UnixSeconds};
