//! Snapshots of the UTXO set as Bitcoin Core's `dumptxoutset` writes them, version 2.
//!
//! ```text
//! metadata, 51 bytes
//! offset size
//!      0    5  "utxo" 0xff
//!      5    2  version, u16 LE: 2
//!      7    4  magic of the network
//!     11   32  hash of the base block
//!     43    8  number of coins, u64 LE
//! groups, one for each transaction, by id
//!   id 32 | number of coins, CompactSize
//!   coins: output index, CompactSize | height * 2 + 1 if a coinbase made it, VARINT
//!          | amount, compressed, VARINT | script, compressed
//! ```
//!
//! Nothing follows the last coin, and nothing in the file vouches for it: whoever reads one compares
//! [`SerializedHash`] with what is known of the base block, for instance [`assumed`].
//!
//! Core writes the coins of a transaction in the order of its database, which differs from that of the
//! output indexes from index 16,512 on. [`CoinReader`] takes either; what it says of order is left to its
//! caller.

mod assumed;
mod number;
mod read;
mod script;
mod write;

#[cfg(test)]
mod tests;

use bitcoin::hashes::{Hash, HashEngine, sha256};
use bitcoin::{BlockHash, OutPoint, ScriptBuf};

use crate::bytes::{Reader, fixed};
use crate::commitment::CountedCoin;
use crate::network::Network;
use crate::units::Height;

pub use assumed::{AssumedSet, assumed};
pub use number::{compress_amount, restore_amount};
pub use read::{CoinReader, Position, SnapshotError};
pub use write::{group_order, write_coin, write_group, write_group_head};

/// Bytes of the metadata.
pub const METADATA_BYTES: usize = 51;

/// Bytes of the longest script of a coin: longer ones cannot be spent.
pub const MAX_SCRIPT_BYTES: usize = 10_000;

/// Bytes that one coin takes at most, with its group's head: what a reader must be given to read any.
pub const MAX_COIN_BYTES: usize = 32 + 9 + 9 + 10 + 10 + 10 + MAX_SCRIPT_BYTES;

const MAGIC: [u8; 5] = *b"utxo\xff";

const VERSION: u16 = 2;

/// How a file begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The network.
    pub network: Network,
    /// The block after which the set is as it is.
    pub base: BlockHash,
    /// Number of coins.
    pub coins: u64,
}

impl Metadata {
    /// Reads the first bytes of a file.
    ///
    /// # Errors
    /// [`SnapshotError`]: it is too short, or no snapshot, or of another version or network.
    pub fn decode(bytes: &[u8], expected: Network) -> Result<Self, SnapshotError> {
        let short = SnapshotError::Short {
            given: bytes.len(),
            needed: METADATA_BYTES,
        };
        let mut reader = Reader::new(bytes);
        let magic = reader.array::<5>().ok_or(short.clone())?;
        if magic != MAGIC {
            return Err(SnapshotError::NoSnapshot { found: magic });
        }
        let version = u16::from_le_bytes(reader.array().ok_or(short.clone())?);
        if version != VERSION {
            return Err(SnapshotError::Version { found: version });
        }
        let found: [u8; 4] = reader.array().ok_or(short.clone())?;
        if found != expected.magic().to_bytes() {
            return Err(SnapshotError::OtherNetwork { found, expected });
        }
        Ok(Self {
            network: expected,
            base: BlockHash::from_byte_array(reader.array().ok_or(short.clone())?),
            coins: reader.u64().ok_or(short)?,
        })
    }

    /// Returns the bytes a file begins with.
    pub fn encode(&self) -> [u8; METADATA_BYTES] {
        fixed(&[
            &MAGIC,
            &VERSION.to_le_bytes(),
            &self.network.magic().to_bytes(),
            self.base.as_byte_array(),
            &self.coins.to_le_bytes(),
        ])
    }
}

/// A coin of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotCoin {
    /// Where it is.
    pub outpoint: OutPoint,
    /// Height of the block that made it.
    pub height: Height,
    /// Whether a coinbase transaction made it.
    pub coinbase: bool,
    /// Its amount.
    pub satoshi: u64,
    /// Its script.
    pub script: ScriptBuf,
}

impl SnapshotCoin {
    /// Calls `to` with the coin as hashes take it.
    pub fn counted<T>(&self, to: impl FnOnce(&CountedCoin<'_>) -> T) -> T {
        to(&CountedCoin {
            outpoint: self.outpoint,
            height: self.height,
            coinbase: self.coinbase,
            satoshi: self.satoshi,
            script: &[self.script.as_bytes()],
        })
    }
}

/// Bytes of a stored [`SerializedHash`].
pub const SERIALIZED_HASH_BYTES: usize = 32 + 8 + 1 + BLOCK_BYTES;

const BLOCK_BYTES: usize = 64;

/// What `gettxoutsetinfo` calls `hash_serialized_3`: the double SHA-256 of all coins, ascending by
/// transaction id and output index. It can be stored between two coins.
#[derive(Clone, Default)]
pub struct SerializedHash {
    /// Its own count of bytes is of 32 bits in a canister, and of no use.
    engine: sha256::HashEngine,
    /// Bytes that filled blocks.
    hashed: u64,
    /// Bytes that do not fill a block yet.
    rest: Vec<u8>,
    coin: Vec<u8>,
}

impl SerializedHash {
    /// Takes the next coin in. Costs about one block of SHA-256 and a half.
    pub fn put(&mut self, coin: &CountedCoin<'_>) {
        coin.write(&mut self.coin);
        self.rest.extend_from_slice(&self.coin);
        let whole = self.rest.len() - self.rest.len() % BLOCK_BYTES;
        let (blocks, _) = self.rest.split_at(whole);
        self.engine.input(blocks);
        self.hashed += whole as u64;
        self.rest.drain(..whole);
    }

    /// Returns the hash, printed as Bitcoin Core does: last byte first.
    pub fn finish(mut self) -> SerializedDigest {
        let bits = (self.hashed + self.rest.len() as u64) * 8;
        self.rest.push(0x80);
        while self.rest.len() % BLOCK_BYTES != BLOCK_BYTES - 8 {
            self.rest.push(0);
        }
        self.rest.extend_from_slice(&bits.to_be_bytes());
        self.engine.input(&self.rest);
        let once = self.engine.midstate().to_byte_array();
        SerializedDigest(sha256::Hash::hash(&once).to_byte_array())
    }

    /// Returns the stored form.
    pub fn to_bytes(&self) -> [u8; SERIALIZED_HASH_BYTES] {
        let midstate = self.engine.midstate().to_byte_array();
        fixed(&[
            &midstate,
            &self.hashed.to_le_bytes(),
            &[self.rest.len() as u8],
            &self.rest,
        ])
    }

    /// Reads the stored form; `None` where it is not one.
    pub fn from_bytes(bytes: &[u8; SERIALIZED_HASH_BYTES]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let midstate = sha256::Midstate::from_byte_array(reader.array()?);
        let hashed = reader.u64()?;
        let waiting = usize::from(reader.u8()?);
        let rest: [u8; BLOCK_BYTES] = reader.array()?;
        let is_whole = hashed.is_multiple_of(BLOCK_BYTES as u64);
        let rest = rest
            .get(..waiting)
            .filter(|_| is_whole && waiting < BLOCK_BYTES)?;
        Some(Self {
            engine: sha256::HashEngine::from_midstate(midstate, 0),
            hashed,
            rest: rest.to_vec(),
            coin: Vec::new(),
        })
    }
}

/// A finished [`SerializedHash`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SerializedDigest(pub [u8; 32]);

impl std::fmt::Display for SerializedDigest {
    /// Writes the digest as Bitcoin Core does: last byte first.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut bytes = self.0.iter().rev();
        bytes.try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for SerializedDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SerializedDigest({self})")
    }
}
