//! A finished run: its filter, its fences, its leaves.

use ic_stable_structures::Memory;

use super::extent::Extent;
use super::filter::Filter;
use super::header::{FENCE_BYTES, FILTER_BLOCK_BYTES, HEADER_BYTES, RunHeader, RunKind};
use super::key::Digest;
use super::leaf::LEAF_BYTES;
use crate::StoreError;

/// Fences read at once: 512 bytes, mostly within a page.
const WINDOW: u32 = 64;

/// Guesses from the keys' uniformity before a search halves what is left: ground keys, or a group
/// over many leaves, cannot make it slow.
const GUESSES: u32 = 4;

/// A run, as its header describes it. The same 100 bytes for any size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    extent: Extent,
    header: RunHeader,
}

/// What a search knows: fences before `low` are below the wanted prefix, those from `high` on are
/// not.
struct Bounds {
    low: u32,
    high: u32,
    low_fence: u64,
    high_fence: u64,
}

impl Run {
    /// Reads the header of the run in an extent.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when it is not a run of this kind or reaches beyond the extent.
    pub fn open<M: Memory>(memory: &M, extent: Extent, kind: RunKind) -> Result<Self, StoreError> {
        let mut bytes = [0; HEADER_BYTES];
        extent.read(memory, 0, &mut bytes)?;
        let header = RunHeader::decode(&bytes)?;
        if header.kind != kind || header.length() > extent.length {
            return Err(StoreError::damaged(
                "run",
                format!("{kind:?} run in {extent:?} has the header {header:?}"),
            ));
        }
        Ok(Self { extent, header })
    }

    /// Returns the header.
    pub const fn header(&self) -> &RunHeader {
        &self.header
    }

    /// Returns the range of the whole run.
    pub const fn extent(&self) -> Extent {
        self.extent
    }

    /// Returns the filter.
    pub const fn filter(&self) -> Filter {
        let blocks = self.header.filter_blocks;
        let length = blocks as u64 * FILTER_BLOCK_BYTES as u64;
        Filter::new(self.extent.part(HEADER_BYTES as u64, length), blocks)
    }

    /// Returns `false` only for keys that are not in the run. Reads 64 bytes.
    ///
    /// # Errors
    /// [`StoreError`] when the filter cannot be read.
    pub fn may_contain<M: Memory>(&self, memory: &M, digest: &Digest) -> Result<bool, StoreError> {
        self.filter().may_contain(memory, digest)
    }

    /// Reads a leaf.
    ///
    /// # Errors
    /// [`StoreError::BeyondEnd`] when there is no such leaf.
    pub fn read_leaf<M: Memory>(
        &self,
        memory: &M,
        leaf: u32,
        bytes: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        bytes.resize(LEAF_BYTES, 0);
        self.read_leaf_start(memory, leaf, bytes)
    }

    /// Reads the first bytes of a leaf.
    ///
    /// # Errors
    /// [`StoreError::BeyondEnd`] when there is no such leaf, or it is shorter.
    pub fn read_leaf_start<M: Memory>(
        &self,
        memory: &M,
        leaf: u32,
        bytes: &mut [u8],
    ) -> Result<(), StoreError> {
        let length = u64::from(self.header.leaves) * LEAF_BYTES as u64;
        let leaves = self.extent.part(self.header.leaves_at, length);
        leaves.read(memory, u64::from(leaf) * LEAF_BYTES as u64, bytes)
    }

    /// Reads a script from the overflow area.
    ///
    /// # Errors
    /// [`StoreError::BeyondEnd`] when it reaches beyond the area.
    pub fn read_overflow<M: Memory>(
        &self,
        memory: &M,
        offset: u64,
        length: u32,
    ) -> Result<Vec<u8>, StoreError> {
        let area = self
            .extent
            .part(self.header.overflow_at, self.header.overflow_bytes);
        let mut script = vec![0; length as usize];
        area.read(memory, offset, &mut script)?;
        Ok(script)
    }

    /// Returns the leaf in which the first key with a prefix of at least `prefix` is, or the one
    /// before it: a leaf's fence says nothing of where the keys before it end.
    ///
    /// Reads 512 bytes of fences, rarely more.
    ///
    /// # Errors
    /// [`StoreError::BeyondEnd`] when the fences are not where the header says.
    pub fn leaf_before<M: Memory>(&self, memory: &M, prefix: u64) -> Result<u32, StoreError> {
        Ok(self.fences_below(memory, prefix)?.saturating_sub(1))
    }

    /// Returns the number of leaves whose fence is below `prefix`; they are the first ones.
    ///
    /// # Errors
    /// [`StoreError::BeyondEnd`] when the fences are not where the header says.
    pub fn fences_below<M: Memory>(&self, memory: &M, prefix: u64) -> Result<u32, StoreError> {
        Ok(self.search(memory, prefix, &mut FenceWindow::default())?.0)
    }

    /// Returns the number of leaves whose fence is below `prefix`, and of those whose fence is not
    /// above it. Reads as much as one of both in nearly all cases, and nothing where the window, which
    /// must be of this run, has them already.
    ///
    /// # Errors
    /// [`StoreError::BeyondEnd`] when the fences are not where the header says.
    pub fn fences_at<M: Memory>(
        &self,
        memory: &M,
        prefix: u64,
        window: &mut FenceWindow,
    ) -> Result<(u32, u32), StoreError> {
        if let Some(known) = window.around(prefix) {
            return Ok(known);
        }
        let (below, up_to) = self.search(memory, prefix, window)?;
        if let Some(up_to) = up_to {
            return Ok((below, up_to));
        }
        let up_to = match prefix.checked_add(1) {
            Some(next) => self.fences_below(memory, next)?,
            None => self.header.leaves,
        };
        Ok((below, up_to))
    }

    /// Returns the number of fences below `prefix`, and of those not above it, where the fences read
    /// for that say so. The last ones read stay in the window.
    fn search<M: Memory>(
        &self,
        memory: &M,
        prefix: u64,
        window: &mut FenceWindow,
    ) -> Result<(u32, Option<u32>), StoreError> {
        let mut bounds = Bounds {
            low: 0,
            high: self.header.leaves,
            low_fence: 0,
            high_fence: u64::MAX,
        };
        let mut round = 0;
        while bounds.high - bounds.low > WINDOW {
            let start = bounds.guess(prefix, round < GUESSES);
            self.read_fences(memory, start, WINDOW, window)?;
            let below = window.below(prefix);
            if below == 0 {
                bounds.high = start;
                bounds.high_fence = window.fence(0);
            } else if below == WINDOW {
                bounds.low = start + WINDOW;
                bounds.low_fence = window.fence(WINDOW - 1);
            } else {
                let up_to = window.up_to(prefix);
                let is_known = up_to < WINDOW || start + WINDOW == self.header.leaves;
                return Ok((start + below, is_known.then_some(start + up_to)));
            }
            round += 1;
        }
        let left = bounds.high - bounds.low;
        self.read_fences(memory, bounds.low, left, window)?;
        let (below, up_to) = (window.below(prefix), window.up_to(prefix));
        let is_known = bounds.high == self.header.leaves || bounds.high_fence > prefix;
        let is_known = is_known || up_to < left;
        Ok((bounds.low + below, is_known.then_some(bounds.low + up_to)))
    }

    fn read_fences<M: Memory>(
        &self,
        memory: &M,
        first: u32,
        count: u32,
        window: &mut FenceWindow,
    ) -> Result<(), StoreError> {
        let length = u64::from(self.header.leaves) * FENCE_BYTES;
        let area = self.extent.part(self.header.fences_at, length);
        window.count = 0;
        let wanted = window.fences.get_mut(..count as usize).unwrap_or_default();
        let at = u64::from(first) * FENCE_BYTES;
        area.read(memory, at, wanted.as_flattened_mut())?;
        (window.first, window.count) = (first, count);
        Ok(())
    }
}

/// Fences read last: the next key in order is mostly between two of them.
#[derive(Clone, Debug)]
pub struct FenceWindow {
    first: u32,
    count: u32,
    fences: [[u8; FENCE_BYTES as usize]; WINDOW as usize],
}

impl Default for FenceWindow {
    fn default() -> Self {
        Self {
            first: 0,
            count: 0,
            fences: [[0; FENCE_BYTES as usize]; WINDOW as usize],
        }
    }
}

impl FenceWindow {
    /// Forgets the fences: another run's come next.
    pub const fn clear(&mut self) {
        self.count = 0;
    }

    /// Returns what [`Run::fences_at`] does, where the prefix is between two fences.
    fn around(&self, prefix: u64) -> Option<(u32, u32)> {
        let last = self.count.checked_sub(1)?;
        if prefix <= self.fence(0) || prefix >= self.fence(last) {
            return None;
        }
        let (below, up_to) = (self.below(prefix), self.up_to(prefix));
        Some((self.first + below, self.first + up_to))
    }

    /// Returns whether a key of this prefix, which is not below the leaf's first, may be in the leaf:
    /// whether the next one is known to begin at it or later.
    pub fn may_hold(&self, leaf: u32, prefix: u64) -> bool {
        let next = leaf.checked_sub(self.first).map(|at| at + 1);
        next.is_some_and(|next| next < self.count && self.fence(next) >= prefix)
    }

    fn fence(&self, index: u32) -> u64 {
        let fence = self.fences.get(index as usize);
        fence.map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    fn known(&self) -> &[[u8; FENCE_BYTES as usize]] {
        self.fences.get(..self.count as usize).unwrap_or_default()
    }

    fn below(&self, prefix: u64) -> u32 {
        let is_below = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes) < prefix;
        self.known().partition_point(is_below) as u32
    }

    fn up_to(&self, prefix: u64) -> u32 {
        let is_not_above = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes) <= prefix;
        self.known().partition_point(is_not_above) as u32
    }
}

impl Bounds {
    /// Returns the first leaf of the window to look at: around the place where uniform keys would
    /// have the prefix, or in the middle.
    fn guess(&self, prefix: u64, is_interpolated: bool) -> u32 {
        let leaves = self.high - self.low;
        let offset = if is_interpolated {
            // Only a guess: rounding is harmless, and the quotient within 0 and 1.
            let above = prefix.saturating_sub(self.low_fence) as f64;
            let range = self.high_fence.saturating_sub(self.low_fence).max(1) as f64;
            ((above / range).min(1.0) * f64::from(leaves)) as u32
        } else {
            leaves / 2
        };
        let last = leaves - WINDOW;
        self.low + offset.saturating_sub(WINDOW / 2).min(last)
    }
}
