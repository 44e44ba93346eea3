//! `cvmctl verify` as a user runs it: evidence that `cvmctl get --save` has kept, whole, damaged
//! and forged; and evidence of a real machine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic in a test is a failing test"
)]

#[path = "attested/mod.rs"]
mod attested;
#[path = "../../attestation/tests/support/mod.rs"]
mod captured;

use std::time::SystemTime;

use attestation::EvidenceKind;
use attested::{
    Place, ROOTS, Run, Script, attested as node_of, azure_node, azure_values, flip, hex, tee,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use testkit::tee::Tee;
use testkit::tee::tcb::TcbFault;

const EXPECTED: [&str; 2] = ["--expected-measurements", "expected.json"];
const SAVE: [&str; 2] = ["--save", "kept"];
const FILES: [&str; 5] = [
    "manifest.json",
    "document",
    "certificate.der",
    "collateral.json",
    "reference-values.json",
];

/// A place in which a trusted machine's evidence is kept.
fn kept(protocol: &str) -> Place {
    let tee = tee();
    let (place, node) = (Place::of(&tee), azure_node(&tee));
    let own = ["--protocol", protocol];
    place
        .get(&node, &[&EXPECTED[..], &SAVE, &own].concat())
        .says(0, "trusted");
    place
}

fn verify(place: &Place, arguments: &[&str]) -> Run {
    place.run(&[&["verify", "kept"][..], &ROOTS, arguments].concat())
}

/// As whoever knows who has kept the evidence.
fn replay(place: &Place, arguments: &[&str]) -> Run {
    verify(place, &[&["--kept-expectations"][..], arguments].concat())
}

/// Changes a file of the evidence, and its hash with it.
fn forge(place: &Place, name: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    let path = format!("kept/{name}");
    let bytes = change(place.read(&path));
    let hash = hex(&Sha256::digest(&bytes));
    place.write(&path, bytes);
    let field = match name {
        "document" => "document",
        "certificate.der" => "certificate",
        "collateral.json" => "collateral",
        _ => "references",
    };
    change_manifest(place, |manifest| manifest["files"][field] = json!(hash));
}

fn change_manifest(place: &Place, change: impl FnOnce(&mut Value)) {
    let mut manifest = serde_json::from_slice(&place.read("kept/manifest.json")).unwrap();
    change(&mut manifest);
    place.write("kept/manifest.json", manifest.to_string());
}

#[test]
fn kept_evidence_is_judged_the_same_again() {
    for protocol in ["atls", "ratls"] {
        let place = kept(protocol);
        let run = replay(&place, &[]);
        run.says(0, "trusted: the machine runs node-1.vhd\n");
        run.says(0, "as good as whoever kept them");
        assert_eq!(run.stderr, "");
        let document = replay(&place, &["--json"]).json();
        assert_eq!(document["outcome"], "trusted");
        assert_eq!(document["protocol"], protocol);
        assert_eq!(document["matched"], "node-1.vhd");
    }
}

#[test]
fn the_test_root_is_not_taken_from_the_directory() {
    let place = kept("atls");
    place
        .run(&["verify", "kept"])
        .says(1, "evidence is refused");
    let other = Tee::new(2, SystemTime::now());
    place.write("root.der", other.root());
    replay(&place, &[]).says(1, "evidence is refused");
}

#[test]
fn damage_to_any_file_is_noticed() {
    let place = kept("atls");
    for name in FILES {
        let path = place.path(&format!("kept/{name}"));
        let original = std::fs::read(&path).unwrap();
        // The manifest has parts that are for people only; others have tests of their own.
        if name != "manifest.json" {
            for at in [
                0,
                original.len() / 3,
                original.len() / 2,
                original.len() - 1,
            ] {
                flip(&path, at);
                replay(&place, &[]).says(2, &format!("{name} is damaged"));
                flip(&path, at);
            }
        }
        std::fs::remove_file(&path).unwrap();
        replay(&place, &[]).says(2, name);
        std::fs::write(&path, original).unwrap();
        replay(&place, &[]).says(0, "trusted");
    }
}

#[test]
fn forged_files_are_refused_although_their_hashes_are_right() {
    for protocol in ["atls", "ratls"] {
        for name in ["document", "certificate.der", "collateral.json"] {
            let place = kept(protocol);
            let original = place.read(&format!("kept/{name}"));
            for at in [
                original.len() / 4,
                original.len() / 2,
                original.len() * 3 / 4,
            ] {
                forge(&place, name, |_| {
                    let mut bytes = original.clone();
                    bytes[at] ^= 1;
                    bytes
                });
                let run = replay(&place, &[]);
                // A certificate of this protocol is only there for its key.
                let is_elsewhere = protocol == "ratls" && name == "certificate.der";
                assert!(
                    run.code != 0 || is_elsewhere,
                    "{protocol} {name} {at}: {run:?}"
                );
            }
        }
    }
}

#[test]
fn evidence_of_another_connection_is_refused() {
    for (protocol, field) in [("atls", "nonce"), ("ratls", "exporter")] {
        let (place, other) = (kept(protocol), kept(protocol));
        let value = |place: &Place| {
            let manifest: Value =
                serde_json::from_slice(&place.read("kept/manifest.json")).unwrap();
            manifest["binding"][field].clone()
        };
        let (own, others) = (value(&place), value(&other));
        assert_ne!(own, others);
        change_manifest(&place, |manifest| manifest["binding"][field] = others);
        replay(&place, &[]).says(1, "evidence is refused");
        change_manifest(&place, |manifest| manifest["binding"][field] = own);
        replay(&place, &[]).says(0, "trusted");
        forge(&place, "certificate.der", |_| {
            other.read("kept/certificate.der")
        });
        replay(&place, &[]).says(1, "evidence is refused");
    }
}

#[test]
fn the_verdict_that_was_kept_is_not_believed() {
    let place = kept("atls");
    change_manifest(&place, |manifest| {
        manifest["verdict"] = json!({"outcome": "not-trusted", "summary": "\u{1b}[2J"});
    });
    replay(&place, &[]).says(0, "trusted");

    let mut other = tee();
    other.pcrs.insert(4, [4; 32]);
    let place = Place::of(&tee());
    place.write("expected.json", azure_values(&other, "other").to_string());
    let node = azure_node(&tee());
    place
        .get(&node, &[&EXPECTED[..], &SAVE].concat())
        .says(1, "NOT TRUSTED");
    change_manifest(&place, |manifest| {
        manifest["verdict"] = json!({"outcome": "trusted", "summary": "all is well"});
    });
    replay(&place, &[]).says(1, "PCR  4  DIFFERS");
}

#[test]
fn other_expectations_and_times_can_be_given() {
    let place = kept("atls");
    let mut other = tee();
    other.pcrs.insert(9, [9; 32]);
    place.write("other.json", azure_values(&other, "other").to_string());
    verify(&place, &["--expected-measurements", "other.json"]).says(1, "PCR  9  DIFFERS");
    verify(&place, &["--no-expectations"]).says(0, "NOTHING WAS COMPARED");
    replay(&place, &["--at", "2020-01-01T00:00:00Z"]).says(2, "is valid from");
    replay(&place, &["--at", "yesterday"]).says(2, "expected a time in UTC");
    change_manifest(&place, |manifest| {
        manifest["time"] = json!("2020-01-01T00:00:00Z")
    });
    replay(&place, &[]).says(2, "is valid from");
}

#[test]
fn what_was_refused_is_kept_and_refused_again() {
    let tee = Tee::with_fault(1, SystemTime::now(), TcbFault::LevelRevoked);
    let (place, node) = (Place::of(&tee), azure_node(&tee));
    place
        .get(&node, &[&EXPECTED[..], &SAVE].concat())
        .says(1, "evidence is refused");
    replay(&place, &[]).says(1, "evidence is refused");
    std::fs::remove_file(place.path("kept/collateral.json")).unwrap();
    change_manifest(&place, |manifest| {
        manifest["files"]["collateral"] = Value::Null
    });
    replay(&place, &[]).says(2, "no collateral was kept");
    replay(&place, &["--collateral", "collateral.json"]).says(1, "evidence is refused");
}

#[test]
fn a_status_that_was_accepted_then_has_to_be_accepted_again() {
    let tee = Tee::with_fault(1, SystemTime::now(), TcbFault::TdxHalfOutOfDate);
    let place = Place::of(&tee);
    let node = node_of(Script::of(&tee, EvidenceKind::DcapTdx));
    let own = ["--no-expectations", "--accept-tcb-status", "OutOfDate"];
    place
        .get(&node, &[&own[..], &SAVE].concat())
        .says(0, "trusted");
    let run = verify(&place, &[]);
    run.says(2, "repeat --no-expectations");
    run.says(2, "repeat --accept-tcb-status OutOfDate");
    verify(&place, &own[1..]).says(2, "repeat --no-expectations");
    verify(&place, &own).says(0, "OutOfDate was accepted");
    // Who says what to expect has said all.
    verify(&place, &own[..1]).says(1, "not accepted");
    let other = [
        "--no-expectations",
        "--accept-tcb-status",
        "SWHardeningNeeded",
    ];
    verify(&place, &other).says(1, "not accepted");
    verify(&place, &other[1..]).says(2, "repeat --accept-tcb-status OutOfDate");
}

#[test]
fn an_override_that_was_in_force_has_to_be_repeated() {
    let tee = Tee::with_fault(1, SystemTime::now(), TcbFault::AzureV6SeamLoader);
    let (place, node) = (Place::of(&tee), azure_node(&tee));
    let flag = ["--override-azurev6-tcbinfo"];
    let own = [&EXPECTED[..], &flag].concat();
    place
        .get(&node, &[&own[..], &SAVE].concat())
        .says(0, "OVERRIDE USED");
    replay(&place, &[]).says(2, "repeat --override-azurev6-tcbinfo");
    replay(&place, &flag).says(0, "OVERRIDE USED");
    verify(&place, &own).says(0, "OVERRIDE USED");
    verify(&place, &EXPECTED).says(1, "no TCB level covers the platform");
    change_manifest(&place, |manifest| {
        manifest["overlooked"]["override_azurev6_tcbinfo"] = json!(false);
    });
    replay(&place, &[]).says(1, "no TCB level covers the platform");
}

#[test]
fn a_directory_cannot_waive_expectations() {
    let place = kept("atls");
    std::fs::remove_file(place.path("kept/reference-values.json")).unwrap();
    change_manifest(&place, |manifest| {
        manifest["files"]["references"] = Value::Null;
        manifest["overlooked"]["no_expectations"] = json!(true);
    });
    verify(&place, &[]).says(2, "repeat --no-expectations");
    replay(&place, &[]).says(2, "nothing was compared when it was kept");
    verify(&place, &["--no-expectations"]).says(0, "NOTHING WAS COMPARED");
    verify(&place, &EXPECTED).says(0, "trusted");
    let mut other = tee();
    other.pcrs.insert(4, [4; 32]);
    place.write("other.json", azure_values(&other, "other").to_string());
    verify(&place, &["--expected-measurements", "other.json"]).says(1, "PCR  4  DIFFERS");
    change_manifest(&place, |manifest| {
        manifest["overlooked"]["no_expectations"] = json!(false);
    });
    verify(&place, &[]).says(2, "NOTHING WAS COMPARED");
}

#[test]
fn a_directory_cannot_choose_what_is_expected() {
    let mut machine = tee();
    machine.pcrs.insert(4, [0xee; 32]);
    let (place, node) = (Place::of(&tee()), azure_node(&machine));
    place
        .get(&node, &[&EXPECTED[..], &SAVE].concat())
        .says(1, "NOT TRUSTED");
    verify(&place, &[]).says(1, "PCR  4  DIFFERS");
    forge(&place, "reference-values.json", |_| {
        azure_values(&machine, "node-1.vhd")
            .to_string()
            .into_bytes()
    });
    let run = verify(&place, &[]);
    run.says(2, "could not tell: the machine runs node-1.vhd");
    run.says(
        2,
        "or say --kept-expectations if you know who has kept these",
    );
    run.says(2, "as good as whoever kept them");
    verify(&place, &EXPECTED).says(1, "PCR  4  DIFFERS");
    replay(&place, &[]).says(0, "as good as whoever kept them");
    verify(&place, &[&EXPECTED[..], &["--kept-expectations"]].concat())
        .says(2, "cannot be used with");
}

#[test]
fn without_a_certificate_it_is_nobodys_evidence() {
    for protocol in ["atls", "ratls"] {
        let place = kept(protocol);
        std::fs::remove_file(place.path("kept/certificate.der")).unwrap();
        change_manifest(&place, |manifest| {
            manifest["files"]["certificate"] = Value::Null;
        });
        for own in [
            &EXPECTED[..],
            &["--no-expectations"],
            &["--kept-expectations"],
        ] {
            let run = verify(&place, own);
            assert_ne!(run.code, 0, "{run:?}");
        }
    }
    let place = kept("atls");
    std::fs::remove_file(place.path("kept/certificate.der")).unwrap();
    change_manifest(&place, |manifest| {
        manifest["files"]["certificate"] = Value::Null;
    });
    verify(&place, &EXPECTED).says(2, "no certificate was kept");
}

#[test]
fn bad_collateral_is_not_the_machines_fault() {
    let place = kept("atls");
    place.write(
        "other.json",
        Tee::new(2, SystemTime::now()).collateral().to_json(),
    );
    let own = [&EXPECTED[..], &["--collateral", "other.json"]].concat();
    verify(&place, &own).says(2, "not Intel's word about this platform");
    forge(&place, "collateral.json", |_| place.read("other.json"));
    verify(&place, &EXPECTED).says(2, "not Intel's word about this platform");
    let good = [&EXPECTED[..], &["--collateral", "collateral.json"]].concat();
    verify(&place, &good).says(0, "trusted");
}

#[test]
fn nothing_is_overwritten() {
    let place = kept("atls");
    let node = azure_node(&tee());
    let again = place.get(&node, &[&EXPECTED[..], &SAVE].concat());
    again.says(2, "kept is not empty");
    assert_eq!(node.requests(), 0);
    replay(&place, &[]).says(0, "trusted");
}

#[test]
fn manifests_that_are_none_are_2() {
    let place = kept("atls");
    let original = place.read("kept/manifest.json");
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 7] = [
        (
            |m| m["version"] = json!(2),
            "expected a manifest of cvmctl-evidence 1",
        ),
        (
            |m| m["format"] = json!("other"),
            "expected a manifest of cvmctl-evidence 1",
        ),
        (|m| m["more"] = json!(1), "unknown field"),
        (
            |m| m["attestation_type"] = json!("sev"),
            "no kind of evidence",
        ),
        (|m| m["binding"]["nonce"] = json!("0g"), "hexadecimal"),
        (
            |m| m["binding"]["nonce"] = json!("00".repeat(65)),
            "at most 64",
        ),
        (|m| m["time"] = json!("never"), "expected a time"),
    ];
    for (change, reason) in cases {
        change_manifest(&place, change);
        replay(&place, &[]).says(2, reason);
        place.write("kept/manifest.json", &original);
    }
    place.write("kept/manifest.json", vec![b' '; 1 << 20]);
    replay(&place, &[]).says(2, "expected at most 65536 bytes");
    place.write("kept/manifest.json", &original);
    place.write("kept/document", vec![b' '; 1 << 20]);
    replay(&place, &[]).says(2, "expected at most 262144 bytes");
    let json = replay(&place, &["--json"]);
    assert_eq!(
        (json.code, &json.json()["outcome"]),
        (2, &json!("undecided"))
    );
}

#[test]
fn evidence_of_a_real_machine_is_verified_at_its_time() {
    let Some(capture) = captured::azure() else {
        return;
    };
    let place = Place(tempfile::TempDir::new().unwrap());
    std::fs::create_dir(place.path("kept")).unwrap();
    let collateral = capture.collateral.to_json();
    place.write("kept/document", &capture.document);
    place.write("kept/collateral.json", &collateral);
    let manifest = json!({
        "format": "cvmctl-evidence",
        "version": 1,
        "tool": "a test",
        "time": "2026-02-25T06:13:20Z",
        "url": null,
        "address": null,
        "attestation_type": "azure-tdx",
        "binding": {"protocol": "ratls", "exporter": "00".repeat(32)},
        "overlooked": {
            "accept_tcb_status": [],
            "override_azurev6_tcbinfo": false,
            "no_expectations": true,
        },
        "files": {
            "document": hex(&Sha256::digest(&capture.document)),
            "certificate": null,
            "collateral": hex(&Sha256::digest(&collateral)),
            "references": null,
        },
        "verdict": {"outcome": "trusted", "summary": ""},
    });
    place.write("kept/manifest.json", manifest.to_string());
    place
        .run(&["verify", "kept"])
        .says(2, "repeat --no-expectations");
    let own = ["verify", "kept", "--no-expectations"];
    let run = place.run(&own);
    run.says(
        2,
        "a genuine TDX platform, certified by Intel and not revoked, as of 2026-02-25T06:13:20Z",
    );
    run.says(2, "the vTPM key is certified by Microsoft");
    run.says(2, "whose TLS key it is about: no certificate was kept");
    run.says(2, "but whose TLS key it is about cannot be told");
    run.says(2, "TCB status   UpToDate, accepted");
    assert!(!run.stdout.contains("TEST ROOTS"));
    let document = place.run(&[&own[..], &["--json"]].concat()).json();
    let pcr7 = document["measurements"]["7"].as_str().unwrap();
    assert_eq!(&pcr7[..16], "124daf47b4d67179");
    assert_eq!(document["has_ak_certificate"], true);

    let mut other = tee();
    other.pcrs.insert(4, [4; 32]);
    place.write("other.json", azure_values(&other, "other").to_string());
    place
        .run(&["verify", "kept", "--expected-measurements", "other.json"])
        .says(1, "PCR  4  DIFFERS");
    forge(&place, "document", |document| {
        let text = String::from_utf8(document).unwrap();
        text.replacen("\"signature\":[", "\"signature\":[0,", 1)
            .into_bytes()
    });
    place
        .run(&["verify", "kept"])
        .says(1, "evidence is refused");
}
