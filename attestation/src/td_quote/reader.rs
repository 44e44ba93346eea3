//! Bounded reading of a quote's little-endian structures.
//!
//! I/O: none.

use super::TdQuoteError;

/// The bytes that are still to be read.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// How many bytes are still to be read.
    pub(super) fn left(&self) -> usize {
        self.0.len()
    }

    /// Ends reading of a structure that has `size` bytes: nothing may be left.
    pub(super) fn finish(self, field: &'static str, size: usize) -> Result<(), TdQuoteError> {
        match self.left() {
            0 => Ok(()),
            left => Err(TdQuoteError::Size {
                field,
                expected: size.saturating_sub(left),
                actual: size,
            }),
        }
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, TdQuoteError> {
        self.array(field).map(|bytes| u16::from_le_bytes(*bytes))
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, TdQuoteError> {
        self.array(field).map(|bytes| u32::from_le_bytes(*bytes))
    }

    /// Reads a `u32` that is a size.
    pub(super) fn size(&mut self, field: &'static str) -> Result<usize, TdQuoteError> {
        self.u32(field)
            .map(|size| usize::try_from(size).unwrap_or(usize::MAX))
    }

    /// Reads a `u16` that has only one right value.
    pub(super) fn expect_u16(
        &mut self,
        field: &'static str,
        expected: u32,
    ) -> Result<(), TdQuoteError> {
        let actual = self.u16(field)?.into();
        expect(field, expected, actual)
    }

    /// Reads a `u32` that has only one right value.
    pub(super) fn expect_u32(
        &mut self,
        field: &'static str,
        expected: u32,
    ) -> Result<(), TdQuoteError> {
        let actual = self.u32(field)?;
        expect(field, expected, actual)
    }

    pub(super) fn bytes(
        &mut self,
        field: &'static str,
        size: usize,
    ) -> Result<&'a [u8], TdQuoteError> {
        let (bytes, rest) = self
            .0
            .split_at_checked(size)
            .ok_or(TdQuoteError::Truncated { field })?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(super) fn array<const N: usize>(
        &mut self,
        field: &'static str,
    ) -> Result<&'a [u8; N], TdQuoteError> {
        let (bytes, rest) = self
            .0
            .split_first_chunk()
            .ok_or(TdQuoteError::Truncated { field })?;
        self.0 = rest;
        Ok(bytes)
    }
}

fn expect(field: &'static str, expected: u32, actual: u32) -> Result<(), TdQuoteError> {
    if actual == expected {
        Ok(())
    } else {
        Err(TdQuoteError::Value {
            field,
            expected,
            actual,
        })
    }
}
