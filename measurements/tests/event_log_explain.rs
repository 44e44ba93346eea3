//! Each change to a boot is explained by what was changed, in these words.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a panic in a test is a failing test, and test data comes from files"
)]

#[path = "event_log_support/mod.rs"]
mod support;

use std::collections::BTreeMap;

use measurements::event_log::explain::{Explanation, FindingKind, Logs, MachineLogs, Replay};
use measurements::event_log::{
    Bank, EventLog, LoggedEvent, UserspaceEvent, UserspaceLog, UserspaceRegister,
};
use measurements::predict::{pcr04, pcr09, pcr11};
use measurements::reference::RegisterValue;
use measurements::{Digest, Digests, Event, Prediction, Register};
use proptest::prelude::*;
use support::*;
use testkit::needed::vectors;

/// What is measured by a boot, so that parts of it can be changed.
#[derive(Debug, Clone)]
struct Boot {
    /// Programs that firmware starts: the file, and its contents.
    programs: Vec<(&'static str, &'static [u8])>,
    /// The kernel, if the stub starts it through the firmware.
    kernel: Option<&'static [u8]>,
    command_line: String,
    initrd: Option<&'static [u8]>,
    sections: Vec<(&'static str, Vec<u8>)>,
    /// Events beside these, at the end of the log.
    more: Vec<LoggedEvent>,
}

const UKI: &str = r"\EFI\BOOT\BOOTX64.EFI";
const BEGIN: &str = "Calling EFI Application from Boot Option";

impl Boot {
    fn new() -> Self {
        let command_line = "console=ttyS0 quiet root=/dev/vda";
        Self {
            programs: vec![(UKI, b"uki")],
            kernel: Some(b"kernel"),
            command_line: command_line.to_owned(),
            initrd: Some(b"initrd and os-release"),
            sections: vec![
                (".linux", b"kernel section".to_vec()),
                (".osrel", b"ID=x".to_vec()),
                (".cmdline", command_line.as_bytes().to_vec()),
                (".initrd", b"initrd".to_vec()),
            ],
            more: Vec::new(),
        }
    }

    fn log(&self) -> EventLog {
        let mut events = vec![
            measured(4, ACTION, BEGIN.as_bytes(), BEGIN.as_bytes()),
            measured(4, SEPARATOR, &[0; 4], &[0; 4]),
            measured(7, SEPARATOR, &[0; 4], &[0; 4]),
        ];
        let programs = self.programs.iter();
        events.extend(programs.map(|(file, of)| measured(4, APPLICATION, of, &loaded(file))));
        for (name, data) in &self.sections {
            let with_nul = [name.as_bytes(), b"\0"].concat();
            events.push(measured(11, IPL, &with_nul, &utf16(name)));
            events.push(measured(11, IPL, data, &utf16(name)));
        }
        let kernel = self.kernel.iter();
        events.extend(kernel.map(|of| measured(4, APPLICATION, of, &loaded_by_stub())));
        let label = tagged(0x8f3b_22ed, b"LOADED_IMAGE::LoadOptions\0");
        events.push(measured(9, TAG, &utf16(&self.command_line), &label));
        let label = tagged(0x8f3b_22ec, b"Linux initrd\0");
        events.extend(self.initrd.iter().map(|of| measured(9, TAG, of, &label)));
        events.extend(self.more.clone());
        EventLog {
            banks: Bank::ALL.into(),
            events,
        }
    }

    fn prediction(&self) -> Prediction {
        let names = ["the boot loader", "the UKI"];
        let names = &names[names.len() - self.programs.len()..];
        let programs = names.iter().copied().zip(&self.programs);
        let programs = programs.map(|(name, (_, of))| (name, Digests::of(of)));
        let kernel = self.kernel.map(|of| (".linux", Digests::of(of)));
        let mut given = vec![Event::with_detail(
            Digests::of(&utf16(&self.command_line)),
            "kernel command line",
            &self.command_line,
        )];
        let parts = ".initrd (6 bytes)";
        let initrd = self.initrd.map(Digests::of);
        given.extend(initrd.map(|digests| Event::with_detail(digests, "initrd", parts)));
        let sections = self.sections.iter();
        let sections = sections.map(|(name, data)| (*name, Digests::of(data)));
        let registers = [
            (pcr04::INDEX, pcr04::register(programs.chain(kernel))),
            (pcr09::INDEX, Register::from_events(given)),
            (pcr11::INDEX, pcr11::register(sections)),
        ];
        Prediction {
            registers: registers.into(),
            notes: Vec::new(),
        }
    }

    fn section(&mut self, name: &str) -> &mut Vec<u8> {
        let mut sections = self.sections.iter_mut();
        &mut sections.find(|(section, _)| *section == name).unwrap().1
    }
}

/// What a boot measured, without userspace.
fn logs(firmware: &EventLog) -> Logs<'_> {
    Logs {
        firmware,
        userspace: None,
        bank: Bank::Sha256,
        command_lines: &[],
    }
}

/// Compares logs that are those of a vTPM.
fn explain(logs: Logs<'_>, prediction: &Prediction) -> Explanation {
    match logs.of_machine() {
        MachineLogs::Vtpm(logs) => logs.explain(prediction),
        MachineLogs::Tdx(_) => panic!("the log is taken for one of a TDX guest"),
    }
}

/// Every finding with its register, as `PCR 9: …`.
fn lines(logs: &Logs<'_>, expected: &Boot) -> Vec<String> {
    let explanation = explain(*logs, &expected.prediction());
    for register in &explanation.registers {
        let is_equal = register.actual == Some(register.expected);
        assert_eq!(is_equal, register.findings.is_empty(), "{register:?}");
    }
    assert_eq!(
        explanation.is_equal(),
        explanation.registers.iter().all(|r| r.findings.is_empty())
    );
    let lines = explanation.registers.iter().flat_map(|register| {
        let index = register.register;
        let findings = register.findings.iter();
        findings.map(move |finding| format!("PCR {index}: {}", finding.text))
    });
    lines.collect()
}

/// What is said about a boot that differs from the expected one by `change`, in both banks.
fn explained(change: impl Fn(&mut Boot)) -> Vec<String> {
    let mut boot = Boot::new();
    change(&mut boot);
    let log = boot.log();
    let sha256 = lines(&logs(&log), &Boot::new());
    let sha384 = Logs {
        bank: Bank::Sha384,
        ..logs(&log)
    };
    assert_eq!(lines(&sha384, &Boot::new()), sha256);
    sha256
}

#[test]
fn equal_boots_have_nothing_to_explain() {
    assert!(explained(|_| ()).is_empty());
}

#[test]
fn captured_boot_is_the_computed_one() {
    let Some(boot) = vectors("boot") else { return };
    let log = EventLog::parse(&std::fs::read(boot.join("eventlog.bin")).unwrap()).unwrap();
    let computed = std::fs::read_to_string(boot.join("computed.txt")).unwrap();
    let json = computed.split("\nPCR4").next().unwrap();
    let computed: serde_json::Value = serde_json::from_str(json).unwrap();
    let register = |index: u8| {
        let events = computed["log"].as_array().unwrap().iter();
        let events = events.filter(|event| event[0] == index).map(|event| {
            let digests = Digests {
                sha256: event[2].as_str().unwrap().parse().unwrap(),
                sha384: Digest::ZERO,
            };
            Event::new(digests, event[1].as_str().unwrap())
        });
        (index, Register::from_events(events.collect()))
    };
    let prediction = Prediction {
        registers: [4, 9, 11].map(register).into(),
        notes: Vec::new(),
    };
    let explanation = explain(logs(&log), &prediction);
    assert!(explanation.is_equal(), "{explanation:?}");
    let compared: Vec<_> = explanation.registers.iter().map(|r| r.register).collect();
    assert_eq!(compared, [4, 8, 9, 11, 12, 13, 14, 15]);

    let pcrs = std::fs::read_to_string(boot.join("pcrs.txt")).unwrap();
    let pcrs: BTreeMap<u8, Vec<RegisterValue>> = pcrs
        .lines()
        .map(|line| {
            let (index, value) = line.strip_prefix("pcr").unwrap().split_once(' ').unwrap();
            let value = RegisterValue::Sha256(value.parse().unwrap());
            (index.parse().unwrap(), vec![value])
        })
        .collect();
    let userspace = std::fs::read(boot.join("tpm2-measure.log")).unwrap();
    let userspace = UserspaceLog::parse(&userspace).unwrap();
    let both = Logs {
        userspace: Some(&userspace),
        ..logs(&log)
    };
    for check in both.check(&pcrs) {
        let expected = match check.register {
            10 | 17..=22 => Replay::NotLogged,
            _ => Replay::Equal,
        };
        assert_eq!(check.replay, expected, "PCR {}", check.register);
    }
    // Without systemd's log, its phases are found out.
    for check in logs(&log).check(&pcrs) {
        if check.register == 11 {
            assert_eq!(check.replay, Replay::EqualWithPhases(&pcr11::PHASES));
        }
    }
    let texts: Vec<_> = explain(both, &prediction).registers[3]
        .findings
        .iter()
        .map(|finding| finding.text.clone())
        .collect();
    let phase = |name| format!("boot phase \"{name}\" (systemd-pcrphase is not masked)");
    assert_eq!(texts, pcr11::PHASES.map(phase));
}

#[test]
fn other_command_line_is_named() {
    let changed = "console=ttyS0 debug root=/dev/vda";
    let expected = [
        "PCR 9: the command line differs: expected \"console=ttyS0 quiet root=/dev/vda\", \
         logged is a digest only",
        "PCR 11: section .cmdline has other contents (another command line)",
    ];
    let change = |boot: &mut Boot| {
        boot.command_line = changed.to_owned();
        *boot.section(".cmdline") = changed.as_bytes().to_vec();
    };
    assert_eq!(explained(change), expected);

    // A text that has the digest is believed, another is not.
    let mut boot = Boot::new();
    change(&mut boot);
    let log = boot.log();
    let say = |claimed: &str| {
        let claimed = [claimed.to_owned()];
        let logs = Logs {
            command_lines: &claimed,
            ..logs(&log)
        };
        lines(&logs, &Boot::new()).swap_remove(0)
    };
    assert_eq!(
        say(changed),
        "PCR 9: the command line differs: - quiet + debug"
    );
    assert_eq!(
        say("\u{1b}[2J"),
        "PCR 9: the command line differs: expected \"console=ttyS0 quiet root=/dev/vda\", logged \
         is a digest only, which is not that of the claimed \"\\u{1b}[2J\""
    );
}

#[test]
fn command_line_from_an_add_on_is_found_and_shown() {
    let add_on = "init=/bin/sh";
    let change = |boot: &mut Boot| {
        boot.command_line.push_str(" init=/bin/sh");
        let text = utf16(add_on);
        boot.more = vec![measured(12, IPL, &text[..text.len() - 2], &text)];
    };
    assert_eq!(
        explained(change),
        [
            "PCR 9: the command line differs: + init=/bin/sh",
            "PCR 12: PCR 12 is not zero: something from outside the UKI (command line, add-on, \
             credentials): the text \"init=/bin/sh\""
        ]
    );
}

#[test]
fn text_that_was_not_measured_is_called_a_claim() {
    let change = |boot: &mut Boot| {
        let text = utf16("harmless\u{202e}");
        boot.more = vec![measured(12, IPL, b"something else", &text)];
    };
    assert_eq!(
        explained(change),
        [
            "PCR 12: PCR 12 is not zero: something from outside the UKI (command line, add-on, \
             credentials): the log claims \"harmless\\u{202e}\", but the digest is not of that text"
        ]
    );
}

#[test]
fn what_lies_beside_the_uki_is_named() {
    let change = |boot: &mut Boot| {
        let archive = |pcr, name: &str| measured(pcr, IPL, b"archive", &utf16(name));
        boot.more = vec![
            archive(12, "Credentials initrd"),
            archive(13, "System extension initrd"),
            measured(12, TAG, b"tree", &tagged(0x6c46_f751, &utf16("a.dtb"))),
            measured(8, IPL, b"x", b"grub_cmd: x\0"),
            measured(14, IPL, b"x", b"MokList\0"),
        ];
    };
    assert_eq!(
        explained(change),
        [
            "PCR 8: PCR 8 is not zero (GRUB): the text \"grub_cmd: x\"",
            "PCR 12: PCR 12 is not zero: something from outside the UKI (command line, add-on, \
             credentials): the log says \"Credentials initrd\"",
            "PCR 12: PCR 12 is not zero: something from outside the UKI (command line, add-on, \
             credentials): the log says device tree add-on \"a.dtb\"",
            "PCR 13: PCR 13 is not zero: extensions from outside the UKI: \
             the log says \"System extension initrd\"",
            "PCR 14: PCR 14 is not zero (shim): the log claims \"MokList\", but the digest is not \
             of that text"
        ]
    );
}

#[test]
fn other_initrd_is_named() {
    let change = |boot: &mut Boot| {
        boot.initrd = Some(b"another");
        *boot.section(".initrd") = b"other".to_vec();
    };
    assert_eq!(
        explained(change),
        [
            "PCR 9: another initrd: expected .initrd (6 bytes)",
            "PCR 11: section .initrd has other contents (another initrd)",
        ]
    );
    assert_eq!(
        explained(|boot| boot.initrd = None),
        ["PCR 9: no initrd was measured: Linux was given none"]
    );
}

#[test]
fn other_kernel_is_named() {
    let change = |boot: &mut Boot| {
        boot.programs = vec![(UKI, b"another uki")];
        boot.kernel = Some(b"another");
        *boot.section(".linux") = b"other".to_vec();
    };
    assert_eq!(
        explained(change),
        [
            r"PCR 4: another UKI: the log says \EFI\BOOT\BOOTX64.EFI (1000 bytes)",
            "PCR 4: another kernel",
            "PCR 11: section .linux has other contents (another kernel)",
        ]
    );
}

#[test]
fn kernel_that_is_not_started_through_the_firmware_is_missing() {
    assert_eq!(
        explained(|boot| boot.kernel = None),
        [
            "PCR 4: kernel event missing in PCR 4: the stub did not start the kernel through the \
             firmware (stub ≥ 258, or Secure Boot?)"
        ]
    );
    // The other way round.
    let newer = Boot {
        kernel: None,
        ..Boot::new()
    };
    assert_eq!(
        lines(&logs(&Boot::new().log()), &newer),
        [
            "PCR 4: an extra event in PCR 4: the stub started the kernel through the firmware \
             (stub ≤ 257, or Secure Boot with shim?)"
        ]
    );
}

#[test]
fn programs_before_the_uki_are_extra() {
    let shim = r"\EFI\BOOT\shimx64.efi";
    let extra = format!(
        "PCR 4: an extra event in PCR 4: the log says {shim} (1000 bytes) was loaded (boot \
         loader, driver, shim?)"
    );
    let before = |boot: &mut Boot| boot.programs.insert(0, (shim, b"shim"));
    assert_eq!(explained(before), [extra.as_str()]);
    let with_other_uki = |boot: &mut Boot| {
        boot.programs = vec![(shim, b"shim"), (UKI, b"another uki")];
    };
    assert_eq!(
        explained(with_other_uki),
        [
            extra.as_str(),
            r"PCR 4: another UKI: the log says \EFI\BOOT\BOOTX64.EFI (1000 bytes)"
        ]
    );
    let driver = |boot: &mut Boot| {
        boot.more = vec![measured(4, DRIVER, b"driver", &loaded(r"\EFI\driver.efi"))];
    };
    assert_eq!(
        explained(driver),
        [
            r"PCR 4: an extra event in PCR 4: the log says \EFI\driver.efi (1000 bytes) was loaded (a driver)"
        ]
    );
}

#[test]
fn boot_loader_is_told_from_the_uki() {
    let loader = r"\EFI\systemd\systemd-bootx64.efi";
    let expected = Boot {
        programs: vec![(loader, b"loader"), (UKI, b"uki")],
        ..Boot::new()
    };
    let with = |programs| {
        let boot = Boot {
            programs,
            ..Boot::new()
        };
        lines(&logs(&boot.log()), &expected)
    };
    assert_eq!(
        with(vec![(loader, b"other"), (UKI, b"uki")]),
        [format!(
            "PCR 4: another boot loader: the log says {loader} (1000 bytes)"
        )]
    );
    assert_eq!(
        with(vec![(UKI, b"uki")]),
        ["PCR 4: event missing: Authenticode digest of the boot loader"]
    );
}

#[test]
fn other_attempts_of_the_firmware_are_named() {
    let change = |boot: &mut Boot| {
        let text = b"Returning from EFI Application from Boot Option";
        boot.more = vec![measured(4, ACTION, text, text)];
    };
    assert_eq!(
        explained(change),
        ["PCR 4: an extra firmware action: \"Returning from EFI Application from Boot Option\""]
    );
}

#[test]
fn sections_that_come_and_go_are_named_once() {
    assert_eq!(
        explained(|boot| boot.sections.insert(2, (".dtb", b"tree".to_vec()))),
        ["PCR 11: section .dtb was measured by this boot but is absent from the image"]
    );
    assert_eq!(
        explained(|boot| drop(boot.sections.remove(1))),
        ["PCR 11: section .osrel is in the image but was not measured by this boot"]
    );
    assert_eq!(
        explained(|boot| boot.sections[1] = (".uname", b"6.12".to_vec())),
        [
            "PCR 11: section .osrel is in the image but was not measured by this boot",
            "PCR 11: section .uname was measured by this boot but is absent from the image"
        ]
    );
}

#[test]
fn name_that_the_log_puts_on_contents_does_not_count() {
    let mut log = Boot::new().log();
    // The contents of .linux, which the log now calls .osrel.
    let event = log.events.iter_mut().filter(|event| event.pcr == 11).nth(1);
    let event = event.unwrap();
    (event.data, event.digests) = (utf16(".osrel"), Digests::of(b"other").into());
    assert_eq!(
        lines(&logs(&log), &Boot::new()),
        ["PCR 11: section .linux has other contents (another kernel)"]
    );
}

#[test]
fn what_userspace_extends_is_named_with_its_unit() {
    let event = |pcr, of: &str, text: &str, kind: &str| UserspaceEvent {
        register: UserspaceRegister::Pcr(pcr),
        digests: Digests::of(of.as_bytes()).into(),
        text: text.to_owned(),
        kind: kind.to_owned(),
    };
    let userspace = UserspaceLog {
        events: vec![
            event(11, "ready", "ready", "phase"),
            event(15, "machine-id:1", "machine-id:1", "machine-id"),
            event(15, "file-system:/", "file-system:/", "filesystem"),
            event(15, "hmac", "cryptsetup:data:1", "volume-key"),
            event(15, "x", "machine-id:2\u{1b}", "machine-id"),
            event(16, "x", "x", "phase"),
        ],
    };
    let log = Boot::new().log();
    let logs = Logs {
        userspace: Some(&userspace),
        ..logs(&log)
    };
    assert_eq!(
        lines(&logs, &Boot::new()),
        [
            "PCR 11: boot phase \"ready\" (systemd-pcrphase is not masked)",
            "PCR 15: \"machine-id:1\" (systemd-pcrmachine is not masked)",
            "PCR 15: file system \"file-system:/\" (systemd-pcrfs is not masked)",
            "PCR 15: key of \"cryptsetup:data:1\" (systemd-cryptsetup was told to measure it)",
            "PCR 15: userspace extended what its log claims to be \"machine-id:2\\u{1b}\", wrongly",
        ]
    );
}

#[test]
fn bank_that_the_log_has_not_is_not_compared() {
    let mut log = Boot::new().log();
    log.banks = vec![Bank::Sha384];
    for event in &mut log.events {
        event.digests.sha256 = None;
    }
    let explanation = explain(logs(&log), &Boot::new().prediction());
    assert!(!explanation.is_equal());
    for register in explanation.registers {
        assert_eq!(register.actual, None);
        assert_eq!(register.findings[0].kind, FindingKind::Unknown);
        assert_eq!(register.findings[0].text, "the log has no sha256 bank");
        assert!(!register.is_different());
    }
    let given = [(4, vec![RegisterValue::Sha256(Digest([1; 32]))])];
    let checks = logs(&log).check(&given.into());
    assert_eq!(checks[0].replay, Replay::Unknown);
}

#[test]
fn more_events_than_a_boot_has_are_counted_only() {
    let mut boot = Boot::new();
    boot.more = vec![measured(9, IPL, b"x", b"x"); 30_000];
    let log = boot.log();
    let explanation = explain(logs(&log), &Boot::new().prediction());
    let register = explanation.registers.iter().find(|r| r.register == 9);
    assert_eq!(
        register.unwrap().findings[0].text,
        "30002 events, where 2 are predicted: not compared one by one"
    );
}

#[test]
fn log_of_another_boot_is_noticed() {
    let log = Boot::new().log();
    let value = |register| vec![logs(&log).replay(register).unwrap()];
    let other = vec![RegisterValue::Sha256(Digest([1; 32]))];
    let both = [other.clone(), value(9)].concat();
    let given = [
        (4, value(4)),
        (9, both),
        (10, other.clone()),
        (11, other.clone()),
        (12, other),
    ];
    let checks = logs(&log).check(&given.into());
    let replays: Vec<_> = checks.iter().map(|check| check.replay).collect();
    assert_eq!(
        replays,
        [
            Replay::Equal,
            Replay::Equal,
            Replay::NotLogged,
            Replay::Different,
            Replay::Different
        ]
    );
}

#[test]
fn texts_longer_than_command_lines_are_not_tried() {
    for (length, is_found) in [(1000, true), (40_000, false)] {
        let mut boot = Boot::new();
        boot.command_line = "x".repeat(length);
        let text = utf16(&boot.command_line);
        boot.more = vec![measured(12, IPL, &text, &text)];
        let log = boot.log();
        let explanation = explain(logs(&log), &Boot::new().prediction());
        let register = explanation.registers.iter().find(|r| r.register == 9);
        let text = &register.unwrap().findings[0].text;
        assert_eq!(!text.contains("a digest only"), is_found, "{text:.100}");
    }
}

/// Events of any kind, some of them those of the boot.
fn events() -> impl Strategy<Value = Vec<LoggedEvent>> {
    let boot = Boot::new().log().events;
    let known = prop::sample::select(boot);
    let kinds = vec![
        SEPARATOR,
        TAG,
        IPL,
        APPLICATION,
        DRIVER,
        ACTION,
        0x8000_0002,
    ];
    let data = vec![
        utf16(".linux"),
        utf16("text"),
        loaded(UKI),
        loaded_by_stub(),
        tagged(0x8f3b_22ed, b""),
        Vec::new(),
    ];
    let other = (
        prop::sample::select(vec![4_u32, 9, 11, 12, 15]),
        prop::sample::select(kinds),
        0..3_u8,
        prop::sample::select(data),
    )
        .prop_map(|(pcr, kind, of, data)| measured(pcr, kind, &[of], &data));
    prop::collection::vec(prop_oneof![3 => known, 1 => other], 0..40)
}

proptest! {
    /// There is a finding if and only if the values differ, and every event is accounted for.
    #[test]
    fn findings_account_for_every_difference(events in events()) {
        let log = EventLog { banks: Bank::ALL.into(), events };
        for line in lines(&logs(&log), &Boot::new()) {
            let is_plain = |c: char| "≤≥…".contains(c) || (' '..='~').contains(&c);
            prop_assert!(line.chars().all(is_plain), "{}", line);
        }
    }
}
