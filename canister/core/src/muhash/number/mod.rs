//! Numbers modulo the prime 2^3072 - 1,103,717.
//!
//! A number is [`LIMBS`] limbs of [`LIMB_BITS`] bits, least significant first, of which the last two are
//! zero: any value below 2^3080 stands for its remainder. Results are brought below that, and to the
//! remainder itself only where bytes are asked for.

mod inverse;
mod lanes;
mod product;

use product::{Columns, columns};

/// Bytes of a number.
pub const NUMBER_BYTES: usize = 384;

/// Words of a number.
pub(super) const WORDS: usize = NUMBER_BYTES / 4;

/// Bits of a limb.
const LIMB_BITS: u32 = 28;

const MASK: i64 = (1 << LIMB_BITS) - 1;

/// Limbs of a number: four blocks, see [`product`].
const LIMBS: usize = 112;

/// Limbs that a value below 2^3080 takes.
const USED: usize = 110;

/// What 2^3072 leaves.
const REST: i64 = 1_103_717;

/// What 2^3080, the value of the first limb that is not used, leaves.
const USED_REST: i64 = REST << 8;

/// Bits of the last used limb that are below 2^3072.
const LAST_BITS: u32 = 20;

/// A number; see the module's documentation.
#[derive(Clone, Debug)]
pub(super) struct Number([i32; LIMBS]);

impl PartialEq for Number {
    /// Compares remainders.
    fn eq(&self, other: &Self) -> bool {
        self.reduced().0 == other.reduced().0
    }
}

impl Eq for Number {}

impl Number {
    /// The number that changes nothing.
    pub(super) const ONE: Self = {
        let mut limbs = [0; LIMBS];
        limbs[0] = 1;
        Self(limbs)
    };

    /// Reads little-endian words. Eight limbs are as long as seven words.
    pub(super) fn from_words(words: &[u32; WORDS]) -> Self {
        let mut limbs = [0; LIMBS];
        let mut groups = words.chunks(7);
        for limbs in limbs.as_chunks_mut::<8>().0 {
            let mut group = [0; 7];
            for (slot, word) in group.iter_mut().zip(groups.next().unwrap_or_default()) {
                *slot = *word;
            }
            let [a, b, c, d, e, f, g] = group;
            let between = |low: u32, high: u32, shift: u32| low >> (32 - shift) | high << shift;
            *limbs = [
                a,
                between(a, b, 4),
                between(b, c, 8),
                between(c, d, 12),
                between(d, e, 16),
                between(e, f, 20),
                between(f, g, 24),
                g >> 4,
            ]
            .map(|limb| (limb & MASK as u32) as i32);
        }
        Self(limbs)
    }

    /// Reads little-endian bytes.
    pub(super) fn from_bytes(bytes: &[u8; NUMBER_BYTES]) -> Self {
        let mut words = [0; WORDS];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        Self::from_words(&words)
    }

    /// Returns the remainder's little-endian bytes.
    pub(super) fn to_bytes(&self) -> [u8; NUMBER_BYTES] {
        let limbs = self.reduced().0;
        let mut bytes = [0; NUMBER_BYTES];
        let (mut bits, mut held) = (0_u64, 0);
        let mut limbs = limbs.iter();
        for byte in &mut bytes {
            if held < 8 {
                bits |= limbs.next().map_or(0, |limb| *limb as u64) << held;
                held += LIMB_BITS;
            }
            *byte = bits as u8;
            bits >>= 8;
            held -= 8;
        }
        bytes
    }

    /// Multiplies by another number.
    pub(super) fn multiply(&mut self, other: &Self) {
        let mut sums = [0; 2 * LIMBS];
        columns(&self.0, &other.0, &mut sums);
        self.set(&mut sums);
    }

    /// Returns the product.
    pub(super) fn times(&self, other: &Self) -> Self {
        let mut product = self.clone();
        product.multiply(other);
        product
    }

    /// Passes carries on and brings the sum of columns below 2^3080.
    ///
    /// A column of a product is below 110 * 2^56, so adding what is carried to it and what folds onto it
    /// stays below 2^63; and so does the last carry times [`USED_REST`].
    fn set(&mut self, columns: &mut Columns) {
        let (low, rest) = columns.split_at_mut(USED);
        let high = &mut rest[..USED];
        let mut carry = 0;
        for column in &mut *high {
            let sum = *column + carry;
            *column = sum & MASK;
            carry = sum >> LIMB_BITS;
        }
        carry = 0;
        for ((limb, column), high) in self.0.iter_mut().zip(&*low).zip(&*high) {
            let sum = column + high * USED_REST + carry;
            *limb = (sum & MASK) as i32;
            carry = sum >> LIMB_BITS;
        }
        while carry != 0 {
            carry = self.add_small(carry * USED_REST);
        }
    }

    /// Adds a number that is not negative, and returns what goes beyond the used limbs.
    fn add_small(&mut self, mut carry: i64) -> i64 {
        for limb in self.0.iter_mut().take(USED) {
            let sum = i64::from(*limb) + carry;
            *limb = (sum & MASK) as i32;
            carry = sum >> LIMB_BITS;
            if carry == 0 {
                break;
            }
        }
        carry
    }

    /// Returns the bits from 2^3072 up, and leaves them out.
    fn take_top(&mut self) -> i64 {
        let last = &mut self.0[USED - 1];
        let top = *last >> LAST_BITS;
        *last &= (1 << LAST_BITS) - 1;
        i64::from(top)
    }

    /// Returns the remainder.
    fn reduced(&self) -> Self {
        let mut number = self.clone();
        loop {
            let top = number.take_top();
            if top == 0 {
                break;
            }
            number.add_small(top * REST);
        }
        // It is the prime or more if adding the rest goes beyond 2^3072.
        let mut less = number.clone();
        less.add_small(REST);
        if less.take_top() > 0 { less } else { number }
    }
}
