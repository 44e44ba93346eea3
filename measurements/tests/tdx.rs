//! MRTD against a second implementation, and the order of events against the log of a real boot.
//!
//! The firmware is the one of the build's tools (Debian's `ovmf`), and the log lies beside the
//! project, in `../shared/vectors`. Without them tests say that they were skipped; in CI they fail.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a panic in a test is a failing test, and test data comes from files"
)]

mod support;

use std::io::Cursor;

use measurements::tdx::{
    MrtdOrder, Rtmr1Inputs, Rtmr2Inputs, SectionKind, SeparatorRegister, Tdvf, TdvfError,
    TdxPrediction, gpt_event, mrtd, predict, rtmr1, rtmr2,
};
use measurements::{Assumptions, Digests, Event, Image, Register, Sha256Digest, Sha384Digest};
use proptest::prelude::*;
use support::{Section, section, uki_sections};
use testkit::needed;

const ORDERS: [MrtdOrder; 2] = [MrtdOrder::SinglePass, MrtdOrder::TwoPass];

/// Returns the contents of a file; `None`, after saying so, if it is not there.
fn ovmf() -> Option<Vec<u8>> {
    let path = "/usr/share/ovmf/OVMF.fd";
    needed::programs(&[path]).then(|| std::fs::read(path).unwrap())
}

/// Numbers of a section in the metadata.
#[derive(Debug, Clone, Copy)]
struct Entry {
    offset: u32,
    raw_size: u32,
    address: u64,
    size: u64,
    kind: u32,
    attributes: u32,
}

const fn entry(from_to: (u32, u32), address: u64, size: u64, kind: u32, attributes: u32) -> Entry {
    Entry {
        offset: from_to.0,
        raw_size: from_to.1 - from_to.0,
        address,
        size,
        kind,
        attributes,
    }
}

/// Like OVMF's, but small.
const ENTRIES: [Entry; 4] = [
    entry((0x1000, 0x4000), 0xffff_d000, 0x3000, 0, 1),
    entry((0, 0x1000), 0xffff_c000, 0x1000, 1, 0),
    entry((0, 0), 0x80_9000, 0x2000, 2, 0),
    entry((0, 0), 0x80_0000, 0x1000, 3, 0),
];

const FOOTER: u128 = 0x2d085ac566a3eaba45f71fb296b582de;
const TDX: u128 = 0xc28ebfa785465e864798984ae47a6535;

/// Makes a firmware of four pages with these sections. `table` makes of the descriptor's distance
/// from the end the GUID table's entries.
fn firmware_with(entries: &[Entry], table: impl Fn(u32) -> Vec<(u128, Vec<u8>)>) -> Vec<u8> {
    let mut descriptor = b"TDVF".to_vec();
    let count = u32::try_from(entries.len()).unwrap();
    for number in [16 + 32 * count, 1, count] {
        descriptor.extend(number.to_le_bytes());
    }
    for entry in entries {
        descriptor.extend(entry.offset.to_le_bytes());
        descriptor.extend(entry.raw_size.to_le_bytes());
        descriptor.extend(entry.address.to_le_bytes());
        descriptor.extend(entry.size.to_le_bytes());
        descriptor.extend(entry.kind.to_le_bytes());
        descriptor.extend(entry.attributes.to_le_bytes());
    }
    let mut end = Vec::new();
    for (guid, data) in table(0x800) {
        let length = u16::try_from(data.len() + 18).unwrap();
        end.extend(data);
        end.extend(length.to_le_bytes());
        end.extend(guid.to_le_bytes());
    }
    let length = u16::try_from(end.len() + 18).unwrap();
    end.extend(length.to_le_bytes());
    end.extend(FOOTER.to_le_bytes());
    end.extend([0x90; 32]);

    let mut firmware: Vec<u8> = (0..0x4000u32)
        .map(|at| (at / 251) as u8 ^ at as u8)
        .collect();
    let at = firmware.len() - 0x800;
    firmware[at..at + descriptor.len()].copy_from_slice(&descriptor);
    let at = firmware.len() - end.len();
    firmware[at..].copy_from_slice(&end);
    firmware
}

fn firmware(entries: &[Entry]) -> Vec<u8> {
    let other = (0x1234, vec![1; 8]);
    firmware_with(entries, |distance| {
        vec![(TDX, distance.to_le_bytes().to_vec()), other.clone()]
    })
}

/// MRTD by another way: the sections from the first "TDVF" in the file, and all that is hashed in
/// one piece.
fn second_opinion(firmware: &[u8], order: MrtdOrder) -> Sha384Digest {
    let number = |at: usize, length: usize| {
        let bytes = firmware[at..at + length].iter().rev();
        bytes.fold(0u64, |number, byte| number << 8 | u64::from(*byte))
    };
    let at = firmware.windows(4).position(|w| w == b"TDVF").unwrap();
    let mut hashed: Vec<u8> = Vec::new();
    let operation = |hashed: &mut Vec<u8>, name: &str, address: u64| {
        let start = hashed.len();
        hashed.extend(name.bytes());
        hashed.resize(start + 16, 0);
        hashed.extend(address.to_le_bytes());
        hashed.resize(start + 128, 0);
    };
    for section in 0..number(at + 12, 4) as usize {
        let at = at + 16 + section * 32;
        let offset = number(at, 4) as usize;
        let (address, size) = (number(at + 8, 8), number(at + 16, 8));
        let is_extended = number(at + 28, 4) == 1;
        let mut chunks = Vec::new();
        for distance in (0..size).step_by(256) {
            let is_page = distance % 4096 == 0;
            if is_page && order == MrtdOrder::SinglePass {
                chunks.push((distance, true));
            }
            if is_extended {
                chunks.push((distance, false));
            }
        }
        if order == MrtdOrder::TwoPass {
            let adds = (0..size).step_by(4096).map(|distance| (distance, true));
            chunks = adds.chain(chunks).collect();
        }
        for (distance, is_add) in chunks {
            let name = if is_add { "MEM.PAGE.ADD" } else { "MR.EXTEND" };
            operation(&mut hashed, name, address + distance);
            if !is_add {
                let from = offset + distance as usize;
                hashed.extend(&firmware[from..from + 256]);
            }
        }
    }
    Sha384Digest::of(&hashed)
}

/// The numbers are from a third implementation, in Python, of another project.
#[test]
fn small_firmware_measures_to_the_known_values() {
    let firmware = firmware(&ENTRIES);
    assert_eq!(
        mrtd(&firmware, MrtdOrder::SinglePass).unwrap().to_string(),
        "4dbd11886fc8618f4e288945018626da893856b03a9dc36e43a8be2e795e72b7\
         f676fa3297104791f8158d3582c82efb"
    );
    assert_eq!(
        mrtd(&firmware, MrtdOrder::TwoPass).unwrap().to_string(),
        "859192283dde11ca8533a864f8ecf0886ab10ba7bef6ca4cbdd6f8916324ad74\
         7a8031f1b76c1518431eef3a48c9fffe"
    );
    for order in ORDERS {
        assert_eq!(mrtd(&firmware, order), Ok(second_opinion(&firmware, order)));
    }
}

#[test]
fn ovmf_measures_to_what_a_second_implementation_says() {
    let Some(firmware) = ovmf() else { return };
    let tdvf = Tdvf::parse(&firmware).unwrap();
    let code = &tdvf.sections()[0];
    assert_eq!(code.kind, SectionKind::Code);
    assert!(code.is_measured);
    // The code ends with the file, right below 4 GiB; the rest is not measured.
    assert_eq!(code.address + code.size, 1 << 32);
    assert!(firmware.ends_with(code.contents));
    assert!(tdvf.sections()[1..].iter().all(|s| !s.is_measured));
    for order in ORDERS {
        assert_eq!(tdvf.mrtd(order), second_opinion(&firmware, order));
    }
    // Of ovmf 2025.02-8+deb13u1, by the same third implementation.
    let known = "14954040cc754ade0c625ac3470ea46d4c14318b5b1396de4ef77090203d76db";
    if Sha256Digest::of(&firmware).to_string() == known {
        let single = "bdc6fb145880f06f30c8b346b8dce2a99d9351b56892df22f80fcf6574caa9f9\
                      c31df8e8576d53b4d0cd1c3f28910e11";
        let double = "456f07902150d008bb913c3e1e84e9297f735a6c83cd2a957a1f0a8bbedb06df\
                      188e3837ae48d32c73d473d097dc0db2";
        assert_eq!(tdvf.mrtd(MrtdOrder::SinglePass).to_string(), single);
        assert_eq!(tdvf.mrtd(MrtdOrder::TwoPass).to_string(), double);
    }
}

#[test]
fn half_an_ovmf_is_refused_with_a_hint() {
    let Some(firmware) = ovmf() else { return };
    let variables = Tdvf::parse(&firmware).unwrap().sections()[1].contents.len();
    let (variables, code) = firmware.split_at(variables);
    assert_eq!(Tdvf::parse(variables), Err(TdvfError::NoTable));
    let error = Tdvf::parse(code).unwrap_err();
    assert!(matches!(error, TdvfError::OutOfFile { number: 0, .. }));
    assert!(error.to_string().contains("OVMF_CODE"), "{error}");
}

#[test]
fn measured_contents_count_and_others_do_not() {
    let original = firmware(&ENTRIES);
    for order in ORDERS {
        let expected = mrtd(&original, order).unwrap();
        for (at, counts) in [(0, false), (0xfff, false), (0x1000, true), (0x3fff, true)] {
            let mut changed = original.clone();
            changed[at] ^= 1;
            assert_eq!(
                mrtd(&changed, order).unwrap() != expected,
                counts,
                "{at:#x}"
            );
        }
    }
    let mut moved = ENTRIES;
    moved[3].address += 0x1000;
    for order in ORDERS {
        assert_ne!(mrtd(&firmware(&moved), order), mrtd(&original, order));
    }
}

#[test]
fn sections_that_hosts_refuse_or_treat_differently_are_refused() {
    let error = |change: &dyn Fn(&mut [Entry; 4])| {
        let mut entries = ENTRIES;
        change(&mut entries);
        match Tdvf::parse(&firmware(&entries)).unwrap_err() {
            TdvfError::Section { number, what, .. } => format!("{number} {what}"),
            other => other.to_string(),
        }
    };
    assert_eq!(error(&|e| e[0].address += 1), "0 the address");
    assert_eq!(error(&|e| e[0].address = u64::MAX - 0xfff), "0 the address");
    assert_eq!(error(&|e| e[0].address = 1 << 51), "0 the address");
    assert_eq!(error(&|e| e[3].size = 0), "3 the memory's size");
    assert_eq!(error(&|e| e[3].size += 1), "3 the memory's size");
    assert_eq!(
        error(&|e| e[3].size = u64::MAX - 0xfff),
        "3 the memory's size"
    );
    assert_eq!(error(&|e| e[3].attributes = 2), "3 the attributes");
    assert_eq!(error(&|e| e[2].attributes = 1), "2 the attributes");
    assert_eq!(error(&|e| e[3].kind = 4), "3 the type");
    assert_eq!(error(&|e| e[0].size += 0x1000), "0 the size in the file");
    assert_eq!(error(&|e| e[0].raw_size = 0), "0 the size in the file");
    assert_eq!(error(&|e| e[3].raw_size = 1), "3 the size in the file");
    assert_eq!(error(&|e| e[0].offset += 1), "0 the offset");
    assert!(error(&|e| e[0].offset = 0x2000).contains("ends at byte 20480"));
    assert!(error(&|e| e[0].offset = 0xffff_f000).contains("which has only 16384"));
    assert_eq!(
        error(&|e| e[3].address = 0x80_a000),
        "sections 2 and 3 overlap in memory"
    );
    assert_eq!(
        error(&|e| e[0].attributes = 0),
        TdvfError::NothingMeasured.to_string()
    );
    let large = |e: &mut [Entry; 4]| {
        e[2].size = 256 << 20;
        e[2].address = 1 << 32;
    };
    assert!(error(&large).starts_with("expected the memory of all sections"));
}

#[test]
fn metadata_must_be_found_once_and_be_whole() {
    let good = firmware(&ENTRIES);
    let at = good.len() - 0x800;
    for (offset, what) in [
        (0, "the descriptor's signature"),
        (4, "the descriptor's length"),
        (8, "the descriptor's version"),
        (12, "the descriptor's length"),
        (13, "the number of sections"),
    ] {
        let mut bad = good.clone();
        bad[at + offset] ^= 1;
        let text = Tdvf::parse(&bad).unwrap_err().to_string();
        assert!(text.contains(what), "{text}");
    }
    let distance = |bytes: &[u8]| {
        let parsed = firmware_with(&ENTRIES, |_| vec![(TDX, bytes.to_vec())]);
        Tdvf::parse(&parsed).unwrap_err().to_string()
    };
    assert!(distance(&[0; 3]).contains("4 bytes: 16 to 16384, got 3"));
    assert!(distance(&[0, 8, 0, 0, 0]).contains("got 5"));
    assert!(distance(&0x4001u32.to_le_bytes()).contains("got 16385"));
    assert!(distance(&8u32.to_le_bytes()).contains("signature"));
    let metadata = |count: usize| {
        let table = |d: u32| vec![(TDX, d.to_le_bytes().to_vec()); count];
        Tdvf::parse(&firmware_with(&ENTRIES, table))
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    assert_eq!(metadata(1), Ok(()));
    assert!(metadata(0).unwrap_err().contains("got 0"));
    assert!(metadata(2).unwrap_err().contains("got 2"));
}

#[test]
fn damaged_table_is_refused() {
    let good = firmware(&ENTRIES);
    // From the end: 32 bytes, the footer's GUID and length, GUID and length of the entry before it.
    let (footer, last) = (good.len() - 50, good.len() - 68);
    for (at, length) in [(footer, 17u16), (footer, 0xffff), (last, 17), (last, 0x100)] {
        let mut bad = good.clone();
        bad[at..at + 2].copy_from_slice(&length.to_le_bytes());
        let error = Tdvf::parse(&bad).unwrap_err();
        assert!(matches!(error, TdvfError::Table { .. }), "{at}: {error}");
    }
    // Bytes that are too few for an entry.
    let mut bad = good.clone();
    bad[footer..footer + 2].copy_from_slice(&(18u16 + 26 + 22 + 17).to_le_bytes());
    assert!(matches!(Tdvf::parse(&bad), Err(TdvfError::Table { .. })));
    for size in [0, 31, 32, 49] {
        assert_eq!(
            Tdvf::parse(&good[good.len() - size..]),
            Err(TdvfError::NoTable)
        );
    }
    let large = vec![0; measurements::tdx::MAX_FIRMWARE_SIZE + 1];
    assert!(matches!(
        Tdvf::parse(&large),
        Err(TdvfError::TooLarge { .. })
    ));
}

proptest! {
    #[test]
    fn no_firmware_panics(changes in prop::collection::vec((0usize..0x800, any::<u8>()), 0..12)) {
        let mut firmware = firmware(&ENTRIES);
        let from = firmware.len() - 0x800;
        for (at, value) in changes {
            firmware[from + at] = value;
        }
        for order in ORDERS {
            // What is accepted measures as the other implementation says.
            if let Ok(digest) = mrtd(&firmware, order) {
                prop_assert_eq!(digest, second_opinion(&firmware, order));
            }
        }
    }

    #[test]
    fn no_partition_table_panics(
        header in prop::collection::vec(any::<u8>(), 0..200),
        entries in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let _ = gpt_event(&header, &entries);
    }
}

/// An event of a TPM's log, with its digest of the SHA-384 bank.
struct Logged {
    pcr: u32,
    digest: Sha384Digest,
    data: Vec<u8>,
}

/// Reads a log with the banks SHA-1, SHA-256, SHA-384 and SHA-512, in this order.
fn boot_log() -> Option<Vec<Logged>> {
    let log = std::fs::read(needed::vectors("boot/eventlog.bin")?).unwrap();
    let number = |at: usize| u32::from_le_bytes(log[at..at + 4].try_into().unwrap());
    let mut at = 32 + number(28) as usize;
    let mut events = Vec::new();
    while at < log.len() {
        assert_eq!(number(at + 8), 4);
        // After PCR, type and count: 2 + 20, 2 + 32, 2 + 48 and 2 + 64 bytes.
        let sha384 = at + 12 + 22 + 34 + 2;
        let data = at + 12 + 22 + 34 + 50 + 66;
        let size = number(data) as usize;
        events.push(Logged {
            pcr: number(at),
            digest: measurements::Digest(log[sha384..sha384 + 48].try_into().unwrap()),
            data: log[data + 4..][..size].to_vec(),
        });
        at = data + 4 + size;
    }
    Some(events)
}

fn digests(sha384: Sha384Digest) -> Digests {
    Digests {
        sha256: Sha256Digest::ZERO,
        sha384,
    }
}

fn of_pcr(log: &[Logged], pcr: u32) -> Vec<&Logged> {
    log.iter().filter(|event| event.pcr == pcr).collect()
}

fn extended(register: &Register) -> Vec<Sha384Digest> {
    let events = register.events.iter();
    events.map(|event| event.digests.sha384).collect()
}

/// The same firmware code measures in a TDX guest, to RTMR1 what would go to PCR 2 to 6, but with
/// one separator for all of them.
#[test]
fn rtmr1_has_the_events_of_a_boot_in_their_order() {
    let Some(log) = boot_log() else { return };
    let separator = Sha384Digest::of(&[0; 4]);
    let mut expected: Vec<Sha384Digest> = Vec::new();
    for event in log.iter().filter(|event| (2..=6).contains(&event.pcr)) {
        if event.digest != separator || !expected.contains(&separator) {
            expected.push(event.digest);
        }
    }
    let [_, _, uki, kernel] = of_pcr(&log, 4)[..] else {
        panic!("four events in PCR 4")
    };
    let gpt = of_pcr(&log, 5)[1];
    let inputs = |separator| Rtmr1Inputs {
        separator,
        gpt: digests(gpt.digest),
        boot_loader: None,
        uki: digests(uki.digest),
        kernel: Some(digests(kernel.digest)),
    };
    let register = rtmr1(&inputs(SeparatorRegister::Rtmr1));
    assert_eq!(extended(&register), expected);
    expected.retain(|digest| *digest != separator);
    let register = rtmr1(&inputs(SeparatorRegister::Rtmr0));
    assert_eq!(extended(&register), expected);
}

#[test]
fn rtmr2_has_the_events_of_a_boot_in_their_order() {
    let Some(log) = boot_log() else { return };
    let events = |pcr| -> Vec<Event> {
        let events = of_pcr(&log, pcr).into_iter();
        events
            .map(|event| Event::new(digests(event.digest), "logged"))
            .collect()
    };
    let (stub, linux) = (events(11), events(9));
    assert_eq!((stub.len(), linux.len()), (12, 2));
    let register = rtmr2(&Rtmr2Inputs {
        stub: &stub,
        linux: &linux,
    });
    let expected = log.iter().filter(|event| (8..=15).contains(&event.pcr));
    let expected: Vec<_> = expected.map(|event| event.digest).collect();
    assert_eq!(extended(&register), expected);
}

/// The log has the header's beginning and the used entries; put back into a table they are measured
/// as the same bytes.
#[test]
fn partition_table_of_a_boot_is_measured_as_in_its_log() {
    let Some(log) = boot_log() else { return };
    let logged = of_pcr(&log, 5)[1];
    assert_eq!(Sha384Digest::of(&logged.data), logged.digest);
    let (header, rest) = logged.data.split_at(92);
    let (count, used) = rest.split_at(8);
    assert_eq!(count, 3u64.to_le_bytes());
    let entries = u32::from_le_bytes(header[80..84].try_into().unwrap()) as usize;
    let mut table = vec![0; entries * 128];
    // An unused one between them.
    table[..128].copy_from_slice(&used[..128]);
    table[256..][..used.len() - 128].copy_from_slice(&used[128..]);
    let block = [header, &[0; 420]].concat();
    assert_eq!(gpt_event(&block, &table), Ok(logged.data.clone()));
}

/// A disk with the field that firmware checks before it measures the table.
fn measurable(mut disk: Vec<u8>) -> Vec<u8> {
    let header = &mut disk[512..604];
    header[40..48].copy_from_slice(&34u64.to_le_bytes());
    header[16..20].fill(0);
    let checksum = support::crc32(header);
    header[16..20].copy_from_slice(&checksum.to_le_bytes());
    disk
}

fn predict_image(image: Vec<u8>, assumptions: Assumptions) -> TdxPrediction {
    let mut image = Image::open_assuming(Cursor::new(image), assumptions).unwrap();
    predict(&mut image, SeparatorRegister::Rtmr1).unwrap()
}

fn predict_uki(sections: &[Section], stub_version: Option<&str>) -> TdxPrediction {
    let stub_version = stub_version.map(|version| version.parse().unwrap());
    let assumptions = Assumptions {
        stub_version,
        ..Assumptions::default()
    };
    predict_image(support::pe(sections, &[], &[]), assumptions)
}

fn subjects(register: &Register) -> Vec<&str> {
    let events = register.events.iter();
    events.map(|event| event.subject.as_str()).collect()
}

#[test]
fn disk_with_a_uki_is_predicted() {
    let disk = measurable(support::disk(&support::uki()));
    // Header, two used entries of 128 bytes.
    let mut table = disk[512..604].to_vec();
    table.extend(2u64.to_le_bytes());
    table.extend(&disk[1024..1024 + 2 * 128]);

    let tdx = predict_image(disk.clone(), Assumptions::default());
    let tpm = support::predict(disk).unwrap();
    let of = |pcr: u8| tpm.registers[&pcr].events.clone();
    let gpt = &tdx.registers[&1].events[2];
    assert_eq!(gpt.digests, Digests::of(&table));
    let (firmware, images) = (&of(4)[..2], &of(4)[2..]);
    let rtmr1 = &tdx.registers[&1].events;
    assert_eq!(rtmr1[..2], *firmware);
    assert_eq!(rtmr1[3..5], *images);
    assert_eq!(rtmr1.len(), 7);
    assert_eq!(tdx.registers[&2].events, [of(11), of(9)].concat());
    assert_eq!(tdx.notes, tpm.notes);
}

#[test]
fn uki_alone_has_no_rtmr1() {
    let tdx = predict_uki(&uki_sections(), None);
    assert_eq!(tdx.registers.keys().collect::<Vec<_>>(), [&2]);
    let note = tdx.notes.last().unwrap();
    assert!(note.contains("RTMR1 is not predicted"), "{note}");
}

#[test]
fn stubs_and_kernels_that_need_a_tpm_measure_nothing_without() {
    let of = |sections: &[Section], version| {
        let tdx = predict_uki(sections, version);
        subjects(&tdx.registers[&2]).join(", ")
    };
    let linux = "kernel command line, initrd";
    let all = of(&uki_sections(), None);
    assert!(
        all.starts_with(".linux: name, ") && all.ends_with(linux),
        "{all}"
    );
    assert_eq!(of(&uki_sections(), Some("255")), linux);

    let old = of_linux(b"6.8.0-test");
    assert_eq!(of(&old, Some("255")), "");
    let old = of(&old, None);
    assert!(old.ends_with("data") && !old.contains("initrd,"), "{old}");
}

/// The usual UKI, with a kernel that says that it is this Linux.
fn of_linux(version: &[u8]) -> Vec<Section> {
    let mut sections = uki_sections();
    let linux = sections.iter_mut().find(|s| s.name == ".linux").unwrap();
    linux.data[0x300..][..version.len()].copy_from_slice(version);
    sections
}

#[test]
fn kernel_itself_says_which_linux_it_is() {
    // Not `.uname`, which is text that somebody wrote beside it.
    let mut sections = of_linux(b"6.8.0-test");
    let uname = sections.iter_mut().find(|s| s.name == ".uname").unwrap();
    uname.data = b"6.12.0".to_vec();
    let tdx = predict_uki(&sections, None);
    assert!(!subjects(&tdx.registers[&2]).contains(&"initrd"));

    let tdx = predict_uki(&of_linux(b"unknown"), None);
    assert!(!tdx.registers.contains_key(&2));
    let mut notes = tdx.notes.iter();
    assert!(notes.any(|note| note.starts_with("RTMR2 is not predicted: the kernel")));
}

#[test]
fn text_of_the_image_is_harmless_in_notes() {
    let version = [&b"6.8.0\x1b[31m\n"[..], &[b'x'; 100], b"\0"].concat();
    let tdx = predict_uki(&of_linux(&version), None);
    let note = tdx.notes.iter().find(|note| note.contains("without a TPM"));
    let text = r"6.8.0\x1b[31m\n".to_owned() + &"x".repeat(100);
    let expected = format!("Linux {} measures nothing without a TPM", &text[..64]);
    assert_eq!(note, Some(&expected));
}

#[test]
fn boot_loader_is_predicted_unless_it_measures_its_configuration() {
    let predict_with = |version: &str| {
        let marker = format!("#### LoaderInfo: systemd-boot {version} ####\0");
        let loader = support::pe(&[section(".sdmagic", marker)], &[], &[]);
        let files = [
            ("EFI/BOOT/BOOTX64.EFI", &loader[..]),
            ("EFI/Linux/only.efi", &support::uki()),
        ];
        let esp = support::fat(support::FatType::Fat12, 512, 1 << 20, &files);
        let disk = support::gpt(512, &[(support::ESP_TYPE, &esp)]);
        predict_image(measurable(disk), Assumptions::default())
    };
    let tdx = predict_with("257.13");
    let images = &subjects(&tdx.registers[&1])[2..6];
    let of = "Authenticode digest of";
    assert_eq!(
        images.join(", "),
        format!("partition table, {of} the boot loader, {of} the UKI, {of} .linux")
    );
    let tdx = predict_with("261");
    assert_eq!(tdx.registers.keys().collect::<Vec<_>>(), [&2]);
    let note = tdx.notes.iter().find(|note| note.contains("RTMR1"));
    assert!(note.unwrap().contains("loader.conf"));
}
