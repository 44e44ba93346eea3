//! Reads the firmware's event log and replays it.
//!
//! Follows TCG PC Client Platform Firmware Profile 1.06, "Event Logging":
//! the crypto-agile log that begins with a "Spec ID Event03". Only the SHA-256 bank is kept.
//! A log proves nothing by itself: what it replays to must equal registers that were quoted.
//!
//! Left out: the older log of SHA-1 only, and what the data of each event means.
//!
//! I/O: none.

use crate::Sha256Digest;
use crate::bytes::{array, index, slice, u16_le, u32_le};

/// An event that is in the log for information and not extended.
pub const EV_NO_ACTION: u32 = 3;

/// TPM_ALG_ID of SHA-256: TCG Algorithm Registry.
const ALG_SHA256: u16 = 0x000b;
/// Fields of TCG_PCClientPCREvent before its data: PCR, type, SHA-1 digest, size.
const FIRST_EVENT_HEADER: usize = 32;
const SPEC_ID: &[u8] = b"Spec ID Event03\0";
/// Most banks a log may have. TPMs have up to five.
const MAX_ALGORITHMS: u32 = 16;
/// Highest PCR of a PC Client TPM.
const MAX_PCR: u32 = 23;
/// Begins the data of the EV_NO_ACTION event that says what PCR 0 begins with.
const STARTUP_LOCALITY: &[u8] = b"StartupLocality\0";

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedEvent {
    /// The register, 0 to 23; 0xffffffff in some events that are not extended.
    pub pcr: u32,
    /// The event type: EV_SEPARATOR is 4, for example.
    pub event_type: u32,
    /// What was extended into the SHA-256 bank.
    pub digest: Sha256Digest,
    /// What the event says about itself. The digest is not always one of these bytes.
    pub data: Vec<u8>,
}

/// The entries of a log after its first, which only says how the others are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventLog {
    /// In the order in which they were extended.
    pub events: Vec<LoggedEvent>,
}

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
    /// The number of banks is none that a TPM has.
    #[error("expected 1 to {MAX_ALGORITHMS} digest algorithms, got {actual}")]
    AlgorithmCount {
        /// numberOfAlgorithms.
        actual: u32,
    },
    /// The log has no SHA-256 bank, or one of another size.
    #[error("expected one SHA-256 bank with 32-byte digests in the log")]
    NoSha256,
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
        let (banks, mut offset) = Banks::parse(bytes)?;
        let mut events = Vec::new();
        while offset < bytes.len() {
            let (event, end) = banks.parse_event(bytes, offset)?;
            events.push(event);
            offset = end;
        }
        Ok(Self { events })
    }

    /// Parses a log that `bytes` begin with, such as the memory area that firmware keeps it in:
    /// stops at the first thing that is not an event. Returns the number of bytes used, too.
    ///
    /// # Errors
    ///
    /// [`EventLogError`] if not even the first event is one.
    pub fn parse_prefix(bytes: &[u8]) -> Result<(Self, usize), EventLogError> {
        let (banks, mut offset) = Banks::parse(bytes)?;
        let mut events = Vec::new();
        while let Ok((event, end)) = banks.parse_event(bytes, offset) {
            events.push(event);
            offset = end;
        }
        Ok((Self { events }, offset))
    }

    /// Returns the value that a register of the SHA-256 bank has if exactly these events were
    /// extended into it. PCR 0 begins with the startup locality if the log has one.
    pub fn replay(&self, pcr: u32) -> Sha256Digest {
        let start = if pcr == 0 {
            self.startup_value()
        } else {
            Sha256Digest::ZERO
        };
        self.extended(pcr)
            .fold(start, |value, event| value.extend(event.digest))
    }

    /// Returns what was extended into a register, in order.
    pub fn digests(&self, pcr: u32) -> Vec<Sha256Digest> {
        self.extended(pcr).map(|event| event.digest).collect()
    }

    fn extended(&self, pcr: u32) -> impl Iterator<Item = &LoggedEvent> {
        self.events
            .iter()
            .filter(move |e| e.pcr == pcr && e.event_type != EV_NO_ACTION)
    }

    /// The locality that TPM2_Startup was sent from is PCR 0's last byte at the beginning.
    fn startup_value(&self) -> Sha256Digest {
        let locality = self
            .events
            .iter()
            .filter(|event| event.event_type == EV_NO_ACTION && event.pcr == 0)
            .find_map(|event| event.data.strip_prefix(STARTUP_LOCALITY)?.first());
        let mut value = Sha256Digest::ZERO;
        if let (Some(locality), [.., last]) = (locality, &mut value.0) {
            *last = *locality;
        }
        value
    }
}

/// The digest algorithms of a log, each with the size of its digests in bytes.
struct Banks(Vec<(u16, usize)>);

impl Banks {
    /// Parses the first event; returns where the second begins, too.
    fn parse(bytes: &[u8]) -> Result<(Self, usize), EventLogError> {
        let truncated = EventLogError::Truncated { offset: 0 };
        let event_type = u32_le(bytes, 4).ok_or(truncated.clone())?;
        let size = u32_le(bytes, 28).map(index).ok_or(truncated.clone())?;
        let data = slice(bytes, FIRST_EVENT_HEADER, size).ok_or(truncated.clone())?;
        if event_type != EV_NO_ACTION || !data.starts_with(SPEC_ID) {
            return Err(EventLogError::NoSpecId);
        }
        // Signature 16, platform class 4, version 2, errata 1, size of UINTN 1, then the number.
        let count = u32_le(data, 24).ok_or(truncated.clone())?;
        if count == 0 || count > MAX_ALGORITHMS {
            return Err(EventLogError::AlgorithmCount { actual: count });
        }
        let entries = slice(data, 28, index(count).saturating_mul(4)).ok_or(truncated)?;
        let banks: Vec<(u16, usize)> = entries
            .chunks_exact(4)
            .filter_map(|entry| Some((u16_le(entry, 0)?, u16_le(entry, 2)?.into())))
            .collect();
        let sha256: Vec<_> = banks
            .iter()
            .filter(|(algorithm, _)| *algorithm == ALG_SHA256)
            .collect();
        if sha256 != [&(ALG_SHA256, 32)] {
            return Err(EventLogError::NoSha256);
        }
        Ok((Self(banks), FIRST_EVENT_HEADER.saturating_add(size)))
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
        let (pcr, event_type, count) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
        let is_outside = pcr > MAX_PCR && !(pcr == u32::MAX && event_type == EV_NO_ACTION);
        if is_outside {
            return Err(EventLogError::Pcr {
                offset,
                actual: pcr,
            });
        }
        let expected = self.0.len();
        let wrong = EventLogError::Digests { offset, expected };
        if index(count) != expected {
            return Err(wrong);
        }
        let mut digest = None;
        let mut seen = Vec::with_capacity(expected);
        for _ in 0..expected {
            let algorithm = cursor.u16()?;
            let bank = self.0.iter().find(|(bank, _)| *bank == algorithm);
            let (_, size) = bank
                .filter(|_| !seen.contains(&algorithm))
                .ok_or(wrong.clone())?;
            seen.push(algorithm);
            let bytes = cursor.take(*size)?;
            if algorithm == ALG_SHA256 {
                digest = array(bytes, 0).map(crate::Digest);
            }
        }
        let size = cursor.u32()?;
        let data = cursor.take(index(size))?.to_vec();
        Ok((
            LoggedEvent {
                pcr,
                event_type,
                digest: digest.ok_or(wrong)?,
                data,
            },
            cursor.offset,
        ))
    }
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
