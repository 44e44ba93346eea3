//! `cvmctl eventlog` as a user runs it: output, exit codes, and what it says when something is
//! wrong.

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
use measurements::event_log::{Bank, EventLog, LoggedEvent};
use measurements::{Digests, Event, Prediction};
use support::{pe, section, uki_sections};

/// A directory with `node.efi` and `boot.log`, the log of a machine that booted it.
fn node_files() -> Files {
    let files = Files::new();
    files.write("node.efi", support::uki());
    files.write("boot.log", write(&boot(support::uki(), &[]), &[SHA1]));
    files
}

/// A UKI in which these sections have other contents.
fn changed(changes: &[(&str, &[u8])]) -> Vec<u8> {
    let sections: Vec<_> = uki_sections()
        .into_iter()
        .map(|old| {
            let new = changes.iter().find(|(name, _)| *name == old.name);
            new.map_or(old, |(name, data)| section(name, data))
        })
        .collect();
    pe(&sections, &[], &[])
}

/// The log of a machine that boots a UKI, and at last does more.
fn boot(uki: Vec<u8>, more: &[LoggedEvent]) -> EventLog {
    let prediction = support::predict(uki).unwrap();
    let mut events = Vec::new();
    for (register, predicted) in &prediction.registers {
        events.extend(
            predicted
                .events
                .iter()
                .map(|event| logged(*register, event)),
        );
    }
    events.extend(more.to_vec());
    EventLog {
        banks: Bank::ALL.into(),
        events,
    }
}

/// How firmware, stub and Linux log what was predicted.
fn logged(register: u8, event: &Event) -> LoggedEvent {
    let subject = event.subject.as_str();
    let section = subject.split(": ").next().unwrap();
    let (event_type, data) = match subject {
        "separator" => (SEPARATOR, vec![0; 4]),
        "kernel command line" => (TAG, tagged(0x8f3b_22ed, b"LOADED_IMAGE::LoadOptions\0")),
        "initrd" => (TAG, tagged(0x8f3b_22ec, b"Linux initrd\0")),
        "Authenticode digest of .linux" => (APPLICATION, loaded_by_stub()),
        "Authenticode digest of the UKI" => (APPLICATION, loaded(r"\EFI\BOOT\BOOTX64.EFI")),
        _ if register == 11 => (IPL, utf16(section)),
        _ => (ACTION, b"Calling EFI Application from Boot Option".to_vec()),
    };
    LoggedEvent {
        pcr: register.into(),
        event_type,
        digests: event.digests.into(),
        data,
    }
}

fn node() -> Prediction {
    support::predict(support::uki()).unwrap()
}

/// The registers of a prediction as JSON.
fn registers(prediction: &Prediction) -> String {
    let registers = prediction.registers.iter();
    let pairs = registers.map(|(index, r)| format!("\"{index}\": \"{}\"", r.value.sha256));
    format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
}

#[test]
fn events_are_listed_by_register_with_what_they_say() {
    let files = node_files();
    let table = files.output(0, &["boot.log"]);
    let name = Digests::of(b".linux\0").sha256;
    for line in [
        format!("PCR  4  {}", node().registers[&4].value.sha256),
        format!("        {name}  = .linux: name (EV_IPL)"),
        "  ~ kernel command line (EV_EVENT_TAG)".to_owned(),
        r"  ~ \EFI\BOOT\BOOTX64.EFI (1000 bytes) (EV_EFI_BOOT_SERVICES_APPLICATION)".to_owned(),
    ] {
        assert!(table.contains(&line), "{line}\n{table}");
    }
    let sha384 = files.output(0, &["boot.log", "--bank", "sha384"]);
    let value = node().registers[&11].value.sha384;
    assert!(sha384.contains(&format!("PCR 11  {value}\n")), "{sha384}");
}

#[test]
fn unused_memory_behind_the_log_does_not_matter() {
    let files = node_files();
    let mut area = std::fs::read(files.0.path().join("boot.log")).unwrap();
    area.resize(64 << 10, 0xff);
    files.write("area", area);
    assert_eq!(files.output(0, &["area"]), files.output(0, &["boot.log"]));
}

#[test]
fn log_of_the_registers_is_0_in_every_form() {
    let files = node_files();
    let json = registers(&node());
    files.write("pcrs.json", &json);
    let values = measurements::reference::ReferenceValues::from_prediction(
        "node",
        measurements::reference::AttestationType::AzureTdx,
        &node(),
    );
    files.write("published.json", values.to_json());
    let lines: Vec<String> = node()
        .registers
        .iter()
        .map(|(index, r)| (index, r.value.sha256.to_string().to_uppercase()))
        .map(|(index, value)| format!("{index} {value}\n"))
        .collect();
    let plain: String = lines.iter().map(|line| format!("pcr{line}")).collect();
    files.write("pcrs.txt", plain);
    let tool: String = lines
        .iter()
        .map(|line| format!("    {}", line.replacen(' ', " : 0x", 1)))
        .collect();
    let sha1 = "  sha1:\n    4 : 0x00\n";
    files.write("pcrread.txt", format!("{sha1}  sha256:\n{tool}"));
    for form in [
        json.as_str(),
        "pcrs.json",
        "published.json",
        "pcrs.txt",
        "pcrread.txt",
    ] {
        let text = files.output(0, &["boot.log", "--pcrs", form]);
        assert!(
            text.ends_with("the log is the one of these registers\n"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 4, "{form}");
    }
}

#[test]
fn log_of_other_registers_is_1_and_names_them() {
    let files = node_files();
    let other = support::predict(changed(&[(".initrd", b"other")])).unwrap();
    let text = files.output(1, &["boot.log", "--pcrs", &registers(&other)]);
    assert!(
        text.ends_with("the log is not the one of these registers: PCR 4, PCR 9, PCR 11\n"),
        "{text}"
    );
    let zero = format!("{{\"10\": \"{}\"}}", "1".repeat(64));
    let text = files.output(2, &["boot.log", "--pcrs", &zero]);
    assert!(
        text.ends_with("none of these registers is in the log\n"),
        "{text}"
    );
}

#[test]
fn boot_of_the_image_is_0() {
    let files = node_files();
    let text = files.output(
        0,
        &[
            "boot.log",
            "--image",
            "node.efi",
            "--pcrs",
            &registers(&node()),
        ],
    );
    assert!(text.ends_with("equal to node.efi\n"), "{text}");
    let text = files.output(0, &["boot.log", "--image", "node.efi"]);
    assert!(
        text.contains("equal to node.efi\nnote: a log proves nothing"),
        "{text}"
    );
    let sha384 = ["boot.log", "--image", "node.efi", "--bank", "sha384"];
    assert!(files.output(0, &sha384).contains("equal to node.efi\n"));
}

/// What is said about a boot of another image than `node.efi`.
fn explained(changes: &[(&str, &[u8])], arguments: &[&str]) -> Vec<String> {
    let files = node_files();
    files.write("boot.log", write(&boot(changed(changes), &[]), &[]));
    let arguments = [&["boot.log", "--image", "node.efi"], arguments].concat();
    let text = files.output(1, &arguments);
    let findings = text.lines().filter_map(|line| line.strip_prefix("  - "));
    findings.map(str::to_owned).collect()
}

const OTHER_UKI: &str = r"another UKI: the log says \EFI\BOOT\BOOTX64.EFI (1000 bytes)";

#[test]
fn changed_command_line_is_explained_in_its_words() {
    let text = format!("{} debug", support::COMMAND_LINE.replace("ro", "rw"));
    let section = "section .cmdline has other contents (another command line)";
    let of = |arguments: &[&str]| explained(&[(".cmdline", text.as_bytes())], arguments);
    // As `cat /proc/cmdline` gives it.
    let given = format!("{text}\n");
    let findings = of(&["--cmdline", "not this", "--cmdline", &given]);
    assert_eq!(findings[0], OTHER_UKI);
    assert!(
        findings[1].starts_with("the command line differs: - "),
        "{findings:?}"
    );
    assert!(findings[1].ends_with(" + debug"), "{findings:?}");
    assert_eq!(findings[2..], [section]);
    let expected = support::COMMAND_LINE;
    assert_eq!(
        of(&[])[1],
        format!("the command line differs: expected \"{expected}\", logged is a digest only")
    );
}

#[test]
fn changed_initrd_is_explained() {
    let findings = explained(&[(".initrd", b"other")], &[]);
    assert_eq!(findings[0], OTHER_UKI);
    assert!(findings[1].starts_with("another initrd: expected .initrd ("));
    assert_eq!(
        findings[2..],
        ["section .initrd has other contents (another initrd)"]
    );
}

#[test]
fn changed_kernel_is_explained() {
    let mut kernel = support::kernel();
    *kernel.last_mut().unwrap() ^= 1;
    assert_eq!(
        explained(&[(".linux", &kernel)], &[]),
        [
            OTHER_UKI,
            "another kernel",
            "section .linux has other contents (another kernel)"
        ]
    );
}

#[test]
fn kernel_event_that_is_missing_or_one_too_many_is_explained() {
    let files = node_files();
    let mut log = boot(support::uki(), &[]);
    log.events.retain(|event| event.data != loaded_by_stub());
    let shim = measured(4, APPLICATION, b"shim", &loaded(r"\EFI\shimx64.efi"));
    log.events.insert(2, shim);
    files.write("boot.log", write(&log, &[]));
    let text = files.output(1, &["boot.log", "--image", "node.efi"]);
    for line in [
        "  - kernel event missing in PCR 4: the stub did not start the kernel through the firmware \
         (stub ≥ 258, or Secure Boot?)\n",
        "  - an extra event in PCR 4: the log says \\EFI\\shimx64.efi (1000 bytes) was loaded \
         (boot loader, driver, shim?)\n",
        "different from node.efi: PCR 4\n",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn phases_are_found_in_systemds_log_and_in_registers() {
    let files = node_files();
    let phase = |name: &str| {
        let digest = Digests::of(name.as_bytes()).sha256;
        format!(
            "\u{1e}{{\"pcr\":11,\"digests\":[{{\"hashAlg\":\"sha256\",\"digest\":\"{digest}\"}}],\
             \"content_type\":\"systemd\",\"content\":{{\"string\":\"{name}\",\
             \"eventType\":\"phase\"}}}}\n"
        )
    };
    let phases = ["enter-initrd", "leave-initrd"];
    files.write("systemd.log", phases.map(phase).concat());
    let finding = |name| format!("  - boot phase \"{name}\" (systemd-pcrphase is not masked)\n");
    let with_log = [
        "boot.log",
        "--image",
        "node.efi",
        "--userspace-log",
        "systemd.log",
    ];
    let text = files.output(1, &with_log);
    assert!(text.contains(&phases.map(finding).concat()), "{text}");

    // The log is not there, but its register is.
    let value = node().registers[&11].value;
    let value = phases.iter().fold(value, |value, phase| {
        value.extend(Digests::of(phase.as_bytes()))
    });
    let given = format!("{{\"11\": \"{}\"}}", value.sha256);
    let text = files.output(0, &["boot.log", "--pcrs", &given]);
    assert!(
        text.contains("followed by the boot phases enter-initrd, leave-initrd\n"),
        "{text}"
    );
    // Of an image, every register counts.
    let of_node = |register| node().registers[&register].value.sha256;
    let given = format!(
        "{{\"4\": \"{}\", \"9\": \"{}\", \"11\": \"{}\"}}",
        of_node(4),
        of_node(9),
        value.sha256
    );
    let with_image = ["boot.log", "--pcrs", &given, "--image", "node.efi"];
    let text = files.output(1, &with_image);
    assert!(text.contains(&phases.map(finding).concat()), "{text}");
    // An image may have them.
    let expected = ["--phases", "enter-initrd,leave-initrd"];
    let text = files.output(0, &[&with_image[..], &expected].concat());
    assert!(text.ends_with("equal to node.efi\n"), "{text}");
    let text = files.output(1, &[&with_image[..], &["--phases", "all"]].concat());
    assert!(
        text.contains("  - event missing: phase sysinit\n"),
        "{text}"
    );
}

#[test]
fn json_has_the_documented_form() {
    let files = node_files();
    let other = changed(&[(".initrd", b"other")]);
    let noted = LoggedEvent {
        digests: Digests::ZERO.into(),
        ..measured(0, NO_ACTION, b"", b"note\x1b")
    };
    files.write("boot.log", write(&boot(other, &[noted]), &[]));
    let run = |arguments: &[&str], code| {
        let arguments = [&["boot.log", "--json"], arguments].concat();
        serde_json::from_str::<serde_json::Value>(&files.output(code, &arguments)).unwrap()
    };
    let printed = run(&[], 0);
    let mut fields: Vec<_> = printed.as_object().unwrap().keys().cloned().collect();
    fields.sort();
    let mut expected = vec![
        "version",
        "bank",
        "is_tdx",
        "events",
        "registers",
        "pcrs",
        "image",
        "outcome",
    ];
    expected.sort_unstable();
    assert_eq!(fields, expected);
    assert_eq!(printed["version"], 1);
    assert_eq!(printed["outcome"], "printed");
    assert_eq!(printed["image"], serde_json::Value::Null);
    let last = printed["events"].as_array().unwrap().last().unwrap();
    assert_eq!(
        *last,
        serde_json::json!({
            "register": 0, "source": "firmware", "type": "EV_NO_ACTION", "digest": "0".repeat(64),
            "is_extended": false, "is_confirmed": false, "words": "6e6f74651b"
        })
    );

    let given = registers(&node());
    let compared = run(&["--image", "node.efi", "--pcrs", &given], 1);
    assert_eq!(compared["outcome"], "different");
    let pcr = &compared["pcrs"]["9"];
    assert_eq!(pcr["result"], "different");
    assert_eq!(
        pcr["given"][0],
        node().registers[&9].value.sha256.to_string()
    );
    let register = &compared["image"]["registers"]["9"];
    assert_eq!(register["replayed"], pcr["replayed"]);
    assert_eq!(register["findings"][0]["kind"], "changed");
    let predicted = node().registers[&9].events[1].digests.sha256.to_string();
    assert_eq!(register["findings"][0]["predicted"], predicted);
    let untouched = &compared["image"]["registers"]["12"]["findings"];
    assert_eq!(*untouched, serde_json::json!([]));
    for field in expected {
        assert!(
            files
                .output(0, &["--help"])
                .contains(&format!("\n  {field} ")),
            "{field}"
        );
    }
}

#[test]
fn what_cannot_be_told_is_2_and_says_why() {
    let files = node_files();
    files.write("old.log", older_event(4, SEPARATOR, 7, &[0; 4]));
    let cut = std::fs::read(files.0.path().join("boot.log")).unwrap();
    files.write("cut.log", &cut[..cut.len() - 1]);
    files.write("systemd.log", b"\x1e{}\n");
    files.write("two.txt", format!("pcr4 {0}\npcr4 {0}\n", "0".repeat(64)));
    let sha384 = format!("{{\"4\": \"{}\"}}", "0".repeat(96));
    let mut log = boot(support::uki(), &[]);
    log.banks = vec![Bank::Sha256];
    files.write("sha256.log", write(&log, &[]));
    for (arguments, expected) in [
        (&["no.log"][..], "cvmctl: open no.log: No such file"),
        (
            &["node.efi"],
            "expected the log to begin with a \"Spec ID Event03\" event",
        ),
        (
            &["old.log"],
            "got a log of the older form that has SHA-1 only",
        ),
        (&["cut.log"], "the log ends inside of the event at byte"),
        (
            &["sha256.log", "--bank", "sha384"],
            "expected a log with a sha384 bank",
        ),
        (
            &["sha256.log", "--pcrs", &sha384],
            "expected registers of a bank that the log has",
        ),
        (
            &["boot.log", "--image", "boot.log"],
            "find out what boot.log boots",
        ),
        (
            &["boot.log", "--userspace-log", "systemd.log"],
            "record 1: not a record of systemd",
        ),
        (
            &["boot.log", "--pcrs", "no.txt"],
            "take no.txt for a file: --pcrs expects one, or JSON: open no.txt: No such file",
        ),
        (
            &["boot.log", "--pcrs", "two.txt"],
            "register 4 is there twice",
        ),
        (
            &["boot.log", "--pcrs", "{\"24\": \"00\"}"],
            "expected the number of a register",
        ),
        (
            &["boot.log", "--pcrs", "{\"4\": \"00\"}"],
            "expected 64 or 96 hex digits",
        ),
        (&["boot.log", "--pcrs", "{}"], "expected"),
        (
            &["boot.log", "--pcrs", "{}", "--bank", "sha256"],
            "expected registers, got none",
        ),
        (&["boot.log", "--pcrs", "[]"], "expected"),
    ] {
        let error = files.error(arguments);
        assert!(
            error.starts_with("cvmctl: ") && error.contains(expected),
            "{error}"
        );
    }
}

#[test]
fn registers_of_tdx_are_named_as_such() {
    let files = node_files();
    let banks = vec![Bank::Sha384];
    let events = vec![measured(2, SEPARATOR, b"x", b"x")];
    let log = EventLog { banks, events };
    files.write("ccel", write(&log, &[]));
    assert!(files.output(0, &["ccel"]).starts_with("RTMR1   "));
    let value = log.replay(2).of(Bank::Sha384).unwrap();
    let given = format!(
        "{{\"rtmr1\": \"{value}\", \"mrtd\": \"{}\"}}",
        "1".repeat(96)
    );
    let text = files.output(0, &["ccel", "--pcrs", &given]);
    assert!(
        text.contains(&format!("RTMR1   {value}  the log replays to it\n")),
        "{text}"
    );
    assert!(text.contains("MRTD    "), "{text}");
}

/// The last line of a run, which the exit code agrees with.
fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or_default()
}

#[test]
fn image_is_equal_only_if_its_registers_were_given() {
    let files = node_files();
    let zero = "0".repeat(64);
    let pcr11 = node().registers[&11].value.sha256;
    for (given, missing) in [
        (format!("{{\"0\": \"{zero}\"}}"), "PCR 4, PCR 9, PCR 11"),
        (format!("{{\"10\": \"{zero}\"}}"), "PCR 4, PCR 9, PCR 11"),
        (format!("{{\"11\": \"{pcr11}\"}}"), "PCR 4, PCR 9"),
    ] {
        let arguments = ["boot.log", "--image", "node.efi", "--pcrs", &given];
        let text = files.output(2, &arguments);
        let expected = format!("could not tell: {missing} were not given, only the log says so");
        assert_eq!(last_line(&text), expected);
        assert!(text.contains("as predicted, but only the log says so\n"));
        let json = files.output(2, &[&arguments[..], &["--json"]].concat());
        assert!(json.contains("\"outcome\": \"undecided\""), "{json}");
    }
}

#[test]
fn last_line_agrees_with_the_exit_code() {
    let files = node_files();
    let given = format!("{{\"4\": \"{}\"}}", "1".repeat(64));
    let text = files.output(1, &["boot.log", "--image", "node.efi", "--pcrs", &given]);
    assert_eq!(
        last_line(&text),
        "different: the log is not the one of the given registers, and says nothing about node.efi"
    );
}

#[test]
fn registers_given_in_another_bank_only_are_refused() {
    let files = node_files();
    let value = |register| node().registers[&register].value;
    let given = format!(
        "{{\"4\": \"{}\", \"9\": \"{}\"}}",
        value(4).sha256,
        value(9).sha384
    );
    assert_eq!(
        files.error(&["boot.log", "--pcrs", &given]),
        "cvmctl: expected every register in the sha256 bank, got PCR 9 in another one only\n"
    );
    let error = files.error(&["boot.log", "--pcrs", &given, "--bank", "sha384"]);
    assert!(error.contains("got PCR 4 in another one only"), "{error}");
    // One value in both is enough.
    let both = format!(
        "pcr4={}\npcr4={}\npcr9={}\n",
        value(4).sha256,
        value(4).sha384,
        value(9).sha384
    );
    files.write("both.txt", both);
    files.output(0, &["boot.log", "--pcrs", "both.txt"]);
}

#[test]
fn registers_of_another_kind_of_machine_are_refused() {
    let files = node_files();
    let banks = vec![Bank::Sha384];
    let events = vec![measured(2, SEPARATOR, b"x", b"x")];
    files.write("ccel", write(&EventLog { banks, events }, &[]));
    let long = "0".repeat(96);
    let tdx = format!(
        "{{\"measurement_id\":\"x\",\"attestation_type\":\"dcap-tdx\",\"measurements\":{{\"3\":\"{long}\"}}}}"
    );
    for (log, given) in [
        ("ccel", format!("{{\"pcr4\": \"{long}\"}}")),
        ("ccel", format!("{{\"5\": \"{long}\"}}")),
        ("ccel", format!("{{\"rtmr4\": \"{long}\"}}")),
        ("boot.log", format!("{{\"rtmr3\": \"{long}\"}}")),
        ("boot.log", format!("{{\"mrtd\": \"{long}\"}}")),
        ("boot.log", tdx),
    ] {
        let error = files.error(&[log, "--pcrs", &given]);
        let expected = match log {
            "ccel" => "of a bare TDX guest (mrtd, rtmr0 to rtmr3; 0 to 4), whose log this is",
            _ => "of a vTPM (pcr0 to pcr23), whose log this is",
        };
        assert!(error.contains(expected), "{error}");
    }
    let values = measurements::reference::ReferenceValues::from_prediction(
        "node",
        measurements::reference::AttestationType::AzureTdx,
        &node(),
    );
    files.write("azure.json", values.to_json());
    let error = files.error(&["ccel", "--pcrs", "azure.json"]);
    assert!(error.contains("got those of azure-tdx"), "{error}");
}

#[test]
fn headings_are_names_of_banks() {
    let files = node_files();
    let value = node().registers[&4].value.sha256;
    let other = "1".repeat(64);
    for bank in [
        "sha1", "sha512", "sm3_256", "sha3_256", "sha3_384", "sha3_512",
    ] {
        let text = format!("{bank}:\n 4 : 0x{other}\nsha256:\n 4 : 0x{value}\n");
        files.write("pcrs.txt", text);
        files.output(0, &["boot.log", "--pcrs", "pcrs.txt"]);
    }
    files.write(
        "pcrs.txt",
        format!("sha256:\n 4 : 0x{value}\nmore:\n 9 : 0x{other}\n"),
    );
    let error = files.error(&["boot.log", "--pcrs", "pcrs.txt"]);
    assert!(
        error.contains("line 3: expected the name of a bank, got \"more\""),
        "{error}"
    );
}

#[test]
fn what_the_logs_do_not_replay_to_is_neither_equal_nor_different() {
    let files = node_files();
    let digest = Digests::of(b"ready").sha384;
    files.write(
        "systemd.log",
        format!(
            "\u{1e}{{\"pcr\":11,\"digests\":[{{\"hashAlg\":\"sha384\",\"digest\":\"{digest}\"}}],\
             \"content_type\":\"systemd\",\"content\":{{\"string\":\"ready\",\"eventType\":\"phase\"}}}}\n"
        ),
    );
    let with_log = ["boot.log", "--userspace-log", "systemd.log"];
    let text = files.output(2, &[&with_log[..], &["--image", "node.efi"]].concat());
    assert!(
        text.contains("could not tell: the logs replay to no sha256 value of PCR 11\n"),
        "{text}"
    );
    let given = format!("{{\"11\": \"{}\"}}", "1".repeat(64));
    let text = files.output(2, &[&with_log[..], &["--pcrs", &given]].concat());
    assert!(
        text.ends_with("could not tell: the logs replay to no sha256 value of PCR 11\n"),
        "{text}"
    );
}
