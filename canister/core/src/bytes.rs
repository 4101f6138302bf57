//! A bounded cursor for fixed-size records: every read names how much it takes and may fail.

/// Reads fixed-size fields from the front of a slice.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Takes `N` bytes, or `None` when fewer are left.
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*head)
    }

    /// Returns whether everything was taken.
    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(u8::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}

/// Turns collected fields into a record of exactly `N` bytes, zero padded.
///
/// Callers lay out constant-size fields, so the length never differs; a longer input would be cut.
pub(crate) fn fixed<const N: usize>(fields: &[&[u8]]) -> [u8; N] {
    let mut out = [0; N];
    let bytes = fields.iter().flat_map(|field| field.iter());
    for (slot, byte) in out.iter_mut().zip(bytes) {
        *slot = *byte;
    }
    out
}

/// Returns the first eight bytes of a key: they sort as keys do, as far as they go.
pub(crate) fn prefix(key: &[u8]) -> u64 {
    let first = key.first_chunk();
    first.map_or(0, |bytes| u64::from_be_bytes(*bytes))
}
