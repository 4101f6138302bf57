//! The best chain's headers as a flat file.
//!
//! ```text
//! offset size
//!      0   64  head: magic "MILLHDRS", version u32 = 1, network magic 4 bytes, 16 zero bytes,
//!              SHA-256 of these 32
//!     64       chunks of 2,016 records, each followed by a seal; the last one may be unfinished
//!
//! record, 88 bytes: header 80 bytes as on the wire, check u64
//! seal, 32 bytes: SHA-256 of the chunk's records
//! ```
//!
//! Numbers are little-endian. The first record is that of height 1. A check is the SipHash-2-4 (key
//! zero) of the height and the header, so that no record passes for that of another height.
//!
//! The file grows at its end; a reorganisation cuts it first. Finished chunks are taken as the seal
//! vouches for them, if they follow the one before. Records of the last chunk, or of one whose seal is
//! wrong, are judged anew one by one. The first thing that is not right ends the chain: what
//! follows is dropped and fetched again.

use bitcoin::block::Header;
use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::{Hash, HashEngine, sha256, siphash24};
use millrace_core::header::check_own_work;
use millrace_core::{Height, Network, UnixSeconds};

use super::HeaderTree;

/// Bytes before the first chunk.
pub const HEAD_BYTES: usize = 64;
/// Records of a chunk.
pub const CHUNK_RECORDS: u32 = 2_016;
/// Bytes of a finished chunk.
pub const CHUNK_BYTES: usize = CHUNK_RECORDS as usize * RECORD_BYTES + SEAL_BYTES;
const RECORD_BYTES: usize = 88;
const HEADER_BYTES: usize = 80;
const SEAL_BYTES: usize = 32;
const MAGIC: [u8; 8] = *b"MILLHDRS";
const VERSION: u32 = 1;

/// Why bytes are no header file of this network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFileError {
    /// The head is cut, damaged or of another kind of file.
    #[error("this is no header file: its first 64 bytes are not those of one")]
    Head,
    /// A later version of the adapter wrote it.
    #[error("the header file has version {got}, this adapter reads version 1")]
    Version {
        /// The version found.
        got: u32,
    },
    /// The headers are another network's.
    #[error("the header file belongs to the network with magic {got:02x?}, not to {expected}")]
    Network {
        /// The magic found.
        got: [u8; 4],
        /// The network asked for.
        expected: Network,
    },
}

/// Returns the file's head.
pub fn head(network: Network) -> [u8; HEAD_BYTES] {
    let mut covered = [0u8; 32];
    let fields = MAGIC
        .into_iter()
        .chain(VERSION.to_le_bytes())
        .chain(network.magic().to_bytes());
    for (slot, byte) in covered.iter_mut().zip(fields) {
        *slot = byte;
    }
    let mut head = [0; HEAD_BYTES];
    let checksum = sha256::Hash::hash(&covered).to_byte_array();
    for (slot, byte) in head.iter_mut().zip(covered.into_iter().chain(checksum)) {
        *slot = byte;
    }
    head
}

/// Checks a file's head.
///
/// # Errors
/// [`HeaderFileError`] when the file is something else.
pub fn check_head(network: Network, bytes: &[u8]) -> Result<(), HeaderFileError> {
    let (covered, rest) = bytes
        .split_first_chunk::<32>()
        .ok_or(HeaderFileError::Head)?;
    let checksum = rest.first_chunk::<32>().ok_or(HeaderFileError::Head)?;
    let is_whole = sha256::Hash::hash(covered).as_byte_array() == checksum;
    let rest = covered
        .strip_prefix(&MAGIC)
        .filter(|_| is_whole)
        .ok_or(HeaderFileError::Head)?;
    let (version, rest) = rest.split_first_chunk().ok_or(HeaderFileError::Head)?;
    let version = u32::from_le_bytes(*version);
    if version != VERSION {
        return Err(HeaderFileError::Version { got: version });
    }
    let magic = *rest.first_chunk::<4>().ok_or(HeaderFileError::Head)?;
    if magic != network.magic().to_bytes() {
        return Err(HeaderFileError::Network {
            got: magic,
            expected: network,
        });
    }
    Ok(())
}

/// Reads a file chunk by chunk.
#[derive(Clone, Debug)]
pub struct HeaderReader {
    tree: HeaderTree,
}

impl HeaderReader {
    /// Starts behind the head, with the genesis block.
    pub fn new(network: Network) -> Self {
        Self {
            tree: HeaderTree::new(network),
        }
    }

    /// Makes room for as many headers as a file of this length holds.
    pub fn expect_bytes(&mut self, length: u64) {
        let chunks = length / CHUNK_BYTES as u64 + 1;
        let headers = chunks.saturating_mul(u64::from(CHUNK_RECORDS));
        self.tree.reserve(usize::try_from(headers).unwrap_or(0));
    }

    /// Takes in the next [`CHUNK_BYTES`] of the file, or what is left. Returns whether what follows
    /// may be read: after a chunk that is not whole, nothing does.
    pub fn take(&mut self, chunk: &[u8], now: UnixSeconds) -> bool {
        if let Some(headers) = self.sealed(chunk) {
            self.tree.extend_trusted(headers);
            return true;
        }
        // A chunk without a seal is unfinished, so its last record is not taken: the seal belongs
        // right behind that.
        let records = chunk.chunks_exact(RECORD_BYTES);
        for record in records.take(CHUNK_RECORDS as usize - 1) {
            if !self.take_record(record, now) {
                break;
            }
        }
        false
    }

    /// Returns the chain, and up to which byte the file is of use.
    pub fn finish(self) -> (HeaderTree, u64) {
        let length = length_at(self.tree.tip_height());
        (self.tree, length)
    }

    /// Returns a finished chunk's headers, if its seal and its ends are right.
    fn sealed(&self, chunk: &[u8]) -> Option<Vec<Header>> {
        let (records, seal) = chunk.split_last_chunk::<SEAL_BYTES>()?;
        let is_sealed =
            chunk.len() == CHUNK_BYTES && sha256::Hash::hash(records).as_byte_array() == seal;
        if !is_sealed {
            return None;
        }
        let headers: Vec<Header> = records
            .chunks_exact(RECORD_BYTES)
            .map_while(|record| deserialize(record.get(..HEADER_BYTES)?).ok())
            .collect();
        let follows = headers.first()?.prev_blockhash == self.tree.tip_hash();
        let has_work = check_own_work(headers.last()?, self.tree.network()).is_ok();
        (follows && has_work && headers.len() == CHUNK_RECORDS as usize).then_some(headers)
    }

    /// Judges one record as the next header.
    fn take_record(&mut self, record: &[u8], now: UnixSeconds) -> bool {
        let Some((bytes, found)) = record.split_first_chunk::<HEADER_BYTES>() else {
            return false;
        };
        let height = self.tree.tip_height().next();
        let Ok(header) = deserialize::<Header>(bytes) else {
            return false;
        };
        if check(height, bytes).to_le_bytes() != found
            || header.prev_blockhash != self.tree.tip_hash()
        {
            return false;
        }
        self.tree.accept(&[header], now).joined == 1
    }
}

/// Writes a file's records: what to append for which headers.
#[derive(Clone)]
pub struct HeaderWriter {
    /// The height of the last record; 0 if there is none.
    height: Height,
    /// The unfinished chunk's records so far.
    chunk: sha256::HashEngine,
}

impl HeaderWriter {
    /// Starts behind the record of a height of the tree's best chain: the file is expected to hold
    /// that chain up to there, and nothing more. Costs O([`CHUNK_RECORDS`]).
    pub fn after(tree: &HeaderTree, height: Height) -> Self {
        let height = height.min(tree.tip_height());
        let unfinished = height.get() % CHUNK_RECORDS;
        let mut writer = Self {
            height: height.saturating_sub(Height::new(unfinished)),
            chunk: sha256::HashEngine::default(),
        };
        let mut written = Vec::new();
        while writer.height < height {
            let Some(header) = tree.header_at(writer.height.next()) else {
                break;
            };
            writer.append(&header, &mut written);
        }
        writer
    }

    /// Returns the height of the last record; 0 if there is none.
    pub const fn height(&self) -> Height {
        self.height
    }

    /// Returns the file's length up to the last record, with its seal if it ends a chunk.
    pub const fn length(&self) -> u64 {
        length_at(self.height)
    }

    /// Adds the bytes of the next header to `out`.
    pub fn append(&mut self, header: &Header, out: &mut Vec<u8>) {
        self.height = self.height.next();
        let bytes = serialize(header);
        let check = check(self.height, &bytes).to_le_bytes();
        for field in [bytes.as_slice(), &check] {
            self.chunk.input(field);
            out.extend_from_slice(field);
        }
        if self.height.get().is_multiple_of(CHUNK_RECORDS) {
            let chunk = core::mem::take(&mut self.chunk);
            let seal = sha256::Hash::from_engine(chunk);
            out.extend_from_slice(seal.as_byte_array());
        }
    }
}

/// Returns the length of a file whose last record is that of a height.
const fn length_at(height: Height) -> u64 {
    let chunks = (height.get() / CHUNK_RECORDS) as u64;
    let rest = (height.get() % CHUNK_RECORDS) as u64;
    HEAD_BYTES as u64 + chunks * CHUNK_BYTES as u64 + rest * RECORD_BYTES as u64
}

fn check(height: Height, header: &[u8]) -> u64 {
    let mut engine = siphash24::HashEngine::with_keys(0, 0);
    engine.input(&height.get().to_le_bytes());
    engine.input(header);
    siphash24::Hash::from_engine(engine).as_u64()
}
