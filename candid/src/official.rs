//! The official Bitcoin canister's endpoints: requests as its client crate has them, responses with
//! byte strings that encode as a whole instead of byte by byte.

use candid::CandidType;
use serde::Deserialize;
use serde_bytes::ByteBuf;

use crate::OutPoint;

pub use ic_btc_interface::{
    Fees, GetBalanceError, GetBalanceRequest, GetBlockHeadersError, GetBlockHeadersRequest,
    GetCurrentFeePercentilesRequest, GetUtxosError, GetUtxosRequest, NetworkInRequest,
    SendTransactionError, SendTransactionRequest, UtxosFilter, UtxosFilterInRequest,
};

/// An unspent transaction output.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Utxo {
    /// Where it is.
    pub outpoint: OutPoint,
    /// Its value in satoshi.
    pub value: u64,
    /// Height of the block that made it.
    pub height: u32,
}

/// One page of coins: height descending, then txid bytes, then vout.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct GetUtxosResponse {
    /// The coins, at most 1,000.
    pub utxos: Vec<Utxo>,
    /// The last block considered.
    pub tip_block_hash: ByteBuf,
    /// Its height.
    pub tip_height: u32,
    /// Present if there are more.
    pub next_page: Option<ByteBuf>,
}

/// Consecutive headers in height order.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct GetBlockHeadersResponse {
    /// Height of the last header returned.
    pub tip_height: u32,
    /// Serialised headers, 80 bytes each; at most 100.
    pub block_headers: Vec<ByteBuf>,
}

impl From<crate::Utxo> for Utxo {
    fn from(utxo: crate::Utxo) -> Self {
        Self {
            outpoint: utxo.outpoint,
            value: utxo.value,
            height: utxo.height,
        }
    }
}
