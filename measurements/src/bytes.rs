//! Bounds-checked reading of little- and big-endian integers from a byte slice.
//!
//! Every function returns `None` instead of panicking when the slice is too short; the caller
//! knows what the missing field is called and says so.
//!
//! I/O: none.

/// Returns the `N` bytes at `offset`.
pub(crate) fn array<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    let end = offset.checked_add(N)?;
    bytes.get(offset..end)?.try_into().ok()
}

/// Returns the `length` bytes at `offset`.
pub(crate) fn slice(bytes: &[u8], offset: usize, length: usize) -> Option<&[u8]> {
    bytes.get(offset..offset.checked_add(length)?)
}

pub(crate) fn u8_at(bytes: &[u8], offset: usize) -> Option<u8> {
    bytes.get(offset).copied()
}

pub(crate) fn u16_le(bytes: &[u8], offset: usize) -> Option<u16> {
    array(bytes, offset).map(u16::from_le_bytes)
}

pub(crate) fn u32_le(bytes: &[u8], offset: usize) -> Option<u32> {
    array(bytes, offset).map(u32::from_le_bytes)
}

pub(crate) fn u64_le(bytes: &[u8], offset: usize) -> Option<u64> {
    array(bytes, offset).map(u64::from_le_bytes)
}

pub(crate) fn u32_be(bytes: &[u8], offset: usize) -> Option<u32> {
    array(bytes, offset).map(u32::from_be_bytes)
}

pub(crate) fn u64_be(bytes: &[u8], offset: usize) -> Option<u64> {
    array(bytes, offset).map(u64::from_be_bytes)
}

/// Widens a 32-bit field to an index.
pub(crate) fn index(value: u32) -> usize {
    // Lossless on every platform this builds for: `usize` is at least 32 bits there.
    usize::try_from(value).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_past_the_end_is_none() {
        let bytes = [1, 2, 3, 4];
        assert_eq!(u32_le(&bytes, 0), Some(0x0403_0201));
        assert_eq!(u32_le(&bytes, 1), None);
        assert_eq!(u32_le(&bytes, usize::MAX), None);
        assert_eq!(slice(&bytes, 2, usize::MAX), None);
        assert_eq!(slice(&bytes, 4, 0), Some(&[][..]));
    }
}
