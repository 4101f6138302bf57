//! Headers of the stable chain, by height and by hash, the work they add up to, and how many
//! transactions their blocks have: with that number, a proof of inclusion has one shape only.

use bitcoin::BlockHash;
use bitcoin::block::Header;
use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::Hash;
use ic_stable_structures::{BTreeMap as StableMap, Memory, Vec as StableVec};
use millrace_core::Height;
use millrace_core::block::HEADER_BYTES;
use millrace_core::header::{ChainWork, HeaderContext};

use crate::StoreError;
use crate::record::{join, take};

/// Header (80 bytes), cumulative work (32 bytes, big endian), number of transactions (u32 LE; 0 when
/// it is not known).
const RECORD_BYTES: usize = 116;

/// Headers from genesis to the root of the unstable tree, both included.
pub struct Headers<M: Memory> {
    by_height: StableVec<[u8; RECORD_BYTES], M>,
    by_hash: StableMap<[u8; 32], u32, M>,
}

impl<M: Memory> Headers<M> {
    pub(crate) fn open(by_height: M, by_hash: M) -> Self {
        Self {
            by_height: StableVec::init(by_height),
            by_hash: StableMap::init(by_hash),
        }
    }

    /// Returns how many headers there are: the root's height plus one.
    pub fn len(&self) -> u64 {
        self.by_height.len()
    }

    /// Returns whether there are none, which only holds while a store is created.
    pub fn is_empty(&self) -> bool {
        self.by_height.is_empty()
    }

    /// Appends the header of the block that became stable, and the number of its transactions.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] unless its height is the next one.
    pub(crate) fn push(
        &mut self,
        context: &HeaderContext,
        transactions: Option<u32>,
    ) -> Result<(), StoreError> {
        let height = context.height().get();
        if u64::from(height) != self.by_height.len() {
            let detail = format!("height {height} after {} headers", self.by_height.len());
            return Err(StoreError::damaged("stable headers", detail));
        }
        let header = serialize(context.header());
        self.by_height.push(&join(&[
            &header,
            &context.chain_work().to_be_bytes(),
            &transactions.unwrap_or(0).to_le_bytes(),
        ]));
        self.by_hash.insert(context.hash().to_byte_array(), height);
        Ok(())
    }

    /// Returns the height of a stable block.
    pub fn height(&self, hash: &BlockHash) -> Option<Height> {
        self.by_hash.get(hash.as_byte_array()).map(Height::new)
    }

    /// Returns the header at a height.
    pub fn header(&self, height: Height) -> Option<Header> {
        deserialize(&self.bytes(height)?).ok()
    }

    /// Returns the 80 bytes of the header at a height.
    pub fn bytes(&self, height: Height) -> Option<[u8; HEADER_BYTES]> {
        let record = self.by_height.get(u64::from(height.get()))?;
        record.first_chunk().copied()
    }

    /// Returns the work of the stable chain up to a height.
    pub fn chain_work(&self, height: Height) -> Option<ChainWork> {
        let record = self.by_height.get(u64::from(height.get()))?;
        let (_, mut rest) = record.split_first_chunk::<80>()?;
        Some(ChainWork::from_be_bytes(take(&mut rest)?))
    }

    /// Returns how many transactions the block at a height has, if that is known.
    pub fn transactions(&self, height: Height) -> Option<u32> {
        let record = self.by_height.get(u64::from(height.get()))?;
        let transactions = u32::from_le_bytes(*record.last_chunk()?);
        (transactions > 0).then_some(transactions)
    }

    /// Forgets all headers but the first.
    pub(crate) fn restart(&mut self, genesis: &HeaderContext) -> Result<(), StoreError> {
        self.by_hash.clear_new();
        while self.by_height.pop().is_some() {}
        self.push(genesis, Some(1))
    }

    pub(crate) fn index_len(&self) -> u64 {
        self.by_hash.len()
    }
}
