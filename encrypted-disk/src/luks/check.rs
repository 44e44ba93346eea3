//! The list of what a header may say.
//!
//! I/O: none.

use super::json::{Decimal, Digest, Kdf, Keyslot, Metadata, Numbered, Segment};
use super::{HeaderError, KeyDerivation};
use crate::layout::{BLOCK, DATA_OFFSET, HEADER_BYTES, KEYSLOTS_BYTES, METADATA_BYTES};

const CIPHER: &str = "aes-xts-plain64";
/// Two keys of AES-256.
const KEY_BYTES: u64 = 64;
const STRIPES: u64 = 4000;
/// The key in stripes, in whole blocks.
const AREA_BYTES: u64 = (KEY_BYTES * STRIPES).next_multiple_of(BLOCK);
/// cryptsetup takes no fewer; and more would keep a machine from its start for minutes.
const ITERATIONS: std::ops::RangeInclusive<u64> = 1000..=20_000_000;
/// KiB for Argon2id.
const MEMORY: std::ops::RangeInclusive<u64> = 32..=(4 << 20);

/// Checks every member.
pub(super) fn check(metadata: &Metadata, derivation: KeyDerivation) -> Result<(), HeaderError> {
    let Metadata {
        keyslots,
        tokens,
        segments,
        digests,
        config,
    } = metadata;
    if !tokens.0.is_empty() {
        return Err(HeaderError::Count {
            what: "tokens",
            expected: 0,
            actual: tokens.0.len(),
        });
    }
    let (segment_number, segment) = only("segments", segments)?;
    let (keyslot_number, keyslot) = only("keyslots", keyslots)?;
    let (_, digest) = only("digests", digests)?;
    let json_bytes = (METADATA_BYTES as u64).saturating_sub(BLOCK);
    number("config.json_size", config.json_size.0, json_bytes)?;
    let keyslots_bytes = KEYSLOTS_BYTES as u64;
    number(
        "config.keyslots_size",
        config.keyslots_size.0,
        keyslots_bytes,
    )?;
    check_segment(segment)?;
    check_keyslot(keyslot)?;
    check_kdf(&keyslot.kdf, derivation)?;
    let keyslot_number = keyslot_number.to_string();
    text_list("digests.keyslots", &digest.keyslots, &keyslot_number)?;
    text_list(
        "digests.segments",
        &digest.segments,
        &segment_number.to_string(),
    )?;
    check_digest(digest)
}

fn check_segment(segment: &Segment) -> Result<(), HeaderError> {
    text("segments.type", &segment.kind, "crypt")?;
    text("segments.encryption", &segment.encryption, CIPHER)?;
    number("segments.sector_size", segment.sector_size, BLOCK)?;
    number("segments.offset", segment.offset.0, DATA_OFFSET)?;
    text("segments.size", &segment.size, "dynamic")?;
    number("segments.iv_tweak", segment.iv_tweak.0, 0)
}

fn check_keyslot(keyslot: &Keyslot) -> Result<(), HeaderError> {
    text("keyslots.type", &keyslot.kind, "luks2")?;
    number("keyslots.key_size", keyslot.key_size, KEY_BYTES)?;
    text("keyslots.af.type", &keyslot.af.kind, "luks1")?;
    number("keyslots.af.stripes", keyslot.af.stripes, STRIPES)?;
    hash("keyslots.af.hash", &keyslot.af.hash)?;
    let area = &keyslot.area;
    text("keyslots.area.type", &area.kind, "raw")?;
    text("keyslots.area.encryption", &area.encryption, CIPHER)?;
    number("keyslots.area.key_size", area.key_size, KEY_BYTES)?;
    number("keyslots.area.size", area.size.0, AREA_BYTES)?;
    let Decimal(offset) = area.offset;
    let first = (METADATA_BYTES as u64).saturating_mul(2);
    let last = (HEADER_BYTES as u64).saturating_sub(AREA_BYTES);
    range("keyslots.area.offset", offset, &(first..=last))?;
    if !offset.is_multiple_of(BLOCK) {
        return refuse("keyslots.area.offset", offset, "whole blocks of 4096");
    }
    Ok(())
}

fn check_kdf(kdf: &Kdf, derivation: KeyDerivation) -> Result<(), HeaderError> {
    match (kdf, derivation) {
        (
            Kdf::Pbkdf2 {
                hash: name,
                iterations,
                salt,
            },
            _,
        ) => {
            hash("keyslots.kdf.hash", name)?;
            range("keyslots.kdf.iterations", *iterations, &ITERATIONS)?;
            bytes("keyslots.kdf.salt", salt)
        }
        (
            Kdf::Argon2id {
                time,
                memory,
                cpus,
                salt,
            },
            KeyDerivation::Argon2idToo,
        ) => {
            range("keyslots.kdf.time", *time, &(1..=100))?;
            range("keyslots.kdf.memory", *memory, &MEMORY)?;
            range("keyslots.kdf.cpus", *cpus, &(1..=4))?;
            bytes("keyslots.kdf.salt", salt)
        }
        (Kdf::Argon2id { .. }, KeyDerivation::Pbkdf2) => {
            text("keyslots.kdf.type", "argon2id", "pbkdf2")
        }
    }
}

fn check_digest(digest: &Digest) -> Result<(), HeaderError> {
    text("digests.type", &digest.kind, "pbkdf2")?;
    text("digests.hash", &digest.hash, "sha256")?;
    range("digests.iterations", digest.iterations, &ITERATIONS)?;
    bytes("digests.salt", &digest.salt)?;
    bytes("digests.digest", &digest.digest)
}

fn only<'a, T>(what: &'static str, members: &'a Numbered<T>) -> Result<(u8, &'a T), HeaderError> {
    match members.0.as_slice() {
        [(number, member)] => Ok((*number, member)),
        several => Err(HeaderError::Count {
            what,
            expected: 1,
            actual: several.len(),
        }),
    }
}

fn text(member: &'static str, actual: &str, expected: &str) -> Result<(), HeaderError> {
    if actual == expected {
        return Ok(());
    }
    refuse(member, actual, expected)
}

fn text_list(member: &'static str, actual: &[String], only: &str) -> Result<(), HeaderError> {
    if actual == [only] {
        return Ok(());
    }
    refuse(member, actual.join(" "), only)
}

fn hash(member: &'static str, actual: &str) -> Result<(), HeaderError> {
    match actual {
        "sha256" | "sha512" => Ok(()),
        _ => refuse(member, actual, "sha256 or sha512"),
    }
}

fn number(member: &'static str, actual: u64, expected: u64) -> Result<(), HeaderError> {
    if actual == expected {
        return Ok(());
    }
    refuse(member, actual, expected)
}

fn range(
    member: &'static str,
    actual: u64,
    expected: &std::ops::RangeInclusive<u64>,
) -> Result<(), HeaderError> {
    if expected.contains(&actual) {
        return Ok(());
    }
    let (least, most) = expected.clone().into_inner();
    refuse(member, actual, format!("{least} to {most}"))
}

/// 32 bytes in base64.
fn bytes(member: &'static str, actual: &str) -> Result<(), HeaderError> {
    let is_digit = |c: u8| c.is_ascii_alphanumeric() || c == b'+' || c == b'/';
    match actual.strip_suffix('=') {
        Some(digits) if digits.len() == 43 && digits.bytes().all(is_digit) => Ok(()),
        _ => refuse(member, actual, "32 bytes in base64"),
    }
}

fn refuse<T>(
    member: &'static str,
    actual: impl ToString,
    expected: impl ToString,
) -> Result<T, HeaderError> {
    // It is the disk's text, of any length and content, and ends in logs.
    let actual = actual.to_string();
    Err(HeaderError::Value {
        member,
        expected: expected.to_string(),
        actual: actual
            .chars()
            .take(64)
            .collect::<String>()
            .escape_debug()
            .to_string(),
    })
}
