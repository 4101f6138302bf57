//! The file source on real blocks in every state a block file can be in.

mod speed;

use std::fs;
use std::path::{Path, PathBuf};

use bitcoin::block::Header;
use millrace_core::Height;
use tempfile::TempDir;

use super::index::Index;
use super::*;
use crate::headers::HeaderTree;
use millrace_core::UnixSeconds;

const KEY: [u8; 8] = [0xf9, 0x4d, 0x00, 0xd9, 0x5a, 0x21, 0x9c, 0x03];
const TIP: &str = "00000000ac08f7d984f6b36027395e654a5f1e3bb006cd9df9c60b9897ea4c40";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fixtures")
        .join(name)
}

fn real_path() -> PathBuf {
    fixture("blocktools/1M.dat")
}

fn real_bytes() -> Vec<u8> {
    fs::read(real_path()).expect("the fixture exists")
}

/// Splits the fixture into whole records, magic and size included.
fn records() -> Vec<Vec<u8>> {
    let bytes = real_bytes();
    let mut records = Vec::new();
    let mut rest = bytes.as_slice();
    while rest.len() >= 8 {
        let size = u32::from_le_bytes(rest[4..8].try_into().expect("four bytes")) as usize;
        let Some(record) = rest.get(..8 + size) else {
            break;
        };
        records.push(record.to_vec());
        rest = &rest[8 + size..];
    }
    records
}

fn xor(mut bytes: Vec<u8>) -> Vec<u8> {
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte ^= KEY[index % 8];
    }
    bytes
}

/// A directory with files of the given names and contents.
fn directory(files: &[(&str, &[u8])]) -> TempDir {
    let directory = TempDir::new().expect("a temporary directory");
    for (name, bytes) in files {
        fs::write(directory.path().join(name), bytes).expect("writable");
    }
    directory
}

fn index(path: &Path) -> Index {
    Index::new(path, Network::Mainnet)
}

fn tip_of(headers: &[Header]) -> (Height, String) {
    let mut tree = HeaderTree::new(Network::Mainnet);
    tree.accept(headers, UnixSeconds::new(1_700_000_000));
    (tree.tip_height(), tree.tip_hash().to_string())
}

/// Checks that a path yields the whole real chain, every block byte for byte, and returns the
/// remarks.
fn assert_whole_chain(path: &Path) -> Vec<String> {
    let mut index = index(path);
    let (headers, remarks) = index.discover_all().expect("readable");
    assert_eq!(headers.len(), 4_522);
    assert_eq!(tip_of(&headers), (Height::new(4_521), TIP.to_owned()));
    for record in records() {
        let header: Header = bitcoin::consensus::deserialize(&record[8..88]).expect("a header");
        let block = index.read(header.block_hash()).expect("readable");
        assert_eq!(block, record[8..]);
    }
    remarks
}

#[test]
fn one_file_of_real_blocks_with_a_cut_off_tail_is_read_and_the_tail_reported_once() {
    let remarks = assert_whole_chain(&real_path());
    assert_eq!(remarks.len(), 1, "{remarks:?}");
    assert!(remarks[0].contains("cut off"), "{remarks:?}");
    assert!(remarks[0].contains("39 of "), "{remarks:?}");
}

#[test]
fn obfuscated_files_are_read_with_the_key_beside_them() {
    let bytes = xor(real_bytes());
    let directory = directory(&[("blk00000.dat", &bytes), ("xor.dat", &KEY)]);
    assert_whole_chain(directory.path());
    assert_whole_chain(&directory.path().join("blk00000.dat"));
}

#[test]
fn a_zero_key_means_plain_files() {
    let directory = directory(&[("blk00000.dat", &real_bytes()), ("xor.dat", &[0; 8])]);
    assert_whole_chain(directory.path());
}

#[test]
fn blocks_may_stand_in_any_order_and_file() {
    let records = records();
    let pick = |start: usize| {
        let mut picked: Vec<_> = records.iter().skip(start).step_by(3).cloned().collect();
        picked.reverse();
        picked.concat()
    };
    let files = [pick(2), pick(0), pick(1)];
    let directory = directory(&[
        ("blk00002.dat", &files[0]),
        ("blk00010.dat", &files[1]),
        ("blk00001.dat", &files[2]),
        ("rev00001.dat", b"undo data"),
        ("notes.txt", b"nothing of ours"),
    ]);
    let remarks = assert_whole_chain(directory.path());
    assert!(remarks.is_empty(), "{remarks:?}");
}

#[test]
fn stale_branches_are_reported_too() {
    let alternate = fs::read(fixture("bitcoin-core/mainnet_alt_blocks_1_2016.dat"));
    let directory = directory(&[
        ("blk00000.dat", &alternate.expect("the fixture exists")),
        ("blk00001.dat", &records().concat()),
    ]);
    let (headers, _) = index(directory.path()).discover_all().expect("readable");
    assert_eq!(headers.len(), 4_522 + 2_016);
    assert_eq!(tip_of(&headers), (Height::new(4_521), TIP.to_owned()));
}

#[test]
fn space_reserved_in_advance_is_no_remark_with_or_without_obfuscation() {
    // Bitcoin Core reserves with zeros as stored, so that plain bytes show the key.
    let plain = [records().concat(), vec![0; 300_000]].concat();
    let mut stored = xor(records().concat());
    stored.resize(stored.len() + 300_000, 0);
    let plain = directory(&[("blk00000.dat", &plain)]);
    let stored = directory(&[("blk00000.dat", &stored), ("xor.dat", &KEY)]);
    for directory in [plain, stored] {
        let remarks = assert_whole_chain(directory.path());
        assert!(remarks.is_empty(), "{remarks:?}");
    }
}

#[test]
fn a_record_right_behind_zeros_is_found_even_where_the_key_makes_its_magic_zero() {
    let records = records();
    let middle = records[..100].concat();
    // The key's first byte equals the magic's, so the magic begins with a zero as stored. Zeros
    // before it must be a multiple of 8 for the key to stand like that.
    let padding = 16 - middle.len() % 8;
    let mut stored = xor([middle.clone(), vec![0; padding], records[100..].concat()].concat());
    stored[middle.len()..middle.len() + padding].fill(0);
    assert_eq!(stored[middle.len() + padding], 0);
    let directory = directory(&[("blk00000.dat", &stored), ("xor.dat", &KEY)]);
    let remarks = assert_whole_chain(directory.path());
    assert!(remarks.is_empty(), "{remarks:?}");
}

#[test]
fn a_magic_and_size_without_a_block_are_skipped() {
    let records = records();
    let bytes = [
        records[..7].concat(),
        records[7][..8].to_vec(),
        records[7..].concat(),
    ]
    .concat();
    let directory = directory(&[("blk00000.dat", &bytes)]);
    let remarks = assert_whole_chain(directory.path());
    assert_eq!(remarks.len(), 1, "{remarks:?}");
}

#[test]
fn remains_of_an_interrupted_write_are_skipped_and_counted() {
    let records = records();
    let garbage: Vec<u8> = (0..70_000u32)
        .map(|index| (index % 251) as u8 | 1)
        .collect();
    let cases: [(&str, Vec<u8>, &str); 3] = [
        ("noise", garbage, "skipped 70000 bytes"),
        // A beginning that claims more than follows, with good records behind it.
        (
            "beginning of a block",
            records[9][..150].to_vec(),
            "skipped ",
        ),
        (
            "impossible size",
            [&records[9][..4], &[0xff; 4][..]].concat(),
            "skipped 8 bytes",
        ),
    ];
    for (name, garbage, expected) in cases {
        let bytes = [records[..9].concat(), garbage, records[9..].concat()].concat();
        let directory = directory(&[("blk00000.dat", &bytes)]);
        if name == "beginning of a block" {
            // Its size leads into the next record, so that one is looked for behind it.
            let (headers, _) = index(directory.path()).discover_all().expect("readable");
            assert!(headers.len() >= 4_520, "{name}: {}", headers.len());
            continue;
        }
        let remarks = assert_whole_chain(directory.path());
        assert_eq!(remarks.len(), 1, "{name}: {remarks:?}");
        assert!(remarks[0].contains(expected), "{name}: {remarks:?}");
    }
}

#[test]
fn a_growing_file_is_read_on_where_it_ended() {
    let records = records();
    let directory = directory(&[("blk00000.dat", b"")]);
    let path = directory.path().join("blk00000.dat");
    let whole = records.concat();
    let cut = whole.len() - 100;
    fs::write(&path, &whole[..cut]).expect("writable");
    let mut index = index(directory.path());
    let (headers, remarks) = index.discover_all().expect("readable");
    assert_eq!((headers.len(), remarks.len()), (4_521, 1));
    assert_eq!(index.discover_all().expect("readable"), (vec![], vec![]));
    fs::write(&path, &whole).expect("writable");
    let (headers, remarks) = index.discover_all().expect("readable");
    assert_eq!((headers.len(), remarks.len()), (1, 0));
    assert_eq!(headers[0].block_hash().to_string(), TIP);
    // A new file is noticed as well.
    let alternate = fs::read(fixture("bitcoin-core/mainnet_alt_blocks_1_2016.dat"));
    fs::write(
        directory.path().join("blk00001.dat"),
        alternate.expect("the fixture exists"),
    )
    .expect("writable");
    let (headers, _) = index.discover_all().expect("readable");
    assert_eq!(headers.len(), 2_016);
}

#[test]
fn reserved_space_is_filled_in_place() {
    let records = records();
    let first = records[..1_000].concat();
    let mut bytes = first.clone();
    bytes.resize(records.concat().len() + 5_000, 0);
    let directory = directory(&[("blk00000.dat", &bytes)]);
    let mut index = index(directory.path());
    assert_eq!(index.discover_all().expect("readable").0.len(), 1_000);
    let rest = records[1_000..].concat();
    bytes[first.len()..first.len() + rest.len()].copy_from_slice(&rest);
    bytes.push(0);
    fs::write(directory.path().join("blk00000.dat"), &bytes).expect("writable");
    assert_eq!(index.discover_all().expect("readable").0.len(), 3_522);
}

#[test]
fn a_file_that_vanishes_later_is_a_remark_and_its_blocks_are_unreadable() {
    let records = records();
    let directory = directory(&[
        ("blk00000.dat", &records[..100].concat()),
        ("blk00001.dat", &records[100..200].concat()),
    ]);
    let mut index = index(directory.path());
    let (headers, _) = index.discover_all().expect("readable");
    fs::remove_file(directory.path().join("blk00000.dat")).expect("it is there");
    let (_, remarks) = index.discover_all().expect("the other file is still there");
    assert_eq!(remarks.len(), 1, "{remarks:?}");
    assert!(
        remarks[0].contains("blk00000.dat: the file is gone"),
        "{remarks:?}"
    );
    assert_eq!(index.discover_all().expect("readable"), (vec![], vec![]));
    assert!(matches!(
        index.read(headers[50].block_hash()),
        Err(SourceError::Unreadable { .. })
    ));
    assert!(index.read(headers[150].block_hash()).is_ok());
}

#[test]
fn a_damaged_body_is_an_error_of_that_block_unless_another_copy_is_good() {
    let records = records();
    let hash = |record: &[u8]| {
        bitcoin::consensus::deserialize::<Header>(&record[8..88])
            .expect("a header")
            .block_hash()
    };
    let mut damaged = records[170].clone();
    *damaged.last_mut().expect("not empty") ^= 1;
    let alone = [&records[..170].concat()[..], &damaged].concat();
    let directory = directory(&[("blk00000.dat", &alone)]);
    let mut one = index(directory.path());
    one.discover_all().expect("readable");
    let error = one.read(hash(&damaged)).expect_err("it is damaged");
    assert!(
        matches!(&error, SourceError::Damaged { path, .. } if path.ends_with("blk00000.dat")),
        "{error}"
    );
    assert!(one.read(hash(&records[169])).is_ok());
    for order in [[&damaged, &records[170]], [&records[170], &damaged]] {
        let both = [&records[..170].concat()[..], order[0], order[1]].concat();
        fs::write(directory.path().join("blk00000.dat"), both).expect("writable");
        let mut two = index(directory.path());
        two.discover_all().expect("readable");
        assert_eq!(
            two.read(hash(&damaged)).expect("a copy is good"),
            records[170][8..]
        );
    }
}

#[test]
fn a_block_never_reported_is_unknown() {
    let mut index = index(&real_path());
    index.discover_all().expect("readable");
    let hash = Network::Regtest.genesis_block().block_hash();
    assert_eq!(index.read(hash), Err(SourceError::Unknown { hash }));
}

#[test]
fn unusable_sources_are_errors_that_name_the_path_and_the_cure() {
    let empty = TempDir::new().expect("a temporary directory");
    let missing = empty.path().join("missing");
    let noise = directory(&[("blk00000.dat", &[7; 5_000])]);
    let nothing = directory(&[("blk00000.dat", b"")]);
    let bad_key = directory(&[("blk00000.dat", &real_bytes()), ("xor.dat", &[1; 7])]);
    let no_key = directory(&[("blk00000.dat", &xor(real_bytes()))]);
    let cases: [(&str, &Path, &str); 6] = [
        ("missing", &missing, "cannot open"),
        ("empty directory", empty.path(), "no blk*.dat file"),
        ("noise", noise.path(), "5000 bytes read"),
        ("empty file", nothing.path(), "0 bytes read"),
        ("short key", bad_key.path(), "7 bytes"),
        ("key missing", no_key.path(), "xor.dat"),
    ];
    for (name, path, expected) in cases {
        let error = index(path).discover_all().expect_err(name).to_string();
        assert!(error.contains(expected), "{name}: {error}");
        assert!(
            error.contains(&path.display().to_string()),
            "{name}: {error}"
        );
    }
}

#[test]
fn blocks_of_another_network_are_named() {
    let error = Index::new(&real_path(), Network::Signet)
        .discover_all()
        .expect_err("the file is mainnet's");
    assert_eq!(
        error,
        SourceError::WrongNetwork {
            path: real_path().display().to_string(),
            found: "mainnet".to_owned(),
            expected: "signet".to_owned(),
        }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_source_reports_and_reads_through_its_boundary() {
    let source = FileSource::new(&real_path(), Network::Mainnet);
    let discovery = source.discover(vec![]).await.expect("readable");
    assert_eq!(
        (discovery.headers.len(), discovery.has_more),
        (4_522, false)
    );
    let hash = discovery.headers[170].block_hash();
    let block = source.read(hash).await.expect("readable");
    assert_eq!(block, records()[170][8..]);
}

/// Measures, in the profile it is compiled in: `cargo test -p millrace-adapter --lib -- --ignored
/// --nocapture speed_of_block_files`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: it writes and reads a gigabyte"]
async fn speed_of_block_files() {
    let folder = TempDir::new().expect("a temporary directory");
    let bytes = speed::write(folder.path());
    for round in ["first", "second"] {
        let start = std::time::Instant::now();
        let source = FileSource::new(folder.path(), Network::Regtest);
        let found = source.discover(vec![]).await.expect("readable");
        let scanned = start.elapsed();
        let read = speed::read_all(&source, &found.headers).await;
        assert_eq!(read, bytes);
        let (all, processor) = (start.elapsed(), speed::processor_time());
        println!(
            "{round}: scan {scanned:?}, all {all:?}: {:.0} MB/s; processor {processor:?} so far",
            bytes as f64 / 1e6 / all.as_secs_f64()
        );
    }
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_never_yield_a_block_without_work(
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..4_000),
        at in 0usize..4_000,
    ) {
        // Somewhere in the noise a true magic, so that the scanner looks closer.
        let mut bytes = bytes;
        let at = at.min(bytes.len());
        bytes.splice(at..at, Network::Mainnet.magic().to_bytes());
        let directory = directory(&[("blk00000.dat", &bytes)]);
        let result = index(directory.path()).discover_all();
        proptest::prop_assert!(
            matches!(result, Err(SourceError::NoBlocks { .. })),
            "{result:?}"
        );
    }
}
