//! Blobs against a plain map, over random appends, renames and removals.

use std::collections::BTreeMap;

use ic_stable_structures::VectorMemory;
use proptest::prelude::*;

use super::*;

fn hash(n: u8) -> BlockHash {
    BlockHash::from_byte_array([n; 32])
}

fn open(index: &VectorMemory, pages: &VectorMemory) -> Blobs<VectorMemory> {
    Blobs::open(index.clone(), pages.clone()).unwrap()
}

#[derive(Clone, Debug)]
enum Operation {
    Append(u8, usize),
    Rename(u8, u8),
    Remove(u8),
    Truncate(u8, u32),
    Reopen,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        (0..6u8, 0..10_000usize).prop_map(|(key, length)| Operation::Append(key, length)),
        (0..6u8, 0..6u8).prop_map(|(from, to)| Operation::Rename(from, to)),
        (0..6u8).prop_map(Operation::Remove),
        (0..6u8, 0..10_000u32).prop_map(|(key, length)| Operation::Truncate(key, length)),
        Just(Operation::Reopen),
    ]
}

proptest! {
    #[test]
    fn blobs_equal_a_plain_map(operations in prop::collection::vec(operation(), 1..80)) {
        let (index, pages) = (VectorMemory::default(), VectorMemory::default());
        let mut blobs = open(&index, &pages);
        let mut model: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
        for (round, operation) in operations.into_iter().enumerate() {
            match operation {
                Operation::Append(key, length) => {
                    let bytes: Vec<u8> = (0..length).map(|at| (at * 7 + round) as u8).collect();
                    blobs.append(&BlobKey::Block(hash(key)), &bytes).unwrap();
                    model.entry(key).or_default().extend(bytes);
                }
                Operation::Rename(from, to) if from != to => {
                    let renamed = blobs.rename(&BlobKey::Block(hash(from)), &BlobKey::Block(hash(to)));
                    prop_assert_eq!(renamed.is_ok(), model.contains_key(&from));
                    if let Some(bytes) = model.remove(&from) {
                        model.insert(to, bytes);
                    }
                }
                Operation::Rename(..) => {}
                Operation::Remove(key) => {
                    blobs.remove(&BlobKey::Block(hash(key)));
                    model.remove(&key);
                }
                Operation::Truncate(key, length) => {
                    let cut = blobs.truncate(&BlobKey::Block(hash(key)), length);
                    prop_assert_eq!(cut.is_ok(), model.contains_key(&key));
                    if let Some(bytes) = model.get_mut(&key) {
                        bytes.truncate(length as usize);
                    }
                }
                Operation::Reopen => blobs = open(&index, &pages),
            }
            let (used, free) = blobs.usage();
            prop_assert_eq!(blobs.count_pages().unwrap(), used + free);
        }
        for (key, bytes) in &model {
            let key = BlobKey::Block(hash(*key));
            prop_assert_eq!(&blobs.read_all(&key).unwrap(), bytes);
            let middle = bytes.len() / 2;
            let mut tail = vec![0; bytes.len() - middle];
            blobs.read(&key, middle as u32, &mut tail).unwrap();
            prop_assert_eq!(tail.as_slice(), &bytes[middle..]);
        }
        prop_assert_eq!(blobs.iter().count(), model.len());
    }
}

#[test]
fn reads_beyond_the_end_and_of_nothing_are_typed_errors() {
    let mut blobs = open(&VectorMemory::default(), &VectorMemory::default());
    let key = BlobKey::Staged;
    assert!(matches!(
        blobs.read_all(&key),
        Err(StoreError::Missing { .. })
    ));
    blobs.append(&key, &[1, 2, 3]).unwrap();
    let mut two = [0; 2];
    let error = blobs.read(&key, 2, &mut two).unwrap_err();
    assert_eq!(error.to_string(), "bytes 2..4 reach beyond a length of 3");
}

#[test]
fn names_survive_their_stable_form() {
    let pusher = millrace_core::assembly::PusherId::new(&[7; 29]).unwrap();
    let half = AssemblyKey {
        pusher,
        hash: hash(9),
    };
    for key in [
        BlobKey::Block(hash(1)),
        BlobKey::Half(half),
        BlobKey::Staged,
        BlobKey::FeeRates(hash(8)),
    ] {
        assert_eq!(BlobKey::decode(&key.encode()), Some(key));
    }
}
