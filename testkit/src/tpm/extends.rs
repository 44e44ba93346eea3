//! What a guest extends into the TPM's registers, as it goes over the wire.
//!
//! Firmware, boot loader, stub and kernel all measure with `TPM2_PCR_Extend`; what each command
//! carries is in no log that the guest could leave out or write otherwise.
//!
//! Left out: `TPM2_PCR_Event` and sequences, which nothing in the boots here uses. That the list is
//! complete shows in the registers, which must be what it replays to.
//!
//! I/O: none; waiting blocks.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use measurements::{Digest, Sha256Digest, Sha384Digest};

use super::TpmError;
use super::wire::{ALG_SHA256, ALG_SHA384, Code, Fields};

/// `TPM_ALG_ID` of the digests that a command may carry, and how many bytes each has: Part 2, 6.3.
const ALGORITHMS: [(u16, usize); 5] = [
    (0x0004, 20), // SHA-1
    (ALG_SHA256, 32),
    (ALG_SHA384, 48),
    (0x000D, 64), // SHA-512
    (0x0012, 32), // SM3-256
];

/// One `TPM2_PCR_Extend` that the TPM obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extend {
    /// The register.
    pub register: u8,
    /// What was extended in the SHA-256 bank; `None` if that was left alone.
    pub sha256: Option<Sha256Digest>,
    /// What was extended in the SHA-384 bank; `None` if that was left alone.
    pub sha384: Option<Sha384Digest>,
}

impl Extend {
    /// Parses a command; `None` if it is another one.
    ///
    /// # Errors
    ///
    /// [`TpmError::Malformed`] if it is one and cannot be read: TPM 2.0 Library, Part 3, 22.2.
    pub fn parse(command: &[u8]) -> Result<Option<Self>, TpmError> {
        let mut fields = Fields::of_bytes(command);
        fields.bytes(6)?; // tag and length
        if fields.u32()? != Code::PcrExtend as u32 {
            return Ok(None);
        }
        let register = u8::try_from(fields.u32()?)
            .map_err(|_| TpmError::Malformed("a register beyond 255"))?;
        let authorization = fields.u32()? as usize;
        fields.bytes(authorization)?;
        let mut extend = Self {
            register,
            sha256: None,
            sha384: None,
        };
        for _ in 0..fields.u32()? {
            let algorithm = fields.u16()?;
            let known = ALGORITHMS.iter().find(|(known, _)| *known == algorithm);
            let (_, size) = known.ok_or(TpmError::Malformed("an unknown hash algorithm"))?;
            let digest = fields.bytes(*size)?;
            match algorithm {
                ALG_SHA256 => extend.sha256 = digest.try_into().ok().map(Digest),
                ALG_SHA384 => extend.sha384 = digest.try_into().ok().map(Digest),
                _ => {}
            }
        }
        Ok(Some(extend))
    }
}

/// Everything that was extended since the machine was switched on.
#[derive(Clone, Debug, Default)]
pub struct Extends {
    shared: Arc<(Mutex<Vec<Extend>>, Condvar)>,
}

impl Extends {
    /// All of it so far, in order.
    pub fn list(&self) -> Vec<Extend> {
        self.lock().clone()
    }

    /// Waits until something that `look` finds has been extended, and returns whether it was
    /// within `timeout`.
    pub fn wait(&self, timeout: Duration, look: impl Fn(&Extend) -> bool) -> bool {
        let end = Instant::now() + timeout;
        let mut list = self.lock();
        loop {
            let found = list.iter().any(&look);
            let left = end.saturating_duration_since(Instant::now());
            if found || left.is_zero() {
                return found;
            }
            let waited = self.shared.1.wait_timeout(list, left);
            (list, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(super) fn push(&self, extend: Extend) {
        self.lock().push(extend);
        self.shared.1.notify_all();
    }

    /// Forgets everything, as a reset of the TPM does.
    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Extend>> {
        let list = self.shared.0.lock();
        list.unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tpm::wire::Command;

    fn command(algorithms: &[(u16, usize)]) -> Vec<u8> {
        let count = u32::try_from(algorithms.len()).unwrap();
        let command = Command::new(Code::PcrExtend).handle(9).authorized();
        let digests = algorithms.iter().zip(1..);
        let command = digests.fold(command.u32(count), |command, ((algorithm, size), byte)| {
            command.u16(*algorithm).bytes(&vec![byte; *size])
        });
        command.to_bytes()
    }

    #[test]
    fn both_banks_are_read_past_the_others() {
        let extend = Extend::parse(&command(&ALGORITHMS)).unwrap().unwrap();
        let expected = Extend {
            register: 9,
            sha256: Some(Digest([2; 32])),
            sha384: Some(Digest([3; 48])),
        };
        assert_eq!(extend, expected);
        let one = Extend::parse(&command(&ALGORITHMS[..2])).unwrap().unwrap();
        assert_eq!((one.sha256.is_some(), one.sha384), (true, None));
    }

    #[test]
    fn other_commands_are_none_and_broken_ones_errors() {
        let startup = Command::new(Code::Startup).u16(0).to_bytes();
        assert_eq!(Extend::parse(&startup).unwrap(), None);
        let whole = command(&ALGORITHMS);
        assert!(Extend::parse(&whole[..whole.len() - 1]).is_err());
        assert!(Extend::parse(&command(&[(0x1234, 32)])).is_err());
        assert!(Extend::parse(&[]).is_err());
    }

    #[test]
    fn waiting_finds_what_comes_and_gives_up() {
        let extends = Extends::default();
        assert!(!extends.wait(Duration::from_millis(1), |_| true));
        let later = extends.clone();
        let thread = std::thread::spawn(move || {
            later.push(Extend::parse(&command(&ALGORITHMS)).unwrap().unwrap());
        });
        assert!(extends.wait(Duration::from_secs(30), |extend| extend.register == 9));
        thread.join().unwrap();
        extends.clear();
        assert!(extends.list().is_empty());
    }
}
