//! The Candid types of `client.did`.

use candid::{CandidType, Principal};
use ic_btc_interface::{
    BlockchainInfo, GetBalanceRequest, GetBlockHeadersRequest, GetBlockHeadersResponse,
    GetCurrentFeePercentilesRequest, GetUtxosRequest, GetUtxosResponse, Network,
    SendTransactionRequest,
};
use serde::Deserialize;
use serde_bytes::ByteBuf;

/// A function of the crate and its argument.
#[derive(CandidType, Deserialize, Debug)]
pub enum Request {
    /// `bitcoin_get_utxos`.
    #[serde(rename = "get_utxos")]
    GetUtxos(GetUtxosRequest),
    /// `bitcoin_get_balance`.
    #[serde(rename = "get_balance")]
    GetBalance(GetBalanceRequest),
    /// `bitcoin_get_block_headers`.
    #[serde(rename = "get_block_headers")]
    GetBlockHeaders(GetBlockHeadersRequest),
    /// `bitcoin_get_current_fee_percentiles`.
    #[serde(rename = "get_current_fee_percentiles")]
    GetCurrentFeePercentiles(GetCurrentFeePercentilesRequest),
    /// `get_blockchain_info`.
    #[serde(rename = "get_blockchain_info")]
    GetBlockchainInfo(Network),
    /// `bitcoin_send_transaction`.
    #[serde(rename = "send_transaction")]
    SendTransaction(SendTransactionRequest),
}

/// What the function returned, as the crate decodes it.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Of `bitcoin_get_utxos`.
    #[serde(rename = "utxos")]
    Utxos(GetUtxosResponse),
    /// Of `bitcoin_get_balance`, in satoshi.
    #[serde(rename = "balance")]
    Balance(u64),
    /// Of `bitcoin_get_block_headers`.
    #[serde(rename = "block_headers")]
    BlockHeaders(GetBlockHeadersResponse),
    /// Of `bitcoin_get_current_fee_percentiles`.
    #[serde(rename = "fee_percentiles")]
    FeePercentiles(Vec<u64>),
    /// Of `get_blockchain_info`.
    #[serde(rename = "blockchain_info")]
    BlockchainInfo(BlockchainInfo),
    /// Of `bitcoin_send_transaction`.
    #[serde(rename = "sent")]
    Sent,
}

/// Why there is no answer.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The callee, or the IC in its place, rejected the call.
    #[serde(rename = "rejected")]
    Rejected {
        /// The reject code.
        code: u32,
        /// The reject message.
        message: String,
    },
    /// The call was not made, or its reply could not be read.
    #[serde(rename = "other")]
    Other(String),
}

/// What came of a [`Request`].
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The answer.
    pub result: Result<Answer, Failure>,
    /// The canister the crate calls for this network.
    pub callee: Principal,
    /// What the crate says the call costs and attaches, in cycles.
    pub attached: u128,
    /// Cycles that came back with the answer.
    pub refunded: u128,
}

/// A call of any method.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The callee.
    pub canister: Principal,
    /// Its method.
    pub method: String,
    /// The encoded argument.
    pub argument: ByteBuf,
    /// Cycles to attach; none from a query.
    pub cycles: u128,
}

/// What came of a [`Forward`].
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// The reply's bytes.
    pub result: Result<ByteBuf, Failure>,
    /// Cycles that came back with the answer.
    pub refunded: u128,
}
