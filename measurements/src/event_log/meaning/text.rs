//! Text in events: found, and made harmless.
//!
//! I/O: none.

use std::fmt;

/// A text that comes from a log. Displayed, it has printable ASCII and spaces only; everything
/// else is written `\u{…}`, so that no line break, escape sequence or change of direction gets to
/// a terminal.
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        self.0.chars().try_for_each(|c| match c {
            ' '..='~' => f.write_char(c),
            _ => write!(f, "{}", c.escape_unicode()),
        })
    }
}

/// Decodes text in UTF-16LE or ASCII, without the NULs behind it; `None` if it is not text.
///
/// UTF-16 is what has a zero in at least every other odd place: names and command lines in
/// letters that have ASCII digits and signs among them.
pub(in super::super) fn decode(data: &[u8]) -> Option<String> {
    decode_utf16(data).or_else(|| {
        let end = data.iter().rposition(|byte| *byte != 0)?;
        let text = data.get(..=end)?;
        let is_text = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~');
        let is_ascii = text.iter().all(is_text);
        is_ascii.then(|| String::from_utf8_lossy(text).into_owned())
    })
}

fn decode_utf16(data: &[u8]) -> Option<String> {
    let mut units: Vec<u16> = data.chunks_exact(2).filter_map(unit).collect();
    let end = units.iter().rposition(|unit| *unit != 0)?;
    units.truncate(end.saturating_add(1));
    let narrow = units.iter().filter(|unit| **unit < 0x100).count();
    let is_utf16 = data.len().is_multiple_of(2)
        && narrow.saturating_mul(2) >= units.len()
        && !units.contains(&0);
    is_utf16.then(|| String::from_utf16(&units).ok()).flatten()
}

fn unit(pair: &[u8]) -> Option<u16> {
    pair.try_into().ok().map(u16::from_le_bytes)
}

/// Returns the text in UTF-16LE, without a NUL.
pub(in super::super) fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// Reads UTF-16LE up to the first NUL or the end; unpaired surrogates are replaced.
pub(super) fn utf16_until_nul(data: &[u8]) -> String {
    let units = data.chunks_exact(2).filter_map(unit);
    let units: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
    String::from_utf16_lossy(&units)
}

/// Writes a GUID as UEFI does: the first three fields are little-endian.
pub(super) fn guid(bytes: [u8; 16]) -> String {
    let [a, b, c, d, e, f, g, h, rest @ ..] = bytes;
    let (first, second, third) = (
        u32::from_le_bytes([a, b, c, d]),
        u16::from_le_bytes([e, f]),
        u16::from_le_bytes([g, h]),
    );
    let [i, j, node @ ..] = rest;
    let node: String = node.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{first:08x}-{second:04x}-{third:04x}-{i:02x}{j:02x}-{node}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_encodings_are_told_apart() {
        assert_eq!(
            decode(b"Exit Boot Services"),
            Some("Exit Boot Services".into())
        );
        assert_eq!(decode(b"quiet\0"), Some("quiet".into()));
        assert_eq!(decode(b".\0l\0i\0\0\0"), Some(".li".into()));
        assert_eq!(decode(&utf16("aäb")), Some("aäb".into()));
        assert_eq!(decode(b"a\0"), Some("a".into()));
        assert_eq!(decode(b""), None);
        assert_eq!(decode(&[0, 0, 0, 0]), None);
        assert_eq!(decode(b"a\x1b[31m"), None);
        assert_eq!(decode(b"a\0\0\0b\0"), None);
    }

    #[test]
    fn control_and_direction_characters_are_escaped() {
        let hostile = "a\u{1b}[2Jb\u{202e}c\n\u{7f}ä\\";
        assert_eq!(
            Escaped(hostile).to_string(),
            r"a\u{1b}[2Jb\u{202e}c\u{a}\u{7f}\u{e4}\"
        );
    }

    #[test]
    fn guid_is_written_as_uefi_does() {
        let global_variable = [
            0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03,
            0x2b, 0x8c,
        ];
        assert_eq!(
            guid(global_variable),
            "8be4df61-93ca-11d2-aa0d-00e098032b8c"
        );
    }
}
