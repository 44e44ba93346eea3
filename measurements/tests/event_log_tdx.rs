//! Each change to the boot of a bare TDX guest is explained in the words of its registers.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a panic in a test is a failing test, and test data comes from files"
)]

#[path = "event_log_support/mod.rs"]
mod support;

use measurements::event_log::explain::{Explanation, Logs, MachineLogs};
use measurements::event_log::{Bank, EventLog, LoggedEvent, UserspaceEvent, UserspaceLog};
use measurements::event_log::{UserspaceRegister, event_type};
use measurements::tdx::{
    BootLoader, Rtmr1Inputs, Rtmr2Inputs, SeparatorRegister, TdxPrediction, rtmr1, rtmr2,
};
use measurements::{Digests, Event};
use support::*;

const UKI: &str = r"\EFI\BOOT\BOOTX64.EFI";
const COMMAND_LINE: &str = "quiet root=/dev/vda";

/// The bytes that firmware measures of a table without partitions; the second half of the disk's
/// GUID is this byte.
fn table(byte: u8) -> Vec<u8> {
    let mut table = b"EFI PART".to_vec();
    table.resize(64, 0);
    table.resize(72, byte);
    table.resize(100, 0);
    table
}

fn predict(separator: SeparatorRegister) -> TdxPrediction {
    let first = rtmr1(&Rtmr1Inputs {
        separator,
        gpt: Digests::of(&table(1)),
        boot_loader: Some(BootLoader {
            image: Digests::of(b"loader"),
            config: Some(Digests::of(b"timeout 0")),
        }),
        uki: Digests::of(b"uki"),
        kernel: Some(Digests::of(b"kernel")),
    });
    let event = |of: &[u8], subject| Event::new(Digests::of(of), subject);
    let linux = [
        Event::with_detail(
            Digests::of(&utf16(COMMAND_LINE)),
            "kernel command line",
            COMMAND_LINE,
        ),
        event(b"initrd", "initrd"),
    ];
    let stub = [
        event(b".cmdline\0", ".cmdline: name"),
        event(COMMAND_LINE.as_bytes(), ".cmdline: data"),
    ];
    let (stub, linux) = (&stub[..], &linux[..]);
    TdxPrediction {
        registers: [(1, first), (2, rtmr2(&Rtmr2Inputs { stub, linux }))].into(),
        mrtd: None,
        notes: Vec::new(),
    }
}

fn action(text: &str) -> LoggedEvent {
    measured(2, ACTION, text.as_bytes(), text.as_bytes())
}

/// The events of a boot, after a separator and a variable in RTMR0.
fn boot() -> Vec<LoggedEvent> {
    let initrd = tagged(0x8f3b_22ec, b"Linux initrd\0");
    let load_options = tagged(0x8f3b_22ed, b"LOADED_IMAGE::LoadOptions\0");
    vec![
        measured(1, event_type::EV_EFI_VARIABLE_BOOT, b"x", b"x"),
        measured(1, SEPARATOR, &[0; 4], &[0; 4]),
        action("Calling EFI Application from Boot Option"),
        measured(2, SEPARATOR, &[0; 4], &[0; 4]),
        measured(2, event_type::EV_EFI_GPT_EVENT, &table(1), &table(1)),
        measured(2, APPLICATION, b"loader", &loaded(UKI)),
        measured(2, TAG, b"timeout 0", &tagged(0xf5bc_582a, b"loader.conf\0")),
        measured(2, APPLICATION, b"uki", &loaded(r"\EFI\Linux\a.efi")),
        measured(3, IPL, b".cmdline\0", &utf16(".cmdline")),
        measured(3, IPL, COMMAND_LINE.as_bytes(), &utf16(".cmdline")),
        measured(2, APPLICATION, b"kernel", &loaded_by_stub()),
        measured(3, TAG, &utf16(COMMAND_LINE), &load_options),
        measured(3, TAG, b"initrd", &initrd),
        action("Exit Boot Services Invocation"),
        action("Exit Boot Services Returned with Success"),
    ]
}

/// The log of such a machine, which has one bank.
fn log(mut events: Vec<LoggedEvent>) -> EventLog {
    for event in &mut events {
        event.digests.sha256 = None;
    }
    EventLog {
        banks: vec![Bank::Sha384],
        events,
    }
}

fn explain(
    firmware: &EventLog,
    userspace: Option<&UserspaceLog>,
    prediction: &TdxPrediction,
) -> Explanation {
    let logs = Logs {
        firmware,
        userspace,
        bank: Bank::Sha384,
        command_lines: &[],
    };
    match logs.of_machine() {
        MachineLogs::Tdx(logs) => logs.explain(prediction),
        MachineLogs::Vtpm(_) => panic!("the log is not taken for one of a TDX guest"),
    }
}

/// What is said of a boot that differs by `change`, with the register's number in the log.
fn explained(change: impl Fn(&mut Vec<LoggedEvent>)) -> Vec<String> {
    let mut events = boot();
    change(&mut events);
    let log = log(events);
    let explanation = explain(&log, None, &predict(SeparatorRegister::Rtmr1));
    lines(&explanation)
}

fn lines(explanation: &Explanation) -> Vec<String> {
    for register in &explanation.registers {
        let is_equal = register.actual == Some(register.expected);
        assert_eq!(is_equal, register.findings.is_empty(), "{register:?}");
    }
    let lines = explanation.registers.iter().flat_map(|register| {
        let index = register.register;
        let findings = register.findings.iter();
        findings.map(move |finding| format!("{index}: {}", finding.text))
    });
    lines.collect()
}

/// Puts another event at the place of one.
fn replace(at: usize, of: &'static [u8], data: &[u8]) -> impl Fn(&mut Vec<LoggedEvent>) + use<> {
    let data = data.to_vec();
    move |events| {
        let (pcr, event_type) = (events[at].pcr, events[at].event_type);
        events[at] = measured(pcr, event_type, of, &data);
    }
}

#[test]
fn predicted_boot_has_nothing_to_explain() {
    let log = log(boot());
    let explanation = explain(&log, None, &predict(SeparatorRegister::Rtmr1));
    assert!(explanation.is_equal(), "{explanation:?}");
    let compared: Vec<_> = explanation.registers.iter().map(|r| r.register).collect();
    // RTMR1 to RTMR3.
    assert_eq!(compared, [2, 3, 4]);
}

#[test]
fn register_that_is_not_predicted_is_not_compared() {
    let mut prediction = predict(SeparatorRegister::Rtmr1);
    prediction.registers.remove(&1);
    let explanation = explain(&log(boot()), None, &prediction);
    let compared: Vec<_> = explanation.registers.iter().map(|r| r.register).collect();
    assert_eq!(compared, [3, 4]);
}

#[test]
fn separator_is_where_the_firmwares_generation_puts_it() {
    let before = |events: &mut Vec<LoggedEvent>| events[3].pcr = 1;
    assert_eq!(explained(before), ["2: event missing: separator"]);
    let mut events = boot();
    before(&mut events);
    let old = predict(SeparatorRegister::Rtmr0);
    assert!(explain(&log(events), None, &old).is_equal());
    assert_eq!(
        lines(&explain(&log(boot()), None, &old)),
        ["2: an extra event in RTMR1: separator"]
    );
}

#[test]
fn other_disk_is_named() {
    let other = "2: the partition table differs: another disk, or one that was fitted (";
    let disk = |digit: &str| {
        let half = format!("{}-{}", digit.repeat(4), digit.repeat(12));
        format!("partition table of disk 00000000-0000-0000-{half}: no partitions)")
    };
    let change = |events: &mut Vec<LoggedEvent>| {
        let kind = event_type::EV_EFI_GPT_EVENT;
        events[4] = measured(2, kind, &table(0x22), &table(0x22));
    };
    assert_eq!(explained(change), [format!("{other}{}", disk("2"))]);
    // Only as good as the log's word.
    let change = replace(4, b"another", &table(0x33));
    assert_eq!(
        explained(change),
        [format!("{other}the log says {}", disk("3"))]
    );
    assert_eq!(
        explained(|events| drop(events.remove(4))),
        ["2: no partition table was measured: the firmware found none on the disk"]
    );
}

#[test]
fn other_programs_and_configuration_are_named() {
    assert_eq!(
        explained(replace(5, b"other", &loaded(UKI))),
        [format!(
            "2: another boot loader: the log says {UKI} (1000 bytes)"
        )]
    );
    let config = tagged(0xf5bc_582a, b"loader.conf\0");
    assert_eq!(
        explained(replace(6, b"timeout 9", &config)),
        ["2: loader.conf has other contents"]
    );
    assert_eq!(
        explained(|events| drop(events.remove(6))),
        ["2: event missing: loader.conf"]
    );
    assert_eq!(
        explained(replace(7, b"other", &loaded(r"\EFI\Linux\b.efi"))),
        [r"2: another UKI: the log says \EFI\Linux\b.efi (1000 bytes)"]
    );
    assert_eq!(
        explained(|events| drop(events.remove(10))),
        [
            "2: kernel event missing in RTMR1: the stub did not start the kernel through the \
             firmware (stub ≥ 258, or Secure Boot?)"
        ]
    );
    let shim = |events: &mut Vec<LoggedEvent>| {
        events.insert(5, measured(2, APPLICATION, b"shim", &loaded(r"\shim.efi")));
    };
    assert_eq!(
        explained(shim),
        [
            r"2: an extra event in RTMR1: the log says \shim.efi (1000 bytes) was loaded (boot loader, driver, shim?)"
        ]
    );
}

#[test]
fn boot_that_did_not_go_straight_is_named() {
    let failed = |events: &mut Vec<LoggedEvent>| {
        events.insert(14, action("Exit Boot Services Returned with Failure"));
        events.insert(15, action("Exit Boot Services Invocation"));
    };
    assert_eq!(
        explained(failed),
        [
            "2: an extra firmware action: \"Exit Boot Services Invocation\"",
            "2: an extra firmware action: \"Exit Boot Services Returned with Failure\"",
        ]
    );
    assert_eq!(
        explained(|events| drop(events.pop())),
        ["2: event missing: firmware action \"Exit Boot Services Returned with Success\""]
    );
}

#[test]
fn what_comes_from_outside_the_image_is_named() {
    let add_on = |events: &mut Vec<LoggedEvent>| {
        let text = utf16("init=/bin/sh");
        let longer = utf16(&format!("{COMMAND_LINE} init=/bin/sh"));
        events[11].digests = Digests::of(&longer).into();
        events.insert(10, measured(3, IPL, &text[..text.len() - 2], &text));
    };
    assert_eq!(
        explained(add_on),
        [
            "3: RTMR2 has something from outside the UKI (GRUB, command line, add-on, credentials, \
             extensions): the text \"init=/bin/sh\"",
            "3: the command line differs: + init=/bin/sh",
        ]
    );
}

#[test]
fn what_programs_in_the_guest_extend_is_named() {
    let by_program = |events: &mut Vec<LoggedEvent>| events.push(measured(4, IPL, b"x", b"y"));
    let expected = "4: RTMR3 is not zero: a program in the guest extended it: the log claims \"y\", \
                    but the digest is not of that text";
    assert_eq!(explained(by_program), [expected]);

    let event = |register| UserspaceEvent {
        register,
        digests: Digests::of(b"machine-id:1").into(),
        text: "machine-id:1".to_owned(),
        kind: "machine-id".to_owned(),
    };
    let (rtmr, pcr) = (UserspaceRegister::Rtmr(3), UserspaceRegister::Pcr(4));
    let userspace = UserspaceLog {
        events: vec![event(rtmr), event(pcr)],
    };
    let prediction = predict(SeparatorRegister::Rtmr1);
    assert_eq!(
        lines(&explain(&log(boot()), Some(&userspace), &prediction)),
        ["4: \"machine-id:1\" (systemd-pcrmachine is not masked)"]
    );
}

#[test]
fn log_of_a_tpm_is_not_one_of_a_tdx_guest() {
    let mut events = boot();
    events.push(measured(7, SEPARATOR, &[0; 4], &[0; 4]));
    let (tdx, tpm) = (log(boot()), log(events));
    let logs = |firmware| Logs {
        firmware,
        userspace: None,
        bank: Bank::Sha384,
        command_lines: &[],
    };
    let is_tdx = |logs: Logs<'_>| matches!(logs.of_machine(), MachineLogs::Tdx(_));
    assert!(is_tdx(logs(&tdx)));
    assert!(!is_tdx(logs(&tpm)));
    let names = |log| [0, 1, 4].map(|register| logs(log).register_name(register));
    assert_eq!(names(&tdx), ["MRTD", "RTMR0", "RTMR3"]);
    assert_eq!(names(&tpm), ["PCR 0", "PCR 1", "PCR 4"]);
}
