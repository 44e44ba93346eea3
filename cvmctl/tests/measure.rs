//! `cvmctl measure` as a user runs it: output, exit codes, and what it says when something is
//! wrong.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic in a test is a failing test"
)]

#[path = "../../measurements/tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::process::Command;

use support::{Section, pe, section, uki_sections};
use tempfile::TempDir;

/// What a run said and returned.
struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

/// A directory with images, in which cvmctl runs.
struct Images(TempDir);

impl Images {
    /// The same UKI as `node.efi`, `node.raw` and `node.vhd`.
    fn new() -> Self {
        let images = Self(TempDir::new().unwrap());
        images.write("node.efi", support::uki());
        images.write("node.raw", support::disk(&support::uki()));
        images.write("node.vhd", support::vhd(support::disk(&support::uki())));
        images
    }

    fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        std::fs::write(self.0.path().join(name), contents).unwrap();
    }

    /// Writes a UKI that differs from the others in one section.
    fn write_changed(&self, name: &str, new: &Section) {
        let replace = |old: Section| {
            if old.name == new.name {
                new.clone()
            } else {
                old
            }
        };
        let sections: Vec<_> = uki_sections().into_iter().map(replace).collect();
        self.write(name, pe(&sections, &[], &[]));
    }

    fn run(&self, arguments: &[&str]) -> Run {
        run_in(self.0.path(), arguments)
    }

    /// Runs `cvmctl measure` and returns what it printed, which must succeed.
    fn output(&self, arguments: &[&str]) -> String {
        let run = self.run(&[&["measure"], arguments].concat());
        assert_eq!((run.code, run.stderr.as_str()), (0, ""));
        run.stdout
    }
}

fn run_in(directory: &Path, arguments: &[&str]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cvmctl"));
    let output = command
        .current_dir(directory)
        .args(arguments)
        .output()
        .unwrap();
    Run {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn values_are_the_same_json_for_every_kind_of_image() {
    let images = Images::new();
    let efi = images.output(&["node.efi"]);
    assert!(
        efi.starts_with("{\n  \"measurement_id\": \"node.efi\",\n"),
        "{efi}"
    );
    assert!(efi.contains("\"attestation_type\": \"azure-tdx\""));
    let order = ["\"4\"", "\"9\"", "\"11\""].map(|key| efi.find(key).unwrap());
    assert!(order.is_sorted());
    for other in ["node.raw", "node.vhd"] {
        let id = ["--measurement-id", "node.efi", other, "--json"];
        assert_eq!(images.output(&id), efi);
    }
}

#[test]
fn names_say_nothing_about_the_kind_of_image() {
    let images = Images::new();
    images.write("node", support::vhd(support::disk(&support::uki())));
    assert_eq!(
        images.output(&["node", "--measurement-id", "x"]),
        images.output(&["node.efi", "--measurement-id", "x"])
    );
}

#[test]
fn bare_tdx_guest_has_other_registers() {
    let images = Images::new();
    let run = images.run(&["measure", "node.raw", "--attestation-type", "dcap-tdx"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let json: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let registers = json["measurements"].as_object().unwrap();
    assert_eq!(registers.keys().collect::<Vec<_>>(), ["2", "3"]);
    assert_eq!(registers["2"]["expected"].as_str().unwrap().len(), 96);
    assert_eq!(json["attestation_type"], "dcap-tdx");
    for note in ["MRTD is not predicted", "RTMR0 is not predicted"] {
        assert!(run.stderr.contains(note), "{}", run.stderr);
    }

    images.write("tdx.published.json", &run.stdout);
    let uname = support::section(".uname", "6.12.1-test");
    let changed = support::uki_sections().into_iter().map(|section| {
        let is_meant = section.name == uname.name;
        if is_meant { uname.clone() } else { section }
    });
    let changed: Vec<_> = changed.collect();
    images.write(
        "changed.raw",
        support::disk(&support::pe(&changed, &[], &[])),
    );
    let arguments = ["measure", "node.raw", "--attestation-type", "dcap-tdx"];
    let compare = |image| {
        let arguments = [
            &["measure", image],
            &arguments[2..],
            &["--compare", "tdx.published.json"],
        ];
        images.run(&arguments.concat())
    };
    let equal = compare("node.raw");
    assert_eq!(equal.code, 0, "{}{}", equal.stdout, equal.stderr);
    assert!(equal.stdout.contains("RTMR1  "), "{}", equal.stdout);
    let different = compare("changed.raw");
    assert_eq!(
        different.code, 1,
        "{}{}",
        different.stdout, different.stderr
    );
    assert!(
        different.stdout.contains("RTMR2  differs"),
        "{}",
        different.stdout
    );
    // A bare UKI has no partition table, without which RTMR1 is not known.
    let bare = compare("node.efi");
    assert_eq!(bare.code, 2, "{}{}", bare.stdout, bare.stderr);

    let table = images.run(&[&arguments[..], &["--events"]].concat()).stdout;
    for line in [
        "RTMR1  ",
        "partition table",
        "RTMR2  ",
        "RTMR3  nothing is measured",
    ] {
        assert!(table.contains(line), "{line}\n{table}");
    }
}

#[test]
fn options_that_do_not_fit_are_refused() {
    let images = Images::new();
    images.write("not-firmware", [0; 5000]);
    for (arguments, expected) in [
        (
            &["--bank", "sha384"][..],
            "--bank is for the table of --events",
        ),
        (&["--firmware", "x"], "--firmware is for a bare TDX guest"),
        (
            &["--attestation-type", "dcap-tdx", "--phases", "all"],
            "--phases is for PCR 11 of a vTPM",
        ),
        (
            &[
                "--attestation-type",
                "dcap-tdx",
                "--firmware",
                "not-firmware",
            ],
            "compute MRTD of not-firmware",
        ),
        (&["--profile", "1"], "expected a profile from 0 to 0, got 1"),
        (&["--entry", "x.efi"], "no entry \"x.efi\" to choose"),
        (
            &["--stub-version", "latest"],
            "expected a version of systemd-stub such as 257",
        ),
        (
            &["--stub-version", "1"],
            "expected systemd-stub 250 to 262, got 1",
        ),
    ] {
        let run = images.run(&[&["measure", "node.raw"], arguments].concat());
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(run.stderr.contains(expected), "{expected}\n{}", run.stderr);
    }
}

#[test]
fn banks_phases_and_secure_boot_change_what_they_should() {
    let images = Images::new();
    let values = |arguments: &[&str]| -> serde_json::Value {
        let arguments = [&["node.raw"], arguments].concat();
        let json: serde_json::Value = serde_json::from_str(&images.output(&arguments)).unwrap();
        json["measurements"].clone()
    };
    let plain = values(&[]);
    let differing = |other: &serde_json::Value| {
        let registers = plain.as_object().unwrap();
        let differs = |name: &&String| registers[*name] != other[name.as_str()];
        registers
            .keys()
            .filter(differs)
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(differing(&values(&["--phases", "all"])), ["11"]);
    let (some, all) = (
        values(&["--phases", "enter-initrd"]),
        values(&["--phases", "all"]),
    );
    assert_ne!(some["11"], all["11"]);
    assert_eq!(differing(&values(&["--secure-boot"])), ["4"]);
    assert_eq!(differing(&values(&["--stub-version", "259"])), ["4"]);
    assert_eq!(differing(&values(&["--stub-version", "255"])), ["9"]);

    let table = images.output(&["node.raw", "--events", "--bank", "sha384"]);
    let separator = "394341b7182cd227c5c6b07ef8000cdfd86136c4292b8e576573ad7ed9ae41019f5818b4b971c9effc60e1ad9f1289f0";
    assert!(table.contains(separator), "{table}");
    let json = images.output(&["node.raw", "--events", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        json["registers"]["4"]["events"][1]["digests"]["sha384"],
        separator
    );
    assert_eq!(
        json["zero"],
        serde_json::json!(["8", "12", "13", "14", "15"])
    );
}

#[test]
fn events_are_a_table_or_json() {
    let images = Images::new();
    let table = images.output(&["node.raw", "--events"]);
    let separator = "df3f619804a92fdb4057192dc43dd748ea778adc52bc498ce80524c014b81119  separator";
    for line in [
        "PCR  4  ",
        separator,
        ".linux: name",
        support::COMMAND_LINE,
        "PCR 11  ",
    ] {
        assert!(table.contains(line), "{line}\n{table}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&images.output(&["node.raw", "--events", "--json"])).unwrap();
    assert_eq!(json["stub_version"], "257.13-1~deb13u1");
    assert_eq!(
        json["registers"]["11"]["events"][0]["subject"],
        ".linux: name"
    );
}

#[test]
fn equal_image_is_0() {
    let images = Images::new();
    images.write("published.json", images.output(&["node.raw"]));
    let text = images.output(&["node.vhd", "--compare", "published.json"]);
    assert!(
        text.ends_with("equal to published.json (node.raw)\n"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 4);
}

#[test]
fn different_image_is_1_and_says_what_differs() {
    let images = Images::new();
    images.write("published.json", images.output(&["node.raw"]));
    images.write(
        "published.events.json",
        images.output(&["node.raw", "--events", "--json"]),
    );
    images.write_changed(
        "changed.efi",
        &section(".cmdline", "console=ttyS0 init=/bin/sh\0"),
    );

    let run = images.run(&["measure", "changed.efi", "--compare", "published.json"]);
    assert_eq!((run.code, run.stderr.as_str()), (1, ""));
    for text in [
        "PCR  4  differs",
        "PCR  9  differs",
        "expected  ",
        "actual    ",
        "init=/bin/sh",
    ] {
        assert!(run.stdout.contains(text), "{text}\n{}", run.stdout);
    }
    assert!(
        run.stdout
            .ends_with("different from published.json (node.raw)\n")
    );

    let run = images.run(&[
        "measure",
        "changed.efi",
        "--compare-events",
        "published.events.json",
    ]);
    assert_eq!((run.code, run.stderr.as_str()), (1, ""));
    for text in [
        "PCR 9: kernel command line differs:\n  expected ",
        "PCR 11: .cmdline: data differs:\n  expected ",
        support::COMMAND_LINE,
        "init=/bin/sh",
        "3 events different from published.events.json (node.raw)\n",
    ] {
        assert!(run.stdout.contains(text), "{text}\n{}", run.stdout);
    }
}

#[test]
fn added_and_missing_events_are_named() {
    let images = Images::new();
    let more = [uki_sections(), vec![section(".splash", "picture")]].concat();
    images.write("more.efi", pe(&more, &[], &[]));
    images.write(
        "node.events.json",
        images.output(&["node.efi", "--events", "--json"]),
    );
    images.write(
        "more.events.json",
        images.output(&["more.efi", "--events", "--json"]),
    );
    let run = images.run(&[
        "measure",
        "more.efi",
        "--compare-events",
        "node.events.json",
    ]);
    assert_eq!(run.code, 1);
    assert!(
        run.stdout.contains("PCR 11: event added: "),
        "{}",
        run.stdout
    );
    let run = images.run(&[
        "measure",
        "node.efi",
        "--compare-events",
        "more.events.json",
    ]);
    assert_eq!(run.code, 1);
    assert!(
        run.stdout.contains("PCR 11: event missing: "),
        "{}",
        run.stdout
    );
    assert!(
        run.stdout.contains(".splash: data: 7 bytes"),
        "{}",
        run.stdout
    );
    let run = images.run(&[
        "measure",
        "node.raw",
        "--compare-events",
        "node.events.json",
    ]);
    assert_eq!(
        (run.code, run.stdout.lines().count()),
        (0, 1),
        "{}",
        run.stdout
    );
}

#[test]
fn list_is_searched_for_an_equal_entry() {
    let images = Images::new();
    images.write_changed("old.efi", &section(".uname", "6.11"));
    let [old, new] = ["old.efi", "node.efi"].map(|image| images.output(&[image]));
    images.write("list.json", format!("[{old},{new}]"));
    let text = images.output(&["node.raw", "--compare", "list.json"]);
    assert!(text.ends_with("equal to list.json (node.efi)\n"), "{text}");

    let compare = [
        "measure",
        "node.raw",
        "--compare",
        "list.json",
        "--measurement-id",
        "old.efi",
    ];
    let run = images.run(&compare);
    assert_eq!(run.code, 1, "{}", run.stdout);

    images.write_changed("other.efi", &section(".uname", "6.10"));
    let run = images.run(&["measure", "other.efi", "--compare", "list.json"]);
    assert_eq!(run.code, 1);
    assert!(
        run.stdout
            .contains("different from all 2 entries of list.json"),
        "{}",
        run.stdout
    );
}

#[test]
fn what_cannot_be_told_is_2_and_says_why() {
    let images = Images::new();
    images.write("text", "hello");
    std::fs::create_dir(images.0.path().join("folder")).unwrap();
    images.write("empty.json", "[]");
    images.write("published.json", images.output(&["node.raw"]));
    let long = "00".repeat(48);
    let entry = |kind: &str, registers: &str| {
        format!(
            r#"{{"measurement_id":"x","attestation_type":"{kind}","measurements":{registers}}}"#
        )
    };
    images.write(
        "tdx.json",
        entry("dcap-tdx", &format!(r#"{{"1":"{long}"}}"#)),
    );
    images.write(
        "zero.json",
        entry("azure-tdx", &format!(r#"{{"7":"{}"}}"#, "00".repeat(32))),
    );
    images.write_changed(
        "new.efi",
        &section(".sdmagic", "#### LoaderInfo: systemd-stub 263 ####"),
    );
    let edited = images
        .output(&["node.raw", "--events", "--json"])
        .replacen("df3f", "df30", 1);
    images.write("edited.json", edited);

    let compare = |file| vec!["node.raw", "--compare", file];
    for (arguments, expected) in [
        (vec!["absent.raw"], "open absent.raw"),
        (
            vec!["text"],
            "expected a raw disk with a GPT, a fixed VHD or a PE",
        ),
        (vec!["."], "take a name from .: use --measurement-id"),
        (vec!["folder"], "folder is a directory, expected an image"),
        (vec!["new.efi"], "expected systemd-stub 250 to 262, got 263"),
        (compare("absent.json"), "open absent.json"),
        (compare("empty.json"), "expected at least one entry"),
        (
            compare("tdx.json"),
            "expected an entry for azure-tdx, got none",
        ),
        (
            vec!["node.raw", "--compare-events", "published.json"],
            "--events --json",
        ),
        (
            vec!["node.raw", "--compare-events", "edited.json"],
            "events of PCR 4 do not lead",
        ),
        (vec![], "<IMAGE>"),
        (vec!["node.raw", "--attestation-type", "none"], "azure-tdx"),
    ] {
        let run = images.run(&[&["measure"], &arguments[..]].concat());
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(run.stderr.contains(expected), "{expected}\n{}", run.stderr);
    }

    let run = images.run(&["measure", "node.raw", "--compare", "zero.json"]);
    assert_eq!(run.code, 2, "{}", run.stdout);
    assert!(
        run.stdout.contains("PCR  7  published as 0000"),
        "{}",
        run.stdout
    );
}

#[test]
fn predicted_register_that_is_not_published_is_2_unless_another_differs() {
    let images = Images::new();
    let mut published: serde_json::Value =
        serde_json::from_str(&images.output(&["node.raw"])).unwrap();
    published["measurements"]
        .as_object_mut()
        .unwrap()
        .remove("9")
        .unwrap();
    images.write("partial.json", published.to_string());
    let run = images.run(&["measure", "node.raw", "--compare", "partial.json"]);
    assert_eq!((run.code, run.stderr.as_str()), (2, ""), "{}", run.stdout);
    for text in [
        "(not published)",
        "could not tell: partial.json (node.raw) does not publish PCR 9,",
    ] {
        assert!(run.stdout.contains(text), "{text}\n{}", run.stdout);
    }

    images.write_changed("changed.efi", &section(".uname", "6.11"));
    let run = images.run(&["measure", "changed.efi", "--compare", "partial.json"]);
    assert_eq!(run.code, 1, "{}", run.stdout);
}

/// The events that are printed for an image on a bare TDX guest, changed.
fn tdx_events(images: &Images, image: &str, change: impl Fn(&mut serde_json::Value)) -> String {
    let kind = ["--attestation-type", "dcap-tdx"];
    let run = images.run(&[&["measure", image, "--events", "--json"], &kind[..]].concat());
    assert_eq!(run.code, 0, "{}", run.stderr);
    let mut events = serde_json::from_str(&run.stdout).unwrap();
    change(&mut events);
    events.to_string()
}

fn compare_tdx(images: &Images, image: &str, arguments: &[&str]) -> Run {
    let kind = ["--attestation-type", "dcap-tdx"];
    images.run(&[&["measure", image], &kind[..], arguments].concat())
}

#[test]
fn mrtd_is_compared_with_published_events() {
    let images = Images::new();
    let firmware = include_bytes!("../../fuzz/corpus/tdvf/small.fd");
    images.write("small.fd", firmware);
    let firmware = ["--firmware", "small.fd"];
    let with_mrtd = [&firmware[..], &["--events", "--json"]].concat();
    let published = compare_tdx(&images, "node.raw", &with_mrtd).stdout;
    images.write("mrtd.json", &published);
    let mut other: serde_json::Value = serde_json::from_str(&published).unwrap();
    let mrtd = other["mrtd"].as_str().unwrap().to_owned();
    other["mrtd"] = "f".repeat(96).into();
    images.write("other.json", other.to_string());
    images.write("none.json", tdx_events(&images, "node.raw", |_| ()));

    let compare = |file, more: &[&str]| {
        compare_tdx(
            &images,
            "node.raw",
            &[&["--compare-events", file], more].concat(),
        )
    };
    assert_eq!(compare("mrtd.json", &firmware).code, 0);
    assert_eq!(compare("none.json", &[]).code, 0);
    let run = compare("other.json", &firmware);
    assert_eq!(run.code, 1, "{}", run.stdout);
    assert!(run.stdout.contains(&format!(
        "  actual   {mrtd}\nMRTD different from other.json"
    )));
    for run in [compare("mrtd.json", &[]), compare("none.json", &firmware)] {
        assert_eq!(run.code, 2, "{}", run.stdout);
        assert!(
            run.stdout.starts_with("could not tell: MRTD "),
            "{}",
            run.stdout
        );
    }
}

#[test]
fn registers_that_are_not_predicted_are_not_equal() {
    let images = Images::new();
    images.write("bare.json", tdx_events(&images, "node.efi", |_| ()));
    images.write("disk.json", tdx_events(&images, "node.raw", |_| ()));
    for (image, file) in [
        ("node.efi", "bare.json"),
        ("node.efi", "disk.json"),
        ("node.raw", "bare.json"),
    ] {
        let run = compare_tdx(&images, image, &["--compare-events", file]);
        assert_eq!(run.code, 2, "{image} {file}\n{}", run.stdout);
        assert!(
            run.stdout.starts_with("could not tell: RTMR1 "),
            "{}",
            run.stdout
        );
    }
    images.write("values.json", compare_tdx(&images, "node.efi", &[]).stdout);
    let run = compare_tdx(&images, "node.efi", &["--compare", "values.json"]);
    assert_eq!(run.code, 2, "{}", run.stdout);
    assert!(
        run.stdout.ends_with("but RTMR1 is not predicted for it\n"),
        "{}",
        run.stdout
    );

    // Such a stub measures a secret of the machine into PCR 9.
    let stub = section(".sdmagic", "#### LoaderInfo: systemd-stub 261 ####");
    images.write_changed("secret.efi", &stub);
    images.write("values.json", images.run(&["measure", "secret.efi"]).stdout);
    let events = images.run(&["measure", "secret.efi", "--events", "--json"]);
    images.write("events.json", events.stdout);
    for option in [
        ["--compare", "values.json"],
        ["--compare-events", "events.json"],
    ] {
        let run = images.run(&[&["measure", "secret.efi"], &option[..]].concat());
        assert!(
            run.stderr.contains("PCR 9 is not predicted"),
            "{}",
            run.stderr
        );
        assert_eq!(run.code, 2, "{}", run.stdout);
        assert!(
            last_line(&run.stdout).contains("PCR 9 is "),
            "{}",
            run.stdout
        );
        assert!(
            last_line(&run.stdout).starts_with("could not tell: "),
            "{}",
            run.stdout
        );
    }
}

#[test]
fn stubs_that_measure_no_section_are_compared() {
    let images = Images::new();
    let old = ["--stub-version", "251"];
    let values = images.run(&[&["measure", "node.efi"], &old[..]].concat());
    images.write("values.json", values.stdout);
    let compare = ["measure", "node.efi", "--compare", "values.json"];
    let run = images.run(&[&compare[..], &old[..]].concat());
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
}

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or_default()
}

#[test]
fn last_line_agrees_with_the_exit_code() {
    let images = Images::new();
    images.write_changed("old.efi", &section(".uname", "6.11"));
    images.write("values.json", images.output(&["old.efi"]));
    images.write(
        "events.json",
        images.output(&["node.efi", "--events", "--json"]),
    );
    let files = [
        "--compare",
        "values.json",
        "--compare-events",
        "events.json",
    ];
    let run = images.run(&[&["measure", "node.efi"], &files[..]].concat());
    assert_eq!(run.code, 1, "{}", run.stdout);
    assert!(
        last_line(&run.stdout).starts_with("different from "),
        "{}",
        run.stdout
    );
}

#[test]
fn differences_of_rtmrs_have_digests_of_their_bank() {
    let images = Images::new();
    images.write("disk.json", tdx_events(&images, "node.raw", |_| ()));
    let uname = support::section(".uname", "6.12.1-test");
    let sections = uki_sections().into_iter();
    let sections = sections.map(|old| {
        if old.name == uname.name {
            uname.clone()
        } else {
            old
        }
    });
    let uki = pe(&sections.collect::<Vec<_>>(), &[], &[]);
    images.write("other.raw", support::disk(&uki));
    let run = compare_tdx(&images, "other.raw", &["--compare-events", "disk.json"]);
    assert_eq!(run.code, 1, "{}", run.stdout);
    let actual = measurements::Digests::of(b"6.12.1-test").sha384;
    assert!(
        run.stdout.contains(&format!("  actual   {actual} (")),
        "{}",
        run.stdout
    );
}

#[test]
fn texts_of_others_end_no_line() {
    let images = Images::new();
    let text = "console=ttyS0 a\nequal to values.json (node)\n";
    images.write_changed("hostile.efi", &section(".cmdline", text));
    let published = images.output(&["node.efi", "--measurement-id", "x)\nequal to y (z"]);
    images.write("values.json", published);
    let events = images.output(&[
        "node.efi",
        "--events",
        "--json",
        "--measurement-id",
        "x\nevents equal",
    ]);
    images.write("events.json", events);
    for arguments in [
        &["measure", "hostile.efi", "--events"][..],
        &["measure", "hostile.efi", "--compare", "values.json"],
        &["measure", "hostile.efi", "--compare-events", "events.json"],
        &["measure", "node.efi", "--compare", "values.json"],
        &["measure", "node.efi", "--compare-events", "events.json"],
        &["diff", "node.efi", "hostile.efi"],
    ] {
        let run = images.run(arguments);
        assert!(!run.stdout.is_empty(), "{}", run.stderr);
        for line in run.stdout.lines() {
            let is_forged = line.starts_with("equal to y")
                || line.starts_with("equal to values.json (node)")
                || line.starts_with("events equal)");
            assert!(!is_forged, "{arguments:?}\n{}", run.stdout);
        }
    }
}

#[test]
fn files_to_compare_with_are_bounded() {
    let images = Images::new();
    images.write("large.json", vec![b' '; (16 << 20) + 1]);
    for option in ["--compare", "--compare-events"] {
        let run = images.run(&["measure", "node.efi", option, "large.json"]);
        assert_eq!(run.code, 2);
        assert!(
            run.stderr
                .contains("expected at most 16777216 bytes in large.json"),
            "{}",
            run.stderr
        );
    }
}

#[test]
fn pipes_are_no_images() {
    let images = Images::new();
    let pipe = images.0.path().join("pipe");
    let status = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(status.success());
    for arguments in [&["measure", "pipe"][..], &["diff", "node.efi", "pipe"]] {
        let run = images.run(arguments);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""));
        assert!(
            run.stderr.contains("pipe is neither a file nor a disk"),
            "{}",
            run.stderr
        );
    }
}

#[test]
fn help_has_examples_and_exit_codes() {
    let images = Images::new();
    let run = images.run(&["--help"]);
    assert_eq!(run.code, 0);
    assert!(run.stdout.contains("Exit codes:"));
    assert!(images.output(&["--help"]).contains("--compare node.json"));
}
