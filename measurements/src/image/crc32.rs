//! CRC-32 as GPT uses it (ISO 3309, reflected polynomial 0xEDB88320; UEFI 2.10, 5.3.2).
//!
//! I/O: none.

const TABLE: [u32; 256] = table();

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "evaluated by the compiler, which refuses what overflows"
)]
const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 {
                (value >> 1) ^ 0xedb8_8320
            } else {
                value >> 1
            };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
}

/// Returns the CRC-32 of `bytes`.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    let updated = bytes.iter().fold(u32::MAX, |crc, byte| {
        let [low, ..] = crc.to_le_bytes();
        let entry = TABLE
            .get(usize::from(low ^ byte))
            .copied()
            .unwrap_or_default();
        entry ^ (crc >> 8)
    });
    !updated
}

#[cfg(test)]
mod tests {
    #[test]
    fn check_value() {
        assert_eq!(super::crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(super::crc32(b""), 0);
    }
}
