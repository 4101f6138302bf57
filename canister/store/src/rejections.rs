//! Refused blocks: the last ones, for adapters to read, and those refused for good, so that nobody
//! looks at them again.
//!
//! Most invalid blocks are known by their node of the unstable tree. Those refused for good are
//! remembered here whether they have one or not: a block with a bad header never gets a node, and
//! a full tree sheds invalid ones first.
//!
//! ```text
//! recent: magic "RJ2\0", then records, oldest first
//! refused: sequence u64 -> one record
//! record: hash 32, height u32 LE (all ones: unknown), kind u8, length u16 LE, reason
//! ```

use std::collections::BTreeMap;

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use ic_stable_structures::{BTreeMap as StableMap, Cell, Memory};
use millrace_core::Height;

use crate::cells::Counter;
use crate::record::take;

/// Rejections remembered for adapters to read.
pub const MAX_REJECTIONS: usize = 16;

/// Blocks remembered as refused for good; the one refused first is forgotten first.
pub const MAX_REFUSED: usize = 1_024;

/// Longest reason kept with a rejection, in bytes.
pub const MAX_REASON_BYTES: usize = 300;

/// What a recent list begins with; another one, of an earlier version, is forgotten.
const MAGIC: [u8; 4] = *b"RJ2\0";

/// Kind of rule that a refused block broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectionKind {
    /// It came before its parent.
    UnknownParent,
    /// Its time is ahead of the canister's clock.
    TooNew,
    /// It has less work than all blocks held.
    TreeFull,
    /// Its header breaks a rule.
    Header,
    /// The block itself is malformed.
    Structure,
    /// The delivered bytes are not those its header stands for.
    DamagedBytes,
    /// It spends or replaces coins it may not.
    Coins,
    /// It or an ancestor is known to be invalid.
    Ancestor,
    /// Processing it never ended.
    Quarantined,
    /// It breaks a consensus rule.
    Consensus,
}

impl RejectionKind {
    /// In stored order; new ones go to the end.
    const ALL: [Self; 10] = [
        Self::UnknownParent,
        Self::TooNew,
        Self::TreeFull,
        Self::Header,
        Self::Structure,
        Self::DamagedBytes,
        Self::Coins,
        Self::Ancestor,
        Self::Quarantined,
        Self::Consensus,
    ];

    /// Returns the counter of such rejections.
    pub const fn counter(self) -> Counter {
        match self {
            Self::UnknownParent => Counter::RejectedUnknownParent,
            Self::TooNew => Counter::RejectedTooNew,
            Self::Header => Counter::RejectedHeader,
            Self::TreeFull => Counter::RejectedTreeFull,
            Self::Structure => Counter::RejectedStructure,
            Self::DamagedBytes => Counter::RejectedDamagedBytes,
            Self::Coins => Counter::RejectedCoins,
            Self::Ancestor => Counter::RejectedInvalid,
            Self::Quarantined => Counter::RejectedQuarantined,
            Self::Consensus => Counter::RejectedConsensus,
        }
    }
}

/// A block that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The block.
    pub hash: BlockHash,
    /// Its height, where its parent was known.
    pub height: Option<Height>,
    /// The kind of rule it broke.
    pub kind: RejectionKind,
    /// Why; at most [`MAX_REASON_BYTES`] bytes.
    pub reason: String,
}

/// The last [`MAX_REJECTIONS`] rejections, and the last [`MAX_REFUSED`] for good.
pub struct Rejections<M: Memory> {
    cell: Cell<Vec<u8>, M>,
    /// Oldest first.
    recent: Vec<Rejection>,
    is_dirty: bool,
    refused: StableMap<u64, Vec<u8>, M>,
    /// Keys of `refused`; rebuilt when the store is opened.
    by_hash: BTreeMap<BlockHash, u64>,
}

impl<M: Memory> Rejections<M> {
    /// Opens both lists. What cannot be read is forgotten: it only saves work.
    pub(crate) fn open(recent: M, refused: M) -> Self {
        let cell = Cell::init(recent, Vec::new());
        let refused: StableMap<u64, Vec<u8>, M> = StableMap::init(refused);
        let mut by_hash = BTreeMap::new();
        for entry in refused.iter() {
            if let Some(rejection) = decode(&mut entry.value().as_slice()) {
                by_hash.insert(rejection.hash, *entry.key());
            }
        }
        Self {
            recent: decode_all(cell.get()).unwrap_or_default(),
            cell,
            is_dirty: false,
            refused,
            by_hash,
        }
    }

    /// Adds a recent rejection, durable once flushed; the oldest one leaves when there are too many.
    pub fn push(&mut self, mut rejection: Rejection) {
        truncate(&mut rejection.reason);
        if self.recent.len() >= MAX_REJECTIONS {
            self.recent.remove(0);
        }
        self.recent.push(rejection);
        self.is_dirty = true;
    }

    /// Remembers a block as refused for good. The first reason stays.
    pub fn refuse_for_good(&mut self, mut rejection: Rejection) {
        if self.by_hash.contains_key(&rejection.hash) {
            return;
        }
        truncate(&mut rejection.reason);
        while self.refused.len() >= MAX_REFUSED as u64 {
            let Some((_, record)) = self.refused.pop_first() else {
                break;
            };
            // What cannot be read was never found by its hash.
            if let Some(oldest) = decode(&mut record.as_slice()) {
                self.by_hash.remove(&oldest.hash);
            }
        }
        let key = self.refused.last_key_value();
        let key = key.map_or(0, |(key, _)| key.saturating_add(1));
        let mut record = Vec::new();
        encode(&rejection, &mut record);
        self.refused.insert(key, record);
        self.by_hash.insert(rejection.hash, key);
    }

    /// Returns why a block was refused for good, if it was.
    pub fn refused(&self, hash: &BlockHash) -> Option<Rejection> {
        let record = self.refused.get(self.by_hash.get(hash)?)?;
        decode(&mut record.as_slice())
    }

    /// Returns how many blocks are remembered as refused for good.
    pub fn refused_len(&self) -> u64 {
        self.refused.len()
    }

    /// Forgets blocks whose processing never ended: another version may know better.
    pub(crate) fn forget_quarantined(&mut self) {
        let hashes: Vec<BlockHash> = self.by_hash.keys().copied().collect();
        for hash in hashes {
            let kind = self.refused(&hash).map(|rejection| rejection.kind);
            if kind == Some(RejectionKind::Quarantined)
                && let Some(key) = self.by_hash.remove(&hash)
            {
                self.refused.remove(&key);
            }
        }
    }

    /// Makes recent rejections durable; writes nothing when there are no new ones.
    pub(crate) fn flush(&mut self) {
        if self.is_dirty {
            let mut bytes = MAGIC.to_vec();
            for rejection in &self.recent {
                encode(rejection, &mut bytes);
            }
            self.cell.set(bytes);
            self.is_dirty = false;
        }
    }

    /// Returns the recent rejections, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Rejection> {
        self.recent.iter().rev()
    }
}

fn truncate(reason: &mut String) {
    let mut end = reason.len().min(MAX_REASON_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.truncate(end);
}

fn encode(rejection: &Rejection, out: &mut Vec<u8>) {
    let height = rejection.height.unwrap_or(Height::MAX).get();
    out.extend_from_slice(rejection.hash.as_byte_array());
    out.extend_from_slice(&height.to_le_bytes());
    out.push(rejection.kind as u8);
    out.extend_from_slice(&(rejection.reason.len() as u16).to_le_bytes());
    out.extend_from_slice(rejection.reason.as_bytes());
}

fn decode(bytes: &mut &[u8]) -> Option<Rejection> {
    let hash = BlockHash::from_byte_array(take(bytes)?);
    let height = Height::new(u32::from_le_bytes(take(bytes)?));
    let [kind] = take(bytes)?;
    let kind = *RejectionKind::ALL.get(usize::from(kind))?;
    let length = u16::from_le_bytes(take(bytes)?);
    let (reason, rest) = bytes.split_at_checked(usize::from(length))?;
    *bytes = rest;
    Some(Rejection {
        hash,
        height: (height != Height::MAX).then_some(height),
        kind,
        reason: String::from_utf8_lossy(reason).into_owned(),
    })
}

fn decode_all(bytes: &[u8]) -> Option<Vec<Rejection>> {
    let mut rest = bytes.strip_prefix(MAGIC.as_slice())?;
    let mut out = Vec::new();
    while !rest.is_empty() {
        out.push(decode(&mut rest)?);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use ic_stable_structures::VectorMemory;

    use super::*;

    fn rejection(number: u32, kind: RejectionKind) -> Rejection {
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&number.to_le_bytes());
        Rejection {
            hash: BlockHash::from_byte_array(hash),
            height: number.is_multiple_of(2).then_some(Height::new(number)),
            kind,
            reason: format!("reason {number}"),
        }
    }

    #[test]
    fn both_lists_survive_reopening_in_every_kind_and_stay_within_their_bounds() {
        let memories = (VectorMemory::default(), VectorMemory::default());
        let open = || Rejections::open(memories.0.clone(), memories.1.clone());
        let mut rejections = open();
        let all = RejectionKind::ALL;
        let last = MAX_REFUSED as u32 + 20;
        let made = |number: u32| rejection(number, all[number as usize % all.len()]);
        for number in 0..last {
            rejections.push(made(number));
            rejections.refuse_for_good(made(number));
        }
        rejections.flush();
        let rejections = open();
        assert_eq!(rejections.refused_len(), MAX_REFUSED as u64);
        for number in 0..last {
            let expected = (number >= 20).then(|| made(number));
            assert_eq!(rejections.refused(&made(number).hash), expected);
        }
        let recent: Vec<Rejection> = rejections.newest_first().cloned().collect();
        let expected = (last - MAX_REJECTIONS as u32..last).rev().map(made);
        assert_eq!(recent, expected.collect::<Vec<_>>());
    }

    #[test]
    fn the_first_reason_stays_and_only_quarantine_is_forgotten() {
        let memories = (VectorMemory::default(), VectorMemory::default());
        let mut rejections = Rejections::open(memories.0.clone(), memories.1.clone());
        let header = rejection(1, RejectionKind::Header);
        rejections.refuse_for_good(header.clone());
        rejections.refuse_for_good(Rejection {
            kind: RejectionKind::Quarantined,
            ..header.clone()
        });
        rejections.refuse_for_good(rejection(2, RejectionKind::Quarantined));
        rejections.forget_quarantined();
        assert_eq!(rejections.refused(&header.hash), Some(header));
        assert_eq!(rejections.refused_len(), 1);
    }

    #[test]
    fn reasons_are_cut_between_characters_and_unreadable_lists_forgotten() {
        let memories = (VectorMemory::default(), VectorMemory::default());
        let mut rejections = Rejections::open(memories.0.clone(), memories.1.clone());
        let mut long = rejection(1, RejectionKind::Coins);
        long.reason = "ü".repeat(MAX_REASON_BYTES);
        long.reason.insert(0, 'x');
        rejections.push(long);
        let kept = rejections.newest_first().next().unwrap().reason.len();
        assert_eq!(kept, MAX_REASON_BYTES - 1);
        Cell::init(memories.0.clone(), Vec::new()).set(vec![7; 50]);
        let reopened = Rejections::open(memories.0, memories.1);
        assert_eq!(reopened.newest_first().count(), 0);
    }
}
