//! The buffer under sources that answer in any order, with sizes that nobody foresees.

use bitcoin::hashes::Hash;
use proptest::prelude::*;

use super::*;

fn hash(height: Height) -> BlockHash {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&height.get().to_le_bytes());
    BlockHash::from_byte_array(bytes)
}

fn height_of(hash: BlockHash) -> Height {
    let bytes = hash.to_byte_array();
    Height::new(u32::from_le_bytes(bytes[..4].try_into().unwrap()))
}

/// What a reader did with a whole chain.
#[derive(Debug, Default)]
struct Tally {
    reads: usize,
    most_ahead: usize,
    most_bytes: u64,
    most_under_way: usize,
}

/// Reads a chain of the given sizes to its end; `choose` says which request is answered next.
fn read_all(
    reading: &mut ReadAhead,
    sizes: &[usize],
    mut choose: impl FnMut(usize) -> usize,
) -> Tally {
    let mut tally = Tally::default();
    let mut cursor = Height::new(1);
    let mut under_way: Vec<BlockHash> = Vec::new();
    let end = Height::new(sizes.len() as u32 + 1);
    while cursor < end {
        let requested = reading.request(|height| (height < end).then(|| hash(height)));
        tally.reads += requested.len();
        under_way.extend(requested);
        tally.most_under_way = tally.most_under_way.max(under_way.len());
        tally.most_ahead = tally.most_ahead.max(reading.blocks_ahead());
        assert!(!under_way.is_empty(), "nothing comes any more");
        let answered = under_way.remove(choose(under_way.len()));
        let height = reading.end_request(answered).expect("it is needed");
        assert_eq!(height, height_of(answered));
        let size = sizes[height.get() as usize - 1];
        reading.keep(height, answered, vec![0; size]);
        tally.most_bytes = tally.most_bytes.max(reading.bytes_held());
        while let Some(block) = reading.block(cursor, hash(cursor)) {
            assert_eq!(block.len(), sizes[cursor.get() as usize - 1]);
            reading.forget(cursor);
            cursor = cursor.next();
        }
    }
    assert_eq!(reading.bytes_held(), 0);
    tally
}

#[test]
fn small_blocks_are_read_far_ahead_and_large_ones_within_the_bytes() {
    let cases: [(&str, usize, usize, usize); 4] = [
        ("first blocks", 250, READ_AHEAD_BLOCKS_MAX, 2_000),
        ("a node's four connections", 250, 8, 2_000),
        ("usual blocks", 1_600_000, 2_000, 33),
        ("largest blocks", 4_000_000, 2_000, 16),
    ];
    for (name, size, reads_max, least_ahead) in cases {
        let mut reading = ReadAhead::new(64 << 20, reads_max);
        let end = Height::new(3_000);
        // Nothing is pushed: all that fits stays.
        loop {
            let requested = reading.request(|height| (height < end).then(|| hash(height)));
            if requested.is_empty() {
                break;
            }
            assert!(requested.len() <= reads_max, "{name}");
            for hash in requested {
                let height = reading.end_request(hash).expect(name);
                reading.keep(height, hash, vec![0; size]);
            }
        }
        let ahead = reading.blocks_ahead();
        assert!(ahead >= least_ahead, "{name}: {ahead}");
        assert!(reading.bytes_held() <= 64 << 20, "{name}");
    }
}

#[test]
fn before_any_size_is_known_blocks_count_with_the_largest_there_is() {
    let mut reading = ReadAhead::new(64 << 20, 2_000);
    assert_eq!(reading.request(|height| Some(hash(height))).len(), 16);
}

#[test]
fn a_block_above_the_bound_is_read_alone() {
    let mut reading = ReadAhead::new(1_000, 100);
    let tally = read_all(&mut reading, &[5_000; 20], |_| 0);
    assert_eq!((tally.reads, tally.most_under_way), (20, 1));
    assert_eq!(tally.most_bytes, 5_000);
}

#[test]
fn a_sudden_change_of_sizes_costs_few_reads_and_no_byte_above_the_bound() {
    // The worst there is: hundreds of tiny blocks, then large ones, and back.
    let sizes: Vec<usize> = (0..1_500)
        .map(|index| if index / 300 % 2 == 0 { 250 } else { 100_000 })
        .collect();
    for reads_max in [1, 8, 256] {
        let mut reading = ReadAhead::new(4_000_000, reads_max);
        let tally = read_all(&mut reading, &sizes, |_| 0);
        assert!(tally.most_bytes <= 4_000_000, "{tally:?}");
        // Each of the two rises may cost what was under way, once.
        let bound = sizes.len() + 2 * reads_max;
        assert!(tally.reads <= bound, "{reads_max}: {tally:?}");
    }
}

#[test]
fn going_back_keeps_what_is_at_hand_and_makes_room_for_what_comes_first() {
    let mut reading = ReadAhead::new(100_000, 100);
    let tip = Height::new(40);
    let hash_at = |height: Height| (height <= tip).then(|| hash(height));
    let fill = |reading: &mut ReadAhead| {
        let mut read = Vec::new();
        loop {
            let requested = reading.request(hash_at);
            if requested.is_empty() {
                return read;
            }
            for hash in requested {
                let height = reading.end_request(hash).expect("it is needed");
                reading.keep(height, hash, vec![0; 10_000]);
                read.push(height.get());
            }
        }
    };
    // Ten would fit, were it known that the next one is no larger than the others.
    assert_eq!(fill(&mut reading), (1..=9).collect::<Vec<_>>());
    for height in 1..=4 {
        reading.forget(Height::new(height));
    }
    fill(&mut reading);
    assert!(
        reading
            .block(Height::new(13), hash(Height::new(13)))
            .is_some()
    );
    // Blocks 3 and 4 are needed again: the last ones give way, the others stay.
    reading.restart_at(Height::new(3));
    let again = fill(&mut reading);
    assert_eq!(&again[..2], [3, 4]);
    assert!(again[2..].iter().all(|height| *height > 9), "{again:?}");
    assert!(
        reading
            .block(Height::new(9), hash(Height::new(9)))
            .is_some()
    );
    assert!(reading.bytes_held() <= 100_000);
}

#[test]
fn answers_to_what_is_needed_no_more_are_left_out_but_counted_until_they_come() {
    let mut reading = ReadAhead::new(1 << 30, 4);
    let requested = reading.request(|height| Some(hash(height)));
    assert_eq!(requested.len(), 4);
    reading.retain(Height::new(3), |hash| height_of(hash) < Height::new(3));
    assert!(reading.is_reading());
    let other = |height: Height| Some(BlockHash::from_byte_array([height.get() as u8; 32]));
    assert_eq!(reading.request(other), []);
    assert_eq!(reading.end_request(requested[3]), None);
    assert_eq!(reading.request(other), [other(Height::new(3)).unwrap()]);
    // Block 3 of the first branch is still on its way: when it is needed again, nothing is asked.
    reading.retain(Height::new(3), |hash| height_of(hash) < Height::new(3));
    assert_eq!(reading.request(|height| Some(hash(height))), []);
    assert_eq!(reading.end_request(requested[2]), Some(Height::new(3)));
}

proptest! {
    #[test]
    fn every_block_comes_within_the_bounds_whatever_the_sizes_and_the_order(
        sizes in prop::collection::vec(prop_oneof![Just(250_usize), 1..60_000_usize], 1..200),
        bytes_max in 1_u64..400_000,
        reads_max in 1_usize..64,
        seed in any::<u64>(),
    ) {
        let mut state = seed;
        let mut reading = ReadAhead::new(bytes_max, reads_max);
        let tally = read_all(&mut reading, &sizes, |bound| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % bound
        });
        let largest = sizes.iter().copied().max().unwrap_or_default() as u64;
        prop_assert!(tally.most_bytes <= bytes_max.max(largest), "{tally:?}");
        prop_assert!(tally.most_under_way <= reads_max, "{tally:?}");
    }
}
