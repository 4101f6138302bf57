//! Four numbers of 32 bits.
//!
//! Unit tests run the form on arrays; the one with SIMD runs in the module, where every block's merkle root
//! checks it, and the commitment to the coins what [`crate::muhash`] needs of it.

use std::ops::{Add, BitXor};

#[cfg(target_feature = "simd128")]
use simd as lanes;

/// Four numbers, computed with at once.
#[derive(Clone, Copy)]
pub(crate) struct Vector(lanes::Lanes);

impl Vector {
    #[inline(always)]
    pub(crate) fn splat(number: u32) -> Self {
        Self(lanes::splat(number))
    }

    #[inline(always)]
    pub(crate) fn from_big_endian(bytes: [[u8; 4]; 4]) -> Self {
        Self(lanes::from_big_endian(bytes))
    }

    #[inline(always)]
    pub(crate) fn from_lanes(numbers: [u32; 4]) -> Self {
        Self(lanes::from_array(numbers))
    }

    #[inline(always)]
    pub(crate) fn lanes(self) -> [u32; 4] {
        lanes::to_array(self.0)
    }

    /// Rotates right by `RIGHT`; `LEFT` is what is missing to 32.
    #[inline(always)]
    pub(crate) fn rotated<const RIGHT: u32, const LEFT: u32>(self) -> Self {
        const { assert!(RIGHT + LEFT == u32::BITS) };
        Self(lanes::or(
            lanes::shifted_right(self.0, RIGHT),
            lanes::shifted_left(self.0, LEFT),
        ))
    }

    /// Rotates left by 16: moving bytes costs less than shifting.
    #[inline(always)]
    pub(crate) fn swapped(self) -> Self {
        Self(lanes::swapped(self.0))
    }

    /// Rotates left by 8.
    #[inline(always)]
    pub(crate) fn turned(self) -> Self {
        Self(lanes::turned(self.0))
    }

    #[inline(always)]
    pub(crate) fn shifted<const RIGHT: u32>(self) -> Self {
        Self(lanes::shifted_right(self.0, RIGHT))
    }

    /// Takes each bit from `ones` where it is set here, else from `zeros`.
    #[inline(always)]
    pub(crate) fn choose(self, ones: Self, zeros: Self) -> Self {
        Self(lanes::choose(self.0, ones.0, zeros.0))
    }

    /// Returns the bits that at least two of three have: where two differ, the third decides.
    #[inline(always)]
    pub(crate) fn majority(self, second: Self, third: Self) -> Self {
        (self ^ second).choose(third, self)
    }
}

impl Add for Vector {
    type Output = Self;

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(lanes::add(self.0, other.0))
    }
}

impl BitXor for Vector {
    type Output = Self;

    #[inline(always)]
    fn bitxor(self, other: Self) -> Self {
        Self(lanes::xor(self.0, other.0))
    }
}

#[cfg(target_feature = "simd128")]
mod simd {
    use core::arch::wasm32::{
        i8x16, i8x16_shuffle, i8x16_swizzle, i32x4_add, i32x4_extract_lane, i32x4_shl, i32x4_splat,
        u32x4, u32x4_shr, v128, v128_bitselect, v128_or, v128_xor,
    };

    pub(super) type Lanes = v128;

    #[inline(always)]
    pub(super) fn splat(number: u32) -> Lanes {
        i32x4_splat(number as i32)
    }

    #[inline(always)]
    pub(super) fn from_big_endian(bytes: [[u8; 4]; 4]) -> Lanes {
        let [a, b, c, d] = bytes.map(u32::from_le_bytes);
        let swapped = u32x4(a, b, c, d);
        i8x16_shuffle::<3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12>(swapped, swapped)
    }

    #[inline(always)]
    pub(super) fn from_array([a, b, c, d]: [u32; 4]) -> Lanes {
        u32x4(a, b, c, d)
    }

    #[inline(always)]
    pub(super) fn swapped(lanes: Lanes) -> Lanes {
        let places = i8x16(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
        i8x16_swizzle(lanes, places)
    }

    #[inline(always)]
    pub(super) fn turned(lanes: Lanes) -> Lanes {
        let places = i8x16(3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14);
        i8x16_swizzle(lanes, places)
    }

    #[inline(always)]
    pub(super) fn to_array(lanes: Lanes) -> [u32; 4] {
        [
            i32x4_extract_lane::<0>(lanes) as u32,
            i32x4_extract_lane::<1>(lanes) as u32,
            i32x4_extract_lane::<2>(lanes) as u32,
            i32x4_extract_lane::<3>(lanes) as u32,
        ]
    }

    #[inline(always)]
    pub(super) fn shifted_right(lanes: Lanes, by: u32) -> Lanes {
        u32x4_shr(lanes, by)
    }

    #[inline(always)]
    pub(super) fn shifted_left(lanes: Lanes, by: u32) -> Lanes {
        i32x4_shl(lanes, by)
    }

    #[inline(always)]
    pub(super) fn choose(mask: Lanes, ones: Lanes, zeros: Lanes) -> Lanes {
        v128_bitselect(ones, zeros, mask)
    }

    #[inline(always)]
    pub(super) fn or(a: Lanes, b: Lanes) -> Lanes {
        v128_or(a, b)
    }

    #[inline(always)]
    pub(super) fn xor(a: Lanes, b: Lanes) -> Lanes {
        v128_xor(a, b)
    }

    #[inline(always)]
    pub(super) fn add(a: Lanes, b: Lanes) -> Lanes {
        i32x4_add(a, b)
    }
}

#[cfg(not(target_feature = "simd128"))]
mod lanes {
    use std::array::from_fn;

    pub(super) type Lanes = [u32; 4];

    #[inline(always)]
    pub(super) fn splat(number: u32) -> Lanes {
        [number; 4]
    }

    #[inline(always)]
    pub(super) fn from_big_endian(bytes: [[u8; 4]; 4]) -> Lanes {
        bytes.map(u32::from_be_bytes)
    }

    #[inline(always)]
    pub(super) fn from_array(lanes: [u32; 4]) -> Lanes {
        lanes
    }

    #[inline(always)]
    pub(super) fn swapped(lanes: Lanes) -> Lanes {
        lanes.map(|lane| lane.rotate_left(16))
    }

    #[inline(always)]
    pub(super) fn turned(lanes: Lanes) -> Lanes {
        lanes.map(|lane| lane.rotate_left(8))
    }

    #[inline(always)]
    pub(super) fn to_array(lanes: Lanes) -> [u32; 4] {
        lanes
    }

    #[inline(always)]
    pub(super) fn shifted_right(lanes: Lanes, by: u32) -> Lanes {
        lanes.map(|lane| lane >> by)
    }

    #[inline(always)]
    pub(super) fn shifted_left(lanes: Lanes, by: u32) -> Lanes {
        lanes.map(|lane| lane << by)
    }

    #[inline(always)]
    pub(super) fn choose(mask: Lanes, ones: Lanes, zeros: Lanes) -> Lanes {
        from_fn(|lane| (mask[lane] & ones[lane]) | (!mask[lane] & zeros[lane]))
    }

    #[inline(always)]
    pub(super) fn or(a: Lanes, b: Lanes) -> Lanes {
        from_fn(|lane| a[lane] | b[lane])
    }

    #[inline(always)]
    pub(super) fn xor(a: Lanes, b: Lanes) -> Lanes {
        from_fn(|lane| a[lane] ^ b[lane])
    }

    #[inline(always)]
    pub(super) fn add(a: Lanes, b: Lanes) -> Lanes {
        from_fn(|lane| a[lane].wrapping_add(b[lane]))
    }
}
