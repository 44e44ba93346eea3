//! Parses the firmware's log.
//!
//! Follows TCG PC Client Platform Firmware Profile 1.06, "Event Logging": the crypto-agile log that
//! begins with a "Spec ID Event03". UEFI 2.10, 38.4 "EFI CC Measurement Protocol", takes the same
//! format for confidential machines without a TPM.
//!
//! I/O: none.

use super::{Bank, BankDigests, EV_NO_ACTION, EventLog, LoggedEvent, event_type};
use crate::bytes::{array, index, slice, u16_le, u32_le};

/// Fields of TCG_PCClientPCREvent before its data: PCR, type, SHA-1 digest, size.
const FIRST_EVENT_HEADER: usize = 32;
const SPEC_ID: &[u8] = b"Spec ID Event03\0";
/// The specification events of logs with SHA-1 digests only: of BIOS, and of EFI for TPM 1.2.
const OLDER_SPEC_IDS: [&[u8]; 2] = [b"Spec ID Event00\0", b"Spec ID Event02\0"];
/// Most banks a log may have. TPMs have up to five.
const MAX_ALGORITHMS: u32 = 16;
/// Highest PCR of a PC Client TPM.
const MAX_PCR: u32 = 23;

/// Why bytes are not an event log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventLogError {
    /// The bytes end inside of an event.
    #[error("the log ends inside of the event at byte {offset}")]
    Truncated {
        /// Where the event begins.
        offset: usize,
    },
    /// The first event is not the one that crypto-agile logs begin with.
    #[error("expected the log to begin with a \"Spec ID Event03\" event")]
    NoSpecId,
    /// A log of the form that TPM 1.2 had.
    #[error(
        "expected digests of SHA-256 or SHA-384, got a log of the older form that has SHA-1 only, \
         which proves nothing: a TPM 2.0 with its SHA-256 bank enabled gives the other"
    )]
    Sha1Only,
    /// The number of banks is none that a TPM has.
    #[error("expected 1 to {MAX_ALGORITHMS} digest algorithms, got {actual}")]
    AlgorithmCount {
        /// numberOfAlgorithms.
        actual: u32,
    },
    /// A bank is there twice, or its digests have another size than the algorithm's.
    #[error(
        "expected each digest algorithm once and with its size, got {algorithm:#06x} otherwise"
    )]
    Algorithm {
        /// The algorithm's TPM_ALG_ID.
        algorithm: u16,
    },
    /// The log has no bank that is known.
    #[error("expected a SHA-256 or a SHA-384 bank in the log")]
    NoBank,
    /// An event has a register that there is not.
    #[error("expected PCR 0 to {MAX_PCR} at byte {offset}, got {actual}")]
    Pcr {
        /// Where the event begins.
        offset: usize,
        /// pcrIndex.
        actual: u32,
    },
    /// An event has not one digest for each bank.
    #[error("expected {expected} digests, one for each bank, in the event at byte {offset}")]
    Digests {
        /// Where the event begins.
        offset: usize,
        /// Number of banks.
        expected: usize,
    },
}

impl EventLog {
    /// Parses a log that is all of `bytes`.
    ///
    /// # Errors
    ///
    /// [`EventLogError`] if there is anything that is not an event.
    pub fn parse(bytes: &[u8]) -> Result<Self, EventLogError> {
        match Self::parse_until(bytes)? {
            (log, _, None) => Ok(log),
            (_, _, Some(error)) => Err(error),
        }
    }

    /// Parses a log that `bytes` begin with, such as the memory area that firmware keeps it in:
    /// stops at the first thing that is not an event. Returns the number of bytes used, too.
    ///
    /// # Errors
    ///
    /// [`EventLogError`] if not even the first event is one.
    pub fn parse_prefix(bytes: &[u8]) -> Result<(Self, usize), EventLogError> {
        Self::parse_until(bytes).map(|(log, used, _)| (log, used))
    }

    /// Parses a log that fills `bytes` but for unused memory behind it: zeros only, or ones only.
    ///
    /// # Errors
    ///
    /// [`EventLogError`] if there is anything else that is not an event.
    pub fn parse_padded(bytes: &[u8]) -> Result<Self, EventLogError> {
        let (log, used, error) = Self::parse_until(bytes)?;
        let unused = bytes.get(used..).unwrap_or_default();
        let is_uniform = |byte: u8| unused.iter().all(|b| *b == byte);
        match error {
            Some(error) if !is_uniform(0) && !is_uniform(0xff) => Err(error),
            _ => Ok(log),
        }
    }

    /// The log, the bytes it has, and what ended it if that was not the end of `bytes`.
    fn parse_until(bytes: &[u8]) -> Result<(Self, usize, Option<EventLogError>), EventLogError> {
        let (algorithms, mut offset) = Algorithms::parse(bytes)?;
        let mut log = Self {
            banks: algorithms.banks(),
            events: Vec::new(),
        };
        while offset < bytes.len() {
            match algorithms.parse_event(bytes, offset) {
                Ok((event, end)) => {
                    log.events.push(event);
                    offset = end;
                }
                Err(error) => return Ok((log, offset, Some(error))),
            }
        }
        Ok((log, offset, None))
    }
}

/// The digest algorithms of a log, each with the size of its digests in bytes.
struct Algorithms(Vec<(u16, usize)>);

impl Algorithms {
    /// Parses the first event; returns where the second begins, too.
    fn parse(bytes: &[u8]) -> Result<(Self, usize), EventLogError> {
        let truncated = EventLogError::Truncated { offset: 0 };
        let event_type = u32_le(bytes, 4).ok_or(truncated.clone())?;
        let size = u32_le(bytes, 28).map(index).ok_or(truncated.clone())?;
        let data = slice(bytes, FIRST_EVENT_HEADER, size).ok_or(truncated.clone())?;
        if event_type != EV_NO_ACTION || !data.starts_with(SPEC_ID) {
            return Err(if is_sha1_only(bytes, event_type, data) {
                EventLogError::Sha1Only
            } else {
                EventLogError::NoSpecId
            });
        }
        // Signature 16, platform class 4, version 2, errata 1, size of UINTN 1, then the number.
        let count = u32_le(data, 24).ok_or(truncated.clone())?;
        if count == 0 || count > MAX_ALGORITHMS {
            return Err(EventLogError::AlgorithmCount { actual: count });
        }
        let entries = slice(data, 28, index(count).saturating_mul(4)).ok_or(truncated)?;
        let algorithms = entries
            .chunks_exact(4)
            .filter_map(|entry| Some((u16_le(entry, 0)?, u16_le(entry, 2)?.into())));
        let algorithms = Self(algorithms.collect());
        algorithms.ensure_sensible()?;
        Ok((algorithms, FIRST_EVENT_HEADER.saturating_add(size)))
    }

    /// Banks that are not known may be of any size.
    fn ensure_sensible(&self) -> Result<(), EventLogError> {
        for (position, (algorithm, size)) in self.0.iter().enumerate() {
            let mut before = self.0.iter().take(position);
            let is_twice = before.any(|(other, _)| other == algorithm);
            let bank = Bank::from_algorithm(*algorithm);
            if is_twice || bank.is_some_and(|bank| bank.size() != *size) {
                let algorithm = *algorithm;
                return Err(EventLogError::Algorithm { algorithm });
            }
        }
        if self.banks().is_empty() {
            return Err(EventLogError::NoBank);
        }
        Ok(())
    }

    /// The banks that are known, in the order of [`Bank::ALL`].
    fn banks(&self) -> Vec<Bank> {
        let has = |bank: &Bank| self.0.iter().any(|(id, _)| *id == bank.algorithm());
        Bank::ALL.into_iter().filter(has).collect()
    }

    /// Parses the event at `offset`; returns where the next begins, too.
    fn parse_event(
        &self,
        bytes: &[u8],
        offset: usize,
    ) -> Result<(LoggedEvent, usize), EventLogError> {
        let mut cursor = Cursor {
            bytes,
            offset,
            event: offset,
        };
        let (pcr, event_type) = (cursor.u32()?, cursor.u32()?);
        let is_outside = pcr > MAX_PCR && !(pcr == u32::MAX && event_type == EV_NO_ACTION);
        if is_outside {
            return Err(EventLogError::Pcr {
                offset,
                actual: pcr,
            });
        }
        let digests = self.parse_digests(&mut cursor)?;
        let size = cursor.u32()?;
        let data = cursor.take(index(size))?.to_vec();
        let event = LoggedEvent {
            pcr,
            event_type,
            digests,
            data,
        };
        Ok((event, cursor.offset))
    }

    /// One digest for each algorithm, in any order.
    fn parse_digests(&self, cursor: &mut Cursor<'_>) -> Result<BankDigests, EventLogError> {
        let wrong = EventLogError::Digests {
            offset: cursor.event,
            expected: self.0.len(),
        };
        if index(cursor.u32()?) != self.0.len() {
            return Err(wrong);
        }
        let mut digests = BankDigests::default();
        let mut seen = Vec::with_capacity(self.0.len());
        for _ in &self.0 {
            let algorithm = cursor.u16()?;
            let known = self.0.iter().find(|(known, _)| *known == algorithm);
            let (_, size) = known
                .filter(|_| !seen.contains(&algorithm))
                .ok_or(wrong.clone())?;
            seen.push(algorithm);
            let bytes = cursor.take(*size)?;
            match Bank::from_algorithm(algorithm) {
                Some(Bank::Sha256) => digests.sha256 = array(bytes, 0).map(crate::Digest),
                Some(Bank::Sha384) => digests.sha384 = array(bytes, 0).map(crate::Digest),
                None => (),
            }
        }
        Ok(digests)
    }
}

/// Whether the first event is of the older form: one of its specification events, or an event that
/// was extended, of a type that there is. (Anything has *some* bytes at these places.)
fn is_sha1_only(bytes: &[u8], event_type: u32, data: &[u8]) -> bool {
    let is_extended = || {
        u32_le(bytes, 0).is_some_and(|pcr| pcr <= MAX_PCR)
            && slice(bytes, 8, 20).is_some_and(|digest| digest.iter().any(|byte| *byte != 0))
            && event_type != EV_NO_ACTION
            && event_type::name(event_type).is_some()
    };
    let is_older = |id: &&[u8]| event_type == EV_NO_ACTION && data.starts_with(id);
    OLDER_SPEC_IDS.iter().any(is_older) || is_extended()
}

/// Reads on from `offset`; errors name the beginning of the event that is read.
struct Cursor<'a> {
    bytes: &'a [u8],
    offset: usize,
    event: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, size: usize) -> Result<&'a [u8], EventLogError> {
        let taken = slice(self.bytes, self.offset, size)
            .ok_or(EventLogError::Truncated { offset: self.event })?;
        self.offset = self.offset.saturating_add(size);
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16, EventLogError> {
        let event = self.event;
        u16_le(self.take(2)?, 0).ok_or(EventLogError::Truncated { offset: event })
    }

    fn u32(&mut self) -> Result<u32, EventLogError> {
        let event = self.event;
        u32_le(self.take(4)?, 0).ok_or(EventLogError::Truncated { offset: event })
    }
}
