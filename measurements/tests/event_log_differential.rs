//! Logs read by tpm2-tools and by this crate: the same events, digests and registers.
//!
//! `tpm2_eventlog` is an independent implementation; in CI it must be there.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a panic in a test is a failing test, and the other implementation is a program"
)]

#[path = "event_log_support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::io::Write;
use std::process::Command;

use measurements::event_log::{Bank, EventLog, LoggedEvent, event_type};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use support::*;
use testkit::needed::vectors;

const TOOL: &str = "tpm2_eventlog";

/// What the tool says about one event: register, type, and digests by bank.
#[derive(Debug, Default, PartialEq, Eq)]
struct ToolEvent {
    pcr: u32,
    event_type: String,
    digests: BTreeMap<String, String>,
}

/// Registers by bank.
type Pcrs = BTreeMap<String, BTreeMap<u32, String>>;

/// The first whose replay leaves out what is not extended, and knows startup localities.
const OLDEST: (u32, u32) = (5, 6);

fn has_tool() -> bool {
    let lacks = match tool_version() {
        Some(version) if version >= OLDEST => return true,
        Some((major, minor)) => format!("{TOOL} is {major}.{minor}, older than {OLDEST:?}"),
        None => format!("{TOOL} is missing"),
    };
    assert!(std::env::var_os("CI").is_none(), "{lacks}");
    let text = format!("SKIPPED: {lacks}\n");
    let _ = std::io::stderr().write_all(text.as_bytes());
    false
}

/// `tool="tpm2_eventlog" version="5.7" …`
fn tool_version() -> Option<(u32, u32)> {
    let output = Command::new(TOOL).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).unwrap();
    let version = text.split("version=\"").nth(1).unwrap();
    let mut numbers = version.split(|c: char| !c.is_ascii_digit());
    let mut number = || numbers.next().unwrap().parse().unwrap();
    Some((number(), number()))
}

/// Runs the tool on a log; the first event, which says how others are written, is left out.
fn read_with_tool(log: &[u8]) -> (Vec<ToolEvent>, Pcrs) {
    let directory = std::env::temp_dir();
    let file = directory.join(format!(
        "eventlog-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    std::fs::write(&file, log).unwrap();
    let output = Command::new(TOOL).arg(&file).output().unwrap();
    std::fs::remove_file(&file).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let yaml = String::from_utf8_lossy(&output.stdout).into_owned();
    let (events, pcrs) = yaml.split_once("\npcrs:\n").unwrap();
    (parse_events(events), parse_pcrs(pcrs))
}

fn parse_events(yaml: &str) -> Vec<ToolEvent> {
    let mut events: Vec<ToolEvent> = Vec::new();
    let mut bank = String::new();
    for line in yaml.lines() {
        let Some((key, value)) = line.split_once(": ") else {
            continue;
        };
        let value = value.trim_matches('"');
        match key {
            "- EventNum" => events.push(ToolEvent::default()),
            "  PCRIndex" => events.last_mut().unwrap().pcr = value.parse().unwrap(),
            "  EventType" => value.clone_into(&mut events.last_mut().unwrap().event_type),
            "  - AlgorithmId" => value.clone_into(&mut bank),
            "    Digest" => {
                let digests = &mut events.last_mut().unwrap().digests;
                digests.insert(bank.clone(), value.to_owned());
            }
            _ => (),
        }
    }
    events.remove(0);
    events
}

fn parse_pcrs(yaml: &str) -> Pcrs {
    let mut pcrs = Pcrs::new();
    let mut bank = String::new();
    for line in yaml.lines() {
        match line
            .split_once(':')
            .map(|(key, value)| (key.trim(), value.trim()))
        {
            Some((name, "")) => name.clone_into(&mut bank),
            Some((pcr, value)) => {
                let value = value.strip_prefix("0x").unwrap().to_owned();
                let of_bank = pcrs.entry(bank.clone()).or_default();
                of_bank.insert(pcr.parse().unwrap(), value);
            }
            None => panic!("{line}"),
        }
    }
    pcrs
}

fn ensure_same(bytes: &[u8]) {
    let log = EventLog::parse(bytes).unwrap();
    let (events, pcrs) = read_with_tool(bytes);
    assert_eq!(events.len(), log.events.len());
    for (tool, ours) in events.iter().zip(&log.events) {
        assert_eq!(tool.pcr, ours.pcr);
        // The tool knows fewer types.
        if tool.event_type != "Unknown event type" {
            assert_eq!(
                Some(tool.event_type.as_str()),
                event_type::name(ours.event_type)
            );
        }
        for bank in Bank::ALL {
            let digest = ours.digests.of(bank).map(|digest| digest.to_string());
            assert_eq!(tool.digests.get(bank.as_str()), digest.as_ref());
        }
    }
    for bank in &log.banks {
        let extended = log.events.iter().filter(|event| event.is_extended());
        let registers: std::collections::BTreeSet<u32> = extended.map(|event| event.pcr).collect();
        let of_tool = pcrs.get(bank.as_str()).cloned().unwrap_or_default();
        for pcr in registers.iter().chain(of_tool.keys()) {
            let value = log.replay(*pcr).of(*bank).unwrap().to_string();
            assert_eq!(of_tool.get(pcr), Some(&value), "{bank} PCR {pcr}");
        }
    }
}

#[test]
fn captured_log_is_read_as_tpm2_tools_does() {
    let Some(boot) = vectors("boot") else { return };
    if has_tool() {
        ensure_same(&std::fs::read(boot.join("eventlog.bin")).unwrap());
    }
}

/// What the tool once printed of the captured log, for where the tool is not.
#[test]
fn captured_log_is_read_as_tpm2_tools_did() {
    let Some(boot) = vectors("boot") else { return };
    let log = EventLog::parse(&std::fs::read(boot.join("eventlog.bin")).unwrap()).unwrap();
    let yaml = std::fs::read_to_string(boot.join("tpm2_eventlog.yaml")).unwrap();
    let (events, pcrs) = yaml.split_once("\npcrs:\n").unwrap();
    let events = parse_events(events);
    assert_eq!(events.len(), log.events.len());
    for (tool, ours) in events.iter().zip(&log.events) {
        assert_eq!((tool.pcr, tool.digests.len()), (ours.pcr, 4));
        assert_eq!(
            Some(tool.event_type.as_str()),
            event_type::name(ours.event_type)
        );
    }
    for (bank, registers) in parse_pcrs(pcrs) {
        let Ok(bank) = bank.parse::<Bank>() else {
            continue;
        };
        assert_eq!(registers.len(), 10);
        for (pcr, value) in registers {
            assert_eq!(log.replay(pcr).of(bank).unwrap().to_string(), value);
        }
    }
}

#[test]
fn startup_locality_is_replayed_as_tpm2_tools_does() {
    if !has_tool() {
        return;
    }
    for locality in [0, 3, 4] {
        let data = [b"StartupLocality\0".as_slice(), &[locality]].concat();
        let zero = LoggedEvent {
            digests: measurements::event_log::BankDigests::zero(&Bank::ALL),
            ..measured(0, NO_ACTION, b"", &data)
        };
        let log = EventLog {
            banks: Bank::ALL.into(),
            events: vec![zero, measured(0, SEPARATOR, &[0; 4], &[0; 4])],
        };
        ensure_same(&write(&log, &[SHA1]));
    }
}

/// Types whose data may be anything, with the tool's own checks of data out of the way.
fn events() -> impl Strategy<Value = Vec<LoggedEvent>> {
    let kinds = [
        SEPARATOR,
        5,
        TAG,
        8,
        9,
        10,
        12,
        14,
        0x8000_0009,
        0x8000_1234,
    ];
    let free = (
        0..24_u32,
        prop::sample::select(kinds.to_vec()),
        any::<[u8; 4]>(),
        prop::collection::vec(any::<u8>(), 1..40),
    );
    let free = free.prop_map(|(pcr, kind, of, data)| measured(pcr, kind, &of, &data));
    let image = (0..24_u32, any::<[u8; 4]>(), "[a-z]{1,20}")
        .prop_map(|(pcr, of, file)| measured(pcr, APPLICATION, &of, &loaded(&file)));
    let text = (0..24_u32, "[ -~]{1,30}")
        .prop_map(|(pcr, text)| measured(pcr, ACTION, text.as_bytes(), text.as_bytes()));
    let hcrtm = any::<[u8; 4]>().prop_map(|of| measured(0, 0x8000_0010, &of, b"HCRTM"));
    let others = prop::collection::vec(prop_oneof![3 => free, 1 => image, 1 => text], 1..20);
    (prop::option::weighted(0.2, hcrtm), others)
        .prop_map(|(hcrtm, others)| hcrtm.into_iter().chain(others).collect())
}

fn banks() -> impl Strategy<Value = (Vec<Bank>, Vec<Algorithm>)> {
    let known = prop::sample::subsequence(Bank::ALL.to_vec(), 1..=2);
    let others = prop::sample::subsequence(vec![SHA1, SHA512, SM3], 0..=3);
    (known, others)
}

#[test]
fn written_logs_are_read_as_tpm2_tools_does() {
    if !has_tool() {
        return;
    }
    let mut runner = TestRunner::new(ProptestConfig::with_cases(64));
    let logs = (events(), banks());
    let result = runner.run(&logs, |(events, (banks, others))| {
        ensure_same(&write(&EventLog { banks, events }, &others));
        Ok(())
    });
    result.unwrap();
}
