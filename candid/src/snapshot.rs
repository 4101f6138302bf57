//! Bootstrapping from a snapshot of the UTXO set, and reading the whole set.

use candid::{CandidType, Principal};
use serde::Deserialize;
use serde_bytes::ByteBuf;

use crate::{BlockId, Chain, OutPoint, ReadError};

/// Argument of `begin_snapshot_import`.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct BeginSnapshotImportArgs {
    /// The first 51 bytes of the file.
    pub metadata: ByteBuf,
    /// `hash_serialized_3` of the set, 32 bytes, internal order: what `gettxoutsetinfo` and `dumptxoutset`
    /// print, last byte first. Only a controller may give one; without it the base block must be one that
    /// Bitcoin Core's source vouches for.
    pub hash_serialized: Option<ByteBuf>,
}

/// Argument of `push_snapshot_headers`.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct PushSnapshotHeadersArgs {
    /// Height of the first one.
    pub first_height: u32,
    /// Headers of 80 bytes, one after the other; those after the base block are passed over.
    pub headers: ByteBuf,
}

/// Argument of `push_snapshot_coins`.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct PushSnapshotCoinsArgs {
    /// Where the bytes begin in the file.
    pub offset: u64,
    /// Bytes of the file. Coins that end in them are taken.
    pub bytes: ByteBuf,
}

/// How far an import is.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum SnapshotImport {
    /// None was begun.
    #[serde(rename = "none")]
    None,
    /// Headers are wanted.
    #[serde(rename = "headers")]
    Headers {
        /// The base block's hash.
        base: ByteBuf,
        /// Height of the next one.
        next_height: u32,
    },
    /// Coins are wanted.
    #[serde(rename = "coins")]
    Coins {
        /// The base block.
        base: BlockId,
        /// Where in the file the next coin begins.
        next_offset: u64,
        /// Coins that were taken.
        taken: u64,
        /// Coins of the set.
        of: u64,
    },
    /// All coins are there, and their hash is the expected one; sorted runs are being merged.
    #[serde(rename = "merging")]
    Merging {
        /// The base block.
        base: BlockId,
        /// Runs that are left.
        runs: u32,
    },
    /// The set is served; blocks after the base block are wanted.
    #[serde(rename = "complete")]
    Complete {
        /// The base block.
        base: BlockId,
    },
    /// The set is not what was expected: discard it.
    #[serde(rename = "refused")]
    Refused {
        /// Why.
        reason: String,
    },
}

/// Why a call of an import was refused. Nothing changed.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "fields repeat the value at fault")]
pub enum SnapshotError {
    /// Only adapters and controllers may.
    #[serde(rename = "not_an_adapter")]
    NotAnAdapter { caller: Principal },
    /// Only controllers may discard, or say what the hash is.
    #[serde(rename = "not_a_controller")]
    NotAController { caller: Principal },
    /// The canister has blocks: a snapshot goes into an empty one.
    #[serde(rename = "not_empty")]
    NotEmpty { height: u32 },
    /// Another import is under way: go on with it, or discard it.
    #[serde(rename = "under_way")]
    UnderWay { base: ByteBuf },
    /// This is not what the import wants now.
    #[serde(rename = "not_wanted")]
    NotWanted { standing: SnapshotImport },
    /// The file is no snapshot that can be read.
    #[serde(rename = "malformed_metadata")]
    MalformedMetadata { reason: String },
    /// The snapshot is of another network.
    #[serde(rename = "wrong_network")]
    WrongNetwork { magic: ByteBuf, expected: Chain },
    /// A hash has 32 bytes.
    #[serde(rename = "malformed_hash")]
    MalformedHash {
        given_bytes: u32,
        expected_bytes: u32,
    },
    /// Nothing is known of this base block's set: let a controller name `hash_serialized`.
    #[serde(rename = "unknown_base")]
    UnknownBase { base: ByteBuf },
    /// Headers have 80 bytes each, at most `max_headers` in one message.
    #[serde(rename = "malformed_headers")]
    MalformedHeaders { given_bytes: u32, max_headers: u32 },
    /// Go on at `expected`.
    #[serde(rename = "unexpected_height")]
    UnexpectedHeight { expected: u32, given: u32 },
    /// The header breaks a rule; those before it were taken.
    #[serde(rename = "invalid_header")]
    InvalidHeader { height: u32, reason: String },
    /// Go on at `expected`.
    #[serde(rename = "unexpected_offset")]
    UnexpectedOffset { expected: u64, given: u64 },
    /// The bytes are none of a snapshot's: the file is damaged.
    #[serde(rename = "malformed_coins")]
    MalformedCoins { offset: u64, reason: String },
    /// Not one whole coin, or more bytes than a message may have.
    #[serde(rename = "bad_piece")]
    BadPiece { given_bytes: u32, reason: String },
    /// Push the same again later.
    #[serde(rename = "busy")]
    Busy { reason: String },
    /// A defect or a limit inside the canister; state is unchanged.
    #[serde(rename = "internal")]
    Internal(String),
}

/// What calls of an import return: how far it is after them.
pub type SnapshotImportResult = Result<SnapshotImport, SnapshotError>;

/// Argument of `get_coins`.
#[derive(CandidType, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct GetCoinsArgs {
    /// `next` of the page before; begins with the first coin when absent.
    pub after: Option<OutPoint>,
    /// Read the chain that ends at this block instead of at the best tip.
    pub at_tip: Option<ByteBuf>,
    /// Coins of the page, 1 to 10,000; 10,000 when absent. Fewer come where scripts are long.
    pub limit: Option<u32>,
}

/// A coin of the whole set.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct CoinOfSet {
    /// Where it is.
    pub outpoint: OutPoint,
    /// Its value in satoshi.
    pub value: u64,
    /// Height of the block that made it.
    pub height: u32,
    /// Whether a coinbase transaction made it.
    pub coinbase: bool,
    /// The script that must be satisfied to spend it.
    pub script: ByteBuf,
}

/// Some of all coins, ascending by transaction id (internal order) and output index; a page that passes over
/// 10,000 spent ones may have none, and goes on.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct CoinsPage {
    /// The coins.
    pub coins: Vec<CoinOfSet>,
    /// Number of all coins at the tip, those of the genesis block among them.
    pub total: u64,
    /// Where the next page goes on, which may lie beyond the last coin; null after the last page.
    pub next: Option<OutPoint>,
    /// The last block considered.
    pub tip: BlockId,
}

/// What `get_coins` returns.
pub type GetCoinsResult = Result<CoinsPage, ReadError>;
