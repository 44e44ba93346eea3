//! `cvmctl eventlog` with the log of a bare TDX guest and the image that it booted, or another.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic in a test is a failing test"
)]

#[path = "eventlog/files.rs"]
mod files;
#[path = "../../measurements/tests/event_log_support/mod.rs"]
mod logs;
#[path = "../../measurements/tests/support/mod.rs"]
mod support;

use files::Files;
use logs::*;
use measurements::event_log::{Bank, EventLog, LoggedEvent, event_type};
use measurements::tdx::{self, SeparatorRegister, TdxPrediction};
use measurements::{Digests, Event};
use serde_json::json;

/// A disk whose GUID ends with this byte.
fn disk(uki: &[u8], guid: u8) -> Vec<u8> {
    let mut disk = support::disk(uki);
    let header = &mut disk[512..604];
    header[71] = guid;
    header[16..20].fill(0);
    let checksum = support::crc32(header);
    header[16..20].copy_from_slice(&checksum.to_le_bytes());
    disk
}

fn node() -> Vec<u8> {
    disk(&support::uki(), 1)
}

/// What firmware measures of the partition table: it has two entries.
fn table(disk: &[u8]) -> Vec<u8> {
    let header = &disk[512..604];
    [header, &2u64.to_le_bytes(), &disk[1024..1024 + 256]].concat()
}

fn predict(disk: &[u8], separator: SeparatorRegister) -> TdxPrediction {
    tdx::predict(&mut support::open(disk.to_vec()).unwrap(), separator).unwrap()
}

/// The log of a bare TDX guest that boots a disk.
fn boot(disk: &[u8], separator: SeparatorRegister) -> EventLog {
    let mut events = vec![measured(1, SEPARATOR, &[0; 4], &[0; 4])];
    for (rtmr, register) in predict(disk, separator).registers {
        let logged = register.events.iter();
        events.extend(logged.map(|event| logged_as(rtmr + 1, event, disk)));
    }
    for event in &mut events {
        event.digests.sha256 = None;
    }
    EventLog {
        banks: vec![Bank::Sha384],
        events,
    }
}

/// How firmware, stub and Linux log what was predicted.
fn logged_as(register: u8, event: &Event, disk: &[u8]) -> LoggedEvent {
    let subject = event.subject.as_str();
    let (event_type, data) = match subject.split_once(": ") {
        Some((section, _)) => (IPL, utf16(section)),
        None => match subject {
            "separator" => (SEPARATOR, vec![0; 4]),
            "partition table" => (event_type::EV_EFI_GPT_EVENT, table(disk)),
            "kernel command line" => (TAG, tagged(0x8f3b_22ed, b"LOADED_IMAGE::LoadOptions\0")),
            "initrd" => (TAG, tagged(0x8f3b_22ec, b"Linux initrd\0")),
            "Authenticode digest of .linux" => (APPLICATION, loaded_by_stub()),
            "Authenticode digest of the UKI" => (APPLICATION, loaded(r"\EFI\BOOT\BOOTX64.EFI")),
            action => (ACTION, action.split('"').nth(1).unwrap().into()),
        },
    };
    LoggedEvent {
        pcr: register.into(),
        event_type,
        digests: event.digests.into(),
        data,
    }
}

/// A directory with `node.raw` and `ccel`, the log of a guest that booted this disk.
fn files(booted: &[u8], separator: SeparatorRegister) -> Files {
    let files = Files::new();
    files.write("node.raw", node());
    files.write("ccel", write(&boot(booted, separator), &[]));
    files
}

/// A register's value, in the form of `--pcrs`.
fn given(disk: &[u8]) -> String {
    let registers = predict(disk, SeparatorRegister::Rtmr1).registers;
    let value = |rtmr: u8| registers[&rtmr].value.sha384;
    format!(
        "{{\"rtmr1\": \"{}\", \"rtmr2\": \"{}\"}}",
        value(1),
        value(2)
    )
}

const IMAGE: [&str; 3] = ["ccel", "--image", "node.raw"];
const NOTE: &str = "note: a log proves nothing by itself, give the quoted registers (--pcrs)\n";
const NOT_PREDICTED: &str = "\
MRTD    is in no log: it is the firmware's (cvmctl measure --firmware)
RTMR0   is not predicted: the host decides on it (memory, ACPI tables, variables)
";

#[test]
fn boot_of_the_image_is_0_with_either_generation_of_firmware() {
    for (separator, line) in [
        (
            SeparatorRegister::Rtmr1,
            "the separator is in RTMR1: firmware since edk2-stable202411\n",
        ),
        (
            SeparatorRegister::Rtmr0,
            "the separator is in RTMR0: firmware before edk2-stable202411\n",
        ),
    ] {
        let registers = predict(&node(), separator).registers;
        let value = |rtmr: u8| registers[&rtmr].value.sha384;
        assert_eq!(
            files(&node(), separator).output(0, &IMAGE),
            format!(
                "RTMR1   {}  as predicted\nRTMR2   {}  as predicted\nRTMR3   {}  as predicted\n\
                 {NOT_PREDICTED}{line}equal to node.raw\n{NOTE}",
                value(1),
                value(2),
                "0".repeat(96)
            )
        );
    }
}

#[test]
fn registers_and_image_are_compared_in_one_run() {
    let files = files(&node(), SeparatorRegister::Rtmr1);
    let given = given(&node());
    let text = files.output(0, &[&IMAGE[..], &["--pcrs", &given]].concat());
    assert!(
        text.contains("the log is the one of these registers\n"),
        "{text}"
    );
    assert!(text.ends_with("\nequal to node.raw\n"), "{text}");
}

/// The findings about a guest that booted something else, and the verdict.
fn explained(booted: &[u8], separator: SeparatorRegister, arguments: &[&str]) -> Vec<String> {
    let text = files(booted, separator).output(1, &[&IMAGE[..], arguments].concat());
    let is_said = |line: &&str| {
        ["  - ", "different", "the separator"]
            .iter()
            .any(|start| line.starts_with(start))
    };
    text.lines().filter(is_said).map(str::to_owned).collect()
}

#[test]
fn other_disk_is_explained_with_either_generation_of_firmware() {
    let table = "  - the partition table differs: another disk, or one that was fitted (partition \
                 table of disk 00000000-0000-0000-0000-000000000002: , )";
    let other = disk(&support::uki(), 2);
    for (separator, register, since) in [
        (SeparatorRegister::Rtmr1, "RTMR1", "since"),
        (SeparatorRegister::Rtmr0, "RTMR0", "before"),
    ] {
        assert_eq!(
            explained(&other, separator, &[]),
            [
                table,
                &format!("the separator is in {register}: firmware {since} edk2-stable202411"),
                "different from node.raw: RTMR1"
            ]
        );
    }
}

#[test]
fn other_command_line_is_explained_in_its_words() {
    let text = format!("{} debug", support::COMMAND_LINE);
    let mut sections = support::uki_sections();
    let section = sections.iter_mut().find(|s| s.name == ".cmdline").unwrap();
    section.data = text.clone().into_bytes();
    let other = disk(&support::pe(&sections, &[], &[]), 1);
    assert_eq!(
        explained(&other, SeparatorRegister::Rtmr1, &["--cmdline", &text]),
        [
            r"  - another UKI: the log says \EFI\BOOT\BOOTX64.EFI (1000 bytes)",
            "  - section .cmdline has other contents (another command line)",
            "  - the command line differs: + debug",
            "the separator is in RTMR1: firmware since edk2-stable202411",
            "different from node.raw: RTMR1, RTMR2"
        ]
    );
}

#[test]
fn log_without_rtmr1_does_not_tell_where_the_separator_is() {
    let files = Files::new();
    files.write("node.raw", node());
    let mut log = boot(&node(), SeparatorRegister::Rtmr1);
    log.events.retain(|event| event.pcr != 2);
    files.write("ccel", write(&log, &[]));
    let text = files.output(1, &IMAGE);
    assert!(!text.contains("the separator is in"), "{text}");
    assert!(
        text.contains("\ndifferent from node.raw: RTMR1\n"),
        "{text}"
    );
}

#[test]
fn uki_alone_leaves_rtmr1_open() {
    let files = files(&node(), SeparatorRegister::Rtmr1);
    files.write("node.efi", support::uki());
    let run = files.run(&["ccel", "--image", "node.efi"]);
    assert_eq!(run.code, 2);
    assert_eq!(
        run.stderr,
        "cvmctl: note: RTMR1 is not predicted: it holds the partition table of a disk\n"
    );
    let end = "RTMR1   is not predicted for this image\n\
               could not tell: node.efi is not predicted in full\n";
    let end = format!("{NOT_PREDICTED}{end}{NOTE}");
    assert!(run.stdout.ends_with(&end), "{}", run.stdout);
    assert!(!run.stdout.contains("separator"), "{}", run.stdout);
}

#[test]
fn phases_of_a_vtpm_are_refused() {
    let files = files(&node(), SeparatorRegister::Rtmr1);
    let error = files.error(&[&IMAGE[..], &["--phases", "all"]].concat());
    assert_eq!(
        error,
        "cvmctl: --phases is for PCR 11 of a vTPM; ccel is the log of a bare TDX guest\n"
    );
}

#[test]
fn json_says_where_the_separator_is_and_what_is_not_compared() {
    let files = files(&disk(&support::uki(), 2), SeparatorRegister::Rtmr0);
    let text = files.output(1, &[&IMAGE[..], &["--json"]].concat());
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["is_tdx"], true);
    assert_eq!(document["outcome"], "different");
    let image = &document["image"];
    assert_eq!(image["separator"], "rtmr0");
    let keys = |value: &serde_json::Value| -> Vec<String> {
        value.as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(keys(&image["not_predicted"]), ["0", "1"]);
    assert_eq!(keys(&image["registers"]), ["2", "3", "4"]);
    let measured = Digests::of(&table(&disk(&support::uki(), 2))).sha384;
    let finding = &image["registers"]["2"]["findings"][0];
    assert_eq!(finding["kind"], "changed");
    assert_eq!(finding["measured"], json!(measured.to_string()));
    assert_eq!(image["registers"]["3"]["findings"], json!([]));
}
