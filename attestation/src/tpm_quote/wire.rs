//! Bounded reading of a TPM's big-endian structures.
//!
//! I/O: none.

/// Why bytes are not the structure they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// The bytes end before the field does.
    #[error("ends within {field}")]
    Truncated {
        /// The field's name in the TPM 2.0 Library, Part 2.
        field: &'static str,
    },
    /// Bytes follow the structure.
    #[error("{actual} bytes follow {structure}")]
    Trailing {
        /// The structure's name in the TPM 2.0 Library, Part 2.
        structure: &'static str,
        /// How many bytes.
        actual: usize,
    },
    /// A size or count is out of range.
    #[error("{field} has size {actual}, expected {least} to {most}")]
    Size {
        /// The field's name in the TPM 2.0 Library, Part 2.
        field: &'static str,
        /// Least size that is accepted.
        least: usize,
        /// Largest size that is accepted.
        most: usize,
        /// What the field has.
        actual: usize,
    },
    /// A field that must have one value has another.
    #[error("{field} is {actual:#x}, expected {expected:#x}")]
    Value {
        /// The field's name in the TPM 2.0 Library, Part 2.
        field: &'static str,
        /// What it must be.
        expected: u32,
        /// What it is.
        actual: u32,
    },
}

/// The bytes that are still to be read.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Ends reading: nothing may be left.
    pub(super) fn finish(self, structure: &'static str) -> Result<(), ParseError> {
        match self.0.len() {
            0 => Ok(()),
            actual => Err(ParseError::Trailing { structure, actual }),
        }
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, ParseError> {
        self.array(field).map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, ParseError> {
        self.array(field).map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, ParseError> {
        self.array(field).map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self, field: &'static str) -> Result<u64, ParseError> {
        self.array(field).map(u64::from_be_bytes)
    }

    /// Reads a `u16` that has only one right value.
    pub(super) fn expect_u16(
        &mut self,
        field: &'static str,
        expected: u16,
    ) -> Result<(), ParseError> {
        expect(field, expected.into(), self.u16(field)?.into())
    }

    /// Reads a `u32` that has only one right value.
    pub(super) fn expect_u32(
        &mut self,
        field: &'static str,
        expected: u32,
    ) -> Result<(), ParseError> {
        expect(field, expected, self.u32(field)?)
    }

    /// Reads a `TPM2B`: a `u16` size and as many bytes, `least..=most` of them.
    pub(super) fn sized(
        &mut self,
        field: &'static str,
        least: usize,
        most: usize,
    ) -> Result<&'a [u8], ParseError> {
        let size = self.u16(field)?.into();
        self.bytes(field, in_range(field, size, least, most)?)
    }

    pub(super) fn bytes(
        &mut self,
        field: &'static str,
        size: usize,
    ) -> Result<&'a [u8], ParseError> {
        let (bytes, rest) = self
            .0
            .split_at_checked(size)
            .ok_or(ParseError::Truncated { field })?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], ParseError> {
        let (bytes, rest) = self
            .0
            .split_first_chunk()
            .ok_or(ParseError::Truncated { field })?;
        self.0 = rest;
        Ok(*bytes)
    }
}

/// Refuses a size or count outside `least..=most`.
pub(super) fn in_range(
    field: &'static str,
    actual: usize,
    least: usize,
    most: usize,
) -> Result<usize, ParseError> {
    if (least..=most).contains(&actual) {
        Ok(actual)
    } else {
        Err(ParseError::Size {
            field,
            least,
            most,
            actual,
        })
    }
}

fn expect(field: &'static str, expected: u32, actual: u32) -> Result<(), ParseError> {
    if actual == expected {
        Ok(())
    } else {
        Err(ParseError::Value {
            field,
            expected,
            actual,
        })
    }
}
