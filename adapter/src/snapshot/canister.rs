//! What snapshots and comparisons ask of a canister.

use std::future::Future;

use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, OutPoint, ScriptBuf, Txid};
use millrace_candid as wire;
use millrace_candid::{
    BeginSnapshotImportArgs, GetCoinsArgs, GetCoinsResult, GetStatusArgs, GetStatusResult,
    GetUtxoSetInfoArgs, GetUtxoSetInfoResult, PushSnapshotCoinsArgs, PushSnapshotHeadersArgs,
    ReadError, SnapshotImport, SnapshotImportResult, UtxoSetCommitment, UtxoSetInfo,
};
use millrace_core::Height;
use millrace_core::snapshot::SnapshotCoin;
use serde_bytes::ByteBuf;

use crate::engine::BlockRef;
use crate::exit::Exit;
use crate::node::SetSummary;
use crate::sink::SinkError;
use crate::sink::agent::AgentSink;

/// A canister that takes a snapshot in. Each call can be repeated without harm.
pub trait ImportCanister {
    /// Asks how far an import is.
    fn import(&self) -> impl Future<Output = Result<SnapshotImport, SinkError>>;

    /// Begins an import.
    fn begin(
        &self,
        args: BeginSnapshotImportArgs,
    ) -> impl Future<Output = Result<SnapshotImportResult, SinkError>>;

    /// Pushes headers.
    fn push_headers(
        &self,
        args: PushSnapshotHeadersArgs,
    ) -> impl Future<Output = Result<SnapshotImportResult, SinkError>>;

    /// Pushes coins.
    fn push_coins(
        &self,
        args: PushSnapshotCoinsArgs,
    ) -> impl Future<Output = Result<SnapshotImportResult, SinkError>>;
}

/// A canister whose coins are read.
pub trait SetCanister {
    /// Asks for tip, newest stable block and commitment.
    fn standing(&self) -> impl Future<Output = Result<Standing, ReadFailure>>;

    /// Asks for coins, page by page.
    fn coins(&self, args: GetCoinsArgs) -> impl Future<Output = Result<Page, ReadFailure>>;

    /// Asks for hash and sums of the set at a stable height; the newest one if absent.
    fn set_info(
        &self,
        height: Option<Height>,
    ) -> impl Future<Output = Result<SetSummary, ReadFailure>>;
}

/// How far a canister is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The best connected block.
    pub tip: BlockRef,
    /// The newest stable one.
    pub anchor: BlockRef,
    /// The lowest height of which the set's hash is kept, if one is kept.
    pub kept_from: Option<Height>,
}

/// A page of coins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The coins, ascending.
    pub coins: Vec<SnapshotCoin>,
    /// Number of all coins, those of the genesis block among them.
    pub total: u64,
    /// Where the next page goes on; absent after the last one.
    pub next: Option<wire::OutPoint>,
    /// The block.
    pub tip: BlockRef,
}

/// Why a canister's coins cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadFailure {
    /// The canister cannot be called.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The block is on no chain that can be read at.
    #[error(
        "the canister cannot read at block {hash}: it knows the coins after blocks from height {min_height} on"
    )]
    UnknownTip {
        /// The block.
        hash: String,
        /// The newest stable height.
        min_height: u32,
    },
    /// A controller or the watchdog closed the API.
    #[error("the canister's API is closed (api_access); a controller can open it with set_config")]
    ApiDisabled,
    /// The canister catches up with the network.
    #[error(
        "the canister is not synced: it is at height {height} of {best}; wait, or name a block"
    )]
    NotSynced {
        /// Its height.
        height: u32,
        /// That of the best header.
        best: u32,
    },
    /// The canister keeps no hash of its set.
    #[error(
        "the canister keeps no hash of its coins: let a controller enable `utxo_set_commitment` with \
         set_config and wait, or compare coin by coin with --snapshot"
    )]
    CommitmentOff,
    /// The hash is being made.
    #[error(
        "the canister's hash has {coins} of {of} coins by now: wait, or compare coin by coin with --snapshot"
    )]
    CommitmentCatchingUp {
        /// Coins in it.
        coins: u64,
        /// Coins there are.
        of: u64,
    },
    /// The height is not kept.
    #[error("the canister does not keep height {height}: it has {min_height} to {max_height}")]
    HeightNotKept {
        /// The height.
        height: u32,
        /// The lowest one kept.
        min_height: u32,
        /// The highest one.
        max_height: u32,
    },
    /// Anything else.
    #[error(
        "the canister refuses {method}: {reason}; adapter and canister must be of matching versions"
    )]
    Other {
        /// The method.
        method: &'static str,
        /// Why.
        reason: String,
    },
}

impl ReadFailure {
    /// Returns whether another attempt may succeed soon.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Sink(error) if error.is_transient())
    }

    /// Returns how the process ends.
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Sink(error) => Exit::of_sink(error),
            _ => Exit::Canister,
        }
    }

    fn of(method: &'static str, error: ReadError) -> Self {
        match error {
            ReadError::UnknownTip { hash, min_height } => Self::UnknownTip {
                hash: block_hash(&hash)
                    .map_or_else(|_| format!("{hash:02x?}"), |it| it.to_string()),
                min_height,
            },
            ReadError::ApiDisabled => Self::ApiDisabled,
            ReadError::NotSynced {
                height,
                best_header_height: best,
            } => Self::NotSynced { height, best },
            ReadError::CommitmentOff => Self::CommitmentOff,
            ReadError::CommitmentCatchingUp { coins, of } => {
                Self::CommitmentCatchingUp { coins, of }
            }
            ReadError::HeightNotKept {
                requested: height,
                min_height,
                max_height,
            } => Self::HeightNotKept {
                height,
                min_height,
                max_height,
            },
            other => Self::Other {
                method,
                reason: format!("{other:?}"),
            },
        }
    }
}

const COINS: &str = "get_coins_query";
const SET_INFO: &str = "get_utxo_set_info_query";
const STATUS: &str = "get_status_query";

impl ImportCanister for AgentSink {
    async fn import(&self) -> Result<SnapshotImport, SinkError> {
        self.query("get_snapshot_import", &()).await
    }

    async fn begin(
        &self,
        args: BeginSnapshotImportArgs,
    ) -> Result<SnapshotImportResult, SinkError> {
        self.update("begin_snapshot_import", &args).await
    }

    async fn push_headers(
        &self,
        args: PushSnapshotHeadersArgs,
    ) -> Result<SnapshotImportResult, SinkError> {
        self.update("push_snapshot_headers", &args).await
    }

    async fn push_coins(
        &self,
        args: PushSnapshotCoinsArgs,
    ) -> Result<SnapshotImportResult, SinkError> {
        self.update("push_snapshot_coins", &args).await
    }
}

impl SetCanister for AgentSink {
    async fn standing(&self) -> Result<Standing, ReadFailure> {
        let args: Option<GetStatusArgs> = None;
        let result: GetStatusResult = self.query(STATUS, &args).await?;
        let status = result.map_err(|error| ReadFailure::of(STATUS, error))?;
        Ok(Standing {
            tip: block_ref(STATUS, &status.tip)?,
            anchor: block_ref(STATUS, &status.anchor)?,
            kept_from: match status.utxo_set_commitment {
                UtxoSetCommitment::Complete { min_height, .. } => Some(Height::new(min_height)),
                UtxoSetCommitment::Off | UtxoSetCommitment::CatchingUp { .. } => None,
            },
        })
    }

    async fn coins(&self, args: GetCoinsArgs) -> Result<Page, ReadFailure> {
        let result: GetCoinsResult = self.query(COINS, &args).await?;
        page(result.map_err(|error| ReadFailure::of(COINS, error))?)
    }

    async fn set_info(&self, height: Option<Height>) -> Result<SetSummary, ReadFailure> {
        let args = Some(GetUtxoSetInfoArgs {
            height: height.map(Height::get),
        });
        let result: GetUtxoSetInfoResult = self.query(SET_INFO, &args).await?;
        summary(&result.map_err(|error| ReadFailure::of(SET_INFO, error))?)
    }
}

fn page(page: wire::CoinsPage) -> Result<Page, ReadFailure> {
    let coins = page.coins.into_iter().map(|coin| {
        let txid = Txid::from_slice(&coin.outpoint.txid);
        Ok(SnapshotCoin {
            outpoint: OutPoint {
                txid: txid.map_err(|_| no_hash(COINS, &coin.outpoint.txid))?,
                vout: coin.outpoint.vout,
            },
            height: Height::new(coin.height),
            coinbase: coin.coinbase,
            satoshi: coin.value,
            script: ScriptBuf::from_bytes(coin.script.into_vec()),
        })
    });
    Ok(Page {
        coins: coins.collect::<Result<_, ReadFailure>>()?,
        total: page.total,
        next: page.next,
        tip: block_ref(COINS, &page.tip)?,
    })
}

fn summary(info: &UtxoSetInfo) -> Result<SetSummary, ReadFailure> {
    let block = block_ref(SET_INFO, &info.block)?;
    let satoshi = u64::try_from(&info.total_amount.0).map_err(|_| ReadFailure::Other {
        method: SET_INFO,
        reason: format!("{} satoshi are more than there are", info.total_amount),
    })?;
    Ok(SetSummary {
        height: block.height,
        block: block.hash,
        outputs: info.outputs,
        satoshi,
        bogosize: info.bogosize,
        muhash: info.muhash.clone(),
    })
}

fn block_ref(method: &'static str, block: &wire::BlockId) -> Result<BlockRef, ReadFailure> {
    let hash = block_hash(&block.hash);
    Ok(BlockRef {
        hash: hash.map_err(|_| no_hash(method, &block.hash))?,
        height: Height::new(block.height),
    })
}

/// Converts a hash into what the contract has.
pub fn hash_bytes(hash: BlockHash) -> ByteBuf {
    ByteBuf::from(hash.to_byte_array())
}

fn block_hash(bytes: &[u8]) -> Result<BlockHash, bitcoin::hashes::FromSliceError> {
    BlockHash::from_slice(bytes)
}

fn no_hash(method: &'static str, bytes: &[u8]) -> ReadFailure {
    ReadFailure::Other {
        method,
        reason: format!("a hash has {} bytes", bytes.len()),
    }
}
