//! Structures written field by field, in either byte order.
//!
//! I/O: none.

/// Appends fields.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    is_big_endian: bool,
}

impl Writer {
    /// As Intel and Microsoft write.
    pub(super) fn little_endian() -> Self {
        Self::default()
    }

    /// As TPMs write.
    pub(super) fn big_endian() -> Self {
        Self {
            bytes: Vec::new(),
            is_big_endian: true,
        }
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    pub(super) fn zeros(&mut self, count: usize) {
        self.bytes.resize(self.bytes.len() + count, 0);
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.number(&value.to_be_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.number(&value.to_be_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.number(&value.to_be_bytes());
    }

    /// Bytes with their count before them: a `TPM2B`.
    pub(super) fn sized(&mut self, bytes: &[u8]) {
        self.u16(u16::try_from(bytes.len()).expect("a short field"));
        self.bytes(bytes);
    }

    /// Bytes with their count before them, for longer ones.
    pub(super) fn sized_long(&mut self, bytes: &[u8]) {
        self.u32(u32::try_from(bytes.len()).expect("less than 4 GiB"));
        self.bytes(bytes);
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    fn number(&mut self, big_endian: &[u8]) {
        match self.is_big_endian {
            true => self.bytes.extend(big_endian),
            false => self.bytes.extend(big_endian.iter().rev()),
        }
    }
}
