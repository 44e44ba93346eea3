//! A key of 32 bytes.
//!
//! I/O: the kernel's random numbers.

use std::fmt;

use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::TpmUseError;

/// A key of 32 bytes: what is sealed. It is wiped when dropped, and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Key32(Zeroizing<[u8; 32]>);

impl Key32 {
    /// A new one.
    ///
    /// # Errors
    ///
    /// [`TpmUseError::Random`].
    pub fn random() -> Result<Self, TpmUseError> {
        let mut bytes = Zeroizing::new([0; 32]);
        fill_randomly(bytes.as_mut())?;
        Ok(Self(bytes))
    }

    /// These bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Key32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key32(..)")
    }
}

pub(crate) fn fill_randomly(bytes: &mut [u8]) -> Result<(), TpmUseError> {
    let filled = SystemRandom::new().fill(bytes);
    filled.map_err(|_| TpmUseError::Random)
}
