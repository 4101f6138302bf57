//! A folder of a gigabyte of blocks, made of few real ones.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use bitcoin::block::Header;
use bitcoin::consensus::{deserialize, serialize};
use millrace_core::Network;
use tokio::task::JoinSet;

use super::{FileSource, KEY};
use crate::source::BlockSource;

/// A real block of mainnet at height 830,000 or so, repeated under regtest headers of their own.
const REAL: &str = "/work/shared/data/ckb-bitcoin-spv-testdata/blocks";

const BYTES: u64 = 1_000_000_000;

const FILE_BYTES: usize = 128 << 20;

/// Writes obfuscated files and returns the bytes of their blocks.
pub fn write(folder: &Path) -> u64 {
    let blocks: Vec<Vec<u8>> = fs::read_dir(REAL)
        .expect("the shared test data")
        .map(|entry| fs::read(entry.expect("readable").path()).expect("readable"))
        .collect();
    fs::write(folder.join("xor.dat"), KEY).expect("writable");
    let (mut total, mut number, mut file) = (0, 0, Vec::with_capacity(FILE_BYTES));
    for index in 0_u32.. {
        let mut block = blocks[index as usize % blocks.len()].clone();
        let header = header(&block, index);
        block[..80].copy_from_slice(&serialize(&header));
        total += block.len() as u64;
        file.extend(Network::Regtest.magic().to_bytes());
        file.extend((block.len() as u32).to_le_bytes());
        file.extend(block);
        if file.len() > FILE_BYTES - 4_000_000 || total >= BYTES {
            for (index, byte) in file.iter_mut().enumerate() {
                *byte ^= KEY[index % 8];
            }
            let path = folder.join(format!("blk{number:05}.dat"));
            File::create(path)
                .and_then(|mut to| to.write_all(&file))
                .expect("writable");
            number += 1;
            file.clear();
        }
        if total >= BYTES {
            return total;
        }
    }
    total
}

/// Returns a header with the block's merkle root, a time of its own and regtest's work.
fn header(block: &[u8], index: u32) -> Header {
    let mut header: Header = deserialize(&block[..80]).expect("a header");
    header.time = header.time.wrapping_add(index);
    header.bits = Network::Regtest.genesis_block().header.bits;
    while header.validate_pow(header.target()).is_err() {
        header.nonce = header.nonce.wrapping_add(1);
    }
    header
}

/// Reads all blocks, as many at a time as the source takes, and returns their bytes.
pub async fn read_all(source: &FileSource, headers: &[Header]) -> u64 {
    let (mut reads, mut bytes) = (JoinSet::new(), 0);
    for header in headers {
        if reads.len() >= source.reads_max() {
            bytes += reads
                .join_next()
                .await
                .expect("some are there")
                .expect("no panic");
        }
        let read = source.read(header.block_hash());
        reads.spawn(async move { read.await.expect("readable").len() as u64 });
    }
    bytes + reads.join_all().await.into_iter().sum::<u64>()
}

/// Returns the processor time of this process.
pub fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<u64> = stat
        .rsplit(')')
        .next()
        .into_iter()
        .flat_map(str::split_whitespace)
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse().ok())
        .collect();
    Duration::from_millis(fields.iter().sum::<u64>() * 10)
}
