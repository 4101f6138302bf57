//! The contract over block files: a folder as Bitcoin Core writes it, plain and obfuscated, and one
//! recorded file.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use bitcoin::Block;
use bitcoin::consensus::serialize;
use millrace_adapter::source::file::FileSource;
use millrace_core::Network;
use tempfile::TempDir;

use crate::chain::FakeChain;
use crate::contract::{Handle, keep_to_the_contract};

const KEY: [u8; 8] = [0xf9, 0x4d, 0x00, 0xd9, 0x5a, 0x21, 0x9c, 0x03];

/// Blocks of a file before the next one is begun.
const BLOCKS_PER_FILE: usize = 20;

struct Files {
    chain: FakeChain,
    folder: TempDir,
    key: [u8; 8],
    /// The name of the one file; a folder of numbered ones without.
    name: Option<&'static str>,
    written: usize,
}

impl Files {
    fn new(key: [u8; 8], name: Option<&'static str>) -> Self {
        let chain = FakeChain::new();
        let genesis = chain.best.clone();
        let folder = tempfile::tempdir().expect("a folder");
        if key != [0; 8] {
            std::fs::write(folder.path().join("xor.dat"), key).expect("writable");
        }
        let mut files = Self {
            chain,
            folder,
            key,
            name,
            written: 0,
        };
        files.write(&genesis);
        files
    }

    fn path(&self) -> PathBuf {
        match self.name {
            Some(name) => self.folder.path().join(name),
            None => self.folder.path().to_owned(),
        }
    }

    fn write(&mut self, blocks: &[Block]) {
        for block in blocks {
            let numbered = format!("blk{:05}.dat", self.written / BLOCKS_PER_FILE);
            let path = self.folder.path().join(self.name.unwrap_or(&numbered));
            self.written += 1;
            let block = serialize(block);
            let size = (block.len() as u32).to_le_bytes();
            let magic = Network::Regtest.magic().to_bytes();
            let mut record = [&magic[..], &size[..], &block].concat();
            let file = OpenOptions::new().create(true).append(true).open(path);
            let mut file = file.expect("writable");
            let start = file.metadata().expect("it is there").len() as usize;
            for (index, byte) in record.iter_mut().enumerate() {
                *byte ^= self.key[(start + index) % 8];
            }
            file.write_all(&record).expect("writable");
        }
    }
}

impl Handle for Files {
    async fn mine(&mut self, blocks: u32) {
        let blocks = self.chain.mine(blocks);
        self.write(&blocks);
    }

    async fn reorganise(&mut self, depth: u32, blocks: u32) {
        let blocks = self.chain.reorganise(depth, blocks);
        self.write(&blocks);
    }

    async fn restart(&mut self) {}

    async fn chain(&self) -> Vec<Vec<u8>> {
        self.chain.bytes()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn block_files_keep_to_the_contract() {
    for (key, name) in [
        ([0; 8], None),
        (KEY, None),
        (KEY, Some("blk00007.dat")),
        ([0; 8], Some("recorded.dat")),
    ] {
        let open = |files: &Files| FileSource::new(&files.path(), Network::Regtest);
        keep_to_the_contract(open, Files::new(key, name)).await;
    }
}
