//! Indexes against a plain map, with ids made to collide, and what a look-up reads.

use std::collections::BTreeMap;

use ic_stable_structures::VectorMemory;
use proptest::prelude::*;

use super::*;
use crate::counting::CountingMemory;
use std::rc::Rc;

type Counted = Rc<CountingMemory<VectorMemory>>;

fn counted() -> Counted {
    Rc::new(CountingMemory::new(VectorMemory::default()))
}

fn block(number: u8) -> BlockHash {
    BlockHash::from_byte_array([number; 32])
}

/// An id whose first bytes are chosen and whose other bytes tell it apart.
fn txid(prefix: u64, rest: u32) -> Txid {
    Txid::from_byte_array(join(&[&prefix.to_be_bytes(), &rest.to_le_bytes()]))
}

/// Entries of transactions of 10 bytes each, in block order.
fn places(txids: &[Txid]) -> Vec<Entry> {
    (0..)
        .zip(txids)
        .map(|(position, txid)| Entry {
            prefix: prefix_of(txid),
            position,
            offset: 81 + 10 * position,
            length: 10,
        })
        .collect()
}

/// Ids as even as real ones, by a fixed sequence.
fn even(count: u32) -> Vec<Txid> {
    let mut state = 1u64;
    let mut next = |rest| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        txid(state ^ (state >> 29), rest)
    };
    (0..count).map(&mut next).collect()
}

#[test]
fn a_look_up_reads_few_pages_of_a_block_of_sixty_thousand_transactions() {
    for (count, expected) in [(3_000, 3), (60_000, 5)] {
        let memory = counted();
        let mut indexes = TransactionIndexes::open(memory.clone(), counted()).unwrap();
        let txids = even(count);
        memory.reset();
        indexes.set(block(1), places(&txids).into_iter()).unwrap();
        let pages = (count as usize * ENTRY_BYTES).div_ceil(4096) as u64;
        assert!(
            memory.pages_written().get() <= pages + 2,
            "written once: {pages} pages, {} written",
            memory.pages_written()
        );
        let mut most = 0;
        for (position, txid) in (0u32..).zip(&txids).step_by(7) {
            memory.reset();
            let found = indexes.candidates(&block(1), txid).unwrap();
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].position, position);
            most = most.max(memory.pages_read().get());
        }
        assert!(most <= expected, "{most} pages of {pages}");
        memory.reset();
        let absent = txid(u64::MAX / 3, 9);
        assert_eq!(indexes.candidates(&block(1), &absent).unwrap(), []);
        assert!(memory.pages_read().get() <= expected);
    }
}

#[test]
fn damaged_memory_is_refused_and_a_directory_that_overlaps_too() {
    let (memory, directory) = (counted(), counted());
    let mut indexes = TransactionIndexes::open(memory.clone(), directory.clone()).unwrap();
    let txids = even(5);
    indexes.set(block(1), places(&txids).into_iter()).unwrap();
    indexes.set(block(2), places(&txids).into_iter()).unwrap();
    let same_place = indexes.directory.get(&[1; 32]).unwrap();
    indexes.directory.insert([2; 32], same_place);
    let open = || TransactionIndexes::open(memory.clone(), directory.clone()).err();
    let error = open().unwrap().to_string();
    assert!(error.starts_with("damaged ranges"), "{error}");
    memory.write(0, b"X");
    let error = open().unwrap().to_string();
    assert!(error.starts_with("damaged transaction index"), "{error}");
}

proptest! {
    #[test]
    fn look_ups_equal_a_plain_map_while_indexes_come_and_go(
        // Few different first bytes, so that many ids share them, at both ends and between.
        steps in prop::collection::vec(
            (0..4u8, prop::collection::vec((prop_oneof![0..3u64, u64::MAX - 2..=u64::MAX, any::<u64>()], 0..40u32), 0..300)),
            1..12,
        ),
    ) {
        let (memory, directory) = (counted(), counted());
        let open = || TransactionIndexes::open(memory.clone(), directory.clone()).unwrap();
        let mut indexes = open();
        let mut model: BTreeMap<u8, Vec<Txid>> = BTreeMap::new();
        for (number, ids) in steps {
            let txids: Vec<Txid> = ids.into_iter().map(|(prefix, rest)| txid(prefix, rest)).collect();
            if txids.len() < 20 {
                indexes.remove(&block(number));
                model.remove(&number);
            } else {
                indexes.set(block(number), places(&txids).into_iter()).unwrap();
                model.insert(number, txids);
            }
            indexes.audit().unwrap();
            indexes = open();
            indexes.audit().unwrap();
            for (number, txids) in &model {
                prop_assert_eq!(indexes.count(&block(*number)), Some(txids.len() as u32));
                for wanted in txids.iter().chain([&txid(1, 50), &txid(u64::MAX, 50)]) {
                    let found: Vec<u32> = indexes
                        .candidates(&block(*number), wanted)
                        .unwrap()
                        .iter()
                        .map(|entry| entry.position)
                        .collect();
                    let same = |other: &Txid| prefix_of(other) == prefix_of(wanted);
                    let expected = (0u32..).zip(txids).filter(|(_, other)| same(other));
                    prop_assert_eq!(found, expected.map(|(position, _)| position).collect::<Vec<_>>());
                }
            }
        }
    }
}
