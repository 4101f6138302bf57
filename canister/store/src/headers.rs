//! Headers of the stable chain, by height and by hash, and the work they add up to.

use bitcoin::BlockHash;
use bitcoin::block::Header;
use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::Hash;
use ic_stable_structures::{BTreeMap as StableMap, Memory, Vec as StableVec};
use millrace_core::Height;
use millrace_core::header::{ChainWork, HeaderContext};

use crate::StoreError;
use crate::record::{join, take};

/// Header (80 bytes) and cumulative work (32 bytes, big endian).
const RECORD_BYTES: usize = 112;

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

    /// Appends the header of the block that became stable.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] unless its height is the next one.
    pub(crate) fn push(&mut self, context: &HeaderContext) -> Result<(), StoreError> {
        let height = context.height().get();
        if u64::from(height) != self.by_height.len() {
            let detail = format!("height {height} after {} headers", self.by_height.len());
            return Err(StoreError::damaged("stable headers", detail));
        }
        let header = serialize(context.header());
        self.by_height
            .push(&join(&[&header, &context.chain_work().to_be_bytes()]));
        self.by_hash.insert(context.hash().to_byte_array(), height);
        Ok(())
    }

    /// Returns the height of a stable block.
    pub fn height(&self, hash: &BlockHash) -> Option<Height> {
        self.by_hash.get(hash.as_byte_array()).map(Height::new)
    }

    /// Returns the header at a height.
    pub fn header(&self, height: Height) -> Option<Header> {
        let record = self.by_height.get(u64::from(height.get()))?;
        let mut rest = record.as_slice();
        deserialize(&take::<80>(&mut rest)?).ok()
    }

    /// Returns the work of the stable chain up to a height.
    pub fn chain_work(&self, height: Height) -> Option<ChainWork> {
        let record = self.by_height.get(u64::from(height.get()))?;
        let work = record.last_chunk::<32>()?;
        Some(ChainWork::from_be_bytes(*work))
    }

    pub(crate) fn index_len(&self) -> u64 {
        self.by_hash.len()
    }
}
