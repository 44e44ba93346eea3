//! Digests, written as lower-case hex wherever they are text.
//!
//! I/O: none.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::Digest as _;

/// A digest of `N` bytes.
///
/// As text (`Display`, `FromStr`, serde) it is `2 * N` hex digits, lower-case when written, either
/// case when read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest<const N: usize>(pub [u8; N]);

/// A digest of the SHA-256 bank: the vTPM's registers.
pub type Sha256Digest = Digest<32>;

/// A SHA-384 digest: TDX registers.
pub type Sha384Digest = Digest<48>;

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DigestParseError {
    /// The text has another length than the digest's hex form.
    #[error("expected {expected} hex digits, got {actual} characters")]
    Length {
        /// Hex digits that the digest has.
        expected: usize,
        /// Characters that the text has.
        actual: usize,
    },
    /// A character is not a hex digit.
    #[error("expected a hex digit at character {position}, got {actual:?}")]
    NotHex {
        /// Position, counted from 0.
        position: usize,
        /// What stands there.
        actual: char,
    },
}

impl<const N: usize> Digest<N> {
    /// The value of a register that nothing was extended into.
    pub const ZERO: Self = Self([0; N]);
}

impl Sha256Digest {
    /// Returns the SHA-256 digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// Returns the register's value after `digest` was extended into it: SHA-256(self ‖ digest),
    /// as TPM 2.0 Library, Part 1, "PCR Operations".
    #[must_use]
    pub fn extend(self, digest: Self) -> Self {
        let mut hash = sha2::Sha256::new();
        hash.update(self.0);
        hash.update(digest.0);
        Self(hash.finalize().into())
    }
}

impl Sha384Digest {
    /// Returns the SHA-384 digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha384::digest(bytes).into())
    }

    /// Returns the register's value after `digest` was extended into it: SHA-384(self ‖ digest),
    /// as a PCR's, and as Intel's "TDX Module Base Architecture Specification", TDG.MR.RTMR.EXTEND.
    #[must_use]
    pub fn extend(self, digest: Self) -> Self {
        let mut hash = sha2::Sha384::new();
        hash.update(self.0);
        hash.update(digest.0);
        Self(hash.finalize().into())
    }
}

/// The digests of one thing in every bank that is predicted, or a register's values in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digests {
    /// In the SHA-256 bank.
    pub sha256: Sha256Digest,
    /// In the SHA-384 bank, which is also what TDX registers are made with.
    pub sha384: Sha384Digest,
}

impl Digests {
    /// The values of a register that nothing was extended into.
    pub const ZERO: Self = Self {
        sha256: Digest::ZERO,
        sha384: Digest::ZERO,
    };

    /// Returns the digests of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self {
            sha256: Sha256Digest::of(bytes),
            sha384: Sha384Digest::of(bytes),
        }
    }

    /// Returns the register's values after `digests` were extended into it, each in its bank.
    #[must_use]
    pub fn extend(self, digests: Self) -> Self {
        Self {
            sha256: self.sha256.extend(digests.sha256),
            sha384: self.sha384.extend(digests.sha384),
        }
    }
}

/// Hashes for all banks at once.
#[derive(Clone, Default)]
pub(crate) struct Hasher {
    sha256: sha2::Sha256,
    sha384: sha2::Sha384,
}

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.sha384.update(bytes);
    }

    pub(crate) fn finish(self) -> Digests {
        Digests {
            sha256: Digest(self.sha256.finalize().into()),
            sha384: Digest(self.sha384.finalize().into()),
        }
    }
}

impl<const N: usize> fmt::Display for Digest<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl<const N: usize> fmt::Debug for Digest<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<const N: usize> FromStr for Digest<N> {
    type Err = DigestParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        for (position, actual) in text.chars().enumerate() {
            if !actual.is_ascii_hexdigit() {
                return Err(DigestParseError::NotHex { position, actual });
            }
        }
        let wrong_length = DigestParseError::Length {
            expected: N.saturating_mul(2),
            actual: text.len(),
        };
        if text.len() != N.saturating_mul(2) {
            return Err(wrong_length);
        }
        let mut digest = [0; N];
        for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = std::str::from_utf8(pair)
                .ok()
                .and_then(|pair| u8::from_str_radix(pair, 16).ok())
                .ok_or_else(|| wrong_length.clone())?;
        }
        Ok(Self(digest))
    }
}

impl<const N: usize> Serialize for Digest<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Digest<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACTION: &str = "3d6772b4f84ed47595d72a2c4c5ffd15f5bb72c7507fe26f2aaee2c69d5633ba";

    #[test]
    fn text_form_round_trips_and_accepts_either_case() {
        let digest: Sha256Digest = ACTION.parse().unwrap();
        assert_eq!(digest.to_string(), ACTION);
        assert_eq!(ACTION.to_uppercase().parse(), Ok(digest));
        assert_eq!(
            serde_json::to_string(&digest).unwrap(),
            format!("\"{ACTION}\"")
        );
        assert_eq!(
            serde_json::from_str::<Sha256Digest>(&format!("\"{ACTION}\"")).unwrap(),
            digest
        );
    }

    #[test]
    fn wrong_length_and_wrong_character_are_named() {
        assert_eq!(
            "00".parse::<Sha256Digest>(),
            Err(DigestParseError::Length {
                expected: 64,
                actual: 2
            })
        );
        assert_eq!(
            "0g".parse::<Sha256Digest>(),
            Err(DigestParseError::NotHex {
                position: 1,
                actual: 'g'
            })
        );
        assert!("+1".repeat(32).parse::<Sha256Digest>().is_err());
    }

    #[test]
    fn action_then_separator_extends_to_the_known_value() {
        let separator = Sha256Digest::of(&[0; 4]);
        let action = Sha256Digest::of(b"Calling EFI Application from Boot Option");
        assert_eq!(action.to_string(), ACTION);
        assert_eq!(
            Sha256Digest::ZERO
                .extend(action)
                .extend(separator)
                .to_string(),
            "7a94ffe8a7729a566d3d3c577fcb4b6b1e671f31540375f80eae6382ab785e35"
        );
    }
}
