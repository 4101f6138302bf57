//! Reads the fields of a payload: nothing is taken that is not there, nothing allocated before its
//! count is judged.

use super::error::PayloadError;

/// Reads fields from the front of a payload.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    length: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(payload: &'a [u8]) -> Self {
        Self {
            rest: payload,
            length: payload.len(),
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    const fn ends(&self, field: &'static str) -> PayloadError {
        PayloadError::Ends {
            field,
            length: self.length,
        }
    }

    pub(super) fn bytes(
        &mut self,
        count: usize,
        field: &'static str,
    ) -> Result<&'a [u8], PayloadError> {
        let split = self.rest.split_at_checked(count);
        let (taken, rest) = split.ok_or_else(|| self.ends(field))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(
        &mut self,
        field: &'static str,
    ) -> Result<[u8; N], PayloadError> {
        let split = self.rest.split_first_chunk::<N>();
        let (taken, rest) = split.ok_or_else(|| self.ends(field))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, PayloadError> {
        self.array(field).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, field: &'static str) -> Result<u64, PayloadError> {
        self.array(field).map(u64::from_le_bytes)
    }

    /// Takes a number in Bitcoin's variable length, which must be its shortest form.
    pub(super) fn number(&mut self, field: &'static str) -> Result<u64, PayloadError> {
        let [first] = self.array(field)?;
        let (number, least) = match first {
            0xfd => (u64::from(u16::from_le_bytes(self.array(field)?)), 0xfd_u64),
            0xfe => (u64::from(self.u32(field)?), 0x1_0000),
            0xff => (self.u64(field)?, 0x1_0000_0000),
            short => (u64::from(short), 0),
        };
        if number < least {
            return Err(PayloadError::NotMinimal { field, number });
        }
        Ok(number)
    }

    /// Takes the number of entries that follow.
    pub(super) fn count(
        &mut self,
        most: usize,
        field: &'static str,
    ) -> Result<usize, PayloadError> {
        let number = self.number(field)?;
        match usize::try_from(number) {
            Ok(count) if count <= most => Ok(count),
            _ => Err(PayloadError::TooMany {
                field,
                number,
                most,
            }),
        }
    }
}
