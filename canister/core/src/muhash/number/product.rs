//! The columns of a product: sums of products of limbs, before any carry.
//!
//! Two levels of Karatsuba with differences: of blocks `a + bX` and `c + dX`, the middle is
//! `ac + bd + (a - b)(d - c)`. Limbs of 28 bits and differences of differences are below 2^29 in size, and
//! 28 products of them below 2^63; sums on the way may wrap, the columns themselves do not.

use super::LIMBS;
use super::lanes::{
    Pair, Quad, across, add, high_products, low_products, numbers, quad, splat, zero,
};

/// Limbs of a block.
const BLOCK: usize = 28;

/// Columns of a product of two numbers, in pairs.
pub(super) type Columns = [Pair; LIMBS];

type Block = [i32; BLOCK];

/// Two columns in each.
type BlockColumns = [Pair; BLOCK];
type HalfColumns = [Pair; 2 * BLOCK];

/// Returns the columns of a product. Nine products of blocks.
pub(super) fn columns(a: &[i32; LIMBS], b: &[i32; LIMBS]) -> Columns {
    let ([a0, a1, a2, a3], [b0, b1, b2, b3]) = (blocks(a), blocks(b));
    let low = half(&[a0, a1], &[b0, b1]);
    let high = half(&[a2, a3], &[b2, b3]);
    let middle = half(
        &[minus(&a0, &a2), minus(&a1, &a3)],
        &[minus(&b2, &b0), minus(&b3, &b1)],
    );
    let mut out = [zero(); LIMBS];
    join(&mut out, &low, &high, &middle);
    out
}

/// Returns columns one by one.
pub(super) fn scalars(columns: &Columns) -> [i64; 2 * LIMBS] {
    let mut out = [0; 2 * LIMBS];
    for (slots, pair) in out.as_chunks_mut().0.iter_mut().zip(columns) {
        *slots = numbers(*pair);
    }
    out
}

fn half([a0, a1]: &[Block; 2], [b0, b1]: &[Block; 2]) -> HalfColumns {
    let low = block(a0, b0);
    let high = block(a1, b1);
    let middle = block(&minus(a0, a1), &minus(b1, b0));
    let mut out = [zero(); 2 * BLOCK];
    join(&mut out, &low, &high, &middle);
    out
}

/// Puts the three parts of a product into their places.
#[inline(always)]
fn join(out: &mut [Pair], low: &[Pair], high: &[Pair], middle: &[Pair]) {
    for (slot, pair) in out.iter_mut().zip(low.iter().chain(high)) {
        *slot = *pair;
    }
    let ends = low.iter().zip(high);
    let slots = out.iter_mut().skip(low.len() / 2);
    for ((slot, middle), (low, high)) in slots.zip(middle).zip(ends) {
        *slot = add(*slot, add(*middle, add(*low, *high)));
    }
}

fn blocks(limbs: &[i32; LIMBS]) -> [Block; 4] {
    let mut out = [[0; BLOCK]; 4];
    for (block, limbs) in out.iter_mut().zip(limbs.as_chunks().0) {
        *block = *limbs;
    }
    out
}

fn minus(a: &Block, b: &Block) -> Block {
    let mut out = *a;
    for (a, b) in out.iter_mut().zip(b) {
        *a -= b;
    }
    out
}

/// Returns the columns of a product of blocks.
fn block(a: &Block, b: &Block) -> BlockColumns {
    let fours = b.as_chunks::<4>().0;
    let b = std::array::from_fn(|at| quad(fours[at]));
    let a = std::array::from_fn(|at| splat(a[at]));
    sums(&a, &b)
}

/// Returns the columns of a product of blocks: one with each limb four times, and one with four in each.
///
/// A limb times four others in a row gives four columns in a row, which begin at a multiple of four
/// plus the limb's own place: those of even places are summed in pairs from an even column on, the
/// others in pairs from an odd one on, and both are joined at the end. Everything is unrolled, so that no
/// sum leaves the stack machine's locals. Never inlined: a compiler that sees the repeated limbs
/// widens them first, and multiplies with an operator of four times the price.
#[inline(never)]
fn sums(a: &[Quad; BLOCK], b: &[Quad; BLOCK / 4]) -> BlockColumns {
    let mut out = [zero(); BLOCK];
    let mut before = zero();
    // What limbs at place `$place` of their fours add to the `$four`th four of columns.
    macro_rules! sum {
        ($sum:ident, $product:ident, $place:expr, $four:expr) => {
            sum!(@ $sum, $product, $place, $four, 0 1 2 3 4 5 6)
        };
        (@ $sum:ident, $product:ident, $place:expr, $four:expr, $($at:literal)*) => {
            $(
                if $at <= $four && $four < $at + 7 {
                    $sum = add($sum, $product(a[4 * $at + $place], b[($four + 7 - $at) % 7]));
                }
            )*
        };
    }
    macro_rules! four {
        ($($four:literal)*) => {
            $(
                let (mut even, mut odd) = (zero(), zero());
                sum!(even, low_products, 0, $four);
                sum!(odd, low_products, 1, $four);
                if $four > 0 {
                    sum!(even, high_products, 2, ($four + 12) % 13);
                    sum!(odd, high_products, 3, ($four + 12) % 13);
                }
                out[2 * $four] = add(even, across(before, odd));
                before = odd;
                let (mut even, mut odd) = (zero(), zero());
                sum!(even, high_products, 0, $four);
                sum!(even, low_products, 2, $four);
                sum!(odd, high_products, 1, $four);
                sum!(odd, low_products, 3, $four);
                out[2 * $four + 1] = add(even, across(before, odd));
                before = odd;
            )*
        };
    }
    four!(0 1 2 3 4 5 6 7 8 9 10 11 12);
    let (mut even, mut odd) = (zero(), zero());
    sum!(even, high_products, 2, 12);
    sum!(odd, high_products, 3, 12);
    out[26] = add(even, across(before, odd));
    out[27] = across(odd, zero());
    out
}
