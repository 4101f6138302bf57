//! Reads of blocks that are still held, of the tree's branches, and of the canister's state.

use candid::{CandidType, Nat};
use serde::Deserialize;
use serde_bytes::ByteBuf;

use crate::{BlockId, Chain, Flag, ReadError, UtxoSetCommitment};

/// Which block.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum BlockSelector {
    /// By hash, on any branch.
    #[serde(rename = "hash")]
    Hash(ByteBuf),
    /// By height on the chain read.
    #[serde(rename = "height")]
    Height(u32),
}

/// Argument of `get_block`.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct GetBlockArgs {
    /// Which block.
    pub select: BlockSelector,
    /// First byte wanted; 0 when absent.
    pub offset: Option<u32>,
    /// Bytes wanted, up to 1,900,000; that many when absent.
    pub max_bytes: Option<u32>,
    /// Read the chain that ends here instead of at the best tip.
    pub at_tip: Option<ByteBuf>,
}

/// Bytes of a block as it was received.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct BlockBytes {
    /// The block.
    pub block: BlockId,
    /// The whole block's size.
    pub size: u32,
    /// Where `bytes` begin.
    pub offset: u32,
    /// The bytes; more follow while `offset` and their number are below `size`.
    pub bytes: ByteBuf,
    /// The tip of the chain read.
    pub tip: BlockId,
}

/// Argument of `get_transaction`.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct GetTransactionArgs {
    /// The transaction's id.
    pub txid: ByteBuf,
    /// The block that holds it; without it, all held blocks of the chain read are looked through.
    pub block: Option<ByteBuf>,
    /// Read the chain that ends here instead of at the best tip.
    pub at_tip: Option<ByteBuf>,
}

/// A transaction and where it is.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct FoundTransaction {
    /// Its consensus encoding, witness data included if its block came with it.
    pub transaction: ByteBuf,
    /// The block.
    pub block: BlockId,
    /// Its place in the block; the coinbase has 0.
    pub index: u32,
    /// 1 when the block is the tip.
    pub confirmations: u32,
    /// The tip of the chain read.
    pub tip: BlockId,
}

/// How far a branch has come.
#[derive(CandidType, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainTipStatus {
    /// The chain read.
    #[serde(rename = "active")]
    Active,
    /// Connected: it can be read at.
    #[serde(rename = "connected")]
    Connected,
    /// The block is held and waits to be connected.
    #[serde(rename = "held")]
    Held,
    /// Only the header is known.
    #[serde(rename = "header_only")]
    HeaderOnly,
    /// The block or one below it broke a rule.
    #[serde(rename = "invalid")]
    Invalid,
}

/// The end of a branch.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ChainTip {
    /// The block.
    pub block: BlockId,
    /// How far it has come.
    pub status: ChainTipStatus,
    /// Blocks of the branch that are not on the chain read.
    pub branch_length: u32,
}

/// Argument of `get_chain_tips`.
#[derive(CandidType, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct GetChainTipsArgs {
    /// Take the chain that ends here for the active one instead of the best chain.
    pub at_tip: Option<ByteBuf>,
}

/// Argument of `get_status`.
#[derive(CandidType, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct GetStatusArgs {
    /// Describe the chain that ends here instead of the best chain.
    pub at_tip: Option<ByteBuf>,
}

/// All branches above the newest stable block.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ChainTips {
    /// The tip of the chain read, then the others, highest first; at most 100.
    pub tips: Vec<ChainTip>,
    /// Tips left out.
    pub omitted: u32,
    /// The tip of the chain read.
    pub tip: BlockId,
}

/// The canister's state.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The canister's version.
    pub version: String,
    /// The network.
    pub chain: Chain,
    /// The block named, or the best connected one.
    pub tip: BlockId,
    /// The work of the chain that ends there, as 64 hexadecimal digits.
    pub chain_work: String,
    /// The work the best chain must have for the canister to count as synced, in the same form.
    pub minimum_chain_work: Option<String>,
    /// The newest stable block; blocks above it are held.
    pub anchor: BlockId,
    /// The best known header.
    pub best_header: BlockId,
    /// Whether at most 2 blocks are missing between the best connected block and the best header, and
    /// the best chain has `minimum_chain_work`.
    pub synced: bool,
    /// Whether new blocks are taken in.
    pub syncing: Flag,
    /// Whether coins, headers and fees can be asked for.
    pub api_access: Flag,
    /// Unspent outputs at the tip.
    pub utxos_length: u64,
    /// Headers and blocks above the newest stable block, forks included.
    pub unstable_blocks: u32,
    /// Blocks delivered and not looked at.
    pub queued_blocks: u32,
    /// Blocks waiting to be connected.
    pub pending_blocks: u32,
    /// Transactions waiting to be confirmed.
    pub outbox_transactions: u32,
    /// Their bytes.
    pub outbox_bytes: u64,
    /// What limits the canister's work.
    pub limits: LimitsStatus,
    /// What `get_utxo_set_info` answers from.
    pub utxo_set_commitment: UtxoSetCommitment,
}

/// What limits the canister's work, how much of it is used, and how often each limit was hit. Delivered
/// blocks are taken in whatever the limits.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct LimitsStatus {
    /// Instructions for work in one heartbeat.
    pub instructions_per_heartbeat: u64,
    /// Distinct 4 KiB pages of stable memory that may be written in one heartbeat.
    pub stable_pages_per_heartbeat: u32,
    /// The same in ten minutes.
    pub stable_pages_per_ten_minutes: u32,
    /// Cycles that must be left above the freezing threshold for blocks to be connected.
    pub cycles_reserve: Nat,
    /// Blocks that may still be delivered.
    pub free_blocks: u32,
    /// Bytes of blocks that may still be delivered.
    pub free_bytes: u64,
    /// Instructions of the last heartbeat.
    pub last_heartbeat_instructions: u64,
    /// Pages that it wrote.
    pub last_heartbeat_stable_pages: u64,
    /// Pages written in the last ten minutes.
    pub stable_pages_in_ten_minutes: u64,
    /// Whether the last heartbeat connected nothing for want of cycles.
    pub low_on_cycles: bool,
    /// Whether it connected nothing because stable memory could not grow.
    pub low_on_memory: bool,
    /// Whether heartbeats touch one item each, because some did not end.
    pub cautious: bool,
    /// Heartbeats that left work for the next one because of their instructions, since installation.
    pub instructions_hit: u64,
    /// The same because of the pages of one heartbeat.
    pub stable_pages_hit: u64,
    /// The same because of the pages of ten minutes.
    pub ten_minutes_hit: u64,
    /// Heartbeats that connected nothing for want of cycles, since installation.
    pub low_on_cycles_heartbeats: u64,
    /// Times that stable memory could not grow, since installation.
    pub memory_refusals: u64,
    /// Parts and pulled blocks that found no room, since installation.
    pub no_room: u64,
}

/// What `get_block` returns.
pub type GetBlockResult = Result<BlockBytes, ReadError>;
/// What `get_transaction` returns.
pub type GetTransactionResult = Result<FoundTransaction, ReadError>;
/// What `get_chain_tips` returns.
pub type GetChainTipsResult = Result<ChainTips, ReadError>;
/// What `get_status` returns.
pub type GetStatusResult = Result<Status, ReadError>;
/// What `get_fee_percentiles` returns.
pub type GetFeePercentilesResult = Result<FeePercentiles, ReadError>;

/// Argument of `get_fee_percentiles`.
#[derive(CandidType, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct GetFeePercentilesArgs {
    /// Read the chain that ends here instead of at the best tip.
    pub at_tip: Option<ByteBuf>,
}

/// What the newest transactions paid.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct FeePercentiles {
    /// 0th to 100th percentile in thousandths of a satoshi per virtual byte; empty when the unstable
    /// blocks have no transactions besides coinbases.
    pub millisatoshi_per_vbyte: Vec<u64>,
    /// The last block considered.
    pub tip: BlockId,
}
