//! Reads of the UTXO set and of headers.

use candid::{CandidType, Nat};
use serde::Deserialize;
use serde_bytes::ByteBuf;

use crate::Chain;

/// A block by hash (32 bytes, internal order) and height.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct BlockId {
    /// The block's hash.
    pub hash: ByteBuf,
    /// The block's height; the genesis block has 0.
    pub height: u32,
}

/// Whose coins are asked for.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// An address of the canister's network.
    #[serde(rename = "address")]
    Address(String),
    /// The exact output script.
    #[serde(rename = "script")]
    Script(ByteBuf),
}

/// A transaction output by its transaction (32 bytes, internal order) and index.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutPoint {
    /// The transaction's id.
    pub txid: ByteBuf,
    /// The output's index.
    pub vout: u32,
}

/// An unspent transaction output.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Utxo {
    /// Where it is.
    pub outpoint: OutPoint,
    /// Its value in satoshi.
    pub value: u64,
    /// Height of the block that made it.
    pub height: u32,
    /// Whether a coinbase transaction made it.
    pub coinbase: bool,
}

/// Why a read was refused. Nothing changes when one is.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "fields repeat the value at fault and the bound it broke"
)]
pub enum ReadError {
    /// The text is no Bitcoin address.
    #[serde(rename = "malformed_address")]
    MalformedAddress { address: String, reason: String },
    /// The address belongs to another network.
    #[serde(rename = "address_for_wrong_network")]
    AddressForWrongNetwork { address: String, expected: Chain },
    /// No output script is that long.
    #[serde(rename = "script_too_long")]
    ScriptTooLong { given: u32, max: u32 },
    /// A hash has 32 bytes.
    #[serde(rename = "malformed_hash")]
    MalformedHash {
        given_bytes: u32,
        expected_bytes: u32,
    },
    /// The block is on no chain that can still be read at; stable blocks below `min_height` cannot.
    #[serde(rename = "unknown_tip")]
    UnknownTip { hash: ByteBuf, min_height: u32 },
    /// The page is not one this canister made.
    #[serde(rename = "malformed_page")]
    MalformedPage { reason: String },
    /// The page continues a read at another tip than the one asked for.
    #[serde(rename = "page_for_other_tip")]
    PageForOtherTip { page_tip: ByteBuf, at_tip: ByteBuf },
    /// The chain is shorter than that, or its older states are not kept.
    #[serde(rename = "min_confirmations_too_large")]
    MinConfirmationsTooLarge { given: u32, max: u32 },
    /// `limit` is 1 to `max`.
    #[serde(rename = "limit_out_of_range")]
    LimitOutOfRange { given: u32, max: u32 },
    /// The first height asked for is above the tip.
    #[serde(rename = "start_height_does_not_exist")]
    StartHeightDoesNotExist { requested: u32, tip_height: u32 },
    /// The last height asked for is above the tip.
    #[serde(rename = "end_height_does_not_exist")]
    EndHeightDoesNotExist { requested: u32, tip_height: u32 },
    /// The range is the wrong way round.
    #[serde(rename = "start_height_larger_than_end_height")]
    StartHeightLargerThanEndHeight { start_height: u32, end_height: u32 },
    /// No header with this hash is known on that chain.
    #[serde(rename = "unknown_block")]
    UnknownBlock { hash: ByteBuf },
    /// Its bytes are not held: it is below `min_height` and stable, or they did not come yet, or it
    /// was refused.
    #[serde(rename = "block_not_held")]
    BlockNotHeld { hash: ByteBuf, min_height: u32 },
    /// The block has only `size` bytes.
    #[serde(rename = "offset_out_of_range")]
    OffsetOutOfRange { given: u32, size: u32 },
    /// It is in no held block of that chain, or not in the block named. Blocks from `min_height` on
    /// are held; those below are stable and their bytes are gone.
    #[serde(rename = "transaction_not_found")]
    TransactionNotFound { txid: ByteBuf, min_height: u32 },
    /// It does not fit a response: read its block in pieces.
    #[serde(rename = "transaction_too_large")]
    TransactionTooLarge { size: u32, max: u32 },
    /// One request takes at most `max`.
    #[serde(rename = "too_many_items")]
    TooManyItems { given: u32, max: u32 },
    /// No merkle block is that long.
    #[serde(rename = "proof_too_large")]
    ProofTooLarge { given: u32, max: u32 },
    /// The bytes are no merkle block.
    #[serde(rename = "malformed_proof")]
    MalformedProof { reason: String },
    /// The proof does not lead to the block's merkle root, or has another shape than the block's
    /// proofs.
    #[serde(rename = "proof_fails")]
    ProofFails { reason: String },
    /// The proof holds, but for other transactions.
    #[serde(rename = "transaction_not_proven")]
    TransactionNotProven { txid: ByteBuf },
    /// A controller or the watchdog closed the API.
    #[serde(rename = "api_disabled")]
    ApiDisabled,
    /// Blocks of known headers are missing, or the best chain has less work than
    /// `minimum_chain_work`: wait, or name the tip to read at.
    #[serde(rename = "not_synced")]
    NotSynced {
        height: u32,
        best_header_height: u32,
    },
    /// `utxo_set_commitment` is disabled, or was given up until the next upgrade.
    #[serde(rename = "commitment_off")]
    CommitmentOff,
    /// The commitment was enabled not long ago: ask again later.
    #[serde(rename = "commitment_catching_up")]
    CommitmentCatchingUp { coins: u64, of: u64 },
    /// The height is above the newest stable block, or too old, or from before the commitment was
    /// complete.
    #[serde(rename = "height_not_kept")]
    HeightNotKept {
        requested: u32,
        min_height: u32,
        max_height: u32,
    },
    /// A defect or a limit inside the canister.
    #[serde(rename = "internal")]
    Internal(String),
}

/// Narrows `get_utxos`.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum UtxosFilter {
    /// Only coins with at least this many confirmations.
    #[serde(rename = "min_confirmations")]
    MinConfirmations(u32),
    /// Continue where a page ended: `next_page` of the response before.
    #[serde(rename = "page")]
    Page(ByteBuf),
}

/// Argument of `get_utxos`.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct GetUtxosArgs {
    /// Whose coins.
    pub owner: Owner,
    /// All confirmed coins when absent.
    pub filter: Option<UtxosFilter>,
    /// Read the chain that ends here instead of at the best tip.
    pub at_tip: Option<ByteBuf>,
    /// Coins in one response, 1 to 1,000; 1,000 when absent.
    pub limit: Option<u32>,
}

/// One page of coins: height descending, then txid bytes, then vout.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct UtxosPage {
    /// The coins.
    pub utxos: Vec<Utxo>,
    /// The last block considered.
    pub tip: BlockId,
    /// Where the list goes on; absent on its last page.
    pub next_page: Option<ByteBuf>,
}

/// Argument of `get_balance`.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct GetBalanceArgs {
    /// Whose coins.
    pub owner: Owner,
    /// Only coins with at least this many confirmations count.
    pub min_confirmations: Option<u32>,
    /// Read the chain that ends here instead of at the best tip.
    pub at_tip: Option<ByteBuf>,
}

/// A balance at a tip.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    /// Sum of the coins in satoshi.
    pub balance: u64,
    /// How many coins.
    pub utxo_count: u64,
    /// The last block considered.
    pub tip: BlockId,
}

/// Which headers.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum HeaderSelector {
    /// Heights on the chain read.
    #[serde(rename = "range")]
    Range {
        /// The first height.
        start_height: u32,
        /// The last height, included; as far as the tip or the limit allows when absent.
        end_height: Option<u32>,
    },
    /// The header with this hash, if it is on the chain read.
    #[serde(rename = "hash")]
    Hash(ByteBuf),
}

/// Argument of `get_block_headers`.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct GetBlockHeadersArgs {
    /// Which headers.
    pub select: HeaderSelector,
    /// Read the chain that ends here instead of at the best tip.
    pub at_tip: Option<ByteBuf>,
}

/// Consecutive headers in height order.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct BlockHeaders {
    /// Serialised headers, 80 bytes each; at most 1,000.
    pub headers: Vec<ByteBuf>,
    /// Height of the first one.
    pub first_height: u32,
    /// Whether they are on the chain read: false for one found by its hash beside or above it.
    pub on_chain: bool,
    /// The tip of the chain read.
    pub tip: BlockId,
}

/// The official interface's summary of the best chain.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct BlockchainInfo {
    /// Height of the best connected block.
    pub height: u32,
    /// Its hash.
    pub block_hash: ByteBuf,
    /// Its header's time, seconds since the Unix epoch.
    pub timestamp: u32,
    /// Its difficulty.
    pub difficulty: Nat,
    /// Unspent outputs at that block.
    pub utxos_length: u64,
}

/// What `get_utxos` returns.
pub type GetUtxosResult = Result<UtxosPage, ReadError>;
/// What `get_balance` returns.
pub type GetBalanceResult = Result<Balance, ReadError>;
/// What `get_block_headers` returns.
pub type GetBlockHeadersResult = Result<BlockHeaders, ReadError>;
