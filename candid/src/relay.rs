//! Sending transactions, and the adapters' side of it.

use candid::{CandidType, Nat, Principal};
use serde::Deserialize;
use serde_bytes::ByteBuf;

use crate::BlockId;

/// Argument of `send_transaction`.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct SendTransactionArgs {
    /// The transaction in its consensus encoding, witness data included.
    pub transaction: ByteBuf,
}

/// An accepted transaction.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct SentTransaction {
    /// Its id (32 bytes, internal order).
    pub txid: ByteBuf,
}

/// Why a transaction is not sent.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "fields repeat the value at fault and the bound it broke"
)]
pub enum SendError {
    /// A controller or the watchdog closed the API.
    #[serde(rename = "api_disabled")]
    ApiDisabled,
    /// Attach more cycles.
    #[serde(rename = "too_few_cycles")]
    TooFewCycles { received: Nat, required: Nat },
    /// The bytes are not one transaction.
    #[serde(rename = "malformed_transaction")]
    MalformedTransaction { reason: String },
    /// No block can hold it.
    #[serde(rename = "transaction_too_large")]
    TransactionTooLarge { given_bytes: u32, max_bytes: u32 },
    /// Too many transactions wait to be relayed: send it again later.
    #[serde(rename = "outbox_full")]
    OutboxFull { transactions: u32, bytes: u64 },
    /// The blocks source did not take it.
    #[serde(rename = "not_handed_over")]
    NotHandedOver { reason: String },
    /// A defect or a limit inside the canister.
    #[serde(rename = "internal")]
    Internal(String),
}

/// Argument of `get_transaction_status`.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct GetTransactionStatusArgs {
    /// The transaction's id.
    pub txid: ByteBuf,
    /// Read the chain that ends here instead of at the best tip.
    pub at_tip: Option<ByteBuf>,
}

/// Where a transaction is, and on which chain that was looked for.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct TransactionStanding {
    /// What became of it.
    pub status: TransactionStatus,
    /// The tip of the chain read.
    pub tip: BlockId,
}

/// What became of a transaction that was sent through the canister.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    /// Waiting for an adapter.
    #[serde(rename = "queued")]
    Queued,
    /// Announced to the network.
    #[serde(rename = "announced")]
    Announced {
        /// Peers it was announced to; 0 when the blocks source took it.
        peers: u32,
    },
    /// In other nodes' memory pools.
    #[serde(rename = "seen")]
    Seen,
    /// In a block of the chain read.
    #[serde(rename = "confirmed")]
    Confirmed {
        /// The block.
        block: BlockId,
        /// 1 when the block is the tip.
        confirmations: u32,
    },
    /// Refused by the network; send it again to try again.
    #[serde(rename = "rejected")]
    Rejected {
        /// Why, in a peer's words.
        reason: String,
    },
    /// Relayed for two weeks without being confirmed; send it again to try again.
    #[serde(rename = "expired")]
    Expired,
}

/// Argument of `get_transactions_to_relay`.
#[derive(CandidType, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct GetTransactionsToRelayArgs {
    /// The last transaction of the answer before; absent to begin.
    pub after: Option<ByteBuf>,
    /// Bytes of transactions wanted at most, up to 1,500,000; that many when absent.
    pub max_bytes: Option<u32>,
}

/// A transaction that adapters should relay.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct TransactionToRelay {
    /// Its id.
    pub txid: ByteBuf,
    /// Its consensus encoding.
    pub transaction: ByteBuf,
    /// When it was sent, seconds since the Unix epoch.
    pub submitted_at: u64,
}

/// What an adapter did with a transaction, or learned of it.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum RelayOutcome {
    /// It was announced to so many peers.
    #[serde(rename = "announced")]
    Announced {
        /// Peers.
        peers: u32,
    },
    /// A peer it was not announced to has it.
    #[serde(rename = "seen")]
    Seen,
    /// It was refused.
    #[serde(rename = "rejected")]
    Rejected {
        /// Why; 200 bytes of it are kept.
        reason: String,
    },
}

/// A report about one transaction.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct TransactionReport {
    /// The transaction's id.
    pub txid: ByteBuf,
    /// What happened.
    pub outcome: RelayOutcome,
}

/// Why a question about the outbox or a report is refused.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "fields repeat the value at fault and the bound it broke"
)]
pub enum RelayError {
    /// Only principals of the configuration's `adapters` may.
    #[serde(rename = "not_an_adapter")]
    NotAnAdapter { caller: Principal },
    /// An id has 32 bytes.
    #[serde(rename = "malformed_hash")]
    MalformedHash {
        given_bytes: u32,
        expected_bytes: u32,
    },
    /// The block is on no chain that can still be read at; stable blocks below `min_height` cannot.
    #[serde(rename = "unknown_tip")]
    UnknownTip { hash: ByteBuf, min_height: u32 },
    /// It was not sent through this canister, or long ago.
    #[serde(rename = "unknown_transaction")]
    UnknownTransaction { txid: ByteBuf },
    /// One message takes at most `max`.
    #[serde(rename = "too_many_reports")]
    TooManyReports { given: u32, max: u32 },
    /// A defect or a limit inside the canister.
    #[serde(rename = "internal")]
    Internal(String),
}

/// What `send_transaction` returns.
pub type SendTransactionResult = Result<SentTransaction, SendError>;
/// What `get_transaction_status` returns.
pub type GetTransactionStatusResult = Result<TransactionStanding, RelayError>;
/// What `get_transactions_to_relay` returns.
pub type GetTransactionsToRelayResult = Result<Vec<TransactionToRelay>, RelayError>;
/// What `report_transactions` returns: for each report, whether its transaction is known.
pub type ReportTransactionsResult = Result<Vec<bool>, RelayError>;
