//! Fixed-size fields: joins them into keys and values, and splits them off again.

/// Joins fields whose lengths add up to `N`; a shorter sum is zero padded.
pub(crate) fn join<const N: usize>(fields: &[&[u8]]) -> [u8; N] {
    let mut out = [0; N];
    let bytes = fields.iter().flat_map(|field| field.iter());
    for (slot, byte) in out.iter_mut().zip(bytes) {
        *slot = *byte;
    }
    out
}

/// Splits `N` bytes off the front, or returns `None` when fewer are left.
pub(crate) fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}
