//! Transactions from the canister to Bitcoin's network, and what became of them back to the canister.
//!
//! ```text
//! canister's outbox --list--> Desk --> peers (millrace_p2p::relay), a Bitcoin Core node (NodeRelay)
//!                 <--report-- Desk <-- outcomes
//! ```
//!
//! [`desk`] decides, [`shell`] calls. The canister keeps the transactions and their fate; a restart of the
//! adapter begins with a listing and loses nothing.

pub mod desk;
pub mod node;
pub mod shell;
