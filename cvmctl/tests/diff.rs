//! `cvmctl diff` as a user runs it: what it says of images that differ in one thing, in words and
//! as JSON.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic in a test is a failing test"
)]

#[path = "../../measurements/tests/support/mod.rs"]
mod support;

#[path = "diff/node.rs"]
mod node;

use std::fs;
use std::path::Path;
use std::process::Command;

use node::{File, Node, cpio, disk, guid, gzip, initrd_files, kernel, with_file};
use serde_json::{Value, json};
use support::{ESP_TYPE, pe, section};
use tempfile::TempDir;

/// A directory with images, in which cvmctl runs.
struct Images(TempDir);

impl Images {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// Images `a` and `b`.
    fn of(a: impl AsRef<[u8]>, b: impl AsRef<[u8]>) -> Self {
        let images = Self::new();
        images.write("a", a);
        images.write("b", b);
        images
    }

    fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        fs::write(self.0.path().join(name), contents).unwrap();
    }

    /// Runs `cvmctl diff`: exit code, standard output, standard error.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cvmctl"));
        let command = command.current_dir(self.0.path()).arg("diff");
        let output = command.args(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let code = output.status.code().unwrap();
        (code, text(output.stdout), text(output.stderr))
    }

    /// What is said of `a` and `b`, without the two lines that describe them.
    fn report(&self, code: i32) -> String {
        let (actual, stdout, stderr) = self.run(&["a", "b"]);
        assert_eq!((actual, stderr.as_str()), (code, ""), "{stdout}");
        let lines: Vec<_> = stdout.lines().skip(2).collect();
        lines.join("\n")
    }

    fn json(&self, code: i32) -> Value {
        let (actual, stdout, stderr) = self.run(&["a", "b", "--json"]);
        assert_eq!((actual, stderr.as_str()), (code, ""), "{stdout}");
        serde_json::from_str(&stdout).unwrap()
    }
}

/// Compares text line by line, so that a failure shows all of it.
fn assert_lines(actual: &str, expected: &[&str]) {
    assert_eq!(actual, expected.join("\n"));
}

const PCR_5: &str =
    "PCR 5 is not predicted, but it differs: firmware measures the partition table into it";
const EQUAL: &str = "vTPM: equal: PCR 4, PCR 9, PCR 11";

/// The images of nodes that differ in their initrds.
fn initrds(a: Vec<u8>, b: Vec<u8>) -> Images {
    let node = |initrd| Node {
        initrd,
        ..Node::new()
    };
    Images::of(node(a).efi(), node(b).efi())
}

#[test]
fn identical_images_are_0() {
    let node = Node::new().disk();
    let images = Images::of(&node, &node);
    let (code, stdout, _) = images.run(&["a", "b"]);
    let description = "raw disk, systemd-stub 257.13-1~deb13u1, Linux 6.12.57-cloud";
    assert_eq!(code, 0);
    assert_eq!(
        stdout,
        format!(
            "a: {description}\nb: {description}\n\
             identical: the files are the same byte for byte\n"
        )
    );
    let json = images.json(0);
    assert_eq!(json["identical"], true);
    assert_eq!(json["measured"], json!({"vtpm": "alike", "tdx": "alike"}));
    assert_eq!(json["images"]["a"]["kernel"], "6.12.57-cloud");
}

#[test]
fn changed_command_line_is_explained_word_by_word() {
    let changed = Node {
        command_line: Node::new()
            .command_line
            .replace("ttyS0", "tty0 init=/bin/sh"),
        ..Node::new()
    };
    let images = Images::of(Node::new().efi(), changed.efi());
    assert_lines(
        &images.report(1),
        &[
            "section .cmdline changed (91 → 103 bytes)",
            "  - console=ttyS0",
            "  + console=tty0",
            "  + init=/bin/sh",
            "PCR 4: Authenticode digest of the UKI: .cmdline",
            "PCR 9: kernel command line: - console=ttyS0",
            "PCR 9: kernel command line: + console=tty0",
            "PCR 9: kernel command line: + init=/bin/sh",
            "PCR 11: .cmdline: data: - console=ttyS0",
            "PCR 11: .cmdline: data: + console=tty0",
            "PCR 11: .cmdline: data: + init=/bin/sh",
            "RTMR2: as PCR 9, PCR 11",
            "not known: RTMR1 is not predicted: it holds the partition table of a disk",
            "vTPM: different: PCR 4, PCR 9, PCR 11",
            "bare TDX: different: RTMR2",
        ],
    );
    let json = images.json(1);
    let measured = json!({"vtpm": "differently", "tdx": "differently"});
    assert_eq!(json["measured"], measured);
    let text =
        json!([{"removed": "console=ttyS0"}, {"added": "console=tty0"}, {"added": "init=/bin/sh"}]);
    assert_eq!(json["sections"][0]["text"], text);
    assert_eq!(
        json["registers"]["9"]["causes"][0]["event"],
        "kernel command line"
    );
    let mut registers: Vec<_> = json["registers"].as_object().unwrap().keys().collect();
    registers.sort();
    assert_eq!(registers, ["11", "4", "9", "rtmr2"]);
    assert_eq!(json["equal_registers"], json!([]));
    let rtmr2 = &json["registers"]["rtmr2"];
    assert_eq!(rtmr2["sha384"]["a"].as_str().unwrap().len(), 96);
    assert_eq!(rtmr2["causes"][1], json["registers"]["9"]["causes"][0]);
    assert_eq!(json["not_covered"], json!([]));
}

#[test]
fn changed_file_of_the_initrd_is_named() {
    let changed = with_file("usr/lib/foo", |file| file.3.extend(b"123456"));
    let images = initrds(cpio(&initrd_files()), gzip(&cpio(&changed)));
    let json = images.json(1);
    let file =
        json!({"path": "usr/lib/foo", "change": "changed", "details": ["1234 → 1240 bytes"]});
    assert_eq!(json["sections"][0]["initrd"]["files"], json!([file]));
    assert_eq!(json["sections"][0]["initrd"]["is_complete"], true);
    let because = json!(["usr/lib/foo changed (1234 → 1240 bytes)"]);
    assert_eq!(
        json["registers"]["9"]["causes"][0],
        json!({"event": "initrd", "because": because})
    );

    let images = initrds(cpio(&initrd_files()), cpio(&changed));
    assert_lines(
        &images.report(1),
        &[
            "section .initrd changed (1852 → 1856 bytes)",
            "  usr/lib/foo changed (1234 → 1240 bytes)",
            "PCR 4: Authenticode digest of the UKI: .initrd",
            "PCR 9: initrd: usr/lib/foo changed (1234 → 1240 bytes)",
            "PCR 11: .initrd: data: usr/lib/foo changed (1234 → 1240 bytes)",
            "RTMR2: as PCR 9, PCR 11",
            "not known: RTMR1 is not predicted: it holds the partition table of a disk",
            "vTPM: different: PCR 4, PCR 9, PCR 11",
            "bare TDX: different: RTMR2",
        ],
    );
}

#[test]
fn every_respect_in_which_files_differ_is_named() {
    let cases: [(Vec<File>, &str); 7] = [
        (
            with_file("usr/lib/foo", |f| f.3[7] = b'g'),
            "usr/lib/foo changed (other contents, 1234 bytes)",
        ),
        (
            with_file("usr/lib/foo", |f| f.1 = 0o104_755),
            "usr/lib/foo changed (mode 0644 → 4755)",
        ),
        (
            with_file("usr/lib/foo", |f| f.2 = 7),
            "usr/lib/foo changed (owner 0:0 → 7:0)",
        ),
        (
            with_file("bin", |f| f.3 = b"sbin".to_vec()),
            "bin changed (link to usr/bin → sbin)",
        ),
        (
            with_file("bin", |f| f.1 = 0o040_777),
            "bin changed (symbolic link → directory)",
        ),
        (
            [
                initrd_files(),
                vec![("etc/x\x1b[2J", 0o100_600, 0, b"new".to_vec())],
            ]
            .concat(),
            "etc/x\\x1b[2J added (3 bytes)",
        ),
        (
            initrd_files()
                .into_iter()
                .filter(|f| f.0 != "bin")
                .collect(),
            "bin removed (symbolic link to usr/bin)",
        ),
    ];
    for (files, expected) in cases {
        let report = initrds(cpio(&initrd_files()), cpio(&files)).report(1);
        assert_eq!(report.lines().nth(1).unwrap().trim(), expected, "{report}");
        assert!(
            report.contains(&format!("\nPCR 9: initrd: {expected}\n")),
            "{report}"
        );
    }
}

#[test]
fn long_lists_of_files_are_cut_for_people_only() {
    let moved: Vec<_> = initrd_files().into_iter().cycle().take(3).collect();
    let many: Vec<File> = (0..100)
        .map(|n| {
            (
                &*Box::leak(format!("n{n:03}").into_boxed_str()),
                0o100_644,
                0,
                vec![],
            )
        })
        .collect();
    let images = initrds(cpio(&moved), cpio(&[moved, many].concat()));
    let report = images.report(1);
    assert!(report.contains("\n  n019 added (0 bytes)\n  … and 80 more (all with --json)\n"));
    assert!(
        report.contains("\nPCR 9: initrd: n004 added (0 bytes)\n… and 95 more"),
        "{report}"
    );
    let files = &images.json(1)["sections"][0]["initrd"]["files"];
    assert_eq!(files.as_array().unwrap().len(), 100);
}

#[test]
fn same_files_that_are_written_differently_are_said_to_be_the_same() {
    let plain = cpio(&initrd_files());
    let mut moved = initrd_files();
    moved.swap(1, 2);
    let again = [plain.clone(), cpio(&initrd_files()[1..2])].concat();
    let first = cpio(&with_file("usr/lib/foo", |f| f.3 = vec![b'x'; 9]));
    for (a, b, expected) in [
        (
            plain.clone(),
            gzip(&plain),
            "the files are the same; only their compression differs: plain → gzip",
        ),
        (
            plain.clone(),
            cpio(&moved),
            "the files are the same; their archives have the entries in another order, or more than \
             once",
        ),
        (
            plain.clone(),
            again,
            "only the second has usr/lib/foo (1234 bytes, in archive 1), which a later entry in \
             archive 2 replaces",
        ),
        (
            [plain.clone(), plain.clone()].concat(),
            [first, plain.clone()].concat(),
            "only the first has usr/lib/foo (1234 bytes, in archive 1), which a later entry in \
             archive 2 replaces",
        ),
    ] {
        let report = initrds(a, b).report(1);
        assert_eq!(report.lines().nth(1).unwrap().trim(), expected, "{report}");
    }
}

#[test]
fn initrd_that_cannot_be_unpacked_is_compared_by_its_digest() {
    let plain = cpio(&initrd_files());
    let with = |rest: &[u8]| [&plain[..], rest].concat();
    let images = initrds(with(b"BZh91AY one"), with(b"BZh91AY other"));
    let report = images.report(1);
    let lines: Vec<_> = report.lines().map(str::trim).collect();
    let reason = "from byte 1852 on, cannot be listed: bzip2 data of this kind cannot be unpacked \
                  here: expected zstd, gzip, xz or lz4";
    assert_eq!(lines[1], format!("11 bytes of the first initrd, {reason}"));
    assert_eq!(lines[2], format!("13 bytes of the second initrd, {reason}"));
    assert!(lines[3].starts_with("what cannot be listed differs: 11 bytes with SHA-256 "));
    assert_eq!(
        images.json(1)["sections"][0]["initrd"]["is_complete"],
        false
    );

    let other = cpio(&with_file("usr/lib/foo", |f| f.3.push(b'x')));
    let report = initrds(with(b"BZh9"), [&other[..], b"BZh9"].concat()).report(1);
    assert!(
        report.contains("usr/lib/foo changed (1234 → 1235 bytes)"),
        "{report}"
    );
    assert!(
        report.contains("what cannot be listed is the same in both"),
        "{report}"
    );
}

#[test]
fn changed_kernel_is_named_by_its_version() {
    let changed = |version| Node {
        kernel: kernel(version),
        ..Node::new()
    };
    let images = Images::of(Node::new().efi(), changed("6.12.58-cloud").efi());
    assert_lines(
        &images.report(1),
        &[
            "section .linux changed (other contents, 2048 bytes)",
            "  Linux 6.12.57-cloud → 6.12.58-cloud",
            "PCR 4: Authenticode digest of the UKI: .linux",
            "PCR 4: Authenticode digest of .linux: Linux 6.12.57-cloud → 6.12.58-cloud",
            "PCR 11: .linux: data: Linux 6.12.57-cloud → 6.12.58-cloud",
            "RTMR2: as PCR 11",
            "not known: RTMR1 is not predicted: it holds the partition table of a disk",
            "vTPM: different: PCR 4, PCR 11",
            "bare TDX: different: RTMR2",
        ],
    );
    let mut rebuilt = Node::new();
    *rebuilt.kernel.last_mut().unwrap() ^= 1;
    rebuilt.kernel[0x2f0] ^= 1;
    let images = Images::of(Node::new().efi(), rebuilt.efi());
    let report = images.report(1);
    assert!(report.contains("PCR 11: .linux: data: another build of Linux 6.12.57-cloud\n"));
    let versions = json!({"a": "6.12.57-cloud", "b": "6.12.57-cloud"});
    assert_eq!(images.json(1)["sections"][0]["kernel"], versions);
}

/// How many blocks of two EFI system partitions differ, and where the first of them is.
fn esp_blocks(a: &Node, b: &Node) -> (usize, usize) {
    let (a, b) = (support::esp(&a.efi()), support::esp(&b.efi()));
    let blocks = a.chunks(4096).zip(b.chunks(4096)).enumerate();
    let differing: Vec<_> = blocks
        .filter(|(_, (a, b))| a != b)
        .map(|(at, _)| at)
        .collect();
    (differing.len(), differing[0] * 4096)
}

#[test]
fn changed_file_of_the_root_is_explained_by_blocks_and_root_hash() {
    let mut changed = Node::new().with_hash('2');
    changed.root[3 * 4096 + 17] = 0xab;
    changed.root[7 * 4096] = 0xab;
    changed.tree[5] = 0xbc;
    let images = Images::of(Node::new().disk(), changed.disk());
    let (old, new) = (Node::new().root_hash, changed.root_hash.clone());
    let (count, first) = esp_blocks(&Node::new(), &changed);
    let guids = "11111111-1111-1111-1111-111111111111 → 22222222-2222-2222-2222-222222222222";
    assert_lines(
        &images.report(1),
        &[
            "section .cmdline changed (other contents, 91 bytes)",
            &format!("  - roothash={old}"),
            &format!("  + roothash={new}"),
            "partition 1 (EFI system partition, \"esp\") changed",
            &format!(
                "  contents differ in {count} of 256 blocks of 4096 bytes, the first at byte {first}"
            ),
            "  covered by PCR 4, as far as it is what is started",
            "partition 2 (root, \"root-x86-64\") changed",
            &format!("  GUID {guids}"),
            "  contents differ in 2 of 10 blocks of 4096 bytes, the first at byte 12288",
            "  covered by roothash= on the command line (PCR 4, 9, 11)",
            "partition 3 (root verity, \"root-x86-64-verity\") changed",
            "  contents differ in 1 of 1 blocks of 4096 bytes, the first at byte 0",
            "  covered by roothash= on the command line (PCR 4, 9, 11)",
            "PCR 4: Authenticode digest of the UKI: .cmdline",
            &format!("PCR 9: kernel command line: - roothash={old}"),
            &format!("PCR 9: kernel command line: + roothash={new}"),
            &format!("PCR 11: .cmdline: data: - roothash={old}"),
            &format!("PCR 11: .cmdline: data: + roothash={new}"),
            &format!("RTMR1: partition table: partition 2 (root, \"root-x86-64\"): GUID {guids}"),
            "RTMR1: as PCR 4",
            "RTMR2: as PCR 9, PCR 11",
            PCR_5,
            "vTPM: different: PCR 4, PCR 9, PCR 11",
            "bare TDX: different: RTMR1, RTMR2",
        ],
    );
    let json = images.json(1);
    let root = &json["partitions"][1];
    let blocks = json!({"differing": 2, "total": 10, "first_offset": 12288});
    assert_eq!(root["contents"]["blocks"], blocks);
    assert_eq!(
        root["contents"]["sha256"]["b"],
        measurements::Sha256Digest::of(&changed.root).to_string()
    );
    assert_eq!(
        json["images"]["b"]["verity_hashes"],
        json!([{"partition": "root", "hash": new}])
    );
}

#[test]
fn hash_tree_alone_is_told_from_the_data() {
    let mut changed = Node::new();
    changed.root_hash = format!("{}{}", "1".repeat(32), "ee".repeat(16));
    changed.command_line = changed
        .command_line
        .replace(&"ef".repeat(16), &"ee".repeat(16));
    changed.tree[0] = 1;
    let report = Images::of(Node::new().disk(), changed.disk()).report(1);
    let expected = "covered by roothash= on the command line (PCR 4, 9, 11); the data is the same: \
                    the hash tree has another salt, UUID or form";
    assert!(report.contains(expected), "{report}");
    assert!(!report.contains("partition 2"), "{report}");
}

#[test]
fn what_differs_without_being_measured_is_said_aloud() {
    const ALOUD: &str = "BOTH MEASURE THE SAME, but they are not the same: PCR 4, PCR 9, PCR 11, \
                         RTMR1, RTMR2 do not cover";
    let node = Node::new();
    let mut root = Node::new();
    root.root[0] = 0;
    let mut elsewhere = node.disk();
    *elsewhere.last_mut().unwrap() = 1;
    let mut esp = node.disk();
    let last = esp_end(&esp) - 1;
    esp[last] = 1;
    for (b, before, expected) in [
        (
            support::vhd(node.disk()),
            None,
            "what the UKI is wrapped in: raw disk → fixed VHD".to_owned(),
        ),
        (
            root.disk(),
            Some("partition 2 (root, \"root-x86-64\") changed"),
            "partition 2 (root, \"root-x86-64\"), its contents: roothash= is the same, so that at \
             most one of the two is what was hashed; Linux refuses to read the other's changed blocks"
                .to_owned(),
        ),
        (
            esp,
            Some("partition 1 (EFI system partition, \"esp\") changed"),
            "partition 1 (EFI system partition, \"esp\"), its contents: what is started from it \
             measures the same; files beside it, or the file system's structure"
                .to_owned(),
        ),
        (
            elsewhere,
            None,
            "what is outside of all partitions: backup partition table, unused space, or a VHD's \
             footer"
                .to_owned(),
        ),
    ] {
        let images = Images::of(node.disk(), b);
        let report = images.report(0);
        let end = format!("{ALOUD}\n  {expected}\n{EQUAL}\nbare TDX: equal: RTMR1, RTMR2");
        assert!(report.ends_with(&end), "{report}");
        assert_eq!(report.lines().next().filter(|line| *line != ALOUD), before);
        let json = images.json(0);
        assert_eq!(json["measured"], json!({"vtpm": "alike", "tdx": "alike"}));
        assert_eq!(json["identical"], false);
        assert_eq!(json["not_covered"], json!([expected]));
        assert_eq!(json["registers"], json!({}));
        let equal = json!(["4", "9", "11", "rtmr1", "rtmr2"]);
        assert_eq!(json["equal_registers"], equal);
    }
}

/// What is said of two disks that a vTPM cannot tell apart and a bare TDX guest can, for each kind
/// of machine; and as JSON.
fn only_rtmr1_differs(images: &Images) -> (String, Value) {
    let report = images.report(0);
    let (code, stdout, stderr) = images.run(&["a", "b", "--attestation-type", "azure-tdx"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    for kind in ["dcap-tdx", "gcp-tdx"] {
        let arguments = ["a", "b", "--attestation-type", kind];
        assert_eq!(images.run(&arguments), (1, stdout.clone(), String::new()));
    }
    assert!(!report.contains("BOTH MEASURE THE SAME"), "{report}");
    let json = images.json(0);
    let measured = json!({"vtpm": "alike", "tdx": "differently"});
    assert_eq!(json["measured"], measured);
    assert_eq!(json["equal_registers"], json!(["4", "9", "11", "rtmr2"]));
    assert_eq!(json["not_predicted"], json!([PCR_5]));
    (report, json)
}

#[test]
fn partition_table_is_measured_in_rtmr1_and_pcr_5_only() {
    let labelled = Node {
        root_label: "other",
        ..Node::new()
    };
    let (report, json) = only_rtmr1_differs(&Images::of(Node::new().disk(), labelled.disk()));
    let entry = "partition 2 (root, \"root-x86-64\"): label root-x86-64 → other";
    assert_lines(
        &report,
        &[
            "partition 2 (root, \"root-x86-64\") changed",
            "  label root-x86-64 → other",
            &format!("RTMR1: partition table: {entry}"),
            PCR_5,
            EQUAL,
            "bare TDX: different: RTMR1",
        ],
    );
    assert_eq!(json["not_covered"], json!([]));
    let rtmr1 = &json["registers"]["rtmr1"];
    let cause = json!([{"event": "partition table", "because": [entry]}]);
    assert_eq!(rtmr1["causes"], cause);
    assert_eq!(rtmr1["sha256"], Value::Null);
    assert_ne!(rtmr1["sha384"]["a"], rtmr1["sha384"]["b"]);
}

#[test]
fn header_of_the_partition_table_is_measured_with_it() {
    let mut other = Node::new().disk();
    let header = &mut other[512..604];
    // A byte of the disk's GUID.
    header[60] = 0xab;
    header[16..20].fill(0);
    let checksum = support::crc32(header);
    header[16..20].copy_from_slice(&checksum.to_le_bytes());
    let (report, _) = only_rtmr1_differs(&Images::of(Node::new().disk(), other));
    assert_lines(
        &report,
        &[
            "RTMR1: partition table: its header (disk GUID, size of the disk) or its entries' \
             attributes",
            PCR_5,
            EQUAL,
            "bare TDX: different: RTMR1",
        ],
    );
}

#[test]
fn contents_of_a_partition_that_one_disk_has_are_not_measured() {
    let parts = |more: &[node::Partition<'_>]| {
        let esp = support::esp(&Node::new().efi());
        let esp: node::Partition<'_> = (ESP_TYPE, guid(&"12".repeat(16)), "esp", &esp);
        disk(&[&[esp], more].concat())
    };
    let data: node::Partition<'_> = (
        guid("0fc63daf848347728e793d69d8477de4"),
        guid(&"34".repeat(16)),
        "data",
        &[7; 4096],
    );
    let (report, _) = only_rtmr1_differs(&Images::of(parts(&[]), parts(&[data])));
    assert_lines(
        &report,
        &[
            "partition 2 (Linux data, \"data\") added",
            "  4096 bytes",
            "RTMR1: partition table: partition 2 (Linux data, \"data\") added, 4096 bytes",
            PCR_5,
            "also differs, but is not measured:",
            "  partition 2 (Linux data, \"data\"), its contents: only one image has it",
            EQUAL,
            "bare TDX: different: RTMR1",
        ],
    );
}

#[test]
fn rtmr1_of_a_bare_uki_is_not_known() {
    let node = Node::new();
    let images = Images::of(node.efi(), node.disk());
    let report = images.report(0);
    assert!(
        report.contains(
            "\nnot known: a: RTMR1 is not predicted: it holds the partition table of a disk\n"
        ),
        "{report}"
    );
    assert!(
        report.contains("\nBOTH MEASURE THE SAME, but they are not the same: PCR 4, PCR 9, PCR 11, RTMR2 do not cover\n"),
        "{report}"
    );
    let entry = "  partition 2 (root, \"root-x86-64\"), its entry in the partition table, which firmware \
                 measures into PCR 5 or RTMR1, not compared here: 40960 bytes\n";
    assert!(report.contains(entry), "{report}");
    let led_to = "partition 2 (root, \"root-x86-64\") added\n  40960 bytes\n  covered by roothash= on the \
                  command line (PCR 4, 9, 11)\n";
    assert!(report.contains(led_to), "{report}");
    let end = "\nbare TDX: could not tell whether they measure the same (equal: RTMR2)";
    assert!(report.ends_with(&format!("{EQUAL}{end}")), "{report}");
    let (code, _, _) = images.run(&["a", "b", "--attestation-type", "dcap-tdx"]);
    assert_eq!(code, 2);
}

/// The byte after the first partition.
fn esp_end(disk: &[u8]) -> usize {
    let last = u64::from_le_bytes(disk[1024 + 40..1024 + 48].try_into().unwrap());
    (usize::try_from(last).unwrap() + 1) * 512
}

#[test]
fn signature_is_not_measured_and_headers_are() {
    let sections = [
        section(".sdmagic", support::STUB),
        section(".cmdline", "quiet\0"),
        section(".linux", kernel("6.12.57-cloud")),
    ];
    let (plain, signed) = (pe(&sections, &[], &[]), pe(&sections, &[], &[1; 64]));
    let aligned = plain.len() % 8 == 0;
    assert!(aligned);
    let report = Images::of(&plain, &signed).report(0);
    assert!(
        report.contains("\n  the UKI's signature or checksum, which Authenticode leaves out\n")
    );

    let mut stamped = plain.clone();
    // TimeDateStamp.
    stamped[0x48] = 1;
    let report = Images::of(&plain, &stamped).report(1);
    assert_lines(
        &report,
        &[
            "PCR 4: Authenticode digest of the UKI: its headers or its certificates' size; all \
             sections are equal",
            "not known: RTMR1 is not predicted: it holds the partition table of a disk",
            "vTPM: different: PCR 4",
            "bare TDX: could not tell whether they measure the same (equal: RTMR2)",
        ],
    );
}

#[test]
fn root_that_no_hash_leads_to_is_not_covered() {
    let unverified = Node {
        command_line: "root=/dev/sda2".to_owned(),
        ..Node::new()
    };
    let mut changed = unverified.clone();
    changed.root[0] = 1;
    let report = Images::of(unverified.disk(), changed.disk()).report(0);
    assert!(
        report.contains("no roothash= on the command line leads to it"),
        "{report}"
    );

    let elsewhere = |byte| {
        let mut node = Node::new();
        node.root_hash = "9".repeat(64);
        node.root[0] = byte;
        node
    };
    let report = Images::of(elsewhere(1).disk(), elsewhere(2).disk()).report(0);
    assert!(
        report.contains("leads to a partition with another GUID"),
        "{report}"
    );
}

#[test]
fn added_and_removed_sections_are_named() {
    let sections = |more: &[support::Section]| {
        let sections = [
            section(".sdmagic", support::STUB),
            section(".cmdline", "quiet\0"),
            section(".linux", kernel("6.12.57-cloud")),
        ];
        pe(&[&sections, more].concat(), &[], &[])
    };
    let (plain, more) = (sections(&[]), sections(&[section(".splash", "picture")]));
    let report = Images::of(&plain, &more).report(1);
    assert_lines(
        &report,
        &[
            "section .splash added (7 bytes)",
            "PCR 4: Authenticode digest of the UKI: .splash",
            "PCR 11: .splash: name: only the second measures it",
            "PCR 11: .splash: data: only the second measures it",
            "RTMR2: as PCR 11",
            "not known: RTMR1 is not predicted: it holds the partition table of a disk",
            "vTPM: different: PCR 4, PCR 11",
            "bare TDX: different: RTMR2",
        ],
    );
    let report = Images::of(&more, &plain).report(1);
    assert!(
        report.starts_with("section .splash removed (7 bytes)\n"),
        "{report}"
    );
    assert!(report.contains("PCR 11: .splash: data: only the first measures it\n"));
}

#[test]
fn what_cannot_be_predicted_is_2_and_what_differs_is_still_said() {
    let node = |command_line: &str| Node {
        stub: "#### LoaderInfo: systemd-stub 999 ####\0",
        command_line: command_line.to_owned(),
        ..Node::new()
    };
    let images = Images::of(node("quiet").efi(), node("debug").efi());
    let report = images.report(2);
    assert!(report.contains("\n  - quiet\n  + debug\n"), "{report}");
    assert!(report.contains("\nnot known: predict a: "), "{report}");
    assert!(
        report.ends_with(
            "\nvTPM: could not tell whether they measure the same\n\
             bare TDX: could not tell whether they measure the same"
        ),
        "{report}"
    );
    let measured = json!({"vtpm": "unknown", "tdx": "unknown"});
    assert_eq!(images.json(2)["measured"], measured);
    // As the message says.
    let (code, stdout, _) = images.run(&["a", "b", "--stub-version", "257"]);
    assert_eq!(code, 1, "{stdout}");
    assert!(
        stdout.contains("PCR 9: kernel command line: + debug\n"),
        "{stdout}"
    );

    for (a, expected) in [("absent", "open absent"), ("text", "expected a raw disk")] {
        images.write("text", "hello");
        let (code, stdout, stderr) = images.run(&[a, "b"]);
        assert_eq!((code, stdout.as_str()), (2, ""));
        assert!(stderr.contains(expected), "{stderr}");
    }
}

#[test]
fn images_neither_control_the_terminal_nor_add_lines() {
    let node = |command_line: &str| Node {
        command_line: command_line.to_owned(),
        root_label: "\u{1b}[2J\nequal: PCR 4",
        ..Node::new()
    };
    let images = Images::of(node("a").disk(), node("b\u{1b}[2J").disk());
    let mut changed = node("a");
    changed.root[0] = 1;
    images.write("c", changed.disk());
    for name in ["b", "c"] {
        for json in [&[][..], &["--json"]] {
            let (_, stdout, _) = images.run(&[&["a", name], json].concat());
            assert!(!stdout.contains('\u{1b}'), "{stdout}");
            assert!(!stdout.contains("\nequal: PCR 4\""), "{stdout}");
        }
    }
}

#[test]
fn help_says_what_the_exit_codes_mean() {
    let (code, stdout, _) = Images::new().run(&["--help"]);
    assert_eq!(code, 0);
    assert!(stdout.contains("  0  both measure the same, even if they differ in what is not"));
    assert!(stdout.contains("Exit codes, for the registers of --attestation-type:\n"));
}

/// Runs a command line in a directory; it must succeed.
fn shell(directory: &Path, script: &str) {
    let mut command = Command::new("sh");
    let output = command
        .args(["-euc", script])
        .current_dir(directory)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}\n{stderr}");
}

#[test]
fn images_made_by_the_real_tools_are_explained() {
    if !testkit::needed::programs(&["ukify", "cpio", "zstd", "mkfs.erofs", "veritysetup"]) {
        return;
    }
    let work = TempDir::new().unwrap();
    fs::write(work.path().join("kernel"), kernel("6.12.57-cloud")).unwrap();
    fs::write(work.path().join("os-release"), "ID=debian\n").unwrap();
    let mut disks = Vec::new();
    for (name, root_file, initrd_file) in [
        ("a", "root file", "initrd file"),
        ("b", "changed root file", "initrd file"),
        ("c", "root file", "changed initrd file"),
    ] {
        let folder = work.path().join(name);
        for (tree, contents) in [("root", root_file), ("initrd", initrd_file)] {
            fs::create_dir_all(folder.join(tree).join("usr/lib")).unwrap();
            fs::write(folder.join(tree).join("usr/lib/file"), contents).unwrap();
        }
        shell(
            &folder,
            "find root initrd -exec touch -d @1700000000 {} +
             mkfs.erofs --quiet -T 1700000000 -U clear root.erofs root
             truncate -s 64K root.verity
             veritysetup format --salt 00 --uuid 12345678-1234-1234-1234-123456789abc \
                 --root-hash-file hash root.erofs root.verity > /dev/null
             (cd initrd && find . | sort | cpio --quiet -o -H newc --reproducible) \
                 | zstd -q -19 > initrd.zst
             ukify build --linux ../kernel --initrd initrd.zst --os-release @../os-release \
                 --uname 6.12.57-cloud --cmdline \"roothash=$(cat hash) ro\" --output uki.efi",
        );
        let read = |file: &str| fs::read(folder.join(file)).unwrap();
        let node = Node {
            root: read("root.erofs"),
            tree: read("root.verity"),
            root_hash: String::from_utf8(read("hash")).unwrap().trim().to_owned(),
            ..Node::new()
        };
        let (data, tree) = node.root_hash.split_at(32);
        disks.push(disk(&[
            (
                ESP_TYPE,
                guid(&"12".repeat(16)),
                "esp",
                &support::esp(&read("uki.efi")),
            ),
            (
                guid("4f68bce3e8cd4db196e7fbcaf984b709"),
                guid(data),
                "root",
                &node.root,
            ),
            (
                guid("2c7357edebd246d9aec123d437ec2bf5"),
                guid(tree),
                "tree",
                &node.tree,
            ),
        ]));
    }
    let [a, b, c] = &disks[..] else {
        panic!("three disks");
    };
    let report = Images::of(a, b).report(1);
    for line in [
        "PCR 9: kernel command line: + roothash=",
        "partition 2 (root, \"root\") changed\n",
        "  covered by roothash= on the command line (PCR 4, 9, 11)\n",
        "partition 3 (root verity, \"tree\") changed\n",
    ] {
        assert!(report.contains(line), "{line}\n{report}");
    }
    assert!(!report.contains("section .initrd"), "{report}");
    assert!(
        report.ends_with(
            "\nvTPM: different: PCR 4, PCR 9, PCR 11\nbare TDX: different: RTMR1, RTMR2"
        ),
        "{report}"
    );

    let report = Images::of(a, c).report(1);
    let change = "usr/lib/file changed (11 → 19 bytes)";
    assert!(
        report.contains(&format!("\nPCR 9: initrd: {change}\n")),
        "{report}"
    );
    assert!(
        report.contains(&format!("\nPCR 11: .initrd: data: {change}\n")),
        "{report}"
    );
    assert!(!report.contains("partition 2"), "{report}");
}
