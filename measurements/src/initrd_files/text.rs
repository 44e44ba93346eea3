//! Paths and bytes as text that can be shown on a terminal.
//!
//! I/O: none.

use std::fmt::Write;

/// Returns the bytes up to the first NUL as text: what is not UTF-8 or a control character is
/// escaped as `\xNN`, and a backslash as `\\`, so that different bytes are different texts.
pub(super) fn escape(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0);
    let bytes = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                c if is_plain(c) => text.push(c),
                c => c
                    .encode_utf8(&mut [0; 4])
                    .bytes()
                    .for_each(|byte| push_escaped(&mut text, byte)),
            }
        }
        for byte in chunk.invalid() {
            push_escaped(&mut text, *byte);
        }
    }
    text
}

/// Says whether a character shows as itself, wherever it stands. Beyond ASCII, letters and digits
/// only: others may be invisible, or turn the line around.
fn is_plain(character: char) -> bool {
    match character {
        ' '..='~' => true,
        other => !other.is_ascii() && other.is_alphanumeric(),
    }
}

fn push_escaped(text: &mut String, byte: u8) {
    // Writing to a string cannot fail.
    let _ = write!(text, "\\x{byte:02x}");
}

/// Returns a path as it is unpacked from `/`, without what does not matter: `./usr//lib/` is
/// `usr/lib`. The root itself is `.`.
pub(super) fn normal(path: &str) -> String {
    let parts: Vec<_> = path
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    if parts.is_empty() {
        ".".to_owned()
    } else {
        parts.join("/")
    }
}

/// Bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_bytes_are_different_texts() {
        assert_eq!(escape(b"usr/lib/d\xc3\xa9j\xc3\xa0\0rest"), "usr/lib/déjà");
        assert_eq!(escape(b"a\x1b[2J\xff"), "a\\x1b[2J\\xff");
        assert_eq!(escape(b"dev\\x2d"), "dev\\\\x2d");
        assert_eq!(escape("a\u{202e}b".as_bytes()), "a\\xe2\\x80\\xaeb");
        assert_ne!(escape(b"\\x1b"), escape(b"\x1b"));
    }

    #[test]
    fn paths_to_one_place_are_one_path() {
        for path in ["usr/lib", "/usr/lib", "./usr//lib/", "usr/./lib"] {
            assert_eq!(normal(path), "usr/lib");
        }
        assert_eq!(normal("."), ".");
        assert_eq!(normal("/"), ".");
        assert_eq!(normal("a/../b"), "a/../b");
    }
}
