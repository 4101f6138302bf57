//! Reads a block front to back, in steps of bounded work, and keeps what connecting it needs: ids,
//! inputs, coins, sums.
//!
//! The bytes stay where they are; the heap holds a window of them, transactions that wait to be hashed together, and a record of a few dozen bytes
//! for each transaction, input and coin: about half as much as an ordinary block, and at most 6 MB, for
//! a block of the smallest outputs. Ids are hashed four at a time, from bytes read once more. What a scan finds depends on the bytes alone; the UTXO set and the chain are
//! [`crate::connect`]'s.

mod hashing;
mod open;
mod reading;
mod record;
mod scanner;
pub(crate) mod sigops;
mod window;

#[cfg(test)]
mod tests;

use bitcoin::block::Header;
use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, TxMerkleNode, Txid};

use crate::block::merkle::merkle_root;
use crate::block::{BlockError, MAX_BASE_BYTES};
use crate::bytes::{prefix, sort_by_prefix};
use crate::consensus::ConsensusError;

use open::Fault;

pub use record::{
    CoinbaseStart, Lock, ScannedCoin, ScannedInput, ScannedTransaction, ScannedWitness,
};
pub use scanner::{BYTES_PER_ITEM, BlockScanner, ScanStep};
pub use window::BlockBytes;

/// Size of a transaction that reads as two concatenated merkle nodes.
const MERKLE_PAIR_BYTES: u32 = 64;

/// Why a block cannot be scanned. `E` is why its bytes cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScanError<E> {
    /// The bytes are no acceptable block.
    #[error("{0}")]
    Block(BlockError),
    /// The bytes cannot be read.
    #[error("block cannot be read: {0}")]
    Bytes(E),
}

/// A block whose structure holds, with its ids computed once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScannedBlock {
    found: Collected,
    /// Indices of transactions in the order of their ids.
    by_txid: Vec<u32>,
}

impl ScannedBlock {
    /// Scans bytes that are on the heap anyway, in one go.
    ///
    /// # Errors
    /// [`BlockError`].
    pub fn of(bytes: &[u8]) -> Result<Self, BlockError> {
        Self::in_steps(bytes, false, usize::MAX)
    }

    /// Scans bytes on the heap with a pause after each `budget` items.
    pub(crate) fn in_steps(bytes: &[u8], judges: bool, budget: usize) -> Result<Self, BlockError> {
        let scan = || {
            let mut scanner = BlockScanner::start(bytes, judges)?;
            loop {
                match scanner.step(bytes, budget)? {
                    ScanStep::More(more) => scanner = *more,
                    ScanStep::Done(block) => return Ok(*block),
                }
            }
        };
        scan().map_err(|error| match error {
            ScanError::Block(error) => error,
            ScanError::Bytes(never) => match never {},
        })
    }

    /// Returns a block that was never scanned, for tests.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn made_up(
        hash: BlockHash,
        txids: Vec<Txid>,
        transactions: Vec<ScannedTransaction>,
        coins: Vec<ScannedCoin>,
    ) -> Self {
        let header = bitcoin::constants::genesis_block(bitcoin::Network::Regtest).header;
        Self {
            by_txid: sorted(&txids).unwrap_or_default(),
            found: Collected {
                hash,
                txids,
                transactions,
                coins,
                ..Collected::new(header)
            },
        }
    }

    /// Returns the hash that names the block.
    pub const fn hash(&self) -> BlockHash {
        self.found.hash
    }

    /// Returns the header.
    pub const fn header(&self) -> &Header {
        &self.found.header
    }

    /// Returns the ids of its transactions in block order; never empty.
    pub fn txids(&self) -> &[Txid] {
        &self.found.txids
    }

    /// Returns the weight with the witness data given, in weight units (BIP141). Whether it is
    /// allowed is [`crate::consensus`]'s question: witness data is not under the merkle root.
    pub fn weight(&self) -> u64 {
        let last = self.found.transactions.last();
        let bytes = last.map_or(0, |last| u64::from(last.offset) + u64::from(last.bytes));
        self.found.base_bytes as u64 * 3 + bytes
    }

    /// Returns the id of the transaction at an index below their number.
    pub(crate) fn txid(&self, index: u32) -> Txid {
        let txid = self.found.txids.get(index as usize);
        txid.copied().unwrap_or_else(Txid::all_zeros)
    }

    /// Returns its transactions in block order; never empty.
    pub fn transactions(&self) -> &[ScannedTransaction] {
        &self.found.transactions
    }

    /// Returns the inputs of all transactions but coinbases, in block order.
    pub fn inputs(&self) -> &[ScannedInput] {
        &self.found.inputs
    }

    /// Returns the outputs that can be spent, in block order.
    pub fn coins(&self) -> &[ScannedCoin] {
        &self.found.coins
    }

    /// Returns the indices of transactions in the order of their ids, which are unique.
    pub fn by_txid(&self) -> &[u32] {
        &self.by_txid
    }

    /// Returns the coins of the transaction at `index`.
    pub fn coins_of(&self, index: u32) -> &[ScannedCoin] {
        let at = index as usize;
        let first = |at: usize| {
            self.found
                .transactions
                .get(at)
                .map(|tx| tx.first_coin as usize)
        };
        let end = first(at + 1).unwrap_or(self.found.coins.len());
        let range = first(at).unwrap_or(end)..end;
        self.found.coins.get(range).unwrap_or_default()
    }

    /// Returns every transaction that creates coins from nothing; the first of the block is one.
    pub(crate) fn coinbases(&self) -> &[CoinbaseStart] {
        &self.found.coinbases
    }

    /// Returns what is known of its witness data.
    pub(crate) const fn witness(&self) -> &ScannedWitness {
        &self.found.witness
    }

    /// Gives the ids for the witness commitment away.
    pub(crate) fn take_wtxids(&mut self) -> Vec<[u8; 32]> {
        std::mem::take(&mut self.found.wtxids)
    }

    /// Returns the cost of the signature operations written in the transactions themselves, or 0
    /// when they were not counted.
    pub(crate) const fn own_sigop_cost(&self) -> u64 {
        self.found.own_sigop_cost
    }

    /// Returns the first rule that a transaction breaks whatever coins it spends, if they were
    /// judged.
    pub(crate) fn fault(&self) -> Option<ConsensusError> {
        let (index, fault) = self.found.blamed?;
        Some(fault.of(self.txid(index)))
    }
}

/// What a scan collected, not judged as a whole yet.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Collected {
    header: Header,
    hash: BlockHash,
    txids: Vec<Txid>,
    /// Ids for the witness commitment; empty when they are not needed.
    wtxids: Vec<[u8; 32]>,
    transactions: Vec<ScannedTransaction>,
    inputs: Vec<ScannedInput>,
    coins: Vec<ScannedCoin>,
    coinbases: Vec<CoinbaseStart>,
    witness: ScannedWitness,
    own_sigop_cost: u64,
    /// The first rule that a transaction breaks, and which one does.
    blamed: Option<(u32, Fault)>,
    /// Bytes without witness data so far.
    base_bytes: usize,
    /// Whether some transaction reads as two merkle nodes.
    has_merkle_pair: bool,
}

impl Collected {
    fn new(header: Header) -> Self {
        Self {
            hash: header.block_hash(),
            header,
            txids: Vec::new(),
            wtxids: Vec::new(),
            transactions: Vec::new(),
            inputs: Vec::new(),
            coins: Vec::new(),
            coinbases: Vec::new(),
            witness: ScannedWitness::default(),
            own_sigop_cost: 0,
            blamed: None,
            base_bytes: 0,
            has_merkle_pair: false,
        }
    }

    /// Judges the block's structure. Costs one double SHA-256 for each transaction and a sort.
    fn check(self) -> Result<ScannedBlock, BlockError> {
        let hash = self.hash;
        let leaves = self.txids.iter().map(|txid| txid.to_byte_array());
        let root = merkle_root(leaves.collect());
        let got = TxMerkleNode::from_byte_array(root.root);
        if got != self.header.merkle_root {
            return Err(BlockError::MerkleRoot {
                hash,
                expected: self.header.merkle_root,
                got,
            });
        }
        if root.mutated {
            return Err(BlockError::Mutated { hash });
        }
        self.check_size()?;
        self.check_first()?;
        let by_txid =
            sorted(&self.txids).map_err(|txid| BlockError::DuplicateTransaction { hash, txid })?;
        Ok(ScannedBlock {
            found: self,
            by_txid,
        })
    }

    /// Asked once the merkle root holds, so that a size without witness data is the header's own.
    const fn check_size(&self) -> Result<(), BlockError> {
        let hash = self.hash;
        if self.is_too_large() {
            return Err(BlockError::BaseTooLarge {
                hash,
                bytes: self.base_bytes,
            });
        }
        Ok(())
    }

    const fn is_too_large(&self) -> bool {
        self.base_bytes > MAX_BASE_BYTES
    }

    /// A list of inner merkle nodes passes as transactions of 64 bytes, and practically never
    /// starts with something that reads as a coinbase; such a list says nothing about the header.
    fn check_first(&self) -> Result<(), BlockError> {
        let hash = self.hash;
        let (Some(first), Some(&txid)) = (self.transactions.first(), self.txids.first()) else {
            return Err(BlockError::Empty { hash });
        };
        if first.is_coinbase {
            return Ok(());
        }
        Err(if self.has_merkle_pair {
            BlockError::Mutated { hash }
        } else {
            BlockError::FirstNotCoinbase { hash, txid }
        })
    }
}

/// Returns the indices of ids in their order, or an id that is there twice.
fn sorted(txids: &[Txid]) -> Result<Vec<u32>, Txid> {
    let id = |index: u32| txids.get(index as usize);
    // Comparing eight bytes decides nearly always, and they lie in the list being sorted.
    let order: Vec<(u64, u32)> = (0..)
        .zip(txids)
        .map(|(i, txid)| (prefix(txid.as_byte_array()), i))
        .collect();
    let order = sort_by_prefix(order, |a, b| id(a).cmp(&id(b)));
    let twice = order
        .iter()
        .zip(order.iter().skip(1))
        .find(|(a, b)| a.0 == b.0 && id(a.1) == id(b.1));
    match twice.and_then(|(_, repeated)| id(repeated.1)) {
        Some(txid) => Err(*txid),
        None => Ok(order.into_iter().map(|(_, index)| index).collect()),
    }
}
