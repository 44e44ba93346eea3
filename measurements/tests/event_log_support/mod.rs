//! Writes event logs, so that tests need not find the ones that they talk about.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "each test file uses a part; a panic in a test is a failing test"
)]

use measurements::Digests;
use measurements::event_log::{Bank, BankDigests, EventLog, LoggedEvent};

/// Algorithm and digest size of a bank.
pub type Algorithm = (u16, usize);

pub const SHA1: Algorithm = (4, 20);
pub const SHA256: Algorithm = (11, 32);
pub const SHA384: Algorithm = (12, 48);
pub const SHA512: Algorithm = (13, 64);
pub const SM3: Algorithm = (18, 32);

pub const NO_ACTION: u32 = 3;
pub const SEPARATOR: u32 = 4;
pub const TAG: u32 = 6;
pub const IPL: u32 = 13;
pub const APPLICATION: u32 = 0x8000_0003;
pub const DRIVER: u32 = 0x8000_0004;
pub const ACTION: u32 = 0x8000_0007;

/// The first event, in the form of the older logs.
pub fn header(banks: &[Algorithm]) -> Vec<u8> {
    let mut data = b"Spec ID Event03\0".to_vec();
    data.extend([0, 0, 0, 0, 0, 2, 0, 2]);
    data.extend(u32::try_from(banks.len()).unwrap().to_le_bytes());
    for (algorithm, size) in banks {
        data.extend(algorithm.to_le_bytes());
        data.extend(u16::try_from(*size).unwrap().to_le_bytes());
    }
    data.push(0);
    older_event(0, NO_ACTION, 0, &data)
}

/// An event of a log with SHA-1 only.
pub fn older_event(pcr: u32, kind: u32, byte: u8, data: &[u8]) -> Vec<u8> {
    let mut event = [pcr.to_le_bytes(), kind.to_le_bytes()].concat();
    event.extend([byte; 20]);
    event.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
    event.extend(data);
    event
}

/// An event whose digests are this byte, many times.
pub fn event(banks: &[Algorithm], pcr: u32, kind: u32, byte: u8, data: &[u8]) -> Vec<u8> {
    let digests: Vec<_> = banks.iter().map(|(_, size)| vec![byte; *size]).collect();
    event_with(banks, &digests, pcr, kind, data)
}

fn event_with(
    banks: &[Algorithm],
    digests: &[Vec<u8>],
    pcr: u32,
    kind: u32,
    data: &[u8],
) -> Vec<u8> {
    let mut event = [pcr.to_le_bytes(), kind.to_le_bytes()].concat();
    event.extend(u32::try_from(banks.len()).unwrap().to_le_bytes());
    for ((algorithm, _), digest) in banks.iter().zip(digests) {
        event.extend(algorithm.to_le_bytes());
        event.extend(digest);
    }
    event.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
    event.extend(data);
    event
}

/// Writes a log with the banks that it has, and others before these.
pub fn write(log: &EventLog, others: &[Algorithm]) -> Vec<u8> {
    let known = log.banks.iter().map(|bank| match bank {
        Bank::Sha256 => SHA256,
        Bank::Sha384 => SHA384,
    });
    let banks: Vec<_> = others.iter().copied().chain(known).collect();
    let mut bytes = header(&banks);
    for event in &log.events {
        let digest = |(algorithm, size): &Algorithm| match *algorithm {
            11 => event.digests.sha256.unwrap().0.to_vec(),
            12 => event.digests.sha384.unwrap().0.to_vec(),
            _ => vec![0x5a; *size],
        };
        let digests: Vec<_> = banks.iter().map(digest).collect();
        let LoggedEvent {
            pcr, event_type, ..
        } = *event;
        bytes.extend(event_with(&banks, &digests, pcr, event_type, &event.data));
    }
    bytes
}

/// An event that says one thing, and is the digest of another.
pub fn measured(pcr: u32, event_type: u32, measured: &[u8], data: &[u8]) -> LoggedEvent {
    LoggedEvent {
        pcr,
        event_type,
        digests: BankDigests::from(Digests::of(measured)),
        data: data.to_vec(),
    }
}

/// UTF-16 with a NUL.
pub fn utf16(text: &str) -> Vec<u8> {
    let units = text.encode_utf16().chain([0]);
    units.flat_map(u16::to_le_bytes).collect()
}

/// The data of a tagged event.
pub fn tagged(id: u32, text: &[u8]) -> Vec<u8> {
    let size = u32::try_from(text.len()).unwrap();
    [&id.to_le_bytes(), &size.to_le_bytes(), text].concat()
}

/// The data of an image's event, loaded from a file of a PCI device.
pub fn loaded(file: &str) -> Vec<u8> {
    let name = utf16(file);
    let mut path = vec![0x02, 0x01, 0x0c, 0x00, 0xd0, 0x41, 0x03, 0x0a, 0, 0, 0, 0];
    path.extend([4, 4]);
    path.extend(u16::try_from(name.len() + 4).unwrap().to_le_bytes());
    path.extend(name);
    loaded_from(&path)
}

/// The data of the event of a kernel that systemd-stub started.
pub fn loaded_by_stub() -> Vec<u8> {
    loaded_from(&[
        0x04, 0x03, 0x14, 0x00, 0xf8, 0xd1, 0xc5, 0x55, 0xcd, 0x04, 0xb5, 0x46, 0x8a, 0x20, 0xe5,
        0x6c, 0xbb, 0x30, 0x52, 0xd0,
    ])
}

fn loaded_from(nodes: &[u8]) -> Vec<u8> {
    let path = [nodes, &[0x7f, 0xff, 0x04, 0x00]].concat();
    let numbers = [0x7c3b_b018, 1000, 0, u64::try_from(path.len()).unwrap()];
    let mut data: Vec<u8> = numbers.into_iter().flat_map(u64::to_le_bytes).collect();
    data.extend(path);
    data
}
