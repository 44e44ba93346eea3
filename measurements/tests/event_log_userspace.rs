//! systemd's log: the captured one, and what is refused.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a panic in a test is a failing test, and test data comes from files"
)]

#[path = "event_log_support/mod.rs"]
mod support;

use measurements::event_log::explain::Logs;
use measurements::event_log::{Bank, EventLog, UserspaceLog, UserspaceLogError, UserspaceRegister};
use measurements::{Sha256Digest, Sha384Digest};
use testkit::needed::vectors;

/// A record of a phase, after a change to its text.
fn record(change: impl Fn(String) -> String) -> Vec<u8> {
    let (sha256, sha384) = (Sha256Digest::of(b"ready"), Sha384Digest::of(b"ready"));
    let json = format!(
        "{{\"pcr\":11,\"digests\":[{{\"hashAlg\":\"sha1\",\"digest\":\"00\"}},\
         {{\"hashAlg\":\"sha256\",\"digest\":\"{sha256}\"}},\
         {{\"hashAlg\":\"sha384\",\"digest\":\"{sha384}\"}}],\"content_type\":\"systemd\",\
         \"content\":{{\"string\":\"ready\",\"bootId\":\"00\",\"timestamp\":1,\
         \"eventType\":\"phase\"}}}}"
    );
    format!("\u{1e}{}\n", change(json)).into_bytes()
}

/// What is wrong with a log whose second record was changed.
fn refusal(from: &str, to: &str) -> String {
    let changed = record(|json| {
        assert!(json.contains(from), "{from}");
        json.replacen(from, to, 1)
    });
    let log = [record(|json| json), changed].concat();
    let error = UserspaceLog::parse(&log).unwrap_err();
    let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
    format!("{error}{}", source.unwrap_or_default())
}

#[test]
fn captured_log_continues_the_firmwares_to_the_guests_register() {
    let Some(boot) = vectors("boot") else { return };
    let firmware = EventLog::parse(&std::fs::read(boot.join("eventlog.bin")).unwrap()).unwrap();
    let log = std::fs::read(boot.join("tpm2-measure.log")).unwrap();
    let log = UserspaceLog::parse(&log).unwrap();
    let texts: Vec<_> = log.extended(11).map(|event| event.text.as_str()).collect();
    assert_eq!(texts, ["enter-initrd", "leave-initrd", "sysinit", "ready"]);
    assert!(log.events.iter().all(|event| event.kind == "phase"));
    assert!(log.events.iter().all(|event| event.is_confirmed()));
    let logs = Logs {
        firmware: &firmware,
        userspace: Some(&log),
        bank: Bank::Sha256,
        command_lines: &[],
    };
    assert_eq!(
        logs.replay(11).unwrap().to_string(),
        "482d462473a825cec553533a2973d8a5a1357cd7ba77fab92e22f49533a71ef1"
    );
}

#[test]
fn nothing_extended_is_an_empty_log() {
    assert!(UserspaceLog::parse(b"").unwrap().events.is_empty());
}

#[test]
fn records_of_other_registers_are_told_apart() {
    let of = |field: &str| {
        let log = record(|json| json.replace("\"pcr\":11", field));
        UserspaceLog::parse(&log).unwrap().events[0].register
    };
    assert_eq!(of("\"pcr\":15"), UserspaceRegister::Pcr(15));
    assert_eq!(
        of("\"rtmr\":2,\"mapped_pcr\":11"),
        UserspaceRegister::Rtmr(2)
    );
    assert_eq!(
        of("\"nv_index\":30474752"),
        UserspaceRegister::NvIndex(30_474_752)
    );
}

#[test]
fn digest_of_another_text_is_not_confirmed() {
    let log = record(|json| json.replace("\"string\":\"ready\"", "\"string\":\"final\""));
    assert!(!UserspaceLog::parse(&log).unwrap().events[0].is_confirmed());
}

#[test]
fn refusals_name_the_record() {
    for (from, to, expected) in [
        ("{", "", "record 2: not a record of systemd: "),
        (
            "\"pcr\":11",
            "\"pcr\":24",
            "record 2: expected one of pcr (0 to 23)",
        ),
        ("\"pcr\":11,", "", "record 2: expected one of pcr (0 to 23)"),
        (
            "\"pcr\":11",
            "\"pcr\":11,\"rtmr\":1",
            "record 2: expected one of pcr",
        ),
        (
            "\"pcr\":11",
            "\"pcr\":11,\"pcr\":12",
            "record 2: not a record of systemd: duplicate",
        ),
        (
            "\"pcr\":11",
            "\"pcr\":11,\"x\":1",
            "record 2: not a record of systemd: unknown field",
        ),
        (
            "\"systemd\"",
            "\"pcclient_std\"",
            "record 2: not a record of systemd: unknown variant",
        ),
        (
            "\"sha384\"",
            "\"sha256\"",
            "record 2: not a sha256 digest: expected 64 hex digits",
        ),
        (
            "\"sha1\"",
            "\"sha384\"",
            "record 2: not a sha384 digest: expected 96 hex digits",
        ),
        (
            "}}",
            "}} x",
            "record 2: not a record of systemd: trailing characters",
        ),
    ] {
        let actual = refusal(from, to);
        assert!(actual.starts_with(expected), "{actual}");
    }
    let digest = Sha256Digest::of(b"ready");
    let twice = format!(",{{\"hashAlg\":\"sha256\",\"digest\":\"{digest}\"}}]");
    assert_eq!(
        refusal("]", &twice),
        "record 2: the sha256 digest is there twice"
    );
}

#[test]
fn frames_are_strict_and_bounded() {
    let good = record(|json| json);
    let is_frame = |log: &[u8], record: usize| {
        let error = UserspaceLog::parse(log).unwrap_err();
        matches!(error, UserspaceLogError::Frame { record: actual } if actual == record)
    };
    assert!(is_frame(&good[1..], 1));
    assert!(is_frame(&[&good[..], &good[1..]].concat(), 2));
    assert!(is_frame(&[&good[..], b"\n"].concat(), 2));
    for cut in 1..good.len() {
        assert!(is_frame(&good[..cut], 1), "{cut}");
    }
    let padded = record(|json| json.replace('{', &" ".repeat(70_000)));
    assert!(is_frame(&padded, 1));
    let error = UserspaceLog::parse(&vec![b' '; (4 << 20) + 1]).unwrap_err();
    assert!(matches!(error, UserspaceLogError::TooLarge { .. }));
}
