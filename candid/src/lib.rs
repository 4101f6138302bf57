//! Candid types of the contract `btc.did`, shared by the canister, the adapter and the tests.
//!
//! The types carry no logic: whoever receives one checks it. `btc.did` beside this package is the
//! authority; a test holds every method of it against the Rust types.

mod batch;
mod blocks;
mod config;
mod feed;
mod http;
mod inclusion;
pub mod official;
mod read;
mod relay;
mod snapshot;
mod utxo_set;

#[cfg(test)]
mod tests;

pub use batch::{
    Balances, GetBalancesArgs, GetBalancesResult, GetOutpointsArgs, GetOutpointsResult, Outpoints,
    OwnerBalance, UnspentOutput,
};
pub use blocks::{
    BlockBytes, BlockSelector, ChainTip, ChainTipStatus, ChainTips, FeePercentiles,
    FoundTransaction, GetBlockArgs, GetBlockResult, GetChainTipsArgs, GetChainTipsResult,
    GetFeePercentilesArgs, GetFeePercentilesResult, GetStatusArgs, GetStatusResult,
    GetTransactionArgs, GetTransactionResult, LimitsStatus, Status,
};
pub use config::{
    BlockValidation, Budgets, CanisterArg, Chain, Config, Flag, InitConfig, InitNetwork, Network,
    SetConfigRequest,
};
pub use feed::{
    BlockPart, FeedError, FeedState, FeedStateArgs, FeedStateResult, HalfReceived, PartError,
    PartOutcome, PushBlocksResult, PushReceipt, Rejection, RejectionKind,
};
pub use http::{HttpHeader, HttpRequest, HttpResponse};
pub use inclusion::{
    InclusionProof, ProvenInclusion, VerifyTxInclusionArgs, VerifyTxInclusionResult,
};
pub use read::{
    Balance, BlockHeaders, BlockId, BlockchainInfo, GetBalanceArgs, GetBalanceResult,
    GetBlockHeadersArgs, GetBlockHeadersResult, GetUtxosArgs, GetUtxosResult, HeaderSelector,
    OutPoint, Owner, ReadError, Utxo, UtxosFilter, UtxosPage,
};
pub use relay::{
    GetTransactionStatusArgs, GetTransactionStatusResult, GetTransactionsToRelayArgs,
    GetTransactionsToRelayResult, RelayError, RelayOutcome, ReportTransactionsResult, SendError,
    SendTransactionArgs, SendTransactionResult, SentTransaction, TransactionReport,
    TransactionStanding, TransactionStatus, TransactionToRelay,
};
pub use snapshot::{
    BeginSnapshotImportArgs, CoinOfSet, CoinsPage, GetCoinsArgs, GetCoinsResult,
    PushSnapshotCoinsArgs, PushSnapshotHeadersArgs, SnapshotError, SnapshotImport,
    SnapshotImportResult,
};
pub use utxo_set::{GetUtxoSetInfoArgs, GetUtxoSetInfoResult, UtxoSetCommitment, UtxoSetInfo};

/// The contract itself, as it is put into the Wasm's `candid:service` metadata.
pub const BTC_DID: &str = include_str!("../btc.did");
