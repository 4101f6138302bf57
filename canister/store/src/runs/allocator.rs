//! Gives out ranges of the region. What is free is computed from what is taken and never stored,
//! so the two cannot disagree.

use std::collections::BTreeMap;

use ic_stable_structures::Memory;

use super::extent::Extent;
use crate::StoreError;
use crate::counting::PAGE_BYTES;
use crate::layout::WASM_PAGE_BYTES;

/// Bytes at the front of the region that are never given out: the superblock.
pub const RESERVED_BYTES: u64 = PAGE_BYTES;

/// The gaps between taken ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocator {
    /// Lengths of gaps by their start; no two touch, and none ends at `end`.
    gaps: BTreeMap<u64, u64>,
    /// The end of the last taken range.
    end: u64,
}

impl Allocator {
    /// Computes the gaps between taken ranges: O(n log n) in their number.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when ranges overlap, are not aligned to pages, or begin in the
    /// superblock.
    pub fn of(taken: impl IntoIterator<Item = Extent>) -> Result<Self, StoreError> {
        let mut taken: Vec<Extent> = taken.into_iter().filter(|e| e.length > 0).collect();
        taken.sort_unstable();
        let mut allocator = Self {
            gaps: BTreeMap::new(),
            end: RESERVED_BYTES,
        };
        for extent in taken {
            let is_aligned = extent.start.is_multiple_of(PAGE_BYTES);
            let is_sane = extent.start.checked_add(extent.length).is_some();
            if extent.start < allocator.end || !is_aligned || !is_sane {
                let detail = format!("{extent:?} begins before {} or in a page", allocator.end);
                return Err(StoreError::damaged("ranges of runs", detail));
            }
            if extent.start > allocator.end {
                let gap = extent.start - allocator.end;
                allocator.gaps.insert(allocator.end, gap);
            }
            allocator.end = pages_up(extent.end());
        }
        Ok(allocator)
    }

    /// Returns the end of the last taken range.
    pub const fn end(&self) -> u64 {
        self.end
    }

    /// Returns the bytes in gaps.
    pub fn free_bytes(&self) -> u64 {
        self.gaps.values().sum()
    }

    /// Takes a range of `length` bytes: in the smallest gap that holds it, else at the end, where
    /// memory grows. Costs one look at every gap.
    ///
    /// # Errors
    /// [`StoreError::OutOfMemory`]; nothing is taken.
    pub fn allocate<M: Memory>(&mut self, memory: &M, length: u64) -> Result<Extent, StoreError> {
        let pages = memory.size();
        let too_large = StoreError::OutOfMemory { pages };
        let needed = length
            .checked_next_multiple_of(PAGE_BYTES)
            .ok_or_else(|| too_large.clone())?;
        let fitting = self.gaps.iter().filter(|(_, gap)| **gap >= needed);
        let best = fitting.min_by_key(|(_, gap)| **gap);
        if let Some((start, gap)) = best.map(|(start, gap)| (*start, *gap)) {
            self.gaps.remove(&start);
            if gap > needed {
                self.gaps.insert(start + needed, gap - needed);
            }
            return Ok(Extent { start, length });
        }
        let end = self.end.checked_add(needed);
        let end = end.ok_or_else(|| too_large.clone())?;
        let missing = end.div_ceil(WASM_PAGE_BYTES).saturating_sub(pages);
        if missing > 0 && memory.grow(missing) < 0 {
            return Err(too_large);
        }
        let start = std::mem::replace(&mut self.end, end);
        Ok(Extent { start, length })
    }

    /// Gives a taken range back.
    pub fn free(&mut self, extent: Extent) {
        if extent.length == 0 {
            return;
        }
        let (mut start, mut end) = (extent.start, pages_up(extent.end()));
        if let Some((before, length)) = self.gaps.range(..start).next_back()
            && before + length == start
        {
            start = *before;
        }
        if let Some(length) = self.gaps.remove(&end) {
            end += length;
        }
        if end == self.end {
            self.gaps.remove(&start);
            self.end = start;
        } else {
            self.gaps.insert(start, end - start);
        }
    }

    /// Gives back what a run has not used of its range.
    pub fn trim(&mut self, taken: Extent, used: Extent) {
        let kept = pages_up(used.end());
        let length = pages_up(taken.end()).saturating_sub(kept);
        self.free(Extent {
            start: kept,
            length,
        });
    }
}

const fn pages_up(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE_BYTES).saturating_mul(PAGE_BYTES)
}

#[cfg(test)]
mod tests {
    use ic_stable_structures::VectorMemory;
    use proptest::prelude::*;

    use super::*;

    fn extent(start: u64, length: u64) -> Extent {
        Extent { start, length }
    }

    #[test]
    fn the_smallest_gap_that_fits_is_taken() {
        let taken = [
            extent(4096, 1),
            extent(8 * 4096, 4096),
            extent(11 * 4096, 5),
        ];
        let mut allocator = Allocator::of(taken).unwrap();
        let memory = VectorMemory::default();
        assert_eq!(allocator.free_bytes(), (6 + 2) * 4096);
        let two = allocator.allocate(&memory, 4097).unwrap();
        assert_eq!(two, extent(9 * 4096, 4097));
        let seven = allocator.allocate(&memory, 7 * 4096).unwrap();
        assert_eq!(seven.start, 12 * 4096);
        assert_eq!(memory.size(), 2, "memory grew for the new end");
        allocator.trim(seven, extent(seven.start, 4096));
        assert_eq!(allocator.end(), 13 * 4096);
    }

    #[test]
    fn ranges_that_overlap_or_begin_anywhere_are_damage() {
        for taken in [
            [extent(4096, 4097), extent(8192, 1)],
            [extent(4097, 1), extent(8192, 1)],
            [extent(0, 1), extent(8192, 1)],
            [extent(8192, u64::MAX), extent(4096, 1)],
        ] {
            assert!(Allocator::of(taken).is_err(), "{taken:?}");
        }
    }

    #[test]
    fn what_can_never_fit_is_refused() {
        let mut allocator = Allocator::of([]).unwrap();
        let memory = VectorMemory::default();
        let refused = allocator.allocate(&memory, u64::MAX);
        assert_eq!(refused, Err(StoreError::OutOfMemory { pages: 0 }));
        assert_eq!(allocator, Allocator::of([]).unwrap());
    }

    proptest! {
        #[test]
        fn gaps_are_always_those_between_what_is_taken(
            steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>(), 1..30_000u64), 1..60),
        ) {
            let memory = VectorMemory::default();
            let mut allocator = Allocator::of([]).unwrap();
            let mut taken: Vec<Extent> = Vec::new();
            for (is_free, which, length) in steps {
                if is_free && !taken.is_empty() {
                    let extent = taken.swap_remove(which.index(taken.len()));
                    allocator.free(extent);
                } else {
                    let extent = allocator.allocate(&memory, length).unwrap();
                    let used = Extent { length: 1 + length / 2, ..extent };
                    allocator.trim(extent, used);
                    taken.push(used);
                }
                prop_assert_eq!(&allocator, &Allocator::of(taken.iter().copied()).unwrap());
                prop_assert!(allocator.end() <= memory.size() * WASM_PAGE_BYTES);
            }
        }
    }
}
