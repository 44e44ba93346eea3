//! Reads event logs, replays them, says in words what their events are, and explains by which of
//! them a machine differs from a [`Prediction`](crate::Prediction) or a
//! [`TdxPrediction`](crate::tdx::TdxPrediction).
//!
//! Two logs list what was extended into the registers: the firmware's ([`EventLog`]; on a bare TDX
//! machine the same format is called CCEL), and the one that systemd goes on with
//! ([`UserspaceLog`]). A log proves nothing by itself: what it replays to must equal registers that
//! were quoted. And even then only its *digests* are proven: the data beside a digest is whatever
//! the writer put there. [`LoggedEvent::is_confirmed`] says where the two belong together, and all
//! words made of data are escaped, so that a hostile log cannot speak to the reader's terminal.
//!
//! Left out: the older log of SHA-1 only (recognised, and refused), and IMA's log.
//!
//! I/O: none. Memory: in proportion to the log.

mod bank;
mod confirm;
pub mod event_type;
pub mod explain;
mod meaning;
mod parse;
mod userspace;

pub use bank::{Bank, BankDigests};
pub use event_type::EV_NO_ACTION;
pub use meaning::{Escaped, ImageLoad, Meaning, PartitionTable, Variable};
pub use parse::EventLogError;
pub use userspace::{UserspaceEvent, UserspaceLog, UserspaceLogError, UserspaceRegister};

/// Begins the data of the EV_NO_ACTION event that says what PCR 0 begins with.
const STARTUP_LOCALITY: &[u8] = b"StartupLocality\0";
/// What PCR 0 begins with if a hardware root of trust measured before the TPM was started.
const HCRTM_LOCALITY: u8 = 4;
/// Highest measurement register of a TDX machine: RTMR 3.
const MAX_MR: u32 = 4;

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedEvent {
    /// The register: PCR 0 to 23, or the MR index of a TDX machine, where 0 is MRTD and 1 to 4 are
    /// RTMR 0 to 3. 0xffffffff in some events that are not extended.
    pub pcr: u32,
    /// The event type: EV_SEPARATOR is 4, for example. [`event_type::name`] knows them.
    pub event_type: u32,
    /// What was extended, in each bank that the log has.
    pub digests: BankDigests,
    /// What the event says about itself. The digest is not always one of these bytes.
    pub data: Vec<u8>,
}

/// The entries of a log after its first, which only says how the others are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventLog {
    /// The banks that every event has a digest for. Banks that are not known are passed over.
    pub banks: Vec<Bank>,
    /// In the order in which they were extended.
    pub events: Vec<LoggedEvent>,
}

impl LoggedEvent {
    /// Says whether the event was extended into its register; others are there for information.
    pub fn is_extended(&self) -> bool {
        self.event_type != EV_NO_ACTION
    }
}

impl EventLog {
    /// Returns the value that a register has in each bank of the log if exactly these events were
    /// extended into it. PCR 0 begins with the startup locality if the log has one.
    pub fn replay(&self, pcr: u32) -> BankDigests {
        let start = BankDigests::zero(&self.banks);
        let start = match self.startup_locality() {
            Some(locality) if pcr == 0 => start.with_last_byte(locality),
            _ => start,
        };
        self.extended(pcr)
            .fold(start, |value, event| value.extend(event.digests))
    }

    /// Returns what was extended into a register, in order.
    pub fn digests(&self, pcr: u32) -> Vec<BankDigests> {
        self.extended(pcr).map(|event| event.digests).collect()
    }

    /// Returns the events that were extended into a register, in order.
    pub fn extended(&self, pcr: u32) -> impl Iterator<Item = &LoggedEvent> {
        self.events
            .iter()
            .filter(move |event| event.pcr == pcr && event.is_extended())
    }

    /// Says whether this is the log of a bare TDX machine (CCEL), whose indices are not PCRs.
    ///
    /// The log does not say so. But a TPM's has separators in PCR 0 to 7, and TDX has only SHA-384
    /// and registers up to [`MAX_MR`](LoggedEvent::pcr).
    pub fn is_of_tdx(&self) -> bool {
        let mut extended = self.events.iter().filter(|event| event.is_extended());
        self.banks == [Bank::Sha384] && extended.all(|event| event.pcr <= MAX_MR)
    }

    /// The locality that the TPM was started from is PCR 0's last byte at the beginning: TPM 2.0
    /// Library, Part 1, "PCR Initialization"; 4 if a hardware root of trust measured before.
    fn startup_locality(&self) -> Option<u8> {
        let first = self.extended(0).next();
        let is_hcrtm = |event: &LoggedEvent| event.event_type == event_type::EV_EFI_HCRTM_EVENT;
        if first.is_some_and(is_hcrtm) {
            return Some(HCRTM_LOCALITY);
        }
        self.events
            .iter()
            .filter(|event| event.event_type == EV_NO_ACTION && event.pcr == 0)
            .find_map(|event| event.data.strip_prefix(STARTUP_LOCALITY)?.first().copied())
    }
}
