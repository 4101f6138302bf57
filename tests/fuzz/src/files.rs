//! Files that are the adapter's own, and Bitcoin Core's.

use std::fs;

use millrace_adapter::source::BlockSource;
use millrace_adapter::source::file::FileSource;
use millrace_core::Network;
use millrace_p2p::book::AddressBook;

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
                assert_eq!(millrace_core::block::decode_header(&block[..80]), Some(header));
            }
        }
    });
}
