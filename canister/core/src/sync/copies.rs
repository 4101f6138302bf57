//! Remembers which pulled blocks came with bad bytes again and again, so that none is fetched for
//! ever.
//!
//! A block whose bytes are not what its header stands for is wanted again: another copy may be good.
//! But a header that no good body goes with costs little on a test network, and a source sends the
//! first block it is not told to leave out, so that one such block would be all that ever comes.
//! After [`MAX_BAD_COPIES`] bad copies a block is held off for a time that doubles with each further
//! one: it counts as processed, and the source goes on with others.
//!
//! This lives on the heap. What an upgrade forgets costs a few more copies of each such block.

use std::collections::BTreeMap;

use bitcoin::BlockHash;

use crate::units::UnixSeconds;

/// Bad copies of one block after which it is held off.
pub const MAX_BAD_COPIES: u32 = 3;

/// How long a block is held off after that many, in seconds; doubles with each further one.
pub const FIRST_HOLD_SECONDS: u64 = 60;

/// Longest time a block is held off, in seconds: one hour.
pub const LONGEST_HOLD_SECONDS: u64 = 3_600;

/// Blocks remembered, at most; the one whose hold ended or ends first is forgotten first.
pub const MAX_SUSPECTS: usize = 1_024;

/// Blocks of which bad copies came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BadCopies {
    suspects: BTreeMap<BlockHash, Suspect>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Suspect {
    copies: u32,
    /// When it may be asked for again; when the last copy came, while there were few.
    not_before: UnixSeconds,
}

impl BadCopies {
    /// Counts a bad copy. Costs O(log n), O(n) when a block is forgotten for it.
    pub fn note(&mut self, now: UnixSeconds, block: BlockHash) {
        let before = self.suspects.remove(&block);
        let copies = before.map_or(0, |suspect| suspect.copies).saturating_add(1);
        if self.suspects.len() >= MAX_SUSPECTS {
            let first = self
                .suspects
                .iter()
                .min_by_key(|(_, suspect)| suspect.not_before);
            if let Some(hash) = first.map(|(hash, _)| *hash) {
                self.suspects.remove(&hash);
            }
        }
        let not_before = now.saturating_add(hold_after(copies));
        self.suspects.insert(block, Suspect { copies, not_before });
    }

    /// Forgets a block: a good copy came, or its header is proven bad.
    pub fn forget(&mut self, block: &BlockHash) {
        self.suspects.remove(block);
    }

    /// Returns the blocks that are not to be asked for now. Costs O(n).
    pub fn held_off(&self, now: UnixSeconds) -> impl Iterator<Item = &BlockHash> {
        let held =
            move |suspect: &Suspect| suspect.copies >= MAX_BAD_COPIES && now < suspect.not_before;
        let suspects = self.suspects.iter();
        suspects.filter_map(move |(hash, suspect)| held(suspect).then_some(hash))
    }
}

/// Returns how long a block is held off after so many bad copies.
fn hold_after(copies: u32) -> UnixSeconds {
    let Some(doublings) = copies.checked_sub(MAX_BAD_COPIES) else {
        return UnixSeconds::ZERO;
    };
    let seconds = FIRST_HOLD_SECONDS.saturating_mul(1 << doublings.min(u64::BITS - 1));
    UnixSeconds::new(seconds.min(LONGEST_HOLD_SECONDS))
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash;

    use super::*;

    fn block(number: u32) -> BlockHash {
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&number.to_be_bytes());
        BlockHash::from_byte_array(hash)
    }

    fn held_off(copies: &BadCopies, now: u64) -> Vec<BlockHash> {
        copies.held_off(UnixSeconds::new(now)).copied().collect()
    }

    #[test]
    fn a_block_is_held_off_from_the_third_bad_copy_on_for_a_doubling_time() {
        let mut copies = BadCopies::default();
        let mut now = 1_000;
        for _ in 1..MAX_BAD_COPIES {
            copies.note(UnixSeconds::new(now), block(1));
            assert!(held_off(&copies, now).is_empty());
        }
        for hold in [60, 120, 240, 480, 960, 1_920, 3_600, 3_600] {
            copies.note(UnixSeconds::new(now), block(1));
            assert_eq!(held_off(&copies, now + hold - 1), [block(1)]);
            assert!(held_off(&copies, now + hold).is_empty(), "{hold}");
            now += hold;
        }
        copies.note(UnixSeconds::new(now), block(1));
        copies.forget(&block(1));
        assert!(held_off(&copies, now).is_empty());
        copies.note(UnixSeconds::new(now), block(1));
        assert!(held_off(&copies, now).is_empty(), "it starts over");
    }

    #[test]
    fn many_bad_copies_overflow_nothing() {
        let mut copies = BadCopies::default();
        for _ in 0..200 {
            copies.note(UnixSeconds::new(u64::MAX - 5), block(1));
        }
        assert_eq!(held_off(&copies, u64::MAX - 1), [block(1)]);
    }

    #[test]
    fn the_table_is_bounded_and_keeps_what_is_held_off_longest() {
        let mut copies = BadCopies::default();
        for _ in 0..MAX_BAD_COPIES {
            copies.note(UnixSeconds::new(1_000), block(0));
        }
        for number in 1..3 * MAX_SUSPECTS as u32 {
            copies.note(
                UnixSeconds::new(1_000 + u64::from(number) / 1_000),
                block(number),
            );
        }
        assert_eq!(copies.suspects.len(), MAX_SUSPECTS);
        assert_eq!(held_off(&copies, 1_003), [block(0)]);
    }
}
