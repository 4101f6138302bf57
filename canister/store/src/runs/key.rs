//! What runs are sorted by, and what fences and filters keep of it.

use std::cmp::Ordering;

use bitcoin::hashes::Hash;
use bitcoin::{OutPoint, Txid};
use millrace_core::Height;

use crate::record::{join, take};

pub use millrace_core::script::{SCRIPT_KEY_BYTES, ScriptKey};

/// What a filter and a fence know of a key: both halves are parts of a hash, so they are uniform
/// unless somebody worked for it; such work makes reads of the ground keys dearer, never wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest {
    /// First 8 bytes, big endian: sorts as keys do.
    pub prefix: u64,
    /// The next 8 bytes.
    pub bits: u64,
}

/// Returns the first 8 bytes, big endian: they sort as the whole does, as far as they go.
pub fn prefix_of(bytes: &[u8]) -> u64 {
    let chunk = bytes.first_chunk();
    chunk.map_or(0, |chunk| u64::from_be_bytes(*chunk))
}

impl Digest {
    fn of(bytes: &[u8]) -> Self {
        Self {
            prefix: prefix_of(bytes),
            bits: bytes.get(8..).map_or(0, prefix_of),
        }
    }
}

/// 2^64 divided by the golden ratio: spreads small numbers over all bits.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Bytes of a stored [`OutpointKey`].
pub const OUTPOINT_KEY_BYTES: usize = 36;

/// An outpoint as coin runs sort it: transaction id bytes, then index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutpointKey {
    /// Bytes of the transaction id in hashing order.
    pub txid: [u8; 32],
    /// Output index.
    pub vout: u32,
}

impl OutpointKey {
    /// The smallest one.
    pub const FIRST: Self = Self {
        txid: [0; 32],
        vout: 0,
    };

    /// Returns the stored form: transaction id, output index.
    pub fn to_bytes(&self) -> [u8; OUTPOINT_KEY_BYTES] {
        join(&[&self.txid, &self.vout.to_le_bytes()])
    }

    /// Reads the stored form off the front of `bytes`, or returns `None` when fewer are left.
    pub(crate) fn take(bytes: &mut &[u8]) -> Option<Self> {
        Some(Self {
            txid: take(bytes)?,
            vout: u32::from_le_bytes(take(bytes)?),
        })
    }

    /// Returns the digest: outputs of one transaction share its prefix, so that filters are written in
    /// the order of keys, and have bits of their own.
    pub fn digest(&self) -> Digest {
        let Digest { prefix, bits } = Digest::of(&self.txid);
        let own = u64::from(self.vout).wrapping_mul(SPREAD);
        Digest {
            prefix,
            bits: bits ^ own,
        }
    }

    /// Returns the first 8 bytes, big endian: what the key's digest begins with.
    pub fn prefix(&self) -> u64 {
        prefix_of(&self.txid)
    }
}

impl Ord for OutpointKey {
    fn cmp(&self, other: &Self) -> Ordering {
        // Eight bytes decide nearly always, in a few instructions.
        self.prefix()
            .cmp(&other.prefix())
            .then_with(|| self.txid.cmp(&other.txid))
            .then_with(|| self.vout.cmp(&other.vout))
    }
}

impl PartialOrd for OutpointKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl From<&OutPoint> for OutpointKey {
    fn from(outpoint: &OutPoint) -> Self {
        Self {
            txid: outpoint.txid.to_byte_array(),
            vout: outpoint.vout,
        }
    }
}

impl From<&OutpointKey> for OutPoint {
    fn from(key: &OutpointKey) -> Self {
        Self {
            txid: Txid::from_byte_array(key.txid),
            vout: key.vout,
        }
    }
}

impl From<&ScriptKey> for Digest {
    fn from(key: &ScriptKey) -> Self {
        Self::of(&key.0)
    }
}

/// Where a coin is in the list of its script: height descending, then outpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The height with all bits flipped.
    flipped: u32,
    /// The coin's outpoint.
    pub outpoint: OutpointKey,
}

impl Place {
    /// The first place of every list.
    pub const FIRST: Self = Self {
        flipped: 0,
        outpoint: OutpointKey::FIRST,
    };

    /// Returns the place of a coin made at `height`.
    pub const fn new(height: Height, outpoint: OutpointKey) -> Self {
        Self {
            flipped: !height.get(),
            outpoint,
        }
    }

    /// Returns the height of the block that made the coin.
    pub const fn height(&self) -> Height {
        Height::new(!self.flipped)
    }
}
