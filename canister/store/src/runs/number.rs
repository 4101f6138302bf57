//! Numbers as leaves hold them: varints, signed numbers, compressed amounts.
//!
//! A varint has seven bits a byte, the lowest first; the top bit says that more follow. Only the
//! shortest form is read, so that equal entries have equal bytes.

use bitcoin::Amount;
use millrace_core::snapshot::{compress_amount, restore_amount};

use crate::StoreError;
use crate::record::take;

/// Longest varint of 64 bits, in bytes.
pub const MAX_VARINT_BYTES: usize = 10;

/// Longest varint of 128 bits, in bytes.
pub const MAX_WIDE_BYTES: usize = 19;

/// Decimal zeros that a compressed amount can leave out.
const MAX_ZEROS: u32 = 9;

/// Appends a varint.
pub fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Returns the bytes that a varint takes.
pub const fn varint_bytes(number: u32) -> usize {
    let bits = u32::BITS - (number | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// Appends a varint of up to 128 bits.
pub fn put_wide(out: &mut Vec<u8>, mut number: u128) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a signed number: zigzag, so that small ones of either sign are short.
pub fn put_signed(out: &mut Vec<u8>, number: i128) {
    if let Ok(narrow) = i64::try_from(number) {
        return put_varint(out, ((narrow << 1) ^ (narrow >> 63)) as u64);
    }
    put_wide(out, ((number << 1) ^ (number >> 127)) as u128);
}

/// Appends an amount with its decimal zeros left out, as Bitcoin Core's `CompressAmount` does.
pub fn put_amount(out: &mut Vec<u8>, amount: Amount) {
    let satoshi = amount.to_sat();
    if satoshi < NARROW {
        put_varint(out, compress_amount(satoshi));
    } else {
        put_wide(out, compress_wide(satoshi));
    }
}

/// Amounts below this, which is more than there can be under consensus rules, are compressed and
/// restored within 64 bits: Wasm computes with 128 ten times as slowly.
const NARROW: u64 = 1 << 60;

/// Wider than Bitcoin Core's result, since any 64-bit amount can appear here.
fn compress_wide(satoshi: u64) -> u128 {
    if satoshi == 0 {
        return 0;
    }
    let mut rest = u128::from(satoshi);
    let mut zeros = 0;
    while zeros < u128::from(MAX_ZEROS) && rest % 10 == 0 {
        rest /= 10;
        zeros += 1;
    }
    if zeros == u128::from(MAX_ZEROS) {
        1 + (rest - 1) * 10 + zeros
    } else {
        // The last digit is not zero, which leaves nine.
        1 + (rest / 10 * 9 + rest % 10 - 1) * 10 + zeros
    }
}

fn decompress(number: u128) -> Option<u64> {
    match u64::try_from(number) {
        Ok(narrow) if narrow < NARROW => restore_amount(narrow),
        _ => decompress_wide(number),
    }
}

fn decompress_wide(number: u128) -> Option<u64> {
    let Some(number) = number.checked_sub(1) else {
        return Some(0);
    };
    let zeros = (number % 10) as u32;
    let rest = number / 10;
    let digits = if zeros == MAX_ZEROS {
        rest.checked_add(1)?
    } else {
        (rest / 9).checked_mul(10)?.checked_add(rest % 9 + 1)?
    };
    u64::try_from(digits.checked_mul(10u128.pow(zeros))?).ok()
}

/// Reads stored bytes front to back; what is missing or malformed is a typed error.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Input<'a> {
    /// Starts at the front of `bytes`; errors name `what`.
    pub const fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { rest: bytes, what }
    }

    /// Returns the bytes not read yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Returns the number of bytes not read yet.
    pub const fn left(&self) -> usize {
        self.rest.len()
    }

    /// Returns an error that names the structure.
    pub fn damaged(&self, detail: impl ToString) -> StoreError {
        StoreError::damaged(self.what, detail)
    }

    /// Reads `length` bytes.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when fewer are left; so for all that follow.
    pub fn bytes(&mut self, length: usize) -> Result<&'a [u8], StoreError> {
        let Some((head, rest)) = self.rest.split_at_checked(length) else {
            return Err(self.damaged(format!("{length} bytes of {}", self.rest.len())));
        };
        self.rest = rest;
        Ok(head)
    }

    /// Reads `N` bytes.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let left = self.rest.len();
        take(&mut self.rest).ok_or_else(|| self.damaged(format!("{N} bytes of {left}")))
    }

    /// Reads the next bytes apart from what follows.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn part(&mut self, length: usize) -> Result<Self, StoreError> {
        let rest = self.bytes(length)?;
        Ok(Self { rest, ..*self })
    }

    /// Reads one byte.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn byte(&mut self) -> Result<u8, StoreError> {
        let Some((byte, rest)) = self.rest.split_first() else {
            return Err(self.damaged("it ends too early"));
        };
        self.rest = rest;
        Ok(*byte)
    }

    /// Reads a varint of up to 128 bits.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] also when it is too large or not in its shortest form.
    pub fn wide(&mut self) -> Result<u128, StoreError> {
        let mut number = 0u128;
        for index in 0..MAX_WIDE_BYTES as u32 {
            let byte = self.byte()?;
            let bits = u128::from(byte & 0x7f);
            let shifted = bits << (7 * index);
            if shifted >> (7 * index) != bits || (byte == 0 && index > 0) {
                return Err(self.damaged("a number too large or not in its shortest form"));
            }
            number |= shifted;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(self.damaged(format!("a number of more than {MAX_WIDE_BYTES} bytes")))
    }

    /// Reads a varint of up to 64 bits.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn varint(&mut self) -> Result<u64, StoreError> {
        if let Some(short) = self.short_varint() {
            return Ok(short);
        }
        let wide = self.wide()?;
        u64::try_from(wide).map_err(|_| self.damaged(format!("{wide} is over 64 bits")))
    }

    /// Reads a varint of up to eight bytes in its shortest form, which nearly all are; others are
    /// left where they are.
    fn short_varint(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for (index, byte) in self.rest.iter().take(8).enumerate() {
            number |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                if *byte == 0 && index > 0 {
                    return None;
                }
                self.rest = self.rest.get(index + 1..)?;
                return Some(number);
            }
        }
        None
    }

    /// Reads a varint of up to 32 bits.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn varint_u32(&mut self) -> Result<u32, StoreError> {
        if let [byte @ 0..0x80, rest @ ..] = self.rest {
            let number = u32::from(*byte);
            self.rest = rest;
            return Ok(number);
        }
        let wide = match self.short_varint() {
            Some(short) => u128::from(short),
            None => self.wide()?,
        };
        u32::try_from(wide).map_err(|_| self.damaged(format!("{wide} is over 32 bits")))
    }

    /// Reads a signed number.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn signed(&mut self) -> Result<i128, StoreError> {
        if let Some(short) = self.short_varint() {
            return Ok(i128::from((short >> 1) as i64 ^ -((short & 1) as i64)));
        }
        let wide = self.wide()?;
        Ok((wide >> 1) as i128 ^ -((wide & 1) as i128))
    }

    /// Reads a compressed amount.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn amount(&mut self) -> Result<Amount, StoreError> {
        let wide = match self.short_varint() {
            Some(short) => u128::from(short),
            None => self.wide()?,
        };
        let satoshi = decompress(wide);
        let satoshi = satoshi.ok_or_else(|| self.damaged(format!("{wide} is no amount")))?;
        Ok(Amount::from_sat(satoshi))
    }
}
