//! What writers of both kinds share: a planned run, written front to back in four streams.

use ic_stable_structures::Memory;

use super::checkpoint::Saved;
use super::coin_entry::{MAX_COIN_ENTRY_BYTES, TXID_BYTES};
use super::extent::{Appender, Extent};
use super::filter::{FilterWriter, blocks_for};
use super::header::{FENCE_BYTES, FILTER_BLOCK_BYTES, HEADER_BYTES, RunHeader, RunKind};
use super::key::Digest;
use super::leaf::{LEAF_BYTES, LEAF_ROOM, LeafBuilder};
use super::number::Input;
use super::run::Run;
use super::script_entry::{MAX_PART_HEAD_BYTES, MAX_SCRIPT_ENTRY_BYTES};
use crate::StoreError;

/// Bytes of a coin leaf that a plan counts on: the last entry may not have fitted, and the first
/// one has its transaction id in full.
const COIN_LEAF_BYTES: u64 = (LEAF_ROOM - MAX_COIN_ENTRY_BYTES - TXID_BYTES) as u64;

/// Bytes of a script leaf that a plan counts on: likewise, and it may begin with a part's head.
const SCRIPT_LEAF_BYTES: u64 =
    (LEAF_ROOM - 2 * (MAX_PART_HEAD_BYTES + MAX_SCRIPT_ENTRY_BYTES)) as u64;

/// The most that a run will hold, known before it is written. Plans of runs add up to one of their
/// merge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunPlan {
    /// Distinct keys.
    pub keys: u64,
    /// Bytes of entries, each written as after its neighbour.
    pub entry_bytes: u64,
    /// Bytes of overflow scripts.
    pub overflow_bytes: u64,
}

impl RunPlan {
    /// Returns what a finished run holds.
    pub const fn of(run: &Run) -> Self {
        let header = run.header();
        Self {
            keys: header.keys,
            entry_bytes: header.entry_bytes,
            overflow_bytes: header.overflow_bytes,
        }
    }

    /// Returns the plan of both runs in one.
    pub const fn and(self, other: Self) -> Self {
        Self {
            keys: self.keys.saturating_add(other.keys),
            entry_bytes: self.entry_bytes.saturating_add(other.entry_bytes),
            overflow_bytes: self.overflow_bytes.saturating_add(other.overflow_bytes),
        }
    }

    const fn leaves(&self, kind: RunKind) -> u64 {
        let room = match kind {
            RunKind::Coins => COIN_LEAF_BYTES,
            RunKind::Scripts => SCRIPT_LEAF_BYTES,
        };
        self.entry_bytes.div_ceil(room)
    }

    /// Returns the bytes that the run takes at most while it is written. About a tenth more than
    /// it will have: entries do not fill leaves.
    pub fn length(&self, kind: RunKind) -> u64 {
        let leaves = self.leaves(kind).saturating_mul(LEAF_BYTES as u64);
        self.header(kind).leaves_at.saturating_add(leaves)
    }

    /// Returns the header of an empty run with room for the plan.
    fn header(&self, kind: RunKind) -> RunHeader {
        let filter_blocks = blocks_for(self.keys);
        let filter = u64::from(filter_blocks) * FILTER_BLOCK_BYTES as u64;
        let fences_at = HEADER_BYTES as u64 + filter;
        let fences = self.leaves(kind).saturating_mul(FENCE_BYTES);
        let overflow_at = fences_at.saturating_add(fences);
        let parts = overflow_at.saturating_add(self.overflow_bytes);
        RunHeader {
            kind,
            leaves: 0,
            filter_blocks,
            entries: 0,
            keys: 0,
            puts: 0,
            spends: 0,
            entry_bytes: 0,
            overflow_bytes: 0,
            fences_at,
            overflow_at,
            leaves_at: parts
                .div_ceil(LEAF_BYTES as u64)
                .saturating_mul(LEAF_BYTES as u64),
        }
    }
}

/// The streams of a run being written. It is a value on the heap: when it is lost, the run is
/// written again, and nobody has read the half of it.
#[derive(Clone, Debug)]
pub(super) struct RunWriter {
    extent: Extent,
    pub(super) header: RunHeader,
    filter: FilterWriter,
    fences: Appender,
    overflow: Appender,
    leaves: Appender,
    pub(super) leaf: LeafBuilder,
}

impl RunWriter {
    pub(super) fn new(extent: Extent, kind: RunKind, plan: &RunPlan) -> Result<Self, StoreError> {
        let length = plan.length(kind);
        if length > extent.length {
            return Err(StoreError::BeyondEnd {
                offset: 0,
                end: length,
                length: extent.length,
            });
        }
        let header = plan.header(kind);
        let between = |from: u64, to: u64| extent.part(from, to.saturating_sub(from));
        let filter = between(HEADER_BYTES as u64, header.fences_at);
        Ok(Self {
            extent,
            header,
            filter: FilterWriter::new(filter, header.filter_blocks),
            fences: Appender::new(between(header.fences_at, header.overflow_at)),
            overflow: Appender::new(between(header.overflow_at, header.leaves_at)),
            leaves: Appender::new(between(header.leaves_at, extent.length)),
            leaf: LeafBuilder::default(),
        })
    }

    /// Writes what waits but the leaf, and appends what is needed to go on.
    pub(super) fn save<M: Memory>(
        &mut self,
        memory: &M,
        out: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        out.extend_from_slice(&self.header.encode());
        self.filter.save(memory, out)?;
        for stream in [&mut self.fences, &mut self.overflow, &mut self.leaves] {
            stream.flush(memory)?;
            stream.length().save(out);
        }
        self.leaf.save(out);
        Ok(())
    }

    pub(super) fn restore(
        extent: Extent,
        kind: RunKind,
        plan: &RunPlan,
        input: &mut Input<'_>,
    ) -> Result<Self, StoreError> {
        let fresh = Self::new(extent, kind, plan)?;
        let header = RunHeader::decode(input.bytes(HEADER_BYTES)?)?;
        let parts = |header: &RunHeader| {
            let blocks = header.filter_blocks;
            (
                header.kind,
                blocks,
                header.fences_at,
                header.overflow_at,
                header.leaves_at,
            )
        };
        if parts(&header) != parts(&fresh.header) {
            return Err(input.damaged(format!("{header:?} is not what the inputs make")));
        }
        let between = |from: u64, to: u64| extent.part(from, to.saturating_sub(from));
        let filter = between(HEADER_BYTES as u64, header.fences_at);
        let filter = FilterWriter::restore(filter, header.filter_blocks, input)?;
        let mut stream = |from, to| {
            let written = u64::restore(input)?;
            Ok::<_, StoreError>(Appender::resume(between(from, to), written))
        };
        Ok(Self {
            fences: stream(header.fences_at, header.overflow_at)?,
            overflow: stream(header.overflow_at, header.leaves_at)?,
            leaves: stream(header.leaves_at, extent.length)?,
            extent,
            header,
            filter,
            leaf: LeafBuilder::restore(input)?,
        })
    }

    /// Adds an encoded entry to the leaf; the first one sets the fence.
    pub(super) fn push<M: Memory>(
        &mut self,
        memory: &M,
        digest: &Digest,
        entry: &[u8],
    ) -> Result<(), StoreError> {
        if self.leaf.is_empty() {
            self.fences.append(memory, &digest.prefix.to_le_bytes())?;
        }
        self.leaf.push(entry)?;
        self.header.entry_bytes += entry.len() as u64;
        self.filter.insert(memory, digest)
    }

    /// Writes the leaf, unless it is empty.
    pub(super) fn end_leaf<M: Memory>(&mut self, memory: &M) -> Result<(), StoreError> {
        if self.leaf.is_empty() {
            return Ok(());
        }
        self.header.leaves += 1;
        self.leaf.finish(memory, &mut self.leaves)
    }

    /// Appends a long script, and returns its offset in the overflow area.
    pub(super) fn push_overflow<M: Memory>(
        &mut self,
        memory: &M,
        script: &[u8],
    ) -> Result<u64, StoreError> {
        let offset = self.overflow.length();
        self.overflow.append(memory, script)?;
        Ok(offset)
    }

    /// Writes everything that waits, the header last, and returns the run. It takes only the front
    /// of its extent.
    pub(super) fn finish<M: Memory>(&mut self, memory: &M) -> Result<Run, StoreError> {
        self.end_leaf(memory)?;
        self.filter.finish(memory)?;
        self.fences.flush(memory)?;
        self.header.overflow_bytes = self.overflow.length();
        self.overflow.flush(memory)?;
        self.leaves.flush(memory)?;
        self.header.keys = self.filter.keys();
        self.extent.write(memory, 0, &self.header.encode())?;
        let used = self.extent.part(0, self.header.length());
        Run::open(memory, used, self.header.kind)
    }
}
