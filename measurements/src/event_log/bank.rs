//! Banks of registers, and what is in them.
//!
//! I/O: none.

use std::fmt;
use std::str::FromStr;

use crate::reference::RegisterValue;
use crate::{Digest, Digests, Sha256Digest, Sha384Digest};

/// A bank: a digest algorithm with registers of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bank {
    /// What vTPMs are quoted in.
    Sha256,
    /// The second bank of most TPMs, and the only one of TDX.
    Sha384,
}

/// A digest, or a register's value, in each bank that a log has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BankDigests {
    /// In the SHA-256 bank; `None` if the log has no such bank.
    pub sha256: Option<Sha256Digest>,
    /// In the SHA-384 bank; `None` if the log has no such bank.
    pub sha384: Option<Sha384Digest>,
}

impl Bank {
    /// Every bank that is known.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha384];

    /// The name that TPM tools and systemd give it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
        }
    }

    /// Returns the digest in this bank.
    pub fn pick(self, digests: Digests) -> RegisterValue {
        match self {
            Self::Sha256 => RegisterValue::Sha256(digests.sha256),
            Self::Sha384 => RegisterValue::Sha384(digests.sha384),
        }
    }

    /// Returns the digest of `bytes` in this bank.
    pub fn digest(self, bytes: &[u8]) -> RegisterValue {
        match self {
            Self::Sha256 => RegisterValue::Sha256(Sha256Digest::of(bytes)),
            Self::Sha384 => RegisterValue::Sha384(Sha384Digest::of(bytes)),
        }
    }

    /// TPM_ALG_ID: TCG Algorithm Registry.
    pub(super) fn algorithm(self) -> u16 {
        match self {
            Self::Sha256 => 0x000b,
            Self::Sha384 => 0x000c,
        }
    }

    pub(super) fn from_algorithm(algorithm: u16) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|bank| bank.algorithm() == algorithm)
    }

    /// Bytes of a digest.
    pub(super) fn size(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
        }
    }
}

impl fmt::Display for Bank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Bank {
    type Err = UnknownBank;

    fn from_str(name: &str) -> Result<Self, UnknownBank> {
        let mut all = Self::ALL.into_iter();
        all.find(|bank| bank.as_str() == name).ok_or(UnknownBank)
    }
}

/// A bank's name is not one of [`Bank::as_str`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected sha256 or sha384")]
pub struct UnknownBank;

impl BankDigests {
    /// The value of a register that nothing was extended into.
    pub fn zero(banks: &[Bank]) -> Self {
        Self {
            sha256: banks.contains(&Bank::Sha256).then_some(Digest::ZERO),
            sha384: banks.contains(&Bank::Sha384).then_some(Digest::ZERO),
        }
    }

    /// Returns the register's value after `digests` were extended into it. A bank that one of the
    /// two has not is gone: its value is not known any more.
    #[must_use]
    pub fn extend(self, digests: Self) -> Self {
        Self {
            sha256: self.sha256.zip(digests.sha256).map(|(a, b)| a.extend(b)),
            sha384: self.sha384.zip(digests.sha384).map(|(a, b)| a.extend(b)),
        }
    }

    /// Returns the digest in a bank.
    pub fn of(self, bank: Bank) -> Option<RegisterValue> {
        match bank {
            Bank::Sha256 => self.sha256.map(RegisterValue::Sha256),
            Bank::Sha384 => self.sha384.map(RegisterValue::Sha384),
        }
    }

    /// Says whether these are the digests of `bytes`, in every bank there is.
    pub fn are_of(self, bytes: &[u8]) -> bool {
        let mut known = Bank::ALL
            .into_iter()
            .filter_map(|bank| Some((bank, self.of(bank)?)))
            .peekable();
        known.peek().is_some() && known.all(|(bank, digest)| digest == bank.digest(bytes))
    }

    pub(super) fn with_last_byte(mut self, byte: u8) -> Self {
        if let Some(Digest([.., last])) = &mut self.sha256 {
            *last = byte;
        }
        if let Some(Digest([.., last])) = &mut self.sha384 {
            *last = byte;
        }
        self
    }
}

impl From<Digests> for BankDigests {
    fn from(digests: Digests) -> Self {
        Self {
            sha256: Some(digests.sha256),
            sha384: Some(digests.sha384),
        }
    }
}
