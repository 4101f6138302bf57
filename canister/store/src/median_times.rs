//! Knows how late a chain was at a height: the median times past that relative locks count from.

use bitcoin::BlockHash;
use ic_stable_structures::Memory;
use millrace_core::Height;
use millrace_core::consensus::MedianTimes;
use millrace_core::header::{MEDIAN_TIME_SPAN, median_time_past};
use millrace_core::tree::Tree;

use crate::headers::Headers;
use crate::regions::RegionMemory;
use crate::{Store, StoreError};

/// The median times past of the chain that ends with a block of the unstable tree.
///
/// At a height of the tree a look-up costs O(log n); below it the headers that the median is taken
/// over are read, [`MEDIAN_TIME_SPAN`] small records.
pub struct ChainTimes<'a, M: Memory> {
    tree: &'a Tree,
    headers: &'a Headers<RegionMemory<M>>,
    tip: BlockHash,
}

impl<M: Memory> Store<M> {
    /// Returns the median times past of the chain that ends with `tip`, a block of the tree.
    pub const fn chain_times(&self, tip: BlockHash) -> ChainTimes<'_, M> {
        ChainTimes {
            tree: &self.tree,
            headers: &self.headers,
            tip,
        }
    }
}

impl<M: Memory> MedianTimes for ChainTimes<'_, M> {
    type Error = StoreError;

    fn median_time_past(&self, height: Height) -> Result<Option<u32>, StoreError> {
        if let Some(node) = self.tree.ancestor_at(&self.tip, height) {
            return Ok(Some(node.context().median_time_past()));
        }
        if u64::from(height.get()) >= self.headers.len() {
            return Ok(None);
        }
        let first = height.get().saturating_sub(MEDIAN_TIME_SPAN as u32 - 1);
        let times = (first..=height.get()).map(|height| {
            let header = self.headers.header(Height::new(height));
            header
                .map(|header| header.time)
                .ok_or_else(|| StoreError::missing("stable header", height))
        });
        Ok(median_time_past(times.collect::<Result<Vec<_>, _>>()?))
    }
}
