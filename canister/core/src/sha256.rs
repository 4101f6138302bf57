//! SHA-256 of four messages at once, which is how a block's thousands of ids are hashed.
//!
//! A canister pays for each Wasm instruction, and one on four numbers costs hardly more than one on
//! one: with SIMD four messages cost as much as two alone. Without it (natively, or in a module built
//! without `simd128`) the same code runs on arrays. For a single message the `bitcoin` crate's hash is
//! used.

#![allow(
    clippy::indexing_slicing,
    reason = "of arrays, by constants and by numbers below 16"
)]

#[cfg(test)]
mod tests;
pub(crate) mod vector;

use vector::Vector;

/// Messages hashed at once.
pub const LANES: usize = 4;

/// Bytes that are hashed in one go.
pub const BLOCK_BYTES: usize = 64;

/// Longest message whose padding fits the same block.
pub const SHORT_BYTES: usize = BLOCK_BYTES - 9;

/// A part of a padded message.
pub type Block = [u8; BLOCK_BYTES];

/// A digest.
pub type Digest = [u8; 32];

/// FIPS 180-4, section 5.3.3.
const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// FIPS 180-4, section 4.2.2.
const ROUND: [u32; 64] = [
    0x428a_2f98,
    0x7137_4491,
    0xb5c0_fbcf,
    0xe9b5_dba5,
    0x3956_c25b,
    0x59f1_11f1,
    0x923f_82a4,
    0xab1c_5ed5,
    0xd807_aa98,
    0x1283_5b01,
    0x2431_85be,
    0x550c_7dc3,
    0x72be_5d74,
    0x80de_b1fe,
    0x9bdc_06a7,
    0xc19b_f174,
    0xe49b_69c1,
    0xefbe_4786,
    0x0fc1_9dc6,
    0x240c_a1cc,
    0x2de9_2c6f,
    0x4a74_84aa,
    0x5cb0_a9dc,
    0x76f9_88da,
    0x983e_5152,
    0xa831_c66d,
    0xb003_27c8,
    0xbf59_7fc7,
    0xc6e0_0bf3,
    0xd5a7_9147,
    0x06ca_6351,
    0x1429_2967,
    0x27b7_0a85,
    0x2e1b_2138,
    0x4d2c_6dfc,
    0x5338_0d13,
    0x650a_7354,
    0x766a_0abb,
    0x81c2_c92e,
    0x9272_2c85,
    0xa2bf_e8a1,
    0xa81a_664b,
    0xc24b_8b70,
    0xc76c_51a3,
    0xd192_e819,
    0xd699_0624,
    0xf40e_3585,
    0x106a_a070,
    0x19a4_c116,
    0x1e37_6c08,
    0x2748_774c,
    0x34b0_bcb5,
    0x391c_0cb3,
    0x4ed8_aa4a,
    0x5b9c_ca4f,
    0x682e_6ff3,
    0x748f_82ee,
    0x78a5_636f,
    0x84c8_7814,
    0x8cc7_0208,
    0x90be_fffa,
    0xa450_6ceb,
    0xbef9_a3f7,
    0xc671_78f2,
];

/// Returns the blocks that a message of so many bytes takes with its padding.
pub const fn blocks_of(length: usize) -> usize {
    (length + 8) / BLOCK_BYTES + 1
}

/// Pads the message that fills the front of `padded`, which is [`blocks_of`] its length long.
pub fn pad(padded: &mut [u8], length: usize) {
    let Some(padding) = padded.get_mut(length..) else {
        return;
    };
    padding.fill(0);
    if let Some(first) = padding.first_mut() {
        *first = 0x80;
    }
    if let Some(tail) = padding.last_chunk_mut() {
        *tail = (length as u64 * 8).to_be_bytes();
    }
}

/// Returns a message of up to [`SHORT_BYTES`] with its padding; a longer one is cut.
pub fn short_block(message: &[u8]) -> Block {
    let mut block = [0; BLOCK_BYTES];
    let length = message.len().min(SHORT_BYTES);
    for (slot, byte) in block.iter_mut().zip(message.iter().take(length)) {
        *slot = *byte;
    }
    pad(&mut block, length);
    block
}

/// Returns the digests of four padded messages. Costs as many blocks as the longest has.
pub fn digests(messages: [&[Block]; LANES]) -> [Digest; LANES] {
    let mut state = State::initial();
    let mut out = [[0; 32]; LANES];
    let longest = messages.iter().map(|message| message.len()).max();
    let ended = [0; BLOCK_BYTES];
    for at in 0..longest.unwrap_or(0) {
        state.compress(messages.map(|message| message.get(at).unwrap_or(&ended)));
        if messages.iter().any(|message| message.len() == at + 1) {
            for ((out, digest), message) in out.iter_mut().zip(state.digests()).zip(messages) {
                if message.len() == at + 1 {
                    *out = digest;
                }
            }
        }
    }
    out
}

/// Returns the digests of four digests.
pub fn digests_of_digests(inner: [Digest; LANES]) -> [Digest; LANES] {
    let blocks = inner.map(|digest| {
        let mut block = [0; BLOCK_BYTES];
        if let Some(front) = block.first_chunk_mut() {
            *front = digest;
        }
        pad(&mut block, digest.len());
        block
    });
    let mut state = State::initial();
    state.compress(blocks.each_ref());
    state.digests()
}

/// Returns the double SHA-256 of four pairs of digests: parents in a merkle tree.
pub fn parents(pairs: [&Block; LANES]) -> [Digest; LANES] {
    // A pair fills a block, so its padding is the one after it.
    let mut padded = [0; 2 * BLOCK_BYTES];
    pad(&mut padded, BLOCK_BYTES);
    let padding = padded.last_chunk().copied().unwrap_or([0; BLOCK_BYTES]);
    let mut state = State::initial();
    state.compress(pairs);
    state.compress([&padding; LANES]);
    digests_of_digests(state.digests())
}

/// The states of four messages.
struct State([Vector; 8]);

impl State {
    fn initial() -> Self {
        Self(INITIAL.map(Vector::splat))
    }

    fn digests(&self) -> [Digest; LANES] {
        let words = self.0.map(Vector::lanes);
        let mut out = [[0; 32]; LANES];
        for (lane, digest) in out.iter_mut().enumerate() {
            for (bytes, word) in digest.as_chunks_mut::<4>().0.iter_mut().zip(&words) {
                *bytes = word.get(lane).copied().unwrap_or_default().to_be_bytes();
            }
        }
        out
    }

    /// FIPS 180-4, section 6.2.2.
    fn compress(&mut self, blocks: [&Block; LANES]) {
        let mut words = load(blocks);
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = self.0;
        macro_rules! round {
            ($a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident, $k:expr, $w:expr) => {
                let sum = $e.rotated::<6, 26>() ^ $e.rotated::<11, 21>() ^ $e.rotated::<25, 7>();
                let one = $h + sum + $e.choose($f, $g) + (Vector::splat($k) + $w);
                let sum = $a.rotated::<2, 30>() ^ $a.rotated::<13, 19>() ^ $a.rotated::<22, 10>();
                $d = $d + one;
                $h = one + (sum + $a.majority($b, $c));
            };
        }
        macro_rules! sixteen {
            ($from:expr, $word:expr) => {
                let word = $word;
                let k = |at: usize| ROUND[$from + at];
                round!(a b c d e f g h, k(0), word(0, &mut words));
                round!(h a b c d e f g, k(1), word(1, &mut words));
                round!(g h a b c d e f, k(2), word(2, &mut words));
                round!(f g h a b c d e, k(3), word(3, &mut words));
                round!(e f g h a b c d, k(4), word(4, &mut words));
                round!(d e f g h a b c, k(5), word(5, &mut words));
                round!(c d e f g h a b, k(6), word(6, &mut words));
                round!(b c d e f g h a, k(7), word(7, &mut words));
                round!(a b c d e f g h, k(8), word(8, &mut words));
                round!(h a b c d e f g, k(9), word(9, &mut words));
                round!(g h a b c d e f, k(10), word(10, &mut words));
                round!(f g h a b c d e, k(11), word(11, &mut words));
                round!(e f g h a b c d, k(12), word(12, &mut words));
                round!(d e f g h a b c, k(13), word(13, &mut words));
                round!(c d e f g h a b, k(14), word(14, &mut words));
                round!(b c d e f g h a, k(15), word(15, &mut words));
            };
        }
        sixteen!(0, |at: usize, words: &mut [Vector; 16]| words[at]);
        sixteen!(16, schedule);
        sixteen!(32, schedule);
        sixteen!(48, schedule);
        for (sum, add) in self.0.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *sum = *sum + add;
        }
    }
}

/// Computes the word that takes the place of one sixteen rounds before.
#[inline(always)]
fn schedule(at: usize, words: &mut [Vector; 16]) -> Vector {
    let before = words[(at + 1) & 15];
    let zero = before.rotated::<7, 25>() ^ before.rotated::<18, 14>() ^ before.shifted::<3>();
    let after = words[(at + 14) & 15];
    let one = after.rotated::<17, 15>() ^ after.rotated::<19, 13>() ^ after.shifted::<10>();
    words[at] = (words[at] + zero) + (words[(at + 9) & 15] + one);
    words[at]
}

fn load(blocks: [&Block; LANES]) -> [Vector; 16] {
    let words = blocks.map(|block| block.as_chunks::<4>().0);
    std::array::from_fn(|at| Vector::from_big_endian(words.map(|words| words[at])))
}
