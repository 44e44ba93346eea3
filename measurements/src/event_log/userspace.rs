//! Reads the log that systemd keeps of what it extends: `/run/log/systemd/tpm2-measure.log`.
//!
//! A JSON text sequence (RFC 7464) of records close to TCG's CEL-JSON; systemd
//! `src/shared/tpm2-util.c`, `tpm2_userspace_log`. It goes on where the firmware's log ends, and is
//! worth as much: nothing, until it replays to a quoted register.
//!
//! Left out: whether the log is complete (systemd marks an unfinished one in the file's mode).
//!
//! I/O: none.

use serde::Deserialize;

use super::{Bank, BankDigests};
use crate::{Digest, DigestParseError};

/// Most bytes that are parsed: 1000 times what a boot writes.
const MAX_SIZE: usize = 4 << 20;
/// Most bytes of one record.
const MAX_RECORD: usize = 64 << 10;
/// RFC 7464, 2.2: begins each record; a line feed ends it.
const RECORD_SEPARATOR: u8 = 0x1e;
/// Highest PCR of a PC Client TPM.
const MAX_PCR: u8 = 23;
/// Highest RTMR of TDX.
const MAX_RTMR: u8 = 3;

/// What systemd extended, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserspaceLog {
    /// One for each record.
    pub events: Vec<UserspaceEvent>,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserspaceEvent {
    /// Where it was extended into.
    pub register: UserspaceRegister,
    /// What was extended, in the banks that are known.
    pub digests: BankDigests,
    /// What systemd says it was: `enter-initrd`, `machine-id:…`. Empty if it does not say.
    pub text: String,
    /// `phase`, `filesystem`, `volume-key`, `machine-id`, … Empty if systemd does not say.
    pub kind: String,
}

/// A register that userspace can extend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserspaceRegister {
    /// A PCR of the TPM.
    Pcr(u8),
    /// A run-time register of TDX.
    Rtmr(u8),
    /// An index of the TPM's memory that works like a register.
    NvIndex(u32),
}

/// Why bytes are not a log of systemd. Records are counted from 1.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UserspaceLogError {
    /// Larger than any log.
    #[error("expected at most {MAX_SIZE} bytes, got {actual}")]
    TooLarge {
        /// What was given.
        actual: usize,
    },
    /// A record does not begin, or does not end, as those of a JSON text sequence do.
    #[error(
        "record {record}: expected a record separator, at most {MAX_RECORD} bytes, and a line feed"
    )]
    Frame {
        /// Which record.
        record: usize,
    },
    /// A record is not JSON, or has not the fields of systemd's records.
    #[error("record {record}: not a record of systemd")]
    Json {
        /// Which record.
        record: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A record names no register that there is, or more than one.
    #[error(
        "record {record}: expected one of pcr (0 to {MAX_PCR}), rtmr (0 to {MAX_RTMR}), nv_index"
    )]
    Register {
        /// Which record.
        record: usize,
    },
    /// A digest has not the size of its bank, or is not hex.
    #[error("record {record}: not a {bank} digest")]
    Digest {
        /// Which record.
        record: usize,
        /// Which bank.
        bank: Bank,
        /// What is wrong with it.
        source: DigestParseError,
    },
    /// A bank is there twice.
    #[error("record {record}: the {bank} digest is there twice")]
    DuplicateBank {
        /// Which record.
        record: usize,
        /// Which bank.
        bank: Bank,
    },
}

impl UserspaceLog {
    /// Parses a log that is all of `bytes`; no bytes are the log of a boot that extended nothing.
    ///
    /// # Errors
    ///
    /// [`UserspaceLogError`] names the first record that is not one.
    pub fn parse(bytes: &[u8]) -> Result<Self, UserspaceLogError> {
        if bytes.len() > MAX_SIZE {
            let actual = bytes.len();
            return Err(UserspaceLogError::TooLarge { actual });
        }
        let mut events = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let record = events.len().saturating_add(1);
            let frame = UserspaceLogError::Frame { record };
            let Some((json, next)) = split_record(rest) else {
                return Err(frame);
            };
            events.push(UserspaceEvent::parse(json, record)?);
            rest = next;
        }
        Ok(Self { events })
    }

    /// Returns what was extended into a PCR, in order.
    pub fn extended(&self, pcr: u8) -> impl Iterator<Item = &UserspaceEvent> {
        let register = UserspaceRegister::Pcr(pcr);
        self.events
            .iter()
            .filter(move |event| event.register == register)
    }
}

impl UserspaceEvent {
    fn parse(json: &[u8], record: usize) -> Result<Self, UserspaceLogError> {
        let parsed: Record = serde_json::from_slice(json)
            .map_err(|source| UserspaceLogError::Json { record, source })?;
        let register = match (parsed.pcr, parsed.rtmr, parsed.nv_index) {
            (Some(pcr), None, None) if pcr <= MAX_PCR => UserspaceRegister::Pcr(pcr),
            (None, Some(rtmr), None) if rtmr <= MAX_RTMR => UserspaceRegister::Rtmr(rtmr),
            (None, None, Some(index)) => UserspaceRegister::NvIndex(index),
            _ => return Err(UserspaceLogError::Register { record }),
        };
        let mut digests = BankDigests::default();
        for RecordDigest { bank, hex } in parsed.digests {
            match bank.parse() {
                Ok(Bank::Sha256) => set(&mut digests.sha256, &hex, Bank::Sha256, record)?,
                Ok(Bank::Sha384) => set(&mut digests.sha384, &hex, Bank::Sha384, record)?,
                Err(_) => (),
            }
        }
        Ok(Self {
            register,
            digests,
            text: parsed.content.string,
            kind: parsed.content.event_type,
        })
    }

    /// Says whether the digests are of the text, so that whoever trusts the digests may believe
    /// it. Volume keys are extended as HMACs, so that their texts are never confirmed.
    pub fn is_confirmed(&self) -> bool {
        self.digests.are_of(self.text.as_bytes())
    }
}

/// Splits the first record off: what is between separator and line feed, and what follows.
fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&RECORD_SEPARATOR, bytes) = bytes.split_first()? else {
        return None;
    };
    let window = bytes.get(..MAX_RECORD).unwrap_or(bytes);
    // A line feed in a JSON text would be in white space, which systemd writes none of.
    let end = window.iter().position(|byte| *byte == b'\n')?;
    Some((bytes.get(..end)?, bytes.get(end.checked_add(1)?..)?))
}

fn set<const N: usize>(
    digest: &mut Option<Digest<N>>,
    hex: &str,
    bank: Bank,
    record: usize,
) -> Result<(), UserspaceLogError> {
    let parsed = hex.parse().map_err(|source| UserspaceLogError::Digest {
        record,
        bank,
        source,
    })?;
    match digest.replace(parsed) {
        None => Ok(()),
        Some(_) => Err(UserspaceLogError::DuplicateBank { record, bank }),
    }
}

/// Fields beside these are refused: they could say that the record means something else.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    pcr: Option<u8>,
    rtmr: Option<u8>,
    /// The PCR that the RTMR stands for.
    #[serde(rename = "mapped_pcr")]
    _mapped_pcr: Option<u8>,
    nv_index: Option<u32>,
    digests: Vec<RecordDigest>,
    #[serde(rename = "content_type")]
    _content_type: ContentType,
    content: Content,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordDigest {
    #[serde(rename = "hashAlg")]
    bank: String,
    #[serde(rename = "digest")]
    hex: String,
}

/// Another content type would have other contents.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum ContentType {
    Systemd,
}

/// Has more fields (`bootId`, `timestamp`, others in other versions), which say nothing about what
/// was extended.
#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    string: String,
    #[serde(default, rename = "eventType")]
    event_type: String,
}
