//! Which of two versions is newer.
//!
//! Mirrors systemd v257 `src/fundamental/string-util-fundamental.c`, `strverscmp_improved`; the
//! order is UAPI.10 "Version Format Specification".
//!
//! I/O: none.

use std::cmp::Ordering;

/// Compares two versions: the greater one is newer.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        (a, b) = (from_valid(a), from_valid(b));
        // A pre-release is older than nothing at all.
        match (take(&mut a, b'~'), take(&mut b, b'~')) {
            (true, false) => return Ordering::Less,
            (false, true) => return Ordering::Greater,
            _ => {}
        }
        if a.is_empty() || b.is_empty() {
            return (!a.is_empty()).cmp(&!b.is_empty());
        }
        // A separator is older than none: 123-9 is older than 123.1-1.
        for separator in [b'-', b'^', b'.'] {
            match (take(&mut a, separator), take(&mut b, separator)) {
                (true, false) => return Ordering::Less,
                (false, true) => return Ordering::Greater,
                _ => {}
            }
        }
        let is_digit = |text: &[u8]| text.first().is_some_and(u8::is_ascii_digit);
        let order = if is_digit(a) || is_digit(b) {
            let (one, other) = (
                segment(&mut a, u8::is_ascii_digit),
                segment(&mut b, u8::is_ascii_digit),
            );
            compare_numbers(one, other)
        } else {
            let (one, other) = (
                segment(&mut a, u8::is_ascii_alphabetic),
                segment(&mut b, u8::is_ascii_alphabetic),
            );
            // What is longer is newer, if the rest is the same.
            one.cmp(other)
        };
        if order.is_ne() {
            return order;
        }
    }
}

fn compare_numbers(a: &[u8], b: &[u8]) -> Ordering {
    let strip = |digits: &[u8]| {
        let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
        digits.get(zeros..).unwrap_or_default().to_vec()
    };
    let by_presence = (!a.is_empty()).cmp(&!b.is_empty());
    let (a, b) = (strip(a), strip(b));
    by_presence
        .then(a.len().cmp(&b.len()))
        .then_with(|| a.cmp(&b))
}

fn from_valid(text: &[u8]) -> &[u8] {
    let is_valid = |byte: &u8| byte.is_ascii_alphanumeric() || b"~-^.".contains(byte);
    let start = text.iter().position(is_valid).unwrap_or(text.len());
    text.get(start..).unwrap_or_default()
}

fn take(text: &mut &[u8], byte: u8) -> bool {
    let rest = text.strip_prefix(&[byte]);
    *text = rest.unwrap_or(text);
    rest.is_some()
}

fn segment<'a>(text: &mut &'a [u8], belongs: impl Fn(&u8) -> bool) -> &'a [u8] {
    let end = text.iter().position(|byte| !belongs(byte));
    let (segment, rest) = text.split_at(end.unwrap_or(text.len()));
    *text = rest;
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_that_of_the_specification() {
        // UAPI.10, "Examples", oldest first.
        let ordered = [
            "122.1",
            "123~rc1-1",
            "123",
            "123-a",
            "123-a.1",
            "123-1",
            "123-1.1",
            "123^post1",
            "123.a-1",
            "123.1-1",
            "123a-1",
            "124-1",
        ];
        for (i, a) in ordered.iter().enumerate() {
            for (j, b) in ordered.iter().enumerate() {
                assert_eq!(compare(a, b), i.cmp(&j), "{a} and {b}");
            }
        }
    }

    #[test]
    fn leading_zeros_and_unknown_characters_do_not_count() {
        assert_eq!(compare("0012", "12"), Ordering::Equal);
        assert_eq!(compare("123_a", "123a"), Ordering::Equal);
        assert_eq!(compare("", ""), Ordering::Equal);
        assert_eq!(compare("", "~1"), Ordering::Greater);
        assert_eq!(compare("1", ""), Ordering::Greater);
    }
}
