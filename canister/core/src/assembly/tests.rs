//! Order, limits and eviction of half-received blocks.

use bitcoin::hashes::Hash;
use proptest::prelude::*;

use super::*;
use crate::header::RecordError;

fn pusher(name: u8) -> PusherId {
    PusherId::new(&[name]).unwrap()
}

fn block(name: u8) -> BlockHash {
    BlockHash::hash(&[name])
}

fn part(name: u8, size: u32, offset: u32, length: u32) -> Part {
    Part {
        hash: block(name),
        size,
        offset,
        length,
    }
}

fn key(pusher_name: u8, block_name: u8) -> AssemblyKey {
    AssemblyKey {
        pusher: pusher(pusher_name),
        hash: block(block_name),
    }
}

fn at(seconds: u64) -> UnixSeconds {
    UnixSeconds::new(seconds)
}

/// Offers a part of pusher 1 and returns its progress.
fn offer(assembly: &mut Assembly, part: Part) -> Result<Progress, AssemblyError> {
    let accepted = assembly.offer(at(0), pusher(1), &part)?;
    assert!(accepted.discarded.is_empty());
    Ok(accepted.progress)
}

#[test]
fn a_block_is_put_together_in_order() {
    let mut assembly = Assembly::new();
    let steps = [
        (0, 100, Progress::Incomplete { received: 100 }),
        (0, 100, Progress::Repeated { received: 100 }),
        (50, 20, Progress::Repeated { received: 100 }),
        (100, 150, Progress::Incomplete { received: 250 }),
        (250, 50, Progress::Complete),
    ];
    for (offset, length, expected) in steps {
        assert_eq!(
            offer(&mut assembly, part(1, 300, offset, length)),
            Ok(expected),
            "{offset}"
        );
    }
    assert!(assembly.is_empty());
    assert_eq!(
        offer(&mut assembly, part(2, 300, 0, 300)),
        Ok(Progress::Complete),
        "a block in one part is never tracked"
    );
    assert!(assembly.is_empty());
}

#[test]
fn bad_parts_are_refused_and_change_nothing() {
    let mut assembly = Assembly::new();
    offer(&mut assembly, part(1, 300, 0, 100)).unwrap();
    let before = assembly.clone();
    let hash = block(1);
    let max = u32::try_from(MAX_BLOCK_BYTES).unwrap();
    let cases = [
        (part(1, 300, 100, 0), AssemblyError::EmptyPart { hash }),
        (
            part(1, max + 1, 0, 9),
            AssemblyError::BlockTooLarge {
                hash,
                size: max + 1,
                max,
            },
        ),
        (
            part(1, 80, 0, 80),
            AssemblyError::BlockTooSmall {
                hash,
                size: 80,
                min: 81,
            },
        ),
        (
            part(1, 300, 100, 201),
            AssemblyError::BeyondEnd {
                hash,
                offset: 100,
                length: 201,
                size: 300,
            },
        ),
        (
            part(1, 300, u32::MAX, 2),
            AssemblyError::BeyondEnd {
                hash,
                offset: u32::MAX,
                length: 2,
                size: 300,
            },
        ),
        (
            part(1, 300, 101, 10),
            AssemblyError::UnexpectedOffset {
                hash,
                expected: 100,
                given: 101,
            },
        ),
        (
            part(1, 300, 50, 100),
            AssemblyError::UnexpectedOffset {
                hash,
                expected: 100,
                given: 50,
            },
        ),
        (
            part(2, 300, 10, 10),
            AssemblyError::UnexpectedOffset {
                hash: block(2),
                expected: 0,
                given: 10,
            },
        ),
        (
            part(1, 301, 100, 10),
            AssemblyError::SizeChanged {
                hash,
                first: 300,
                given: 301,
            },
        ),
    ];
    for (part, error) in cases {
        assert!(!error.is_transient());
        assert_eq!(offer(&mut assembly, part), Err(error));
        assert_eq!(assembly, before);
    }
}

#[test]
fn a_first_part_of_another_size_starts_the_block_anew() {
    let mut assembly = Assembly::new();
    offer(&mut assembly, part(1, 300, 0, 200)).unwrap();
    let restarted = assembly
        .offer(at(0), pusher(1), &part(1, 250, 0, 100))
        .unwrap();
    assert_eq!(
        restarted,
        Accepted {
            progress: Progress::Incomplete { received: 100 },
            discarded: vec![key(1, 1)]
        }
    );
    let whole = assembly
        .offer(at(0), pusher(1), &part(1, 200, 0, 200))
        .unwrap();
    assert_eq!(
        whole,
        Accepted {
            progress: Progress::Complete,
            discarded: vec![key(1, 1)]
        }
    );
    assert!(assembly.is_empty());
}

#[test]
fn pushers_do_not_share_copies() {
    let mut assembly = Assembly::new();
    for name in 1..=2 {
        let accepted = assembly
            .offer(at(0), pusher(name), &part(7, 300, 0, 100))
            .unwrap();
        assert!(accepted.discarded.is_empty());
    }
    assert_eq!(assembly.len(), 2);
    assert_eq!(
        assembly.half_received(pusher(2)).collect::<Vec<_>>(),
        [(block(7), 300, 100)]
    );
    assert_eq!(assembly.discard(|key| key.pusher == pusher(1)), [key(1, 7)]);
    assert_eq!(assembly.len(), 1);
}

#[test]
fn a_pusher_over_its_share_gives_up_its_own_oldest() {
    let mut assembly = Assembly::new();
    for (now, name) in [(0, 1), (1, 2), (2, 3), (3, 4)] {
        assembly
            .offer(at(now), pusher(1), &part(name, 300, 0, 100))
            .unwrap();
    }
    // Continuing a block makes it young.
    assembly
        .offer(at(4), pusher(1), &part(1, 300, 100, 100))
        .unwrap();
    let accepted = assembly
        .offer(at(5), pusher(1), &part(5, 300, 0, 100))
        .unwrap();
    assert_eq!(accepted.discarded, [key(1, 2)]);
    // A block of the largest size takes half of the bytes.
    let max = u32::try_from(MAX_BLOCK_BYTES).unwrap();
    let large = assembly
        .offer(at(6), pusher(1), &part(6, max, 0, 100))
        .unwrap();
    assert_eq!(large.discarded, [key(1, 3)]);
    let larger = assembly
        .offer(at(7), pusher(1), &part(7, max, 0, 100))
        .unwrap();
    assert_eq!(larger.discarded, [key(1, 4), key(1, 1), key(1, 5)]);
}

#[test]
fn a_full_assembly_gives_up_only_idle_blocks_of_others() {
    let max = u32::try_from(MAX_BLOCK_BYTES).unwrap();
    let mut assembly = Assembly::new();
    for (now, name) in [(10, 1), (0, 2), (5, 3), (5, 4)] {
        for block in 0..2 {
            assembly
                .offer(at(now), pusher(name), &part(block, max, 0, 100))
                .unwrap();
        }
    }
    let newcomer = part(9, 300, 0, 100);
    let before = assembly.clone();
    let error = assembly
        .offer(at(IDLE_SECONDS - 1), pusher(9), &newcomer)
        .unwrap_err();
    assert_eq!(
        error,
        AssemblyError::NoRoom {
            hash: block(9),
            size: 300,
            held: 8
        }
    );
    assert!(error.is_transient());
    assert_eq!(assembly, before);
    let accepted = assembly
        .offer(at(IDLE_SECONDS), pusher(9), &newcomer)
        .unwrap();
    assert_eq!(accepted.discarded.len(), 1);
    assert_eq!(accepted.discarded[0].pusher, pusher(2));
}

#[test]
fn names_of_up_to_29_bytes_are_kept_apart() {
    assert_eq!(PusherId::new(&[1; 30]), None);
    let longest = PusherId::new(&[1; 29]).unwrap();
    assert_eq!(longest.as_bytes(), [1; 29]);
    // A trailing zero is part of a name.
    assert_ne!(PusherId::new(&[1]), PusherId::new(&[1, 0]));
    assert_eq!(PusherId::new(&[]).unwrap().as_bytes(), b"");
}

#[test]
fn records_read_back_and_damaged_ones_are_refused() {
    let mut assembly = Assembly::new();
    offer(&mut assembly, part(1, 300, 0, 100)).unwrap();
    let record = assembly.record(&key(1, 1)).unwrap();
    let bytes = record.encode();
    assert_eq!(AssemblyRecord::decode(&bytes), Ok(record));
    assert_eq!(record.key(), &key(1, 1));
    assert!(matches!(
        AssemblyRecord::decode(&bytes[1..]),
        Err(RecordError::Length { got: 79, .. })
    ));
    let cases = [(0, 30, "pusher name length"), (69, 2, "bytes received")];
    for (at, value, field) in cases {
        let mut damaged = bytes;
        damaged[at] = value;
        assert!(
            matches!(
                AssemblyRecord::decode(&damaged),
                Err(RecordError::Field { field: found, .. }) if found == field
            ),
            "{field}"
        );
    }
}

proptest! {
    /// The model keeps the very bytes a caller would store, and nothing else.
    #[test]
    fn stored_bytes_equal_what_was_pushed(
        parts in proptest::collection::vec((0u8..3, 0u8..7, 0u32..5, 1u32..5, 0u64..200), 1..120)
    ) {
        const SIZES: [u32; 7] = [400, 500, 2_000_000, 3_900_000, 4_000_000, 400, 500];
        let mut assembly = Assembly::new();
        let mut stored: BTreeMap<AssemblyKey, u32> = BTreeMap::new();
        let mut now = 0;
        for (pusher_name, block_name, at_quarter, quarters, pause) in parts {
            now += pause;
            let size = SIZES[usize::from(block_name)];
            let quarter = size / 4;
            let part = part(block_name, size, at_quarter * quarter, quarters * quarter);
            let key = key(pusher_name, block_name);
            let held = stored.get(&key).copied().unwrap_or(0);
            let end = part.offset + part.length;
            match assembly.offer(at(now), pusher(pusher_name), &part) {
                Ok(accepted) => {
                    prop_assert!(end <= size);
                    for key in &accepted.discarded {
                        prop_assert!(stored.remove(key).is_some());
                    }
                    match accepted.progress {
                        Progress::Repeated { received } => {
                            prop_assert!(end <= held && received == held);
                        }
                        Progress::Incomplete { received } => {
                            prop_assert!(part.offset == held && received == end && end < size);
                            stored.insert(key, end);
                        }
                        Progress::Complete => {
                            prop_assert!(part.offset == held && end == size);
                            stored.remove(&key);
                        }
                    }
                }
                Err(AssemblyError::BeyondEnd { .. }) => prop_assert!(end > size),
                Err(AssemblyError::UnexpectedOffset { expected, .. }) => {
                    prop_assert!(expected == held && part.offset != held);
                }
                Err(AssemblyError::NoRoom { .. }) => prop_assert_eq!(held, 0),
                Err(error) => prop_assert!(false, "{}", error),
            }
            for name in 0..3 {
                let own: Vec<(BlockHash, u32, u32)> = assembly.half_received(pusher(name)).collect();
                prop_assert!(own.len() <= MAX_BLOCKS_PER_PUSHER);
                let bytes: u64 = own.iter().map(|(_, size, _)| u64::from(*size)).sum();
                prop_assert!(bytes <= MAX_BYTES_PER_PUSHER);
                for (hash, _, received) in own {
                    prop_assert_eq!(stored[&AssemblyKey { pusher: pusher(name), hash }], received);
                }
            }
            prop_assert_eq!(assembly.len(), stored.len());
            let records: Vec<AssemblyRecord> = assembly.records().collect();
            prop_assert_eq!(&Assembly::restore(records), &assembly);
        }
    }
}
