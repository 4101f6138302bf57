//! MuHash3072: a hash of a set that coins enter and leave one by one, in any order, as Bitcoin Core's
//! `gettxoutsetinfo muhash` computes it.
//!
//! An element is hashed with SHA-256, the digest is the key of a ChaCha20 stream, and its first 384
//! bytes are a number modulo the prime 2^3072 - 1,103,717. The set's hash is the product of its
//! elements: those that enter multiply a numerator, those that leave a denominator, so that only who
//! asks for the digest pays for an inverse.
//!
//! # Method, and what was rejected
//! Wasm multiplies 32 bits by 32, two products in one SIMD instruction, and each instruction costs the
//! same; so what counts is how few there are. A number is 110 limbs of 28 bits: sums of products of
//! a column fit 64 bits, and carries are passed on once for each multiplication. Two levels of
//! Karatsuba with differences, not sums, keep all of it within 64 bits; see [`number`].
//! `canister/core/src/muhash/COST.md` has the counts, of the rejected forms too.
#![allow(
    clippy::indexing_slicing,
    reason = "of arrays, by constants and by numbers below their lengths"
)]

mod expansion;
mod number;

#[cfg(test)]
mod tests;

use std::fmt;

use bitcoin::hashes::{Hash, sha256};

use crate::sha256::{Digest, LANES};

pub use number::NUMBER_BYTES;
use number::Number;

/// Bytes of a [`MuHash`] as it is stored: numerator, then denominator.
pub const MUHASH_BYTES: usize = 2 * NUMBER_BYTES;

/// A member of a set, ready to be multiplied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element(Number);

impl Element {
    /// Returns the element that some bytes stand for.
    pub fn of(bytes: &[u8]) -> Self {
        let digest = sha256::Hash::hash(bytes).to_byte_array();
        let [element, ..] = Self::of_digests([digest; LANES]);
        element
    }

    /// Returns the elements of four digests, which costs hardly more than that of one.
    pub fn of_digests(digests: [Digest; LANES]) -> [Self; LANES] {
        expansion::expand(&digests).map(|words| Self(Number::from_words(&words)))
    }
}

/// The hash of a set, as a fraction.
#[derive(Clone, Debug)]
pub struct MuHash {
    numerator: Number,
    denominator: Number,
}

impl PartialEq for MuHash {
    /// Compares what the fractions stand for: sets are the same exactly when their digests are.
    fn eq(&self, other: &Self) -> bool {
        self.numerator.times(&other.denominator) == other.numerator.times(&self.denominator)
    }
}

impl Eq for MuHash {}

impl Default for MuHash {
    /// The hash of the empty set.
    fn default() -> Self {
        Self {
            numerator: Number::ONE,
            denominator: Number::ONE,
        }
    }
}

impl MuHash {
    /// Adds an element. Costs one multiplication.
    pub fn insert(&mut self, element: &Element) {
        self.numerator = self.numerator.times(&element.0);
    }

    /// Takes an element away. Costs one multiplication.
    pub fn remove(&mut self, element: &Element) {
        self.denominator = self.denominator.times(&element.0);
    }

    /// Does to this set what `change` stands for. Costs two multiplications, however much that is.
    pub fn combine(&mut self, change: &Self) {
        self.numerator = self.numerator.times(&change.numerator);
        self.denominator = self.denominator.times(&change.denominator);
    }

    /// Returns the digest. Costs an inverse, some thousand multiplications.
    pub fn digest(&self) -> MuHashDigest {
        let quotient = self.numerator.times(&self.denominator.inverse());
        MuHashDigest(sha256::Hash::hash(&quotient.to_bytes()).to_byte_array())
    }

    /// Returns the stored form, in Bitcoin Core's own serialisation.
    pub fn to_bytes(&self) -> [u8; MUHASH_BYTES] {
        crate::bytes::fixed(&[&self.numerator.to_bytes(), &self.denominator.to_bytes()])
    }

    /// Reads the stored form. Any bytes are a fraction.
    pub fn from_bytes(bytes: &[u8; MUHASH_BYTES]) -> Self {
        let half = |at: usize| {
            let part = bytes.as_chunks::<NUMBER_BYTES>().0.get(at);
            part.map_or(Number::ONE, Number::from_bytes)
        };
        Self {
            numerator: half(0),
            denominator: half(1),
        }
    }
}

/// What `gettxoutsetinfo` calls `muhash`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MuHashDigest(pub [u8; 32]);

impl fmt::Display for MuHashDigest {
    /// Writes the digest as Bitcoin Core does: last byte first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .rev()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for MuHashDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MuHashDigest({self})")
    }
}
