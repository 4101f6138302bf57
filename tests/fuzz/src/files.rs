//! Files that are the adapter's own, and Bitcoin Core's.

use std::fs;

use millrace_adapter::source::BlockSource;
use millrace_adapter::source::file::FileSource;
use millrace_adapter::state::State;
use millrace_core::{Height, Network, UnixSeconds};
use millrace_p2p::book::AddressBook;
use millrace_p2p::headers::file::{CHUNK_BYTES, HeaderReader};

/// The clock that headers are judged by.
const NOW: UnixSeconds = UnixSeconds::new(1_800_000_000);

/// An address book as it is stored: what decodes, encodes to the same.
pub fn address_book(data: &[u8]) {
    if let Ok(book) = AddressBook::decode(Network::Mainnet, data) {
        let written = book.encode();
        let again = AddressBook::decode(Network::Mainnet, &written).expect("its own encoding");
        assert_eq!(again, book);
    }
}

/// A folder of block files: the first byte says whether there is a key and how long the first file is.
pub fn block_files(data: &[u8]) {
    let Some((layout, bytes)) = data.split_first() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (key, bytes) = match layout % 2 {
        0 => (&[][..], bytes),
        _ => bytes.split_at(bytes.len().min(8)),
    };
    if layout % 2 == 1 {
        fs::write(folder.path().join("xor.dat"), key).expect("our folder");
    }
    let (first, second) = bytes.split_at(bytes.len() * usize::from(*layout) / 256);
    fs::write(folder.path().join("blk00000.dat"), first).expect("our folder");
    fs::write(folder.path().join("blk00001.dat"), second).expect("our folder");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let source = FileSource::new(folder.path(), Network::Regtest);
        let Ok(found) = source.discover(Vec::new()).await else {
            return;
        };
        for header in found.headers {
            let hash = header.block_hash();
            if let Ok(block) = source.read(hash).await {
                assert_eq!(
                    millrace_core::block::decode_header(&block[..80]),
                    Some(header)
                );
            }
        }
    });
}

/// A header file as it is stored: whatever it holds, the chain that comes of it is one.
pub fn header_file(data: &[u8]) {
    let mut reader = HeaderReader::new(Network::Regtest);
    reader.expect_bytes(data.len() as u64);
    for chunk in data.chunks(CHUNK_BYTES) {
        if !reader.take(chunk, NOW) {
            break;
        }
    }
    let (tree, _) = reader.finish();
    let mut parent = tree.hash_at(Height::ZERO).expect("genesis");
    for height in 1..=tree.tip_height().get() {
        let header = tree.header_at(Height::new(height)).expect("below the tip");
        assert_eq!(header.prev_blockhash, parent);
        parent = header.block_hash();
    }
}

/// A folder of state: the bytes are one file or the other, as the first says.
pub fn state_folder(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let name = match choice % 2 {
        0 => "headers.dat",
        _ => "adapter.redb",
    };
    fs::write(folder.path().join(name), bytes).expect("our folder");
    if let Ok((mut state, restored)) = State::open(folder.path(), Network::Regtest, NOW) {
        let from = Height::new(1);
        state
            .save_headers(&restored.headers, from)
            .expect("our folder");
        drop(state);
        let (_, again) = State::open(folder.path(), Network::Regtest, NOW).expect("just written");
        assert_eq!(again.headers.tip_hash(), restored.headers.tip_hash());
    }
}
