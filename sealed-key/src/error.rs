//! Why a key was not sealed, or did not open.
//!
//! I/O: none.

use attester::tpm::TpmError;

use crate::registers::{Registers, listed};
use crate::sealed::MAX_IMAGES;

/// Why the TPM could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TpmUseError {
    /// There is no TPM, or not for this program.
    #[error("there is no TPM to use")]
    NoTpm(#[source] TpmError),

    /// The TPM failed, or refused with a code that says nothing about the key.
    #[error("use the TPM")]
    Tpm(#[source] TpmError),

    /// The answer is not one to this command.
    #[error("{command}: the TPM's answer is not {expected}")]
    Answer {
        /// The command.
        command: &'static str,
        /// What it has to be.
        expected: &'static str,
    },

    /// The answer is not from who knows the session's key.
    #[error("{command}: the TPM's answer was changed on its way, or is not the TPM's")]
    Altered {
        /// The command.
        command: &'static str,
    },

    /// The machine runs something beside its image.
    #[error(
        "PCR {register} is not zero: the machine was given credentials, add-ons or extensions beside its image"
    )]
    Beside {
        /// 12, 13 or 15.
        register: u8,
    },

    /// The kernel gives no random numbers.
    #[error("the kernel gives no random numbers")]
    Random,

    /// The cipher of sessions failed.
    #[error("encrypt or decrypt with AES-128-CFB")]
    Cipher(#[source] openssl::error::ErrorStack),
}

/// Why a key was not sealed. Whatever was stored before is as good as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// No image, or more than a policy takes.
    #[error("the key is to be sealed for {actual} images, expected 1 to {MAX_IMAGES}")]
    Count {
        /// How many different images.
        actual: usize,
    },

    /// Who seals would not be able to open.
    #[error("the image that runs ({actual}) is not among those that the key is to be sealed for")]
    NotAmong {
        /// What runs.
        actual: Registers,
    },

    /// The TPM could not be used.
    #[error(transparent)]
    Tpm(#[from] TpmUseError),

    /// The TPM sealed, and cannot open it.
    #[error("what the TPM just sealed does not open")]
    Useless(#[source] UnsealError),

    /// The TPM opens something else than it sealed.
    #[error("what the TPM just sealed opens as another key")]
    OtherKey,
}

/// Why a sealed key did not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnsealError {
    /// The TPM could not be used. The key may open another time.
    #[error(transparent)]
    Tpm(#[from] TpmUseError),

    /// This TPM did not make it, or was cleared since.
    #[error(
        "another TPM sealed the key, or this one was cleared since: its primary key's name is {actual}, \
         expected {expected}"
    )]
    OtherTpm {
        /// The primary key that the blob names, in hexadecimal.
        expected: String,
        /// That of this TPM.
        actual: String,
    },

    /// The TPM does not know the object as one of its own.
    #[error("the sealed key is damaged")]
    Damaged,

    /// The ticket is not this TPM's, or is about something else.
    #[error("the sealed key was not made as it claims: by this TPM, while this image ran: {maker}")]
    Forged {
        /// Who it claims made it.
        maker: Registers,
    },

    /// It was made as it claims, by an image that is not allowed to.
    #[error(
        "the sealed key was made by an image that may not have made it: {maker}; expected {}",
        listed(allowed)
    )]
    OtherMaker {
        /// Who made it.
        maker: Registers,
        /// Who may have made it.
        allowed: Vec<Registers>,
    },

    /// The policy: another image runs.
    #[error(
        "this image is not one that the key was sealed for: {actual}; expected {}",
        listed(expected)
    )]
    OtherImage {
        /// Whom it was sealed for.
        expected: Vec<Registers>,
        /// What runs.
        actual: Registers,
    },
}

impl From<TpmError> for TpmUseError {
    fn from(error: TpmError) -> Self {
        match error {
            TpmError::Open { .. } => Self::NoTpm(error),
            _ => Self::Tpm(error),
        }
    }
}
