//! Fixed-size fields: joins them into keys and values, and splits them off again.

/// Joins fields whose lengths add up to `N`; a shorter sum is zero padded.
pub(crate) fn join<const N: usize>(fields: &[&[u8]]) -> [u8; N] {
    let mut out = [0; N];
    let mut rest = out.as_mut_slice();
    for field in fields {
        let length = field.len().min(rest.len());
        let (place, behind) = rest.split_at_mut(length);
        place.copy_from_slice(field.get(..length).unwrap_or_default());
        rest = behind;
    }
    out
}

/// Splits `N` bytes off the front, or returns `None` when fewer are left.
pub(crate) fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}
