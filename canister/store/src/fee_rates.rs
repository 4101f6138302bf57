//! Keeps what transactions of unstable blocks paid, and the last fee percentiles.
//!
//! ```text
//! rates         of one block: as `BlockFees` encodes them
//! percentiles   tip 32, then each percentile u64
//! ```
//!
//! Rates are thousandths of a satoshi per virtual byte, numbers are little endian. A block's rates go
//! when it leaves the unstable tree.

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use ic_stable_structures::{Cell, Memory};
use millrace_core::fees::BlockFees;

use crate::blobs::BlobKey;
use crate::record::take;
use crate::{Store, StoreError};

/// Percentiles as they were last computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeePercentiles {
    /// The tip they were computed for.
    pub tip: BlockHash,
    /// 101 values in thousandths of a satoshi per virtual byte, or none.
    pub values: Vec<u64>,
}

/// The last fee percentiles.
pub struct FeeCache<M: Memory>(Cell<Vec<u8>, M>);

impl<M: Memory> FeeCache<M> {
    pub(crate) fn open(memory: M) -> Self {
        Self(Cell::init(memory, Vec::new()))
    }

    /// Returns the last percentiles, or `None` before the first.
    pub fn get(&self) -> Option<FeePercentiles> {
        let mut rest = self.0.get().as_slice();
        Some(FeePercentiles {
            tip: BlockHash::from_byte_array(take(&mut rest)?),
            values: rest
                .as_chunks::<8>()
                .0
                .iter()
                .map(|bytes| u64::from_le_bytes(*bytes))
                .collect(),
        })
    }

    /// Returns the tip they were computed for.
    pub fn tip(&self) -> Option<BlockHash> {
        let mut rest = self.0.get().as_slice();
        take(&mut rest).map(BlockHash::from_byte_array)
    }

    /// Replaces them.
    pub fn set(&mut self, percentiles: &FeePercentiles) {
        let mut bytes = percentiles.tip.to_byte_array().to_vec();
        bytes.extend(
            percentiles
                .values
                .iter()
                .flat_map(|value| value.to_le_bytes()),
        );
        self.0.set(bytes);
    }
}

impl<M: Memory> Store<M> {
    /// Keeps the rates of a block of the tree, in place of any kept before.
    ///
    /// # Errors
    /// [`StoreError::OutOfMemory`] or [`StoreError::Damaged`].
    pub fn set_fee_rates(&mut self, block: BlockHash, fees: &BlockFees) -> Result<(), StoreError> {
        let key = BlobKey::FeeRates(block);
        self.blobs.remove(&key);
        if fees.rates().is_empty() {
            return Ok(());
        }
        self.blobs.append(&key, &fees.encode())
    }

    /// Returns the rates of a block; none for a block that has none.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn fee_rates(&self, block: BlockHash) -> Result<BlockFees, StoreError> {
        let key = BlobKey::FeeRates(block);
        if self.blobs.length(&key).is_none() {
            return Ok(BlockFees::default());
        }
        let bytes = self.blobs.read_all(&key)?;
        BlockFees::decode(&bytes).map_err(|error| StoreError::damaged("fee rates", error))
    }
}
