//! Which transactions are to be relayed to Bitcoin's network, and what became of each.
//!
//! ```text
//! submitted ─▶ queued ─▶ announced ─▶ seen ─▶ confirmed ─▶ settled
//!                 │          │          │         │ its block left the best chain: as before
//!                 └──────────┴─▶ rejected, expired ─▶ submitted again: queued
//! ```
//!
//! A machine without I/O: `(now, event)` goes in, commands about bytes and records come out. A
//! transaction is confirmed while a block that holds it is on the best chain, whenever that block
//! came; so a reorganisation needs no event. Everything is bounded: see the constants.

mod machine;
mod record;

#[cfg(test)]
mod tests;

use bitcoin::{BlockHash, Txid};

use crate::units::{Bytes, Height};

pub use machine::Outbox;
pub use record::RecordError;

/// Transactions whose bytes are kept, at most.
pub const MAX_KEPT: usize = 1_000;

/// Their bytes together, at most.
pub const MAX_KEPT_BYTES: Bytes = Bytes::new(16 * 1024 * 1024);

/// Transactions remembered without bytes, at most; the one that ended first goes first.
pub const MAX_ENDED: usize = 1_000;

/// How long a transaction is relayed: as long as Bitcoin Core keeps one in its memory pool.
pub const RELAY_SECONDS: u64 = 14 * 24 * 3_600;

/// How often expiry is looked for.
pub const SWEEP_SECONDS: u64 = 60;

/// Blocks remembered that hold a transaction, at most: the newest of competing branches.
pub const MAX_INCLUSIONS: usize = 4;

/// Longest reason kept with a rejection, in bytes.
pub const MAX_REASON_BYTES: usize = 200;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody wants it relayed by adapters.
    Submitted {
        /// The transaction.
        txid: Txid,
        /// Its size.
        size: u32,
    },
    /// The blocks source took it over; nobody reports about it until a block holds it.
    HandedOver {
        /// The transaction.
        txid: Txid,
        /// Its size.
        size: u32,
    },
    /// An adapter says what became of it.
    Reported {
        /// The transaction.
        txid: Txid,
        /// What.
        report: Report,
    },
    /// A block holds it.
    Included {
        /// The transaction.
        txid: Txid,
        /// The block.
        block: BlockHash,
        /// Its height.
        height: Height,
    },
    /// Time passed.
    Tick,
}

/// What an adapter says about a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// It was announced to so many peers.
    Announced {
        /// Peers.
        peers: u32,
    },
    /// A peer it was not announced to has it.
    Seen,
    /// It was refused.
    Rejected {
        /// Why, in the peer's words.
        reason: String,
    },
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Keep the submitted bytes.
    KeepBytes(Txid),
    /// Delete the bytes.
    DropBytes(Txid),
    /// The record changed: store it.
    Save(Txid),
    /// The record is gone: delete it.
    Forget(Txid),
}

/// Where a block stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Stable: it stays.
    Stable,
    /// On the best chain, but not stable.
    Best,
    /// Elsewhere, or unknown.
    Aside,
}

/// What must be known of the chain.
pub trait Chain {
    /// Returns where a block stands now.
    fn standing(&self, block: &BlockHash) -> Standing;
}

/// Where a transaction is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Waiting for an adapter.
    Queued,
    /// Announced to so many peers; 0 when it was handed over to the blocks source.
    Announced {
        /// Peers.
        peers: u32,
    },
    /// In other nodes' memory pools.
    Seen,
    /// In a block of the best chain.
    Confirmed {
        /// The block.
        block: BlockHash,
        /// Its height.
        height: Height,
    },
    /// Refused; no longer relayed.
    Rejected {
        /// Why.
        reason: String,
    },
    /// Relayed for [`RELAY_SECONDS`] without being confirmed; no longer relayed.
    Expired,
}

/// Why a transaction is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutboxError {
    /// There is no room.
    #[error(
        "the outbox holds {kept} transactions of {kept_bytes} together; {size} bytes more do not fit: send it again later"
    )]
    Full {
        /// Transactions kept.
        kept: usize,
        /// Their bytes.
        kept_bytes: Bytes,
        /// Size of the one refused.
        size: u32,
    },
    /// A report about a transaction that is not here.
    #[error("transaction {txid} is not in the outbox")]
    Unknown {
        /// The transaction.
        txid: Txid,
    },
}
