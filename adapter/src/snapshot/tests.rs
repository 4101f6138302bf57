//! Files in every state, and imports into a canister by the contract, whatever happens on the way.

mod exporting;
mod fake;
mod importing;
pub(crate) mod reading;
pub(crate) mod sets;
mod uploading;

use std::io::Cursor;

use bitcoin::hashes::Hash;
use millrace_core::Network;
use millrace_core::snapshot::{
    CoinReader, METADATA_BYTES, Metadata, Position, SnapshotCoin, write_group,
};
use proptest::prelude::*;

use super::groups::{FileError, Group, GroupReader};
use super::pieces::Pieces;
use sets::{base, coin, file_of, random_coins, txid};

fn groups_of(file: &[u8]) -> Result<Vec<Group>, FileError> {
    let mut reader = GroupReader::new(Cursor::new(file), Network::Regtest)?;
    let mut groups = Vec::new();
    while let Some(group) = reader.next_group()? {
        groups.push(group);
    }
    Ok(groups)
}

fn coins_of(file: &[u8]) -> Result<Vec<SnapshotCoin>, FileError> {
    let groups = groups_of(file)?;
    Ok(groups.into_iter().flat_map(|group| group.coins).collect())
}

/// A file of groups as they are given.
fn raw_file(count: u64, groups: &[Vec<SnapshotCoin>]) -> Vec<u8> {
    let metadata = Metadata {
        network: Network::Regtest,
        base: base(),
        coins: count,
    };
    let mut file = metadata.encode().to_vec();
    for group in groups {
        write_group(&mut file, group);
    }
    file
}

#[test]
fn coins_come_back_ascending_whatever_order_bitcoin_core_wrote() {
    let coins: Vec<SnapshotCoin> = [0, 127, 128, 255, 256, 16_511, 16_512, 70_000]
        .map(|vout| coin(3, vout, vec![0x51; vout as usize % 90]))
        .to_vec();
    let (file, _) = file_of(&coins);
    let in_file: Vec<u32> = {
        let mut reader = CoinReader::new(&file[METADATA_BYTES..], Position::start());
        std::iter::from_fn(|| reader.next_coin().unwrap())
            .map(|coin| coin.outpoint.vout)
            .collect()
    };
    // Bitcoin Core's keys of these: 00, 7f, 80 00, 80 7f, 80 80 00, 81 00, 83 a1 70, ff 7f.
    assert_eq!(in_file, [0, 127, 128, 255, 16_512, 256, 70_000, 16_511]);
    let groups = groups_of(&file).unwrap();
    assert_eq!(groups[0].coins, coins);
    let sorted = raw_file(8, std::slice::from_ref(&coins));
    assert_eq!(groups[0].bytes, &sorted[METADATA_BYTES..]);
    assert_eq!(sorted.len(), file.len());
}

#[test]
fn pieces_begin_at_any_coin_and_nowhere_else() {
    let coins = random_coins(5, 12);
    let (file, _) = file_of(&coins);
    let groups = groups_of(&file).unwrap();
    let stream: Vec<u8> = groups
        .iter()
        .flat_map(|group| group.bytes.clone())
        .collect();
    let mut starts: Vec<u64> = vec![51];
    for group in &groups {
        starts.extend(group.ends.iter().map(|end| group.start + *end as u64));
    }
    let longest = starts.windows(2).map(|pair| pair[1] - pair[0]).max();
    let mut pieces = Pieces::new(Cursor::new(&file), Network::Regtest).unwrap();
    // Backwards and forwards.
    let all: Vec<u64> = (51..=file.len() as u64).collect();
    for offset in all.iter().rev().chain(&all) {
        let room = longest.unwrap() as usize + 90;
        match pieces.piece(*offset, room) {
            Ok(piece) => {
                assert!(starts.contains(offset), "{offset}");
                let from = *offset as usize - 51;
                assert_eq!(piece, &stream[from..from + piece.len()]);
                assert!(piece.len() <= room);
                let end = *offset + piece.len() as u64;
                assert!(starts.contains(&end), "{offset} to {end}");
                assert_eq!(piece.is_empty(), *offset == file.len() as u64);
            }
            Err(error) => {
                assert!(!starts.contains(offset), "{offset}: {error}");
                assert_eq!(error, FileError::NoCoinAt { offset: *offset });
            }
        }
    }
    let error = pieces.piece(50, 1_000).unwrap_err();
    assert!(matches!(error, FileError::NoCoinAt { .. }));
}

#[test]
fn a_file_cut_anywhere_or_longer_than_it_should_be_is_refused() {
    let (file, _) = file_of(&random_coins(2, 6));
    assert!(coins_of(&file).is_ok());
    for length in 0..file.len() {
        let error = coins_of(&file[..length]).unwrap_err();
        let is_expected = match &error {
            FileError::Format(_) => length < METADATA_BYTES,
            FileError::Truncated { length: said } => *said == length as u64,
            FileError::OtherCount { .. } => length >= METADATA_BYTES,
            _ => false,
        };
        assert!(is_expected, "{length}: {error}");
    }
    let mut longer = file.clone();
    longer.push(0);
    assert!(matches!(
        coins_of(&longer),
        Err(FileError::Truncated { .. })
    ));
    longer.extend(&file[METADATA_BYTES..]);
    assert!(coins_of(&longer).is_err());
}

#[test]
fn what_cannot_be_a_snapshot_says_why() {
    let [a, b, c] = [1, 2, 3].map(|number| coin(number, 0, vec![0x51]));
    let again = coin(2, 0, vec![0x52]);
    let mut endless = raw_file(1, &[]);
    endless.extend(txid(1).to_byte_array());
    endless.extend([0xfe, 0xff, 0xff, 0xff, 0x7f]);
    endless.extend([0, 2, 0, 6, 1, 2, 0, 6]);
    let (good, _) = file_of(&[a.clone(), b.clone()]);
    let with = |at: usize, byte: u8| {
        let mut file = good.clone();
        file[at] = byte;
        file
    };
    let cases = [
        (with(0, b'U'), "no `dumptxoutset` wrote it"),
        (with(5, 1), "it has version 1"),
        (with(7, 0), "network magic"),
        (with(43, 3), "holds 2 coins, and says it has 3"),
        (with(43, 1), "holds 2 coins, and says it has 1"),
        // The output's index.
        (with(84, 0xff), "is damaged"),
        (
            raw_file(2, &[vec![b.clone()], vec![a.clone()]]),
            "transactions do not ascend",
        ),
        (
            raw_file(2, &[vec![b.clone()], vec![again.clone()]]),
            "transactions do not ascend",
        ),
        (raw_file(2, &[vec![b, again]]), "an output comes twice"),
        (endless, "no transaction has so many outputs"),
        (raw_file(0, &[vec![c]]), "holds 1 coins, and says it has 0"),
    ];
    for (file, expected) in cases {
        let error = coins_of(&file).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn scripts_as_large_as_they_get_pass_the_windows_edge() {
    let coins: Vec<SnapshotCoin> = (1..=400)
        .map(|number| coin(number, 5, vec![0x51; 10_000 - number as usize]))
        .collect();
    let (file, _) = file_of(&coins);
    assert!(file.len() > 3 * 1024 * 1024);
    assert_eq!(coins_of(&file).unwrap(), coins);
}

proptest! {
    #[test]
    fn any_set_is_read_as_it_was_written(seed: u64, transactions in 0..30_u64) {
        let coins = random_coins(seed, transactions);
        prop_assert_eq!(coins_of(&file_of(&coins).0).unwrap(), coins);
    }

    #[test]
    fn any_bytes_are_coins_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut file = raw_file(9, &[]);
        file.extend(bytes);
        let _ = coins_of(&file);
    }
}
