//! What tells one image from another: PCR 4, 9 and 11 of the SHA-256 bank.
//!
//! I/O: none.

use std::collections::BTreeMap;
use std::fmt;

use crate::TpmUseError;
use crate::wire::{Fields, array, sha256};

/// Bytes of the three registers together.
pub(crate) const REGISTERS_BYTES: usize = 96;

/// Zero while nothing was given to the image beside it: PCR 12 credentials and command line, 13 extensions, 15 what
/// systemd finds on the system.
pub(crate) const ZERO: [u8; 3] = [12, 13, 15];

/// The values that the registers have while an image runs, in the SHA-256 bank: the kernel and what started it
/// (4), command line and initrd (9), sections of the UKI (11). `cvmctl measure` predicts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Registers {
    /// PCR 4.
    pub pcr4: [u8; 32],
    /// PCR 9.
    pub pcr9: [u8; 32],
    /// PCR 11.
    pub pcr11: [u8; 32],
}

impl Registers {
    /// Of all registers of a TPM.
    pub(crate) fn of(values: &BTreeMap<u8, [u8; 32]>) -> Result<Self, TpmUseError> {
        let value = |register: u8| {
            let value = values.get(&register).copied();
            value.ok_or(TpmUseError::Answer {
                command: "TPM2_PCR_Read",
                expected: "the registers of the SHA-256 bank",
            })
        };
        for register in ZERO {
            if value(register)? != [0; 32] {
                return Err(TpmUseError::Beside { register });
            }
        }
        Ok(Self {
            pcr4: value(4)?,
            pcr9: value(9)?,
            pcr11: value(11)?,
        })
    }

    /// What the TPM makes of all selected registers, in their order.
    pub(crate) fn digest(&self) -> [u8; 32] {
        sha256(&[&self.to_bytes(), &[0; 32 * ZERO.len()]])
    }

    pub(crate) fn to_bytes(self) -> [u8; REGISTERS_BYTES] {
        array([self.pcr4, self.pcr9, self.pcr11].as_flattened())
    }

    pub(crate) fn read(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            pcr4: fields.array()?,
            pcr9: fields.array()?,
            pcr11: fields.array()?,
        })
    }
}

impl fmt::Display for Registers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [pcr4, pcr9, pcr11] = [self.pcr4, self.pcr9, self.pcr11].map(|value| hex(&value));
        write!(f, "PCR 4 {pcr4}, 9 {pcr9}, 11 {pcr11}")
    }
}

/// Some images, for a message.
pub(crate) fn listed(images: &[Registers]) -> String {
    let texts: Vec<String> = images.iter().map(ToString::to_string).collect();
    match texts.is_empty() {
        true => "none at all".to_owned(),
        false => texts.join(", or "),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
