//! A bounded cursor for fixed-size records: every read names how much it takes and may fail.

use std::cmp::Ordering;

/// Reads fixed-size fields from the front of a slice.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Takes `N` bytes, or `None` when fewer are left.
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*head)
    }

    /// Returns whether everything was taken.
    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(u8::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}

/// Turns collected fields into a record of exactly `N` bytes, zero padded.
///
/// Callers lay out constant-size fields, so the length never differs; a longer input would be cut.
pub(crate) fn fixed<const N: usize>(fields: &[&[u8]]) -> [u8; N] {
    let mut out = [0; N];
    let mut rest = out.as_mut_slice();
    for field in fields {
        let length = field.len().min(rest.len());
        let (place, behind) = rest.split_at_mut(length);
        place.copy_from_slice(field.get(..length).unwrap_or_default());
        rest = behind;
    }
    out
}

/// Returns the first eight bytes of a key: they sort as keys do, as far as they go.
pub(crate) fn prefix(key: &[u8]) -> u64 {
    let first = key.first_chunk();
    first.map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Most items of a bucket that are sorted by insertion.
const SHORT_BUCKET: usize = 24;

/// Sorts numbers by the first bytes of their keys, and where those are equal by `then`.
///
/// Keys are hashes, so their highest bits spread them over as many buckets as there are items, each of
/// one or two: several times as fast as comparing. Keys that somebody ground fill one bucket, which is
/// sorted by comparing.
pub(crate) fn sort_by_prefix(
    items: Vec<(u64, u32)>,
    then: impl Fn(u32, u32) -> Ordering,
) -> Vec<(u64, u32)> {
    let bits = items.len().next_power_of_two().ilog2().clamp(1, 20);
    let bucket_of = |prefix: u64| (prefix >> (u64::BITS - bits)) as usize;
    // Where each bucket begins, then where its next item goes.
    let mut places = vec![0u32; (1 << bits) + 1];
    for (prefix, _) in &items {
        if let Some(count) = places.get_mut(bucket_of(*prefix) + 1) {
            *count += 1;
        }
    }
    let mut begin = 0;
    for place in &mut places {
        begin += *place;
        *place = begin;
    }
    let mut sorted = vec![(0, 0); items.len()];
    for item in &items {
        if let Some(place) = places.get_mut(bucket_of(item.0)) {
            if let Some(slot) = sorted.get_mut(*place as usize) {
                *slot = *item;
            }
            *place += 1;
        }
    }
    let compare = |a: &(u64, u32), b: &(u64, u32)| a.0.cmp(&b.0).then_with(|| then(a.1, b.1));
    let mut rest = sorted.as_mut_slice();
    let mut begin = 0;
    // By now each place is where the next bucket begins.
    for end in places.iter().map(|end| *end as usize) {
        let Some((bucket, later)) = rest.split_at_mut_checked(end - begin) else {
            break;
        };
        if bucket.len() > SHORT_BUCKET {
            bucket.sort_unstable_by(compare);
        } else {
            for at in 1..bucket.len() {
                let mut at = at;
                while let Some([before, item]) = bucket.get_mut(at.wrapping_sub(1)..=at) {
                    if compare(before, item).is_le() {
                        break;
                    }
                    std::mem::swap(before, item);
                    at -= 1;
                }
            }
        }
        (rest, begin) = (later, end);
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_sorted_by_prefix_however_it_is_spread() {
        let mut state = 7u64;
        let mut random = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state
        };
        let spreads: [fn(u64) -> u64; 5] = [
            |random| random,
            |random| random >> 40,
            |random| random % 5,
            |_| u64::MAX,
            |random| if random % 3 == 0 { random } else { 9 << 50 },
        ];
        for spread in spreads {
            for count in [0, 1, 2, 3, 64, 65, 3_000] {
                let items: Vec<(u64, u32)> = (0..count).map(|n| (spread(random()), n)).collect();
                // Later numbers first, to see that the second comparison is asked.
                let mut expected = items.clone();
                expected.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
                assert_eq!(sort_by_prefix(items, |a, b| b.cmp(&a)), expected);
            }
        }
    }
}
