//! Which consensus rule a block breaks.

use bitcoin::{OutPoint, Txid, WitnessCommitment};

use super::{
    COINBASE_MATURITY, MAX_BLOCK_SIGOP_COST, MAX_COINBASE_SCRIPT_BYTES, MIN_COINBASE_SCRIPT_BYTES,
};
use crate::block::MAX_BLOCK_WEIGHT;
use crate::delta::{DeltaError, MAX_SCRIPT_BYTES};
use crate::units::Height;

/// The consensus rule a block breaks, with the values that break it. Amounts are in satoshi.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsensusError {
    /// The version is no longer allowed (BIP34, BIP66, BIP65). Header rules find this first on
    /// every network but regtest.
    #[error("block has version {version}, height {height} requires at least {required}")]
    OldVersion {
        /// The block's version.
        version: i32,
        /// Its height.
        height: Height,
        /// The lowest version allowed there.
        required: i32,
    },
    /// A transaction after the first creates coins from nothing.
    #[error("transaction {txid} is a coinbase but not the first")]
    ExtraCoinbase {
        /// The second coinbase.
        txid: Txid,
    },
    /// The coinbase's input script is too short or too long.
    #[error(
        "coinbase script has {length} bytes, allowed are \
         {MIN_COINBASE_SCRIPT_BYTES} to {MAX_COINBASE_SCRIPT_BYTES}"
    )]
    CoinbaseScript {
        /// Its length in bytes.
        length: usize,
    },
    /// The coinbase does not start with its height (BIP34).
    #[error("coinbase {txid} does not start with its height {height}")]
    CoinbaseHeight {
        /// The coinbase.
        txid: Txid,
        /// Its height.
        height: Height,
    },
    /// A transaction has no outputs.
    #[error("transaction {txid} has no outputs")]
    NoOutputs {
        /// The transaction.
        txid: Txid,
    },
    /// An input of a transaction that is no coinbase names the coinbase's null outpoint.
    #[error("transaction {txid} has a null input and is no coinbase")]
    NullInput {
        /// The transaction.
        txid: Txid,
    },
    /// A transaction names one coin twice (CVE-2018-17144).
    #[error("transaction {txid} spends {outpoint} twice")]
    DuplicateInput {
        /// The transaction.
        txid: Txid,
        /// The coin named twice.
        outpoint: OutPoint,
    },
    /// An output is worth more than all money.
    #[error("output {vout} of transaction {txid} has {satoshi} satoshi, more than all money")]
    OutputValue {
        /// The transaction.
        txid: Txid,
        /// Index of the output.
        vout: usize,
        /// Its amount.
        satoshi: u64,
    },
    /// The outputs of a transaction are together worth more than all money.
    #[error("outputs of transaction {txid} have {satoshi} satoshi, more than all money")]
    OutputTotal {
        /// The transaction.
        txid: Txid,
        /// Their sum.
        satoshi: u128,
    },
    /// The coins a transaction spends are together worth more than all money.
    #[error("inputs of transaction {txid} have {satoshi} satoshi, more than all money")]
    InputTotal {
        /// The transaction.
        txid: Txid,
        /// Their sum so far.
        satoshi: u128,
    },
    /// A transaction's outputs are worth more than its inputs.
    #[error("transaction {txid} spends {inputs} satoshi and makes {outputs}")]
    CreatesValue {
        /// The transaction.
        txid: Txid,
        /// Value of its inputs.
        inputs: u128,
        /// Value of its outputs.
        outputs: u128,
    },
    /// The fees of a block are together worth more than all money.
    #[error("fees up to transaction {txid} are {satoshi} satoshi, more than all money")]
    FeeTotal {
        /// The transaction whose fee is too much.
        txid: Txid,
        /// Their sum so far.
        satoshi: u128,
    },
    /// The coinbase takes more than it may.
    #[error("coinbase takes {taken} satoshi, subsidy {subsidy} and fees {fees} are due")]
    CoinbaseValue {
        /// Value of its outputs.
        taken: u128,
        /// New money at this height.
        subsidy: u64,
        /// Fees of the block.
        fees: u128,
    },
    /// A coinbase is spent too early.
    #[error(
        "transaction {txid} spends {outpoint} at height {height}, a coinbase of height {made}; \
         {COINBASE_MATURITY} blocks must pass"
    )]
    Immature {
        /// The spending transaction.
        txid: Txid,
        /// The coin.
        outpoint: OutPoint,
        /// Height of the coin.
        made: Height,
        /// Height of the spending block.
        height: Height,
    },
    /// The genesis coinbase is spent; it never entered Bitcoin's UTXO set.
    #[error("transaction {txid} spends {outpoint} of the genesis block, which nobody can")]
    SpendsGenesis {
        /// The spending transaction.
        txid: Txid,
        /// The coin.
        outpoint: OutPoint,
    },
    /// An input script is longer than any that can be executed.
    #[error(
        "transaction {txid} has an input script of {length} bytes, at most {MAX_SCRIPT_BYTES} are allowed"
    )]
    ScriptTooLong {
        /// The transaction.
        txid: Txid,
        /// Length of the script in bytes.
        length: usize,
    },
    /// A transaction's lock-time is not over (BIP113 from its activation on).
    #[error(
        "transaction {txid} is locked until {lock_time}, the block has height {height} and time {cutoff}"
    )]
    NotFinal {
        /// The transaction.
        txid: Txid,
        /// Its lock-time: a height below 500,000,000, else seconds since 1970.
        lock_time: u32,
        /// The block's height.
        height: Height,
        /// The time that counts, in seconds since 1970.
        cutoff: u32,
    },
    /// An input's relative lock in blocks is not over (BIP68).
    #[error("transaction {txid} may spend {outpoint} from height {until} on, not at {height}")]
    LockedByHeight {
        /// The transaction.
        txid: Txid,
        /// The coin it spends.
        outpoint: OutPoint,
        /// First height at which it may.
        until: Height,
        /// Height of the block.
        height: Height,
    },
    /// An input's relative lock in time is not over (BIP68).
    #[error("transaction {txid} may spend {outpoint} from median time {until} on, not at {median}")]
    LockedByTime {
        /// The transaction.
        txid: Txid,
        /// The coin it spends.
        outpoint: OutPoint,
        /// First median time past, in seconds since 1970, at which it may.
        until: u64,
        /// Median time past of the block's parent.
        median: u32,
    },
    /// A transaction carries witness data that the block does not commit to (BIP141).
    #[error("transaction {txid} has witness data, which the block does not commit to")]
    UnexpectedWitness {
        /// The first such transaction.
        txid: Txid,
    },
    /// The coinbase's witness is not one item of 32 bytes, though the block commits to witnesses.
    #[error(
        "coinbase witness has {items} items, the first of {length} bytes; one of 32 is required"
    )]
    WitnessNonce {
        /// Number of items.
        items: usize,
        /// Length of the first one, 0 when there is none.
        length: usize,
    },
    /// The witness data does not hash to the block's commitment (BIP141).
    #[error("witness commitment is {expected}, the witnesses hash to {got}")]
    WitnessCommitment {
        /// The commitment in the coinbase.
        expected: WitnessCommitment,
        /// Hash of the witnesses given.
        got: WitnessCommitment,
    },
    /// The block is heavier than BIP141 allows.
    #[error("block weighs {weight} units, at most {MAX_BLOCK_WEIGHT} are allowed")]
    TooHeavy {
        /// Its weight with the witness data given.
        weight: u64,
        /// Whether that witness data is what the block commits to. Otherwise whoever carried the
        /// block may have added some.
        committed: bool,
    },
    /// The block has too many signature operations (BIP141).
    #[error(
        "block has a signature operation cost of {cost}, at most {MAX_BLOCK_SIGOP_COST} is allowed"
    )]
    SigopCost {
        /// Its cost; where witness data is left out a lower bound.
        cost: u64,
    },
}

impl ConsensusError {
    /// Returns whether the header itself is proven bad, so that its hash may be remembered as
    /// invalid.
    ///
    /// Witness data is not under the header's merkle root: whoever carries a good block can
    /// damage it. All else is.
    pub const fn condemns_block(&self) -> bool {
        !matches!(
            self,
            Self::UnexpectedWitness { .. }
                | Self::WitnessNonce { .. }
                | Self::WitnessCommitment { .. }
                | Self::TooHeavy {
                    committed: false,
                    ..
                }
        )
    }
}

/// Why a block cannot be connected. `E` is why a look-up can fail.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError<E> {
    /// Its coins are not there, or could not be read.
    #[error("{0}")]
    Coins(DeltaError<E>),
    /// It breaks a consensus rule.
    #[error("{0}")]
    Rule(ConsensusError),
    /// An input is locked by time, and the caller does not know the time it counts from.
    #[error("median time past at height {height} is not known")]
    UnknownMedianTime {
        /// The height asked for.
        height: Height,
    },
    /// The median time past could not be read.
    #[error("median time look-up failed: {0}")]
    Times(E),
}

impl<E> From<DeltaError<E>> for ConnectError<E> {
    fn from(error: DeltaError<E>) -> Self {
        Self::Coins(error)
    }
}

impl<E> From<ConsensusError> for ConnectError<E> {
    fn from(error: ConsensusError) -> Self {
        Self::Rule(error)
    }
}

impl<E> ConnectError<E> {
    /// Returns whether the block itself breaks a rule, so that its hash may be remembered as
    /// invalid. The others are faults of the carrier, the caller or of storage.
    pub const fn condemns_block(&self) -> bool {
        match self {
            Self::Coins(error) => error.condemns_block(),
            Self::Rule(error) => error.condemns_block(),
            Self::UnknownMedianTime { .. } | Self::Times(_) => false,
        }
    }

    /// Returns whether the witness data given is not what the block commits to: whoever carried
    /// the block may have damaged it, and another copy may be good.
    pub const fn suspects_carrier(&self) -> bool {
        match self {
            Self::Rule(error) => !error.condemns_block(),
            _ => false,
        }
    }
}
