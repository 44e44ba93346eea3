//! The binary fields of one copy of the metadata.
//!
//! I/O: none.

use ring::digest;

use super::{HeaderError, MAGIC, SECOND_MAGIC};
use crate::layout::METADATA_BYTES;

const BINARY_BYTES: usize = 4096;
const CHECKSUM: std::ops::Range<usize> = 448..512;

/// Which copy.
#[derive(Clone, Copy)]
pub(super) enum Copy {
    First,
    Second,
}

impl Copy {
    fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Second => "second",
        }
    }

    fn magic(self) -> [u8; 6] {
        match self {
            Self::First => MAGIC,
            Self::Second => SECOND_MAGIC,
        }
    }

    fn offset(self) -> u64 {
        match self {
            Self::First => 0,
            Self::Second => METADATA_BYTES as u64,
        }
    }
}

/// One copy, whole.
pub(super) struct Metadata<'a> {
    pub(super) sequence: u64,
    pub(super) uuid: &'a str,
    /// With the zeros behind it.
    pub(super) json: &'a [u8],
}

impl Metadata<'_> {
    /// The salts differ, and with them the checksums; the rest is the same.
    pub(super) fn require_equal(&self, other: &Self) -> Result<(), HeaderError> {
        let field = if self.sequence != other.sequence {
            "seqid"
        } else if self.uuid != other.uuid {
            "uuid"
        } else if self.json != other.json {
            "the JSON"
        } else {
            return Ok(());
        };
        Err(HeaderError::Differ { field })
    }
}

/// Checks every field but the salt, and the checksum.
pub(super) fn parse(bytes: &[u8], copy: Copy) -> Result<Metadata<'_>, HeaderError> {
    let (binary, json) = bytes.split_at_checked(BINARY_BYTES).unwrap_or_default();
    let field = |range: std::ops::Range<usize>| binary.get(range).unwrap_or_default();
    let number = |range| {
        let bytes = field(range).iter();
        bytes.fold(0_u64, |value, byte| (value << 8) | u64::from(*byte))
    };
    let refused = |field, expected: &dyn ToString, actual: String| HeaderError::Binary {
        copy: copy.name(),
        field,
        expected: expected.to_string(),
        actual,
    };
    let magic = field(0..6);
    if magic != copy.magic() {
        let expected = copy.magic();
        let expected = expected.escape_ascii().to_string();
        return Err(refused(
            "magic",
            &expected,
            magic.escape_ascii().to_string(),
        ));
    }
    for (name, range, expected) in [
        ("version", 6..8, 2),
        ("hdr_size", 8..16, METADATA_BYTES as u64),
        ("hdr_offset", 256..264, copy.offset()),
    ] {
        let actual = number(range);
        if actual != expected {
            return Err(refused(name, &expected, actual.to_string()));
        }
    }
    for (name, range, expected) in [
        ("label", 24..72, ""),
        ("csum_alg", 72..104, "sha256"),
        ("subsystem", 208..256, ""),
    ] {
        let actual = text(field(range));
        if actual != Some(expected) {
            return Err(refused(name, &expected, said(actual)));
        }
    }
    let uuid = text(field(168..208));
    let Some(uuid) = uuid.filter(|uuid| is_uuid(uuid)) else {
        return Err(refused("uuid", &"a UUID", said(uuid)));
    };
    if [field(264..448), field(512..BINARY_BYTES)]
        .concat()
        .iter()
        .any(|byte| *byte != 0)
    {
        return Err(refused("padding", &"zero", "something else".to_owned()));
    }
    if field(CHECKSUM) != checksum(binary, json) {
        return Err(HeaderError::Checksum { copy: copy.name() });
    }
    Ok(Metadata {
        sequence: number(16..24),
        uuid,
        json,
    })
}

/// What the field `csum` has to be: SHA-256 of all the rest, and 32 zeros.
fn checksum(binary: &[u8], json: &[u8]) -> [u8; 64] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(binary.get(..CHECKSUM.start).unwrap_or_default());
    context.update(&[0; 64]);
    context.update(binary.get(CHECKSUM.end..).unwrap_or_default());
    context.update(json);
    let mut field = [0; 64];
    let digest = context.finish();
    field
        .iter_mut()
        .zip(digest.as_ref())
        .for_each(|(to, from)| *to = *from);
    field
}

/// Text with zeros behind it, and nothing behind the zeros.
fn text(field: &[u8]) -> Option<&str> {
    let end = field.iter().position(|byte| *byte == 0)?;
    let (text, rest) = field.split_at_checked(end)?;
    let is_text = text.iter().all(u8::is_ascii_graphic) && rest.iter().all(|byte| *byte == 0);
    std::str::from_utf8(text).ok().filter(|_| is_text)
}

fn said(text: Option<&str>) -> String {
    text.map_or_else(|| "not text".to_owned(), |text| format!("{text:?}"))
}

fn is_uuid(text: &str) -> bool {
    let is_right = |(index, byte): (usize, u8)| match index {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
    };
    text.len() == 36 && text.bytes().enumerate().all(is_right)
}
