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

/// Pairs of columns of a product of blocks, by halves: as many columns as limbs in each.
const HALF: usize = BLOCK / 2;

type Block = [i32; BLOCK];

/// Columns of a product of blocks, two in each.
type BlockColumns = [Pair; BLOCK];

/// Columns of a product of numbers.
pub(super) type Columns = [i64; 2 * LIMBS];

/// Writes the columns of a product. Nine products of blocks.
pub(super) fn columns(a: &[i32; LIMBS], b: &[i32; LIMBS], out: &mut Columns) {
    let ([a0, a1, a2, a3], [b0, b1, b2, b3]) = (blocks(a), blocks(b));
    let (a02, a13) = (minus(a0, a2), minus(a1, a3));
    let (b20, b31) = (minus(b2, b0), minus(b3, b1));
    let mut products = [[zero(); BLOCK]; 9];
    let [low, middle_low, high, ..] = &mut products;
    block(a0, b0, low);
    block(&minus(a0, a1), &minus(b1, b0), middle_low);
    block(a1, b1, high);
    let [_, _, _, low, middle, high, ..] = &mut products;
    block(a2, b2, low);
    block(&minus(a2, a3), &minus(b3, b2), middle);
    block(a3, b3, high);
    let [.., low, middle, high] = &mut products;
    block(&a02, &b20, low);
    block(&minus(&a02, &a13), &minus(&b31, &b20), middle);
    block(&a13, &b31, high);
    join(&products, out);
}

/// Puts the parts of a product into their places: of three halves of two blocks each, and of each of these
/// the low product, the middle and the high one.
fn join(products: &[BlockColumns; 9], out: &mut Columns) {
    for at in 0..HALF {
        let half = |first: usize| {
            let [low, middle, high] = [0, 1, 2].map(|part| {
                let product = &products[first + part];
                [product[at], product[at + HALF]]
            });
            [
                low[0],
                add(low[1], add(middle[0], add(low[0], high[0]))),
                add(high[0], add(middle[1], add(low[1], high[1]))),
                high[1],
            ]
        };
        let (low, high, middle) = (half(0), half(3), half(6));
        let parts: [Pair; 8] = [
            low[0],
            low[1],
            add(low[2], add(middle[0], add(low[0], high[0]))),
            add(low[3], add(middle[1], add(low[1], high[1]))),
            add(high[0], add(middle[2], add(low[2], high[2]))),
            add(high[1], add(middle[3], add(low[3], high[3]))),
            high[2],
            high[3],
        ];
        for (part, pair) in parts.into_iter().enumerate() {
            let place = 2 * (at + part * HALF);
            [out[place], out[place + 1]] = numbers(pair);
        }
    }
}

fn blocks(limbs: &[i32; LIMBS]) -> [&Block; 4] {
    let blocks = limbs.as_chunks().0;
    std::array::from_fn(|at| &blocks[at])
}

#[inline(always)]
fn minus(a: &Block, b: &Block) -> Block {
    std::array::from_fn(|at| a[at] - b[at])
}

/// Writes the columns of a product of blocks.
fn block(a: &Block, b: &Block, out: &mut BlockColumns) {
    let fours = b.as_chunks::<4>().0;
    let b = std::array::from_fn(|at| quad(fours[at]));
    let a = std::array::from_fn(|at| splat(a[at]));
    sums(&a, &b, out);
}

/// Writes the columns of a product of blocks: one with each limb four times, and one with four in each.
///
/// A limb times four others in a row gives four columns in a row, which begin at a multiple of four
/// plus the limb's own place: those of even places are summed in pairs from an even column on, the
/// others in pairs from an odd one on, and both are joined at the end. Everything is unrolled, so that no
/// sum leaves the stack machine's locals. Never inlined: a compiler that sees the repeated limbs
/// widens them first, and multiplies with an operator of four times the price.
#[inline(never)]
fn sums(a: &[Quad; BLOCK], b: &[Quad; BLOCK / 4], out: &mut BlockColumns) {
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
}
