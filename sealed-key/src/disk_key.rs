//! What a disk takes of a key that the TPM kept.
//!
//! HKDF-SHA-256 (salt `cvm-disk-key/1`), of the TPM's 32 bytes alone (info `tpm`), or of these and, behind
//! them, the text of the hub's `disk_encryption.key` (info `hub and tpm`): 32 bytes, as 64 hexadecimal digits,
//! which is a text as `encrypted_disk::Key` takes it. Since the TPM's part has a fixed length, no two pairs
//! are the same input; whoever lacks either part lacks 256 bits, or the entropy of the hub's text. The TPM's
//! key itself is no disk's key, neither is the hub's where both are wanted, and what `encrypted-disk` derives
//! of a disk's key has another salt (`cvm-disk/1`) and this module's result as its input.
//!
//! I/O: none.

use ring::hkdf;
use zeroize::Zeroizing;

use crate::Key32;

const SALT: &[u8] = b"cvm-disk-key/1";

/// Fewest characters of the hub's part, as for a disk's key.
const LEAST: usize = 32;

/// The hub's part is none: then the TPM's alone would open the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the hub's part of the disk's key has {actual} characters, expected {LEAST} at least")]
pub struct HubPartError {
    /// How many it has.
    pub actual: usize,
}

/// The disk's key where the TPM alone keeps it.
pub fn from_tpm(tpm: &Key32) -> Zeroizing<String> {
    derive(tpm.as_bytes(), b"tpm")
}

/// The disk's key where the hub has one part and the TPM the other. Line feeds at the end of the hub's do not
/// count, as in `encrypted-disk`; whether it is a key is for `encrypted_disk::Key::parse` to say.
///
/// # Errors
///
/// [`HubPartError`] if there are less than 32 characters.
pub fn from_both(hub: &str, tpm: &Key32) -> Result<Zeroizing<String>, HubPartError> {
    let hub = hub.trim_end_matches('\n').as_bytes();
    let actual = hub.len();
    if actual < LEAST {
        return Err(HubPartError { actual });
    }
    let both = Zeroizing::new([&tpm.as_bytes()[..], hub].concat());
    Ok(derive(&both, b"hub and tpm"))
}

fn derive(secret: &[u8], info: &[u8]) -> Zeroizing<String> {
    let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(secret);
    let mut bytes = Zeroizing::new([0; 32]);
    let info = [info];
    let derived = secret
        .expand(&info, hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(bytes.as_mut()));
    // It fails for another length than HKDF_SHA256's, which is this one.
    debug_assert!(derived.is_ok());
    let mut text = Zeroizing::new(String::with_capacity(64));
    for byte in bytes.iter() {
        for nibble in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(nibble.into(), 16));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use encrypted_disk::Key;

    use super::*;

    const HUB: &str = "00112233445566778899aabbccddeeff";

    /// HKDF of Python's `hmac` module: pins salt, info and order, which disks depend on.
    #[test]
    fn keys_are_those_of_another_implementation() {
        let tpm = Key32::new([7; 32]);
        assert_eq!(
            *from_tpm(&tpm),
            "644e40d22ac90ccd6a2105aee3622254c8c72630e2f040ede62af89191ab1dc8"
        );
        assert_eq!(
            *from_both(HUB, &tpm).unwrap(),
            "b3cd4b31e081b0e68033d61e3af5e30b38718301dadb9c18a74b0e167e876d59"
        );
        assert_eq!(from_both(&format!("{HUB}\n"), &tpm), from_both(HUB, &tpm));
    }

    #[test]
    fn a_disk_takes_them_and_they_differ() {
        let (one, other) = (Key32::new([7; 32]), Key32::new([8; 32]));
        let texts = [
            HUB.to_owned(),
            from_tpm(&one).to_string(),
            from_tpm(&other).to_string(),
            from_both(HUB, &one).unwrap().to_string(),
            from_both(HUB, &other).unwrap().to_string(),
            from_both(&HUB.replace('0', "1"), &one).unwrap().to_string(),
        ];
        let mut names: Vec<_> = texts
            .iter()
            .map(|t| Key::parse(t).unwrap().id().0)
            .collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), texts.len());
    }

    #[test]
    fn without_the_hubs_part_there_is_no_key() {
        let tpm = Key32::new([7; 32]);
        assert_eq!(from_both("", &tpm), Err(HubPartError { actual: 0 }));
        let short = format!("{}\n\n", &HUB[1..]);
        assert_eq!(from_both(&short, &tpm), Err(HubPartError { actual: 31 }));
    }
}
