//! Numbers as Bitcoin Core writes them: CompactSize, VARINT, compressed amounts.

/// Bytes read front to back; what is missing is `None`.
#[derive(Clone, Debug)]
pub(super) struct Bytes<'a> {
    all: &'a [u8],
    at: usize,
}

/// Why a number is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NumberError {
    /// The bytes end in the middle of it.
    CutOff,
    /// It is written longer than need be, or larger than 64 bits.
    Malformed,
}

impl<'a> Bytes<'a> {
    pub(super) const fn new(all: &'a [u8], at: usize) -> Self {
        Self { all, at }
    }

    pub(super) const fn at(&self) -> usize {
        self.at
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], NumberError> {
        let rest = self.all.get(self.at..).unwrap_or_default();
        let taken = rest.get(..count).ok_or(NumberError::CutOff)?;
        self.at += count;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], NumberError> {
        let taken = self.take(N)?;
        taken.first_chunk().copied().ok_or(NumberError::CutOff)
    }

    fn byte(&mut self) -> Result<u8, NumberError> {
        self.array().map(|[byte]| byte)
    }

    /// Reads a CompactSize in its shortest form.
    pub(super) fn compact_size(&mut self) -> Result<u64, NumberError> {
        let (number, least) = match self.byte()? {
            0xfd => (u64::from(u16::from_le_bytes(self.array()?)), 0xfd),
            0xfe => (u64::from(u32::from_le_bytes(self.array()?)), 0x1_0000),
            0xff => (u64::from_le_bytes(self.array()?), 0x1_0000_0000),
            short => (u64::from(short), 0),
        };
        if number < least {
            return Err(NumberError::Malformed);
        }
        Ok(number)
    }

    /// Reads a VARINT: seven bits a byte, highest first, each but the last with its high bit set, and one
    /// less than it stands for.
    pub(super) fn varint(&mut self) -> Result<u64, NumberError> {
        let mut number: u64 = 0;
        loop {
            let byte = self.byte()?;
            if number > u64::MAX >> 7 {
                return Err(NumberError::Malformed);
            }
            number = number << 7 | u64::from(byte & 0x7f);
            if byte & 0x80 == 0 {
                return Ok(number);
            }
            number = number.checked_add(1).ok_or(NumberError::Malformed)?;
        }
    }
}

pub(super) fn put_compact_size(out: &mut Vec<u8>, number: u64) {
    let size = bitcoin::consensus::encode::VarInt(number);
    out.extend_from_slice(&bitcoin::consensus::serialize(&size));
}

pub(super) fn put_varint(out: &mut Vec<u8>, number: u64) {
    let mut groups = [0; 10];
    let (mut rest, mut count) = (number, 0);
    for (at, group) in groups.iter_mut().enumerate() {
        *group = (rest & 0x7f) as u8 | if at > 0 { 0x80 } else { 0 };
        count = at + 1;
        if rest < 0x80 {
            break;
        }
        rest = (rest >> 7) - 1;
    }
    out.extend(groups.iter().take(count).rev());
}

/// Most decimal zeros that are left out of an amount.
const MAX_ZEROS: u64 = 9;

/// Leaves the decimal zeros of an amount below 2^60 out, as Bitcoin Core's `CompressAmount` does.
pub const fn compress_amount(satoshi: u64) -> u64 {
    if satoshi == 0 {
        return 0;
    }
    let (mut rest, mut zeros) = (satoshi, 0);
    while zeros < MAX_ZEROS && rest % 10 == 0 {
        rest /= 10;
        zeros += 1;
    }
    if zeros == MAX_ZEROS {
        return 1 + (rest - 1) * 10 + zeros;
    }
    // The last digit is not zero, which leaves nine.
    1 + (rest / 10 * 9 + rest % 10 - 1) * 10 + zeros
}

/// Puts the zeros back; `None` beyond 64 bits.
pub fn restore_amount(compressed: u64) -> Option<u64> {
    let Some(rest) = compressed.checked_sub(1) else {
        return Some(0);
    };
    let (rest, zeros) = (rest / 10, rest % 10);
    let digits = if zeros == MAX_ZEROS {
        rest + 1
    } else {
        (rest / 9).checked_mul(10)?.checked_add(rest % 9 + 1)?
    };
    digits.checked_mul(10_u64.pow(zeros as u32))
}
