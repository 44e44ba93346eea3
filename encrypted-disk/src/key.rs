//! The disk's key: text from the hub, used as it is.
//!
//! Exactly these bytes are the passphrase: the text of the hub's `disk_encryption.key`, without the line
//! feeds at its end, as existing nodes drop them; nothing is decoded, hexadecimal or not. cryptsetup
//! gets them on its standard input, so that `printf %s KEY | cryptsetup open --key-file=- …` opens a disk by
//! hand.
//!
//! The rule for what is a key: 32 to 512 visible ASCII characters (`!` to `~`), eight of them different.
//! Whoever has the disk can try keys for ever, and no derivation that a machine bears at start makes
//! a password into a key: it has to have its entropy of itself, 128 bits at least, as 32 random
//! hexadecimal digits do. Entropy cannot be seen in a text; the rule refuses what obviously has none.
//! Since it is there, PBKDF2's iterations add nothing and are the fewest that cryptsetup takes.
//!
//! From a key come, by HKDF-SHA-256 (salt `cvm-disk/1`), the key of the records' HMAC (info `header
//! authentication`, 32 bytes) and the key's public name (info `key id`, 16 bytes). ring keeps no way to wipe
//! the former; the passphrase itself is wiped.
//!
//! I/O: none.

use std::fmt;

use ring::{hkdf, hmac};
use zeroize::Zeroizing;

const SALT: &[u8] = b"cvm-disk/1";
const LEAST: usize = 32;
const MOST: usize = 512;
const LEAST_DIFFERENT: usize = 8;

/// Why a text is not a key. The text is not in the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Too few or too many characters.
    #[error("the disk's key has {actual} characters, expected {LEAST} to {MOST}")]
    Length {
        /// How many it has.
        actual: usize,
    },

    /// A space, a control character, or what is not ASCII.
    #[error("character {position} of the disk's key is not a visible ASCII character")]
    Character {
        /// Counted from 1, in bytes.
        position: usize,
    },

    /// Not random.
    #[error(
        "the disk's key has {actual} different characters, expected {LEAST_DIFFERENT} at least"
    )]
    Repetitive {
        /// How many are different.
        actual: usize,
    },
}

/// A disk's key. It is wiped when dropped, and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Zeroizing<Vec<u8>>);

impl Key {
    /// The key of a text, by the rule of this module.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if it breaks the rule.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let bytes = text.trim_end_matches('\n').as_bytes();
        if !(LEAST..=MOST).contains(&bytes.len()) {
            let actual = bytes.len();
            return Err(KeyError::Length { actual });
        }
        if let Some(index) = bytes.iter().position(|byte| !byte.is_ascii_graphic()) {
            let position = index.saturating_add(1);
            return Err(KeyError::Character { position });
        }
        let different = |byte: &u8| bytes.contains(byte);
        let actual = (0..=u8::MAX).filter(different).count();
        if actual < LEAST_DIFFERENT {
            return Err(KeyError::Repetitive { actual });
        }
        Ok(Self(Zeroizing::new(bytes.to_vec())))
    }

    /// The passphrase.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What two keys are on cryptsetup's standard input: a line each.
    pub(crate) fn lines(keys: [&Self; 2]) -> Zeroizing<Vec<u8>> {
        let mut lines = Zeroizing::new(Vec::with_capacity(2 * MOST + 2));
        for key in keys {
            lines.extend_from_slice(key.as_bytes());
            lines.push(b'\n');
        }
        lines
    }

    /// What records are authenticated with.
    pub(crate) fn authentication(&self) -> hmac::Key {
        let mut key = Zeroizing::new([0; 32]);
        self.derive(b"header authentication", key.as_mut());
        hmac::Key::new(hmac::HMAC_SHA256, key.as_ref())
    }

    /// The key's public name: says which key a disk wants, and nothing else about it.
    pub fn id(&self) -> KeyId {
        let mut id = [0; 16];
        self.derive(b"key id", &mut id);
        KeyId(id)
    }

    fn derive(&self, info: &[u8], out: &mut [u8]) {
        let length = Length(out.len());
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(self.as_bytes());
        let info = [info];
        let derived = secret.expand(&info, length).and_then(|okm| okm.fill(out));
        // It fails for more than 255 blocks, and these are constants.
        debug_assert!(derived.is_ok());
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id())
    }
}

/// The keys that a disk may be under.
#[derive(Clone, Copy, Debug)]
pub struct Keys<'a> {
    /// The one that it is to have.
    pub present: &'a Key,
    /// The one that it may still have: it is opened with it then, and given the present one.
    pub previous: Option<&'a Key>,
}

/// Which of two keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Present,
    Previous,
}

impl<'a> Keys<'a> {
    /// All there are, the present one first.
    pub(crate) fn all(self) -> impl Iterator<Item = (Which, &'a Key)> {
        let previous = self.previous.map(|key| (Which::Previous, key));
        [(Which::Present, self.present)].into_iter().chain(previous)
    }

    /// One of them; without a previous one, there is only the present one.
    pub(crate) fn of(self, which: Which) -> &'a Key {
        match which {
            Which::Present => self.present,
            Which::Previous => self.previous.unwrap_or(self.present),
        }
    }
}

impl<'a> From<&'a Key> for Keys<'a> {
    /// No previous key.
    fn from(present: &'a Key) -> Self {
        let previous = None;
        Self { present, previous }
    }
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// The public name of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyId(pub [u8; 16]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "00112233445566778899aabbccddeeff";

    #[test]
    fn line_feeds_at_the_end_are_not_part_of_a_key() {
        let key = Key::parse(HEX).unwrap();
        assert_eq!(Key::parse(&format!("{HEX}\n\n")).unwrap(), key);
        assert_eq!(key.as_bytes(), HEX.as_bytes());
        let error = Key::parse(&format!("{HEX}\r\n")).unwrap_err();
        assert_eq!(error, KeyError::Character { position: 33 });
    }

    #[test]
    fn what_has_no_entropy_is_refused() {
        let short = Key::parse("correct horse battery staple").unwrap_err();
        assert_eq!(short, KeyError::Length { actual: 28 });
        assert_eq!(Key::parse(""), Err(KeyError::Length { actual: 0 }));
        let long = Key::parse(&HEX.repeat(17)).unwrap_err();
        assert_eq!(long, KeyError::Length { actual: 544 });
        let zeros = Key::parse(&"0".repeat(64)).unwrap_err();
        assert_eq!(zeros, KeyError::Repetitive { actual: 1 });
        let spaces = Key::parse(&format!("{HEX} {HEX}")).unwrap_err();
        assert_eq!(spaces, KeyError::Character { position: 33 });
    }

    /// HKDF of Python's `hmac` module: pins salt and info, which disks depend on.
    #[test]
    fn derived_values_are_those_of_another_implementation() {
        let key = Key::parse(HEX).unwrap();
        assert_eq!(key.id().to_string(), "a71fd048436ae4a5ff95c5b469ba24c7");
        let tag = hmac::sign(&key.authentication(), b"record");
        let tag: String = tag.as_ref().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(
            tag,
            "bf45196652a826877204457fb23c5d61d06b7b3eabbd29c2c7ea9530ccaef409"
        );
    }

    #[test]
    fn key_is_not_printed() {
        let key = Key::parse(HEX).unwrap();
        assert_eq!(format!("{key:?}"), format!("Key({})", key.id()));
    }
}
