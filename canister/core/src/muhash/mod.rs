//! MuHash3072: a hash of a set that coins enter and leave one by one, in any order, as Bitcoin Core's
//! `gettxoutsetinfo muhash` computes it.
//!
//! An element is hashed with SHA-256, the digest is the key of a ChaCha20 stream, and its first 384
//! bytes are a number modulo the prime 2^3072 - 1,103,717. The set's hash is the product of its
//! elements: those that enter multiply a numerator, those that leave a denominator, so that only who
//! asks for the digest pays for an inverse.
//!
//! # Method, and what was rejected
//! The IC charges nearly every Wasm instruction alike, so what counts is how few there are, not how fast.
//! Wasm has no product of 64 bits by 64; SIMD has two of 32 by 32 in one (`i64x2.extmul`). A number is 110
//! limbs of 28 bits: the products of a column add up within 64 bits, and carries are passed on once for
//! each multiplication. Two levels of Karatsuba leave 9 * 28^2 = 7,056 products; a block of 784 takes 1,808
//! instructions, unrolled. What each of the other ways takes, counted in the optimised module or *estimated*:
//!
//! | way | instructions for a multiplication's products |
//! |---|---|
//! | as it is | 16,300 |
//! | the compiler's own choice for the same code, `i64x2.mul` of widened limbs at four times the price | 25,800 |
//! | one level of Karatsuba | *21,700* |
//! | none | *28,900* |
//! | scalar `i64.mul`, 28 bits, no Karatsuba | *73,000* |
//! | scalar, 32 bits, two accumulators | *92,000* |
//! | `i32x4.dot_i16x8_s` with limbs of 13 bits: half as many bits for each instruction | *25,000* |
//!
//! Three levels (limbs of 24 bits) save 2 % of the products and add more than that. ChaCha20 runs on four keys at
//! once, as SHA-256 does; the `chacha20` crate, which tests compare it with, has no form for Wasm's SIMD,
//! and takes three times as much. Natively, where tests and benchmarks run, the same code on arrays is fast enough.
//! What a coin costs in the module all told is in `tests/bench/results`, `commitment`.
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
        self.numerator.multiply(&element.0);
    }

    /// Takes an element away. Costs one multiplication.
    pub fn remove(&mut self, element: &Element) {
        self.denominator.multiply(&element.0);
    }

    /// Does to this set what `change` stands for. Costs two multiplications, however much that is.
    pub fn combine(&mut self, change: &Self) {
        self.numerator.multiply(&change.numerator);
        self.denominator.multiply(&change.denominator);
    }

    /// Returns the digest. Costs an inverse, as much as some hundred multiplications.
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
