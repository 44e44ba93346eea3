//! What the fuzz targets do with their input, one function each, so that the corpora can be
//! replayed without a fuzzer: `cargo test --lib` in this directory, with any compiler. `make fuzz` runs them
//! (scripts/fuzz), which takes their names from Cargo.toml.
//!
//! I/O: none; the test reads `corpus/`.

#[allow(dead_code, reason = "its JSON is among the seeds")]
#[path = "../../encrypted-disk/tests/support/header.rs"]
mod luks;
#[path = "../../cvmctl/src/diff/decompress/lz4.rs"]
mod lz4_decoder;
#[path = "../../measurements/tests/support/mod.rs"]
mod support;
#[path = "../../cvmctl/src/diff/decompress/xz.rs"]
mod xz_decoder;

use std::hint::black_box;
use std::io::{self, Cursor, Read};
use std::sync::LazyLock;

use attestation::evidence::{HclReport, RuntimeData};
use attestation::td_quote::TdQuote;
use attestation::tls::{certificate, client_hello, message};
use attestation::tpm_quote::{self, AkPublic};
use attestation::{Collateral, Evidence, EvidenceKind};
use attester::azure;
use attester::tpm::{ResponseCode, response};
use encrypted_disk::Key;
use encrypted_disk::luks::{Header, KeyDerivation};
use encrypted_disk::record::Unproven;
use measurements::event_log::explain::{Logs, MachineLogs};
use measurements::event_log::{EventLog, UserspaceLog};
use measurements::predict::{pcr04, pcr11};
use measurements::reference::ReferenceValues;
use measurements::tdx::{self, MrtdOrder, Tdvf, TdxPrediction};
use measurements::{Digests, Image, Prediction};
use sealed_key::{MAX_BYTES, Sealed};
use serde_json::{Value, json};
use templates::compat::{Data, Mode, Mustache};
use templates::{Format, Template, Values};
use wireserver::GoalState;

/// The key of the record among the seeds.
static RECORD_KEY: LazyLock<Key> =
    LazyLock::new(|| Key::parse("00112233445566778899aabbccddeeff").unwrap());

/// What logs are compared with.
static PREDICTION: LazyLock<Prediction> = LazyLock::new(|| {
    let images = [
        ("the UKI", Digests::of(b"uki")),
        (".linux", Digests::of(b"linux")),
    ];
    let sections = [(".linux", Digests::of(b"linux"))];
    let registers = [
        (pcr04::INDEX, pcr04::register(images)),
        (pcr11::INDEX, pcr11::register(sections)),
    ];
    Prediction {
        registers: registers.into(),
        notes: Vec::new(),
    }
});

/// The same for a bare TDX guest.
static TDX_PREDICTION: LazyLock<TdxPrediction> = LazyLock::new(|| TdxPrediction {
    registers: [(2, pcr11::register([(".linux", Digests::of(b"linux"))]))].into(),
    mrtd: None,
    notes: Vec::new(),
});

/// The key of the certificate among the seeds.
static CERTIFIED_AK: LazyLock<AkPublic> =
    LazyLock::new(|| AkPublic::parse(include_bytes!("certified_ak")).unwrap());

/// A PE as firmware and stub see it: headers, sections, Authenticode, all registers.
pub fn pe(bytes: &[u8]) {
    let _ = Image::open(Cursor::new(bytes)).map(|mut image| measurements::predict(&mut image));
}

/// Any file: is it a disk, a VHD or a PE, and where is its UKI?
pub fn image(bytes: &[u8]) {
    let _ = Image::open(Cursor::new(bytes));
}

/// A FAT file system, behind a partition table whose checksums are right.
pub fn file_system(volume: &[u8]) {
    let disk = support::gpt(512, &[(support::ESP_TYPE, volume)]);
    let _ = Image::open(Cursor::new(disk));
}

/// A partition table whose checksums are right: the header's 92 bytes, then the entries, then what is
/// in the first blocks behind them.
pub fn gpt(bytes: &[u8]) {
    const ENTRIES: usize = 16 << 10;
    let (header, rest) = bytes.split_at(bytes.len().min(92));
    let (entries, contents) = rest.split_at(rest.len().min(ENTRIES));
    let mut disk = support::gpt(512, &[(support::ESP_TYPE, &[])]);
    disk[1024..][..ENTRIES].fill(0);
    disk[1024..][..entries.len()].copy_from_slice(entries);
    let number = |field: usize| {
        let bytes = header.get(field..field + 4);
        bytes.map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize)
    };
    let length = number(80).saturating_mul(number(84)).min(ENTRIES);
    let checksum = support::crc32(&disk[1024..][..length]);
    disk[512..][..header.len()].copy_from_slice(header);
    disk[512..520].copy_from_slice(b"EFI PART");
    disk[512 + 88..512 + 92].copy_from_slice(&checksum.to_le_bytes());
    disk[512 + 16..512 + 20].fill(0);
    let length = number(12).min(512);
    let checksum = support::crc32(&disk[512..][..length]);
    disk[512 + 16..512 + 20].copy_from_slice(&checksum.to_le_bytes());
    let contents = &contents[..contents.len().min(disk.len() - 1024 - ENTRIES)];
    disk[1024 + ENTRIES..][..contents.len()].copy_from_slice(contents);
    let _ = Image::open(Cursor::new(disk));
}

/// A partition table as firmware measures it: a block with the header, then the entries.
pub fn gpt_event(bytes: &[u8]) {
    let (header, entries) = bytes.split_at(bytes.len().min(512));
    if let Ok(event) = tdx::gpt_event(header, entries) {
        assert_eq!(event[..92], header[..92]);
        assert!(event.len() <= 100 + entries.len());
    }
}

/// A TDX firmware: what is accepted has bounded memory and an MRTD in each order.
pub fn tdvf(bytes: &[u8]) {
    let Ok(tdvf) = Tdvf::parse(bytes) else { return };
    let memory: u64 = tdvf.sections().iter().map(|section| section.size).sum();
    assert!(memory <= 256 << 20);
    if memory <= 1 << 20 {
        let _ = (
            tdvf.mrtd(MrtdOrder::SinglePass),
            tdvf.mrtd(MrtdOrder::TwoPass),
        );
    }
}

/// A log parsed whole is the log parsed as a prefix, what it says is plain text, and whatever
/// differs from a prediction is explained.
pub fn event_log(bytes: &[u8]) {
    let Ok((log, used)) = EventLog::parse_prefix(bytes) else {
        return;
    };
    let whole = EventLog::parse(bytes);
    assert_eq!(whole.is_ok(), used == bytes.len());
    assert!(whole.is_err() || whole == EventLog::parse_padded(bytes));
    for event in &log.events {
        let is_plain = |c| c == '…' || (' '..='~').contains(&c);
        assert!(event.describe().chars().all(is_plain));
        event.is_confirmed();
    }
    let logs = Logs {
        firmware: &log,
        userspace: None,
        bank: log.banks[0],
        command_lines: &[],
    };
    let explanation = match logs.of_machine() {
        MachineLogs::Vtpm(logs) => logs.explain(&PREDICTION),
        MachineLogs::Tdx(logs) => logs.explain(&TDX_PREDICTION),
    };
    for register in explanation.registers {
        let is_equal = register.actual == Some(register.expected);
        assert_eq!(register.findings.is_empty(), is_equal);
    }
}

/// systemd's log: nothing is left over, and what is cut off is missed.
pub fn userspace_log(bytes: &[u8]) {
    let (Ok(log), Some((_, shorter))) = (UserspaceLog::parse(bytes), bytes.split_last()) else {
        return;
    };
    assert!(UserspaceLog::parse(shorter).is_err());
    for event in &log.events {
        black_box(event.is_confirmed());
    }
}

/// An initrd: what is listed lies inside of it, in order.
pub fn cpio(bytes: &[u8]) {
    let listing = measurements::initrd_files::list(bytes, |_, from| {
        // "Decompresses" by skipping the magic number: archives inside of a stream, without a decoder.
        from.consume(2);
        Ok(Box::new(from.take(4096)))
    })
    .unwrap();
    let mut end = 0;
    for archive in &listing.archives {
        assert!(archive.offset >= end);
        end = archive.offset + archive.size;
    }
    if let Some(rest) = &listing.unreadable {
        assert_eq!(rest.offset + rest.size, bytes.len() as u64);
    }
    assert!(end <= bytes.len() as u64);
    assert!(listing.files().len() <= listing.entries.len());
    assert!(listing.replaced().len() <= listing.entries.len());
}

/// An xz stream, as cvmctl reads it.
pub fn xz(bytes: &[u8]) {
    let mut from = bytes;
    let _ = xz_decoder::Decoder::new(&mut from).map(read_some);
}

/// LZ4's legacy frame, as cvmctl reads it.
pub fn lz4(bytes: &[u8]) {
    let mut from = bytes;
    let _ = lz4_decoder::Decoder::new(&mut from).map(read_some);
}

/// What is decompressed is without bound: that is for the reader to see to.
fn read_some(decoder: impl Read) {
    let _ = io::copy(&mut decoder.take(1 << 20), &mut io::sink());
}

/// Of the decoders' parent module.
fn check<T: PartialEq>(expected: T, actual: T) -> io::Result<()> {
    if expected == actual {
        Ok(())
    } else {
        Err(damaged("checksum"))
    }
}

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Reference values that were accepted say the same after they were written and read again.
pub fn reference(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    for entry in ReferenceValues::parse(text).unwrap_or_default() {
        assert_eq!(ReferenceValues::parse(&entry.to_json()).unwrap(), [entry]);
    }
}

/// A TPM quote: nothing is left over, and what is cut off is missed.
pub fn tpm_quote(bytes: &[u8]) {
    if tpm_quote::parse(bytes).is_ok() {
        let (_, shorter) = bytes.split_last().unwrap();
        assert!(tpm_quote::parse(shorter).is_err());
    }
}

/// Evidence in the documents of both protocols: what was read can be written, and reads the same.
pub fn evidence(bytes: &[u8]) {
    for kind in [EvidenceKind::AzureTdx, EvidenceKind::DcapTdx] {
        for parse in [Evidence::parse_atls, Evidence::parse_ratls] {
            let Ok(evidence) = parse(kind, bytes) else {
                continue;
            };
            let document = evidence.to_document();
            assert_eq!(parse(kind, &document).as_ref().ok(), Some(&evidence));
        }
    }
}

/// A TD quote.
pub fn td_quote(bytes: &[u8]) {
    let _ = TdQuote::parse(bytes);
}

/// What Azure's paravisor reports, and the claims in it.
pub fn hcl_report(bytes: &[u8]) {
    if let Ok(report) = HclReport::parse(bytes) {
        let _ = RuntimeData::parse(report.runtime_data);
    }
    let _ = RuntimeData::parse(bytes);
}

/// Intel's collateral as a file.
pub fn collateral(bytes: &[u8]) {
    let _ = Collateral::parse(bytes);
}

/// What a TLS client says first, in any number of records.
pub fn client_hello(bytes: &[u8]) {
    let _ = client_hello::parse(bytes);
}

/// A peer's certificate with evidence in it.
pub fn peer_certificate(bytes: &[u8]) {
    let _ = certificate::parse(bytes);
}

/// The message that carries evidence after the handshake.
pub fn attested_message(bytes: &[u8]) {
    let _ = message::parse(bytes);
}

/// A TPM's public key: nothing is left over, and what is cut off is missed.
pub fn ak_public(bytes: &[u8]) {
    if AkPublic::parse(bytes).is_ok() {
        let (_, shorter) = bytes.split_last().unwrap();
        assert!(AkPublic::parse(shorter).is_err());
    }
}

/// What a TPM answers, whatever it was asked: nothing is taken for an answer that says failure.
pub fn tpm_response(bytes: &[u8]) {
    let is_success = response::parse_code(bytes).is_ok_and(|code| code == ResponseCode(0));
    let accepted = [
        response::parse_nv_buffer_max(bytes).is_ok(),
        response::parse_nv_size(bytes, 0x0140_0001).is_ok(),
        response::parse_nv_read(bytes, 64).is_ok_and(|read| read.len() == 64),
        response::parse_nv_write(bytes).is_ok(),
        response::parse_pcrs(bytes, &[0, 1, 2, 3, 4, 5, 6, 7]).is_ok_and(|read| read.len() == 8),
        response::parse_public(bytes).is_ok(),
        response::parse_quote(bytes).is_ok(),
    ];
    assert!(is_success || !accepted.contains(&true));
}

/// What Azure's metadata service answers.
pub fn td_quote_answer(bytes: &[u8]) {
    let _ = azure::parse_answer(bytes);
}

/// What a vTPM has as its AK's certificate: a part of it, from the beginning.
pub fn ak_certificate(bytes: &[u8]) {
    if let Ok(certificate) = azure::parse_ak_certificate(bytes, &CERTIFIED_AK) {
        assert!(bytes.starts_with(certificate));
    }
}

/// What Azure's wireserver wants of a machine: what a report repeats of it is short and plain.
pub fn goal_state(bytes: &[u8]) {
    let Ok(goal_state) = GoalState::parse(bytes) else {
        return;
    };
    let GoalState {
        incarnation,
        container,
        instance,
        ..
    } = goal_state;
    assert!(incarnation.bytes().all(|byte| byte.is_ascii_digit()));
    for text in [incarnation, container, instance] {
        assert!((1..=256).contains(&text.len()));
        assert!(!text.chars().any(char::is_control));
    }
}

/// The header of a data disk: JSON, or 4096 bytes of binary fields and then JSON, from which both copies are
/// made, with the right checksums. Who allows more accepts what who allows less accepts.
pub fn luks_header(bytes: &[u8]) {
    let header = luks_copies(bytes);
    let parsed = Header::parse(&header, KeyDerivation::Pbkdf2);
    let more = Header::parse(&header, KeyDerivation::Argon2idToo);
    assert!(parsed.is_err() || parsed == more);
}

fn luks_copies(bytes: &[u8]) -> Vec<u8> {
    if bytes.starts_with(b"{") {
        return luks::header(bytes);
    }
    let (binary, json) = bytes.split_at(bytes.len().min(4096));
    luks::from_copy(binary, json)
}

/// The record beside a header: nobody makes one without the key.
pub fn disk_record(bytes: &[u8]) {
    if let Ok(record) = Unproven::parse(bytes) {
        assert!(
            record
                .authenticate(&RECORD_KEY)
                .is_none_or(|record| record.to_bytes(&RECORD_KEY) == bytes)
        );
    }
}

/// A key that the TPM sealed, with a checksum that fits: what is accepted is written the same.
pub fn sealed_key(bytes: &[u8]) {
    let _ = Sealed::parse(bytes);
    let bytes = with_checksum(bytes);
    if let Ok(sealed) = Sealed::parse(&bytes) {
        assert!(bytes.len() <= MAX_BYTES);
        assert_eq!(sealed.to_bytes(), bytes);
        assert!((1..=8).contains(&sealed.images().len()));
    }
}

/// The last 32 bytes replaced by the digest of those before.
fn with_checksum(bytes: &[u8]) -> Vec<u8> {
    let content = &bytes[..bytes.len().saturating_sub(32)];
    let checksum = ring::digest::digest(&ring::digest::SHA256, content);
    [content, checksum.as_ref()].concat()
}

/// Overflows at one input in 2^48: found only by a fuzzer that sees its way there, in a program with debug
/// assertions and overflow checks. The proof that `make fuzz` has all three.
pub fn canary(bytes: &[u8]) {
    if let [b'c', b'a', b'n', b'a', b'r', b'y', ..] = bytes {
        debug_assert_eq!(black_box(u8::MAX) + 1, 0);
    }
}

/// A strict template, a zero byte, and a value: in every format, no value makes a line.
pub fn template(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (source, value) = text.split_once('\0').unwrap_or((&text, "v"));
    let values = |x: &str| {
        let values = json!({ "x": x, "t": true, "l": [x, 1, { "x": x }], "o": { "x": x } });
        Values::new(&values).unwrap()
    };
    for format in [
        Format::Toml,
        Format::Yaml,
        Format::Json,
        Format::Env,
        Format::Haproxy,
        Format::Text,
    ] {
        let Ok(template) = Template::parse("t", source, format) else {
            continue;
        };
        let rendered = [value, "v"].map(|x| template.render(&values(x)));
        let [Ok(rendered), Ok(harmless)] = rendered else {
            continue;
        };
        let _ = format.parse(&rendered);
        let lines = |text: &str| text.matches('\n').count();
        // Raw text may have as many as it likes.
        let is_raw = ["{{{", "{{&", "{{="].iter().any(|tag| source.contains(tag));
        assert!(is_raw || lines(&rendered) == lines(&harmless));
    }
}

/// A template of an existing image, a zero byte, and the configuration.
pub fn mustache(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (source, values) = text.split_once('\0').unwrap_or((&text, "{}"));
    let values = serde_json::from_str(values).unwrap_or_else(|_| json!({ "x": values }));
    for mode in [Mode::Safe, Mode::Unsafe] {
        let rendered = mustache_in(mode, source, &values);
        if let (Mode::Safe, Some(rendered)) = (mode, rendered) {
            // What is sanitised adds nothing but printable ASCII.
            let odd = |text: &str| text.chars().filter(|c| !(' '..='~').contains(c)).count();
            assert!(odd(source) > 0 || odd(&rendered) == 0);
        }
    }
}

fn mustache_in(mode: Mode, source: &str, values: &Value) -> Option<String> {
    let data = Data::new(values, mode).ok()?;
    let template = Mustache::parse("t", source).ok()?;
    template.render(&data).ok().map(|(text, _)| text)
}

#[cfg(test)]
mod tests;
