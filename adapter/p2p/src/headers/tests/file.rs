//! The header file: whole, torn at every byte, changed, and cut for another branch.

use proptest::prelude::*;

use super::super::file::*;
use super::restore::mined;
use super::*;

const NETWORK: Network = Network::Regtest;

fn regtest(headers: &[Header]) -> HeaderTree {
    let mut tree = HeaderTree::new(NETWORK);
    tree.accept(headers, NOW);
    tree
}

fn written(headers: &[Header]) -> Vec<u8> {
    let mut bytes = head(NETWORK).to_vec();
    let mut writer = HeaderWriter::after(&HeaderTree::new(NETWORK), Height::ZERO);
    for header in headers {
        writer.append(header, &mut bytes);
        assert_eq!(writer.length(), bytes.len() as u64);
    }
    bytes
}

/// Reads as the shell does, and returns the chain and the length of what is of use.
fn read(bytes: &[u8]) -> Result<(HeaderTree, u64), HeaderFileError> {
    check_head(NETWORK, bytes)?;
    let mut reader = HeaderReader::new(NETWORK);
    for chunk in bytes[HEAD_BYTES..].chunks(CHUNK_BYTES) {
        if !reader.take(chunk, NOW) {
            break;
        }
    }
    Ok(reader.finish())
}

/// Asserts that a chain is the beginning of another.
fn assert_beginning(tree: &HeaderTree, headers: &[Header]) {
    if let Some(at) = (tree.tip_height().get() as usize).checked_sub(1) {
        assert_eq!(tree.tip_hash(), headers[at].block_hash());
        assert_eq!(tree.header_at(tree.tip_height()), Some(headers[at]));
    }
}

#[test]
fn what_is_written_is_read() {
    let headers = mined(4_100, 0);
    for count in [0, 1, 2_015, 2_016, 2_017, 4_031, 4_032, 4_100] {
        let bytes = written(&headers[..count]);
        let (tree, length) = read(&bytes).expect("a whole file");
        assert_eq!(tree.tip_height().get() as usize, count);
        assert_eq!(length, bytes.len() as u64);
        assert_beginning(&tree, &headers);
    }
}

#[test]
fn a_file_torn_at_any_byte_loses_the_records_behind_and_no_more() {
    let headers = mined(2_020, 0);
    let bytes = written(&headers);
    let seal = HEAD_BYTES + CHUNK_BYTES;
    let around_seal = seal - 32 - 200..seal + 200;
    let ends = (HEAD_BYTES..400)
        .chain(around_seal)
        .chain(bytes.len() - 100..bytes.len());
    for end in ends {
        let (tree, length) = read(&bytes[..end]).expect("the head is whole");
        let records = if end < seal {
            ((end - HEAD_BYTES) / 88).min(2_015)
        } else {
            2_016 + (end - seal) / 88
        };
        assert_eq!(tree.tip_height().get() as usize, records, "{end} bytes");
        assert_beginning(&tree, &headers);
        // Writing on from there gives the file again.
        let mut repaired = bytes[..usize::try_from(length).expect("small")].to_vec();
        let mut writer = HeaderWriter::after(&tree, tree.tip_height());
        for header in &headers[records..] {
            writer.append(header, &mut repaired);
        }
        assert!(repaired == bytes, "{end} bytes");
    }
    for end in 0..HEAD_BYTES {
        let error = read(&bytes[..end]).expect_err("the head is cut");
        assert_eq!(error, HeaderFileError::Head, "{end} bytes");
    }
}

#[test]
fn a_reorganisation_cuts_and_writes_on() {
    let (first, second) = (mined(2_500, 0), mined(2_600, 1));
    let mut mixed = first[..2_300].to_vec();
    let mut tree = regtest(&first);
    tree.accept(&second, NOW);
    assert_eq!(tree.tip_hash(), second[2_599].block_hash());
    // The branches part at genesis: everything is written anew.
    let mut bytes = written(&first);
    let mut writer = HeaderWriter::after(&tree, Height::ZERO);
    bytes.truncate(usize::try_from(writer.length()).expect("small"));
    for header in &second {
        writer.append(header, &mut bytes);
    }
    assert!(bytes == written(&second));
    // Behind a cut in the middle of the second chunk.
    let mut bytes = written(&first);
    let mut writer = HeaderWriter::after(&regtest(&first), Height::new(2_300));
    bytes.truncate(usize::try_from(writer.length()).expect("small"));
    mixed.extend(&first[2_300..2_400]);
    for header in &first[2_300..2_400] {
        writer.append(header, &mut bytes);
    }
    assert!(bytes == written(&mixed));
}

#[test]
fn chunks_and_records_of_other_places_are_refused() {
    let (first, second) = (mined(4_040, 0), mined(4_040, 1));
    let bytes = written(&first);
    let other = written(&second);
    let seal = HEAD_BYTES + CHUNK_BYTES;
    // A sealed chunk of another branch.
    let mut foreign = bytes.clone();
    foreign[seal..seal + CHUNK_BYTES].copy_from_slice(&other[seal..seal + CHUNK_BYTES]);
    let (tree, _) = read(&foreign).expect("a file");
    assert_eq!(tree.tip_height(), Height::new(2_016));
    assert_beginning(&tree, &first);
    // A record of another height.
    let last = seal + CHUNK_BYTES;
    let mut moved = bytes.clone();
    moved.copy_within(last..last + 88, last + 88);
    let (tree, _) = read(&moved).expect("a file");
    assert_eq!(tree.tip_height(), Height::new(4_033));
}

#[test]
fn heads_of_other_files_are_refused() {
    let whole = head(NETWORK);
    let mut later = whole;
    later[8] = 2;
    let mut expected = later[..32].to_vec();
    expected.extend(
        <bitcoin::hashes::sha256::Hash as bitcoin::hashes::Hash>::hash(&later[..32])
            .to_string()
            .as_bytes()
            .chunks(2)
            .map(|digits| {
                let digits = std::str::from_utf8(digits).expect("ascii");
                u8::from_str_radix(digits, 16).expect("hexadecimal")
            }),
    );
    let cases = [
        (Vec::new(), HeaderFileError::Head),
        (vec![0; 64], HeaderFileError::Head),
        (later.to_vec(), HeaderFileError::Head),
        (expected, HeaderFileError::Version { got: 2 }),
        (
            head(Network::Signet).to_vec(),
            HeaderFileError::Network {
                got: Network::Signet.magic().to_bytes(),
                expected: NETWORK,
            },
        ),
    ];
    for (bytes, error) in cases {
        assert_eq!(check_head(NETWORK, &bytes), Err(error));
    }
    assert_eq!(check_head(NETWORK, &whole), Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn changed_bytes_never_make_another_chain(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1..=255u8), 1..4),
        cut in any::<prop::sample::Index>(),
        cuts in any::<bool>(),
    ) {
        let headers = mined(2_050, 0);
        let mut bytes = written(&headers);
        for (at, by) in &flips {
            let at = at.index(bytes.len());
            bytes[at] ^= by;
        }
        if cuts {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok((tree, length)) = read(&bytes) {
            prop_assert!(length <= bytes.len() as u64);
            assert_beginning(&tree, &headers);
        }
    }

    #[test]
    fn no_bytes_make_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        let mut file = head(NETWORK).to_vec();
        file.extend(bytes);
        let (tree, _) = read(&file).expect("the head is whole");
        prop_assert!(tree.is_empty());
    }
}
