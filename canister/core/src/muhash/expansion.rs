//! Makes numbers of digests: the ChaCha20 streams (RFC 8439) of four keys at once, their nonces zero.

use super::number::WORDS;
use crate::sha256::vector::Vector;
use crate::sha256::{Digest, LANES};

/// "expand 32-byte k".
const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];

/// Words of one block of a stream.
const BLOCK_WORDS: usize = 16;

/// Two rounds, one over columns and one over diagonals, at a time.
const DOUBLE_ROUNDS: usize = 10;

/// Returns the first 384 bytes of four streams, as little-endian words.
pub(super) fn expand(keys: &[Digest; LANES]) -> [[u32; WORDS]; LANES] {
    let words = keys.map(|key| {
        let mut words = [0; 8];
        for (word, bytes) in words.iter_mut().zip(key.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        words
    });
    let mut start = [Vector::splat(0); BLOCK_WORDS];
    for (slot, constant) in start.iter_mut().zip(CONSTANTS) {
        *slot = Vector::splat(constant);
    }
    for (at, slot) in start.iter_mut().skip(4).take(8).enumerate() {
        *slot = Vector::from_lanes(words.map(|words| words[at]));
    }
    let mut out = [[0; WORDS]; LANES];
    for block in 0..WORDS / BLOCK_WORDS {
        start[12] = Vector::splat(block as u32);
        for (at, word) in keystream(&start).into_iter().enumerate() {
            for (out, lane) in out.iter_mut().zip(word.lanes()) {
                out[block * BLOCK_WORDS + at] = lane;
            }
        }
    }
    out
}

fn keystream(start: &[Vector; BLOCK_WORDS]) -> [Vector; BLOCK_WORDS] {
    let [
        mut a,
        mut b,
        mut c,
        mut d,
        mut e,
        mut f,
        mut g,
        mut h,
        mut i,
        mut j,
        mut k,
        mut l,
        mut m,
        mut n,
        mut o,
        mut p,
    ] = *start;
    for _ in 0..DOUBLE_ROUNDS {
        [a, e, i, m] = quarter(a, e, i, m);
        [b, f, j, n] = quarter(b, f, j, n);
        [c, g, k, o] = quarter(c, g, k, o);
        [d, h, l, p] = quarter(d, h, l, p);
        [a, f, k, p] = quarter(a, f, k, p);
        [b, g, l, m] = quarter(b, g, l, m);
        [c, h, i, n] = quarter(c, h, i, n);
        [d, e, j, o] = quarter(d, e, j, o);
    }
    let mut out = [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p];
    for (word, start) in out.iter_mut().zip(start) {
        *word = *word + *start;
    }
    out
}

#[inline(always)]
fn quarter(mut a: Vector, mut b: Vector, mut c: Vector, mut d: Vector) -> [Vector; 4] {
    a = a + b;
    d = (d ^ a).swapped();
    c = c + d;
    b = (b ^ c).rotated::<20, 12>();
    a = a + b;
    d = (d ^ a).turned();
    c = c + d;
    b = (b ^ c).rotated::<25, 7>();
    [a, b, c, d]
}
