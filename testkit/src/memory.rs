//! Takes the firmware's event log out of a running guest's memory.
//!
//! The guest is not asked: the log lies where the firmware put it, and in the copy that Linux
//! keeps. RAM also holds stale pieces of it, so of everything that looks like a log the one is
//! taken whose replay gives the values that the TPM holds. Which bytes they are does not matter
//! then: a log with that replay *is* the list of what was extended.
//!
//! I/O: QEMU writes RAM to a file in the run directory, piece by piece.

use std::fs;
use std::io;

use measurements::event_log::EventLog;
use serde_json::json;

use crate::machine::{MachineError, Running};
use crate::tpm::Pcrs;

/// The text that begins the data of a log's first event, which is of type `EV_NO_ACTION`: TCG PC
/// Client Platform Firmware Profile, 10.4.5.1 "Specification ID Version Event".
const SIGNATURE: &[u8] = b"Spec ID Event03\0";
/// What stands before it: register, type, SHA-1 digest and size.
const BEFORE_SIGNATURE: usize = 4 + 4 + 20 + 4;
/// Longest log that is looked for; OVMF's area has 64 KiB.
const MAX_LOG: u64 = 1 << 20;
/// How much memory is looked at at a time.
const PIECE: u64 = 64 << 20;
/// q35 puts RAM below 4 GiB up to here, and no more than 2 GiB if there is more than this.
const Q35_LOW_MEMORY: u64 = 0xB000_0000;

/// Why no event log was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// QEMU did not give its memory.
    #[error(transparent)]
    Machine(#[from] MachineError),

    /// The run directory failed.
    #[error("read the guest's memory")]
    Io(#[from] io::Error),

    /// Nothing that looks like a log replays to the registers.
    #[error("none of {0} event logs in memory replays to the TPM's registers")]
    NotFound(usize),
}

/// An event log, and the bytes that it was in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundLog {
    /// The events.
    pub log: EventLog,
    /// The bytes, with nothing behind the last event.
    pub bytes: Vec<u8>,
}

/// Finds the log whose replay of `registers` equals `pcrs`.
///
/// If `pcrs` were read from the TPM, the log's events of those registers are what was extended
/// into them, and nothing else was.
///
/// # Errors
///
/// [`MemoryError::NotFound`] if there is none, as when the operating system has extended one of
/// the registers, which the firmware does not log.
pub fn find_event_log(
    machine: &Running,
    pcrs: &Pcrs,
    registers: &[u8],
) -> Result<FoundLog, MemoryError> {
    let mut seen = 0;
    for piece in pieces_of(machine) {
        for found in logs(&piece?) {
            seen += 1;
            let equal = |&register: &u8| {
                found.log.replay(register.into()).sha256 == Some(pcrs.value(register))
            };
            if registers.iter().all(equal) {
                return Ok(found);
            }
        }
    }
    Err(MemoryError::NotFound(seen))
}

/// The guest's memory below 4 GiB, piece by piece, from the top; neighbours overlap.
pub fn pieces_of(machine: &Running) -> impl Iterator<Item = Result<Vec<u8>, MemoryError>> {
    let dump = machine.directory().join("memory");
    pieces(machine.memory()).map(move |(start, length)| {
        let arguments = json!({"val": start, "size": length, "filename": dump});
        machine.execute("pmemsave", arguments)?;
        let bytes = fs::read(&dump)?;
        fs::remove_file(&dump)?;
        Ok(bytes)
    })
}

/// Ranges that cover RAM below 4 GiB from the top, where firmware keeps its things, and overlap
/// by the longest log.
fn pieces(memory_mib: u32) -> impl Iterator<Item = (u64, u64)> {
    let memory = u64::from(memory_mib) << 20;
    let top = if memory >= Q35_LOW_MEMORY {
        2 << 30
    } else {
        memory
    };
    (0..top.div_ceil(PIECE)).rev().map(move |number| {
        let start = number * PIECE;
        (start, (PIECE + MAX_LOG).min(top - start))
    })
}

/// Everything in `memory` that parses as an event log.
fn logs(memory: &[u8]) -> impl Iterator<Item = FoundLog> {
    starts(memory)
        .filter_map(|start| memory.get(start..))
        .filter_map(|bytes| {
            let (log, length) = EventLog::parse_prefix(bytes).ok()?;
            let bytes = bytes.get(..length)?.to_vec();
            Some(FoundLog { log, bytes })
        })
}

/// Where event logs may begin.
fn starts(memory: &[u8]) -> impl Iterator<Item = usize> {
    memory
        .windows(SIGNATURE.len())
        .enumerate()
        // Comparing the first bytes alone keeps the search fast without optimisation.
        .filter(|(_, window)| window.first() == SIGNATURE.first() && *window == SIGNATURE)
        .filter_map(|(position, _)| position.checked_sub(BEFORE_SIGNATURE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_memory_from_the_top() {
        let pieces: Vec<_> = pieces(192).collect();
        assert_eq!(
            pieces,
            [(128 << 20, 64 << 20), (64 << 20, 65 << 20), (0, 65 << 20)]
        );
    }

    #[test]
    fn much_memory_has_two_gib_below_four() {
        assert_eq!(pieces(8192).next(), Some(((2 << 30) - PIECE, PIECE)));
    }

    #[test]
    fn starts_are_before_the_signature() {
        let mut memory = vec![0; 100];
        memory.extend(SIGNATURE);
        memory.extend([0; 50]);
        assert_eq!(starts(&memory).collect::<Vec<_>>(), [68]);
        assert_eq!(starts(SIGNATURE).count(), 0);
    }
}
