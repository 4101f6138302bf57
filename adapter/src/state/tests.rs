//! The folder: kept, shared, torn and damaged.

use std::fs;
use std::time::Duration;

use bitcoin::block::Header;
use bitcoin::hashes::Hash;
use bitcoin::{CompactTarget, TxMerkleNode};
use millrace_p2p::address::PeerAddress;
use millrace_p2p::message::KnownAddress;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const NETWORK: Network = Network::Regtest;
const NOW: UnixSeconds = UnixSeconds::new(1_900_000_000);

/// Mines a chain on top of a block of regtest; `branch` makes it one of its own.
fn mined_on(parent: &Header, count: u32, branch: u8) -> Vec<Header> {
    let mut parent = *parent;
    (0..count)
        .map(|_| {
            let mut header = Header {
                prev_blockhash: parent.block_hash(),
                merkle_root: TxMerkleNode::from_byte_array([branch; 32]),
                time: parent.time + 1,
                bits: CompactTarget::from_consensus(0x207f_ffff),
                nonce: 0,
                ..parent
            };
            while !header.target().is_met_by(header.block_hash()) {
                header.nonce += 1;
            }
            parent = header;
            header
        })
        .collect()
}

fn mined(count: u32) -> Vec<Header> {
    mined_on(&NETWORK.genesis_block().header, count, 0)
}

fn tree(headers: &[Header]) -> HeaderTree {
    let mut tree = HeaderTree::new(NETWORK);
    tree.accept(headers, NOW);
    tree
}

fn open(directory: &TempDir) -> (State, Restored) {
    State::open(directory.path(), NETWORK, NOW).expect("the folder opens")
}

fn book() -> AddressBook {
    let mut book = AddressBook::new(NETWORK, 5);
    let known = |port| KnownAddress {
        time: 1_899_000_000,
        services: 9,
        address: PeerAddress::parse(&format!("127.0.0.1:{port}"), NETWORK).expect("an address"),
    };
    let told: Vec<KnownAddress> = (1..200).map(known).collect();
    assert!(book.add(NOW, None, &told) > 0);
    book
}

/// A folder with something of everything, closed.
fn filled(headers: &[Header]) -> TempDir {
    let directory = tempfile::tempdir().expect("a folder");
    let (mut state, _) = open(&directory);
    state.save_book(&book().encode()).expect("saved");
    state
        .save_headers(&tree(headers), Height::new(1))
        .expect("saved");
    directory
}

#[test]
fn a_new_folder_is_empty_and_keeps_everything() {
    let directory = tempfile::tempdir().expect("a folder");
    let (state, restored) = open(&directory);
    assert!(restored.headers.is_empty() && restored.book.is_none());
    assert!(restored.warnings.is_empty());
    drop(state);

    let headers = mined(30);
    let directory = filled(&headers);
    let (_, restored) = open(&directory);
    assert_eq!(restored.warnings, Vec::<String>::new());
    assert_eq!(restored.headers.tip_hash(), headers[29].block_hash());
    assert!(restored.book == Some(book()));
}

#[test]
fn a_second_adapter_and_another_network_are_turned_away() {
    let directory = filled(&mined(3));
    let (state, _) = open(&directory);
    let error = State::open(directory.path(), NETWORK, NOW).expect_err("in use");
    assert!(matches!(error, StateError::InUse { .. }), "{error}");
    drop(state);
    let error = State::open(directory.path(), Network::Signet, NOW).expect_err("other network");
    assert!(
        error
            .to_string()
            .contains("belongs to regtest, not to signet"),
        "{error}"
    );
    // Without the database the header file still tells.
    fs::remove_file(directory.path().join(DATABASE_FILE)).expect("removed");
    let error = State::open(directory.path(), Network::Signet, NOW).expect_err("other network");
    assert!(matches!(error, StateError::OtherNetwork { .. }), "{error}");
}

#[test]
fn files_of_another_kind_are_moved_aside() {
    let headers = mined(3);
    for name in [DATABASE_FILE, HEADER_FILE] {
        let directory = filled(&headers);
        let path = directory.path().join(name);
        fs::write(&path, b"something else entirely").expect("written");
        let (state, restored) = open(&directory);
        assert_eq!(restored.warnings.len(), 1, "{name}");
        assert!(
            restored.warnings[0].contains(name),
            "{:?}",
            restored.warnings
        );
        let aside = directory.path().join(format!("{name}.damaged"));
        assert_eq!(fs::read(aside).expect("there"), b"something else entirely");
        drop(state);
        assert_eq!(open(&directory).1.warnings, Vec::<String>::new(), "{name}");
    }
}

#[test]
fn headers_follow_the_best_chain_through_reorganisations() {
    let first = mined(2_100);
    let directory = tempfile::tempdir().expect("a folder");
    let (mut state, restored) = open(&directory);
    let mut tree = restored.headers;
    let mut steps = vec![first[..2_000].to_vec(), first[2_000..].to_vec()];
    // Branches that leave 100, 1 and all blocks behind.
    steps.push(mined_on(&first[1_999], 101, 1));
    let tip = steps[2][99];
    steps.push(mined_on(&tip, 2, 2));
    steps.push(mined_on(&NETWORK.genesis_block().header, 2_200, 3));
    for step in steps {
        let accepted = tree.accept(&step, NOW);
        let from = accepted.changed_from.expect("the best chain changed");
        state.save_headers(&tree, from).expect("saved");
        drop(state);
        let (next, restored) = open(&directory);
        state = next;
        assert_eq!(restored.warnings, Vec::<String>::new());
        assert_eq!(restored.headers.tip_hash(), tree.tip_hash());
        assert_eq!(restored.headers.tip_height(), tree.tip_height());
    }
}

#[test]
fn a_wrong_place_of_change_does_not_spoil_the_file() {
    let first = mined(50);
    let second = mined_on(&first[9], 60, 1);
    let directory = filled(&first);
    let (mut state, _) = open(&directory);
    let mut tree = tree(&first);
    tree.accept(&second, NOW);
    state.save_headers(&tree, Height::new(51)).expect("saved");
    drop(state);
    assert_eq!(open(&directory).1.headers.tip_hash(), tree.tip_hash());
}

#[test]
fn a_header_file_torn_at_any_byte_opens_and_is_made_good() {
    let headers = mined(12);
    let directory = filled(&headers);
    let path = directory.path().join(HEADER_FILE);
    let whole = fs::read(&path).expect("read");
    for end in 0..whole.len() {
        fs::write(&path, &whole[..end]).expect("written");
        let opened = HeaderStore::open(&path, NETWORK, NOW, &mut Vec::new());
        let (mut store, restored) = opened.expect("the file opens");
        let height = restored.tip_height().get() as usize;
        assert_eq!(height, end.saturating_sub(64) / 88, "{end} bytes");
        store.save(&tree(&headers), Height::new(13)).expect("saved");
        assert!(fs::read(&path).expect("read") == whole, "{end} bytes");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn changed_bytes_never_make_opening_panic_or_lie(
        name in prop_oneof![Just(DATABASE_FILE), Just(HEADER_FILE), Just(LOCK_FILE)],
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1..=255u8), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let headers = mined(20);
        let directory = filled(&headers);
        let path = directory.path().join(name);
        let mut bytes = fs::read(&path).expect("read");
        for (at, by) in flips.iter().filter(|_| !bytes.is_empty()).collect::<Vec<_>>() {
            let at = at.index(bytes.len());
            bytes[at] ^= by;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len().max(1)));
        }
        fs::write(&path, &bytes).expect("written");
        let (state, restored) = open(&directory);
        let height = restored.headers.tip_height().get() as usize;
        if let Some(at) = height.checked_sub(1) {
            prop_assert_eq!(restored.headers.tip_hash(), headers[at].block_hash());
        }
        if let Some(found) = restored.book {
            prop_assert!(found == book());
        }
        drop(state);
        prop_assert_eq!(open(&directory).1.warnings, Vec::<String>::new());
    }
}

/// Returns how long this thread has used a processor, as Linux counts it.
fn processor_time() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanoseconds = text.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanoseconds.expect("a number"))
}

/// Prints what it takes to come back to the tip of a chain as long as mainnet's:
/// `cargo test --release -p millrace-adapter -- --ignored --nocapture a_million_headers`.
#[test]
#[ignore = "a measurement"]
fn a_million_headers_come_back() {
    let headers = mined(1_000_000);
    let directory = tempfile::tempdir().expect("a folder");
    let (mut state, mut restored) = open(&directory);
    let start = processor_time();
    restored.headers.accept(&headers, NOW);
    println!("judged one by one: {:?}", processor_time() - start);
    let start = processor_time();
    state
        .save_headers(&restored.headers, Height::new(1))
        .expect("saved");
    println!("saved: {:?}", processor_time() - start);
    drop((state, restored));
    let start = processor_time();
    let (_, restored) = open(&directory);
    println!("opened: {:?}", processor_time() - start);
    assert_eq!(restored.headers.tip_hash(), headers[999_999].block_hash());
}
