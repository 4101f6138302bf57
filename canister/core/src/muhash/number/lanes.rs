//! Four numbers of 32 bits, and two of 64: what a product is computed with at once.
//!
//! Unit tests run the form on arrays; the one with SIMD runs in the module, where a node's hash checks it.

#[cfg(not(target_feature = "simd128"))]
pub(super) use arrays::*;
#[cfg(target_feature = "simd128")]
pub(super) use simd::*;

#[cfg(target_feature = "simd128")]
mod simd {
    use core::arch::wasm32::{
        i32x4, i32x4_splat, i64x2_add, i64x2_extmul_high_i32x4, i64x2_extmul_low_i32x4,
        i64x2_extract_lane, i64x2_shuffle, i64x2_splat, v128,
    };

    pub(in super::super) type Quad = v128;
    pub(in super::super) type Pair = v128;

    #[inline(always)]
    pub(in super::super) fn zero() -> Pair {
        i64x2_splat(0)
    }

    #[inline(always)]
    pub(in super::super) fn quad([a, b, c, d]: [i32; 4]) -> Quad {
        i32x4(a, b, c, d)
    }

    #[inline(always)]
    pub(in super::super) fn splat(number: i32) -> Quad {
        i32x4_splat(number)
    }

    #[inline(always)]
    pub(in super::super) fn low_products(a: Quad, b: Quad) -> Pair {
        i64x2_extmul_low_i32x4(a, b)
    }

    #[inline(always)]
    pub(in super::super) fn high_products(a: Quad, b: Quad) -> Pair {
        i64x2_extmul_high_i32x4(a, b)
    }

    #[inline(always)]
    pub(in super::super) fn add(a: Pair, b: Pair) -> Pair {
        i64x2_add(a, b)
    }

    #[inline(always)]
    pub(in super::super) fn across(a: Pair, b: Pair) -> Pair {
        i64x2_shuffle::<1, 2>(a, b)
    }

    #[inline(always)]
    pub(in super::super) fn numbers(pair: Pair) -> [i64; 2] {
        [i64x2_extract_lane::<0>(pair), i64x2_extract_lane::<1>(pair)]
    }
}

#[cfg(not(target_feature = "simd128"))]
mod arrays {
    pub(in super::super) type Quad = [i32; 4];
    pub(in super::super) type Pair = [i64; 2];

    #[inline(always)]
    pub(in super::super) const fn zero() -> Pair {
        [0; 2]
    }

    #[inline(always)]
    pub(in super::super) const fn quad(numbers: [i32; 4]) -> Quad {
        numbers
    }

    #[inline(always)]
    pub(in super::super) const fn splat(number: i32) -> Quad {
        [number; 4]
    }

    #[inline(always)]
    pub(in super::super) fn low_products(a: Quad, b: Quad) -> Pair {
        [
            i64::from(a[0]) * i64::from(b[0]),
            i64::from(a[1]) * i64::from(b[1]),
        ]
    }

    #[inline(always)]
    pub(in super::super) fn high_products(a: Quad, b: Quad) -> Pair {
        [
            i64::from(a[2]) * i64::from(b[2]),
            i64::from(a[3]) * i64::from(b[3]),
        ]
    }

    #[inline(always)]
    pub(in super::super) fn add(a: Pair, b: Pair) -> Pair {
        [a[0].wrapping_add(b[0]), a[1].wrapping_add(b[1])]
    }

    #[inline(always)]
    pub(in super::super) fn across(a: Pair, b: Pair) -> Pair {
        [a[1], b[0]]
    }

    #[inline(always)]
    pub(in super::super) fn numbers(pair: Pair) -> [i64; 2] {
        pair
    }
}
