//! Small notations: hexadecimal, percent encoding, times.
//!
//! I/O: reads the clock in [`now`].

use std::time::UNIX_EPOCH;

/// Microseconds since 1970, as the database stores times.
pub(crate) fn now() -> i64 {
    UNIX_EPOCH.elapsed().map_or(0, |time| {
        i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
    })
}

/// A stored time as `2026-01-02T03:04:05Z`.
pub(crate) fn time(microseconds: i64) -> String {
    let seconds = microseconds.div_euclid(1_000_000);
    let Ok(time) = time::OffsetDateTime::from_unix_timestamp(seconds) else {
        return "?".to_owned();
    };
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads exactly `N` bytes of hexadecimal digits.
pub(crate) fn parse_hex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if digits.len() != N.checked_mul(2)? {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let mut value = 0;
        for digit in pair {
            let digit = char::from(*digit).to_digit(16)?;
            value = (value << 4) | u8::try_from(digit).ok()?;
        }
        *byte = value;
    }
    Some(bytes)
}

/// Decodes a segment of a path; `None` if it is not UTF-8 or ends within an escape.
pub(crate) fn percent_decode(segment: &str) -> Option<String> {
    let mut bytes = segment.bytes();
    let mut decoded = Vec::with_capacity(segment.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let pair = [bytes.next()?, bytes.next()?];
            let [value] = parse_hex::<1>(std::str::from_utf8(&pair).ok()?)?;
            decoded.push(value);
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded).ok()
}

/// Encodes a segment of a path.
pub(crate) fn percent_encode(segment: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encoded = segment.bytes().map(|byte| match byte {
        byte if is_plain(byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    });
    encoded.collect()
}

/// Whether a text is fit to be the name of something: short, and without control characters.
pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= 255 && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_written_as_usual() {
        assert_eq!(time(0), "1970-01-01T00:00:00Z");
        assert_eq!(time(1_700_000_000_999_999), "2023-11-14T22:13:20Z");
        assert_eq!(time(-1), "1969-12-31T23:59:59Z");
        assert_eq!(time(i64::MAX), "?");
    }

    proptest! {
        #[test]
        fn percent_encoding_is_undone(text in any::<String>()) {
            prop_assert_eq!(percent_decode(&percent_encode(&text)), Some(text));
        }

        #[test]
        fn percent_decoding_never_panics(text in any::<String>()) {
            percent_decode(&text);
        }

        #[test]
        fn hexadecimal_is_undone(bytes in any::<[u8; 9]>()) {
            prop_assert_eq!(parse_hex::<9>(&hex(&bytes)), Some(bytes));
        }
    }
}
