//! `cvmctl get` as a user runs it, against nodes of every kind: what it prints, what it writes, and
//! its exit codes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic in a test is a failing test"
)]

#[path = "attested/mod.rs"]
mod attested;
#[path = "../../measurements/tests/support/mod.rs"]
mod support;

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::SystemTime;

use attestation::tls::{Http, Identity};
use attestation::{Binding, EvidenceKind};
use attested::{
    CERTIFICATE, FINGERPRINT, Place, ROOTS, Script, Speaks, attested as node_of, azure_node,
    azure_values, hex, identity, normalised, serve, tee,
};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use testkit::tee::Tee;
use testkit::tee::fault::Fault;
use testkit::tee::pki::PkiFault;
use testkit::tee::tcb::TcbFault;
use testkit::tee::tpm_quote::TpmFault;

const EXPECTED: [&str; 2] = ["--expected-measurements", "expected.json"];

#[test]
fn a_trusted_node_is_asked_and_its_answer_alone_is_on_standard_output() {
    let tee = tee();
    let (place, node) = (Place::of(&tee), azure_node(&tee));
    let run = place.get(&node, &EXPECTED);
    run.says(0, "trusted: the machine runs node-1.vhd\n");
    assert_eq!(run.stdout, CERTIFICATE);
    assert_eq!(node.requests(), 1);
    run.says(0, &format!("certificate SHA-256 {FINGERPRINT}\n"));
    run.says(0, "of          node.example, 192.0.2.1\n");
    run.says(0, "to 2036-09-30T04:52:36Z");
}

#[test]
fn text_of_a_trusted_node() {
    let tee = tee();
    let (place, node) = (Place::of(&tee), azure_node(&tee));
    let run = place.get(&node, &EXPECTED);
    assert_eq!(run.code, 0, "{run:?}");
    let value = |pcr: u8| hex(&tee.pcrs[&pcr]);
    let expected = include_str!("attested/trusted.txt")
        .replace("{4}", &value(4))
        .replace("{9}", &value(9))
        .replace("{11}", &value(11))
        .replace("{0}", &"0".repeat(64))
        .replace("{fingerprint}", FINGERPRINT);
    assert_eq!(without_size(&normalised(&run.stderr, &node)), expected);
}

#[test]
fn text_of_a_node_that_is_not_trusted() {
    let tee = Tee::with_fault(1, SystemTime::now(), TcbFault::TdxHalfOutOfDate);
    let (place, node) = (Place::of(&tee), azure_node(&tee));
    let mut other = tee.clone();
    other.pcrs.insert(11, [0x11; 32]);
    place.write(
        "expected.json",
        azure_values(&other, "other.vhd").to_string(),
    );
    let run = place.get(&node, &EXPECTED);
    assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{run:?}");
    let value = |pcr: u8| hex(&tee.pcrs[&pcr]);
    let expected = include_str!("attested/not-trusted.txt")
        .replace("{4}", &value(4))
        .replace("{9}", &value(9))
        .replace("{11}", &value(11))
        .replace("{0}", &"0".repeat(64))
        .replace("{other}", &"11".repeat(32));
    assert_eq!(without_size(&normalised(&run.stderr, &node)), expected);
    assert_eq!(node.requests(), 0);
}

/// Signatures differ in length from run to run.
fn without_size(text: &str) -> String {
    let line = |line: &str| match line.starts_with("evidence ") {
        true => {
            let words: Vec<&str> = line
                .split(' ')
                .filter(|w| w.parse::<u32>().is_err())
                .collect();
            words.join(" ")
        }
        false => line.to_owned(),
    };
    text.lines().map(|text| line(text) + "\n").collect()
}

#[test]
fn both_protocols_both_kinds_and_both_versions_of_http() {
    let tee = tee();
    let place = Place::of(&tee);
    for kind in EvidenceKind::ALL {
        for http in [Http::Http1, Http::Http2] {
            let node = serve(Speaks::Attested {
                script: Some(Script::of(&tee, kind)),
                http: vec![http],
                status: 200,
                body: CERTIFICATE.into(),
            });
            for protocol in ["atls", "ratls"] {
                let own = ["--protocol", protocol, "--no-expectations", "--json"];
                let document = place.get(&node, &own).json();
                assert_eq!(document["outcome"], "trusted", "{document:#}");
                assert_eq!(document["protocol"], protocol);
                assert_eq!(document["attestation_type"], kind.name());
                assert_eq!(document["answer"]["text"], CERTIFICATE);
            }
        }
    }
}

#[test]
fn a_node_without_atls_is_asked_by_the_other_protocol() {
    // Refuses aTLS as a stock server does: it has no evidence for it.
    let tee = tee();
    let machine = tee.clone();
    let script = Script::new(EvidenceKind::DcapTdx, move |binding| {
        match binding.user_data() {
            // Cannot even be made, so that the handshake fails.
            Some(_) => b"none".to_vec(),
            None => machine.document(EvidenceKind::DcapTdx, binding),
        }
    });
    let (place, node) = (Place::of(&tee), node_of(script));
    let run = place.get(&node, &["--no-expectations", "--json"]);
    assert_eq!(run.json()["protocol"], "ratls", "{run:?}");
    place
        .get(&node, &["--no-expectations", "--protocol", "atls"])
        .says(2, "connect by aTLS");
}

#[test]
fn the_test_root_is_trusted_by_nobody_who_does_not_say_so() {
    let tee = tee();
    let (place, node) = (Place::of(&tee), azure_node(&tee));
    let url = node.url();
    let run = place.run(&[
        "get",
        &url,
        "--collateral",
        "collateral.json",
        "--no-expectations",
    ]);
    run.says(1, "evidence is refused");
    assert_eq!((run.stdout.as_str(), node.requests()), ("", 0));

    // Nor is the one for keys of vTPMs, which only one of the protocols has certificates of.
    let root = ["--danger-trust-root", "root.der", "--protocol", "ratls"];
    let own = [
        "get",
        &url,
        "--collateral",
        "collateral.json",
        "--no-expectations",
    ];
    let run = place.run(&[&own[..], &root].concat());
    run.says(1, "the AK's certificate cannot be trusted");

    let other = Tee::new(2, SystemTime::now());
    place.write("root.der", other.root());
    place.get(&node, &EXPECTED).says(1, "evidence is refused");
    assert_eq!(node.requests(), 0);
}

#[test]
fn another_image_is_1_and_named_register_by_register() {
    let tee = tee();
    let (place, node) = (Place::of(&tee), azure_node(&tee));
    for register in [4, 9, 11] {
        let mut other = tee.clone();
        other.pcrs.insert(register, [0xab; 32]);
        place.write("expected.json", azure_values(&other, "other").to_string());
        let run = place.get(&node, &[&EXPECTED[..], &["--json"]].concat());
        assert_eq!(run.code, 1, "{run:?}");
        let document = run.json();
        assert_eq!(document["outcome"], "not-trusted");
        assert_eq!(document["matched"], Value::Null);
        assert_eq!(document["answer"], Value::Null);
        let registers = document["compared"][0]["registers"]
            .as_array()
            .unwrap()
            .clone();
        let differing: Vec<_> = registers.iter().filter(|r| r["equal"] == false).collect();
        assert_eq!(differing.len(), 1);
        assert_eq!(differing[0]["register"], register);
        assert_eq!(differing[0]["expected"], json!(["ab".repeat(32)]));
        assert_eq!(differing[0]["actual"], hex(&tee.pcrs[&register]));
    }
    assert_eq!(node.requests(), 0);
}

#[test]
fn what_comes_from_beside_the_image_is_seen_although_no_list_names_it() {
    for register in [12, 13, 15] {
        let mut tee = tee();
        tee.pcrs.insert(register, [1; 32]);
        let (place, node) = (Place::of(&tee), azure_node(&tee));
        place
            .get(&node, &EXPECTED)
            .says(1, &format!("PCR {register}  DIFFERS"));
        assert_eq!(node.requests(), 0);
    }
}

#[test]
fn one_of_several_expected_images_is_enough_and_named() {
    let tee = tee();
    let (place, node) = (Place::of(&tee), azure_node(&tee));
    let mut old = tee.clone();
    old.pcrs.insert(4, [4; 32]);
    place.write("old.json", azure_values(&old, "old").to_string());
    let both = ["--expected-measurements", "old.json"];
    let run = place.get(&node, &[&both[..], &EXPECTED, &["--json"]].concat());
    assert_eq!(run.json()["matched"], "node-1.vhd");
    assert_eq!(run.json()["compared"].as_array().unwrap().len(), 2);
    place
        .get(&node, &both)
        .says(1, "the machine runs no accepted image; old is nearest");
}

#[test]
fn images_are_measured() {
    let mut tee = tee();
    let image = support::uki();
    let prediction = support::predict(image.clone()).unwrap();
    for (register, predicted) in &prediction.registers {
        let value = predicted.value.sha256.to_string();
        let bytes = (0..32).map(|at| u8::from_str_radix(&value[at * 2..][..2], 16).unwrap());
        let bytes: Vec<u8> = bytes.collect();
        tee.pcrs.insert(*register, bytes.try_into().unwrap());
    }
    let (place, node) = (Place::of(&tee), azure_node(&tee));
    place.write("node.raw", support::disk(&image));
    place.write("node.vhd", support::vhd(support::disk(&image)));
    place.write("node.efi", &image);
    for name in ["node.raw", "node.vhd", "node.efi"] {
        for flag in ["--image", "--expected-measurements"] {
            let run = place.get(&node, &[flag, name]);
            run.says(0, &format!("trusted: the machine runs {name}\n"));
        }
    }
    let mut sections = support::uki_sections();
    sections.push(support::section(".uname", "9.9.9"));
    place.write("other.efi", support::pe(&sections, &[], &[]));
    place
        .get(&node, &["--image", "other.efi"])
        .says(1, "PCR  4  DIFFERS");
    place
        .get(&node, &["--image", "root.der"])
        .says(2, "find out what root.der boots");
    place.get(&node, &["--image", "missing"]).says(2, "missing");

    let bare = node_of(Script::of(&tee, EvidenceKind::DcapTdx));
    place
        .get(&bare, &["--image", "node.raw"])
        .says(1, "the policy names no image for dcap-tdx machines");
}

#[test]
fn out_of_date_platforms_are_accepted_by_name_only() {
    let cases = [
        (TcbFault::TdxHalfOutOfDate, "OutOfDate", "TDX module"),
        (TcbFault::SgxHalfOutOfDate, "OutOfDate", "SGX TCB"),
        (TcbFault::ConfigurationNeeded, "ConfigurationNeeded", ""),
    ];
    for (fault, status, part) in cases {
        let tee = Tee::with_fault(1, SystemTime::now(), fault);
        let (place, node) = (Place::of(&tee), azure_node(&tee));
        let run = place.get(&node, &[&EXPECTED[..], &["--json"]].concat());
        assert_eq!(run.code, 1, "{run:?}");
        let tcb = &run.json()["tcb"];
        assert_eq!(
            (&tcb["status"], &tcb["accepted"]),
            (&json!(status), &json!(false))
        );
        let parts: Vec<&str> = [part].into_iter().filter(|part| !part.is_empty()).collect();
        assert_eq!(tcb["short_parts"], json!(parts), "{tcb:#}");
        assert_eq!(node.requests(), 0);

        let other = ["--accept-tcb-status", "SWHardeningNeeded"];
        place
            .get(&node, &[&EXPECTED[..], &other].concat())
            .says(1, "NOT ACCEPTED");
        let named = ["--accept-tcb-status", status];
        let run = place.get(&node, &[&EXPECTED[..], &named].concat());
        run.says(0, "WARNING: TCB NOT UP TO DATE");
    }
    let place = Place::of(&tee());
    let node = azure_node(&tee());
    place
        .get(
            &node,
            &["--accept-tcb-status", "Revoked", "--no-expectations"],
        )
        .says(2, "expected a TCB status");
    let without = Tee::with_fault(1, SystemTime::now(), TcbFault::TdxHalfOutOfDate);
    let node = azure_node(&without);
    Place::of(&without)
        .get(&node, &["--no-expectations"])
        .says(1, "OutOfDate, which is not accepted");
}

#[test]
fn the_override_is_for_azure_v6_only_and_said() {
    let tee = Tee::with_fault(1, SystemTime::now(), TcbFault::AzureV6SeamLoader);
    let (place, node) = (Place::of(&tee), azure_node(&tee));
    place
        .get(&node, &EXPECTED)
        .says(1, "no TCB level covers the platform");
    let flag = ["--override-azurev6-tcbinfo"];
    let run = place.get(&node, &[&EXPECTED[..], &flag].concat());
    run.says(0, "WARNING: OVERRIDE USED");
    let url = node.url();
    let trust = [
        "get",
        &url,
        "--danger-trust-root",
        "root.der",
        "--collateral",
        "collateral.json",
    ];
    let arguments = [&trust[..], &EXPECTED].concat();
    for (value, code) in [("true", 0), ("1", 0), ("false", 1), ("0", 1), ("maybe", 2)] {
        let run = place.run_with(&arguments, &[("OVERRIDE_AZUREV6_TCBINFO", value)]);
        assert_eq!(run.code, code, "{value}: {run:?}");
    }
    let bare = node_of(Script::of(&tee, EvidenceKind::DcapTdx));
    place
        .get(&bare, &[&["--no-expectations"][..], &flag].concat())
        .says(1, "no TCB level covers the platform");
}

#[test]
fn evidence_of_another_connection_is_refused() {
    let tee = tee();
    let place = Place::of(&tee);
    for kind in EvidenceKind::ALL {
        let machine = tee.clone();
        let node = node_of(Script::new(kind, move |binding| {
            let other = match binding.user_data() {
                Some(user_data) => Binding::atls_user_data(user_data, &[7; 32]),
                None => Binding::ratls_input_data([7; 64]),
            };
            machine.document(kind, &other)
        }));
        for protocol in ["atls", "ratls"] {
            let run = place.get(&node, &["--protocol", protocol, "--no-expectations"]);
            run.says(1, "evidence is refused");
            assert_eq!((run.stdout.as_str(), node.requests()), ("", 0));
        }
        // A refusal is not tried again by the other protocol.
        place.get(&node, &["--no-expectations"]).says(1, "by aTLS");
    }
}

#[test]
fn tampered_evidence_is_refused() {
    let tee = tee();
    let place = Place::of(&tee);
    let faults = [
        Tee::with_fault(1, SystemTime::now(), TpmFault::ALL[0]),
        Tee::with_fault(
            1,
            SystemTime::now(),
            testkit::tee::quote::QuoteFault::ALL[0],
        ),
        Tee::with_fault(1, SystemTime::now(), testkit::tee::td::TdFault::Debug),
    ];
    for tee in faults {
        let node = azure_node(&tee);
        let run = place.get(&node, &EXPECTED);
        run.says(1, "NOT TRUSTED: the azure-tdx evidence is refused");
        assert_eq!(node.requests(), 0);
    }
    let machine = tee.clone();
    let node = node_of(Script::new(EvidenceKind::DcapTdx, move |binding| {
        let user_data = binding.user_data().unwrap_or_default();
        let mut evidence = machine.dcap_atls(user_data, binding.nonce().unwrap_or_default());
        let at = evidence.td_quote.len() / 8;
        evidence.td_quote[at] ^= 1;
        evidence.atls_document()
    }));
    place
        .get(&node, &["--no-expectations"])
        .says(1, "the dcap-tdx evidence is refused");
}

#[test]
fn the_kind_of_evidence_can_be_demanded() {
    let tee = tee();
    let (place, node) = (Place::of(&tee), azure_node(&tee));
    let own = [&EXPECTED[..], &["--attestation-type", "azure-tdx"]].concat();
    place.get(&node, &own).says(0, "trusted");
    let own = ["--no-expectations", "--attestation-type", "dcap-tdx"];
    place
        .get(&node, &own)
        .says(1, "expected dcap-tdx evidence, got azure-tdx");
    assert_eq!(node.requests(), 1);
}

#[test]
fn nodes_that_show_nothing_are_2() {
    let tee = tee();
    let place = Place::of(&tee);
    let unattested = Speaks::Attested {
        script: None,
        http: vec![Http::Http1],
        status: 200,
        body: CERTIFICATE.into(),
    };
    let hello: Speaks = Speaks::Plain(Arc::new(|_| b"HTTP/1.1 200 OK\r\n\r\n".to_vec()));
    let only_tls = Speaks::Tls(Arc::new(identity()), Arc::new(|_| Vec::new()));
    for speaks in [unattested, only_tls, Speaks::Nothing] {
        let node = serve(speaks);
        for protocol in ["auto", "atls", "ratls"] {
            let own = [&EXPECTED[..], &["--protocol", protocol]].concat();
            let run = place.get(&node, &own);
            assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{run:?}");
        }
        let run = place.get(&node, &EXPECTED);
        run.says(2, "the node shows no evidence");
        assert_eq!(node.requests(), 0);
    }
    for speaks in [hello, Speaks::Silence] {
        let node = serve(speaks);
        let own = [&EXPECTED[..], &["--timeout", "1"]].concat();
        place
            .get(&node, &own)
            .says(2, "has not shown evidence within 1s");
    }
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/cert", closed.local_addr().unwrap());
    drop(closed);
    place
        .run(&["get", &url, "--no-expectations"])
        .says(2, "connect to 127.0.0.1");
}

#[test]
fn a_trusted_node_that_does_not_answer_is_2() {
    let tee = tee();
    let place = Place::of(&tee);
    let script = Script::of(&tee, EvidenceKind::AzureTdx);
    place.write("answer", "as it was");
    let own = [
        &EXPECTED[..],
        &["--out-response", "answer", "--timeout", "2"],
    ]
    .concat();
    for status in [500, 404, 301, 403] {
        let node = serve(Speaks::Attested {
            script: Some(script.clone()),
            http: vec![Http::Http1],
            status,
            body: b"no".to_vec(),
        });
        let run = place.get(&node, &own);
        run.says(2, &format!("expected status 200, got {status}"));
        let document = place.get(&node, &[&own[..], &["--json"]].concat()).json();
        assert_eq!(document["outcome"], "undecided");
    }
    let node = serve(Speaks::AttestedSilence(script));
    place.get(&node, &own).says(2, "no answer within 2s");
    assert_eq!(place.read("answer"), b"as it was");
}

#[test]
fn files_are_written_whole_or_stay_as_they_were() {
    let tee = tee();
    let (place, node) = (Place::of(&tee), azure_node(&tee));
    let mut other = tee.clone();
    other.pcrs.insert(4, [4; 32]);
    place.write("other.json", azure_values(&other, "other").to_string());
    place.write("answer", "as it was");
    let out = [
        "--out-response",
        "answer",
        "--out-measurements",
        "registers.json",
    ];
    let wrong = ["--expected-measurements", "other.json"];
    place
        .get(&node, &[&out[..], &wrong].concat())
        .says(1, "NOT TRUSTED");
    assert_eq!(place.read("answer"), b"as it was");
    // What a genuine machine has is known even if it is not what was expected.
    let registers: Value = serde_json::from_slice(&place.read("registers.json")).unwrap();
    assert_eq!(registers["4"], hex(&tee.pcrs[&4]));
    assert_eq!(registers.as_object().unwrap().len(), 24);

    let run = place.get(&node, &[&out[..], &EXPECTED].concat());
    run.says(0, "trusted");
    assert_eq!(
        (run.stdout.as_str(), place.read("answer")),
        ("", CERTIFICATE.into())
    );
    let text = String::from_utf8(place.read("registers.json")).unwrap();
    assert!(text.starts_with("{\n    \"0\": \""), "{text}");

    let document = place
        .get(&node, &[&out[..], &EXPECTED, &["--json"]].concat())
        .json();
    assert_eq!(document["answer"]["text"], Value::Null);
    assert_eq!(document["answer"]["size"], CERTIFICATE.len());
    let nowhere = ["--out-response", "no/such/file"];
    place
        .get(&node, &[&nowhere[..], &EXPECTED].concat())
        .says(2, "write no/such/file");
}

#[test]
fn without_collateral_nothing_can_be_told() {
    let tee = tee();
    let (place, node) = (Place::of(&tee), azure_node(&tee));
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let pccs = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let url = node.url();
    let own = [
        "get",
        &url,
        "--danger-trust-root",
        "root.der",
        "--no-expectations",
    ];
    place
        .run(&[&own[..], &["--pccs-url", &pccs]].concat())
        .says(
            2,
            "could not tell: the azure-tdx evidence cannot be verified",
        );
    let missing = ["--collateral", "missing.json"];
    place
        .run(&[&own[..], &missing].concat())
        .says(2, "open missing.json");
    place.write("collateral.json", "{}");
    place
        .get(&node, &EXPECTED)
        .says(2, "read the collateral in collateral.json");
    let old = SystemTime::now() - std::time::Duration::from_secs(100 * 86_400);
    place.write("collateral.json", Tee::new(1, old).collateral().to_json());
    place
        .get(&node, &EXPECTED)
        .says(2, "of the collateral is valid from");
    assert_eq!(node.requests(), 0);
}

#[test]
fn collateral_is_fetched_and_kept() {
    let tee = tee();
    let (place, node) = (Place::of(&tee), azure_node(&tee));
    let collateral = tee.collateral();
    let pccs = serve(Speaks::Plain(Arc::new(move |target| {
        let Some(response) = collateral.response(target) else {
            return b"HTTP/1.1 404 -\r\ncontent-length: 0\r\n\r\n".to_vec();
        };
        let mut head = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n",
            response.body.len()
        );
        if let Some((name, value)) = &response.issuer_chain {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        [head.as_bytes(), b"\r\n", &response.body].concat()
    })));
    let pccs = format!("http://{}", pccs.address);
    let url = node.url();
    let own = [
        "get",
        &url,
        "--danger-trust-root",
        "root.der",
        "--cache-dir",
        "cache",
    ];
    let asking = [&own[..], &EXPECTED, &["--pccs-url", &pccs]].concat();
    let run = place.run(&asking);
    run.says(0, &format!(", from {pccs}\n"));
    assert!(!run.stderr.contains("whether Intel has judged anew"));
    assert_eq!(std::fs::read_dir(place.path("cache")).unwrap().count(), 1);
    // Nobody is asked any more.
    let kept = [&own[..], &EXPECTED, &["--pccs-url", "http://127.0.0.1:1"]].concat();
    let run = place.run(&kept);
    run.says(0, ": its collateral is from cache, fetched at ");
    run.says(0, ", from cache, fetched at ");
    let uncached: Vec<&str> = own.iter().copied().take(4).collect();
    let uncached = [&uncached[..], &EXPECTED, &["--pccs-url", &pccs]].concat();
    let run = place.run(&uncached);
    run.says(0, &format!(", from {pccs}\n"));
    assert!(!run.stderr.contains("whether Intel has judged anew"));
}

#[test]
fn bad_collateral_of_our_own_is_not_the_machines_fault() {
    let (place, node) = (Place::of(&tee()), azure_node(&tee()));
    let faulty = |fault: Fault| Tee::with_fault(1, SystemTime::now(), fault).collateral();
    let cases = [
        (
            TcbFault::TcbInfoOfOtherKey.into(),
            "signature of the TCB info",
        ),
        (TcbFault::TcbInfoAltered.into(), "signature of the TCB info"),
        (PkiFault::TcbSignerOfOtherRoot.into(), "not signed by"),
        (PkiFault::TcbSignerExpired.into(), "signer is not valid at"),
    ];
    for (fault, reason) in cases {
        place.write("collateral.json", faulty(fault).to_json());
        let run = place.get(&node, &EXPECTED);
        run.says(
            2,
            "could not tell: the azure-tdx evidence cannot be verified",
        );
        run.says(2, reason);
    }
    let other = Tee::new(2, SystemTime::now()).collateral();
    place.write("collateral.json", other.to_json());
    place.get(&node, &EXPECTED).says(2, "not signed by");
    assert_eq!(node.requests(), 0);
}

#[test]
fn a_list_that_leaves_the_programs_open_says_nothing() {
    let tee = tee();
    let (place, node) = (Place::of(&tee), azure_node(&tee));
    let all = azure_values(&tee, "whole");
    let list = |without: &[&str], zero: Option<&str>| {
        let mut list = all.clone();
        let registers = list[0]["measurements"].as_object_mut().unwrap();
        registers.retain(|name, _| !without.contains(&name.as_str()));
        if let Some(register) = zero {
            let any = json!({"expected_any": ["00".repeat(32), "11".repeat(32)]});
            registers.insert(register.to_owned(), any);
        }
        list
    };
    let get = |values: &Value| {
        place.write("expected.json", values.to_string());
        place.get(&node, &EXPECTED)
    };
    let run = get(&list(&["4"], None));
    run.says(
        2,
        "says nothing about what it runs: expected a value of PCR 4",
    );
    run.says(2, "WARNING: PCR 4 WAS NOT COMPARED");
    assert_eq!((run.stdout.as_str(), node.requests()), ("", 0));
    for (register, name) in [("9", "PCR 9"), ("11", "PCR 11")] {
        get(&list(&[register], None)).says(0, &format!("WARNING: {name} WAS NOT COMPARED"));
    }
    for register in ["12", "13", "15"] {
        let run = get(&list(&[], Some(register)));
        run.says(0, &format!("WARNING: PCR {register} NEED NOT BE ZERO"));
    }
    // What is said is said about the image that decides, in whichever order.
    let mut weak = list(&["4"], None);
    weak[0]["measurement_id"] = json!("weak");
    let both = json!([weak[0], all[0]]);
    let run = get(&both);
    run.says(0, "trusted: the machine runs whole\n");
    assert!(!run.stderr.contains("NOT COMPARED"), "{run:?}");
    let run = get(&all);
    assert!(!run.stderr.contains("NOT COMPARED"), "{run:?}");
    assert!(!run.stderr.contains("NEED NOT"), "{run:?}");
}

#[test]
fn what_is_kept_says_how_it_ended() {
    let tee = tee();
    let place = Place::of(&tee);
    let verdict = |directory: &str| {
        let manifest = place.read(&format!("{directory}/manifest.json"));
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        manifest["verdict"]["outcome"].clone()
    };
    let node = azure_node(&tee);
    let silent = serve(Speaks::AttestedSilence(Script::of(
        &tee,
        EvidenceKind::AzureTdx,
    )));
    let save = |node, own: &[&str]| place.get(node, &[&EXPECTED[..], own].concat());
    save(&node, &["--save", "good"]).says(0, "trusted");
    assert_eq!(verdict("good"), "trusted");
    save(&silent, &["--save", "silent", "--timeout", "2"]).says(2, "no answer within 2s");
    assert_eq!(verdict("silent"), "undecided");
    let nowhere = ["--save", "lost", "--out-response", "no/such/file"];
    save(&node, &nowhere).says(2, "write no/such/file");
    assert_eq!(verdict("lost"), "undecided");
}

/// Debian's curl has a directory of public CAs that counts beside `--cacert`. Whoever has a
/// certificate by one of them must not pass.
#[test]
fn the_documented_curl_trusts_the_certificate_and_no_public_authority() {
    let place = Place(tempfile::TempDir::new().unwrap());
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(DnType::CommonName, "A public authority");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["node.example".to_owned()]).unwrap();
    let impostor = Identity {
        chain: vec![params.signed_by(&key, &authority).unwrap().der().clone()],
        key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
    };
    let key = KeyPair::generate().unwrap();
    let own = params.self_signed(&key).unwrap();
    place.write("node.pem", pem_of(own.der()));
    let own = Identity {
        chain: vec![own.der().clone()],
        key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
    };
    // As OpenSSL finds certificates: by the hash of their name.
    place.write("authority.pem", pem_of(authority.der()));
    let hash = Command::new("openssl")
        .args(["x509", "-noout", "-hash", "-in", "authority.pem"])
        .current_dir(place.0.path())
        .output()
        .expect("openssl is needed");
    let hash = String::from_utf8(hash.stdout).unwrap();
    std::fs::create_dir(place.path("authorities")).unwrap();
    place.write(
        &format!("authorities/{}.0", hash.trim()),
        place.read("authority.pem"),
    );

    let guide = include_str!("../../docs/orderflow.md");
    let mut lines = guide.lines().filter_map(|line| line.strip_prefix("curl "));
    let documented = lines.next().expect("a line of curl");
    assert_eq!(lines.next(), None);
    let (documented, _) = documented.split_once(" https://").unwrap();
    let documented: Vec<&str> = documented.split(' ').collect();
    let [own, impostor] = [own, impostor]
        .map(|identity| serve(Speaks::Tls(Arc::new(identity), Arc::new(|_| ok("hello")))).address);
    let curl = |arguments: &[&str], address: SocketAddr| {
        let to = format!("node.example:443:{address}");
        Command::new("curl")
            .args([
                "--disable",
                "--noproxy",
                "*",
                "--silent",
                "--max-time",
                "10",
            ])
            .args(["--connect-to", &to])
            .args(arguments)
            .arg("https://node.example/")
            .env("SSL_CERT_DIR", "authorities")
            .env("SSL_CERT_FILE", "authority.pem")
            .env("CURL_CA_BUNDLE", "authority.pem")
            .current_dir(place.0.path())
            .output()
            .expect("curl is needed")
    };
    let answered = curl(&documented, own);
    assert_eq!(answered.stdout, b"hello", "{answered:?}");
    let refused = curl(&documented, impostor);
    assert_eq!(refused.status.code(), Some(60), "{refused:?}");
    assert_eq!(refused.stdout, b"");
    // So it is the directory that makes the difference, which is why it is named.
    let system = ["--cacert", "node.pem", "--capath", "authorities"];
    assert_eq!(curl(&system, impostor).stdout, b"hello");
}

#[test]
fn without_expectations_nothing_is_asked_unless_that_is_meant() {
    let tee = tee();
    let (place, node) = (Place::of(&tee), azure_node(&tee));
    let run = place.get(&node, &[]);
    run.says(
        2,
        "could not tell: a genuine machine, but NOTHING WAS COMPARED",
    );
    assert_eq!((run.stdout.as_str(), node.requests()), ("", 0));
    let run = place.get(&node, &["--no-expectations"]);
    run.says(0, "WARNING: NOTHING WAS COMPARED");
    assert_eq!(run.stdout, CERTIFICATE);
    let both = [&EXPECTED[..], &["--no-expectations"]].concat();
    place.get(&node, &both).says(2, "cannot be used with");
}

#[test]
fn expectations_that_are_none_are_2_before_anybody_is_asked() {
    let tee = tee();
    let (place, node) = (Place::of(&tee), azure_node(&tee));
    let value = hex(&tee.pcrs[&4]);
    let list = |registers: &str| {
        format!(
            r#"[{{"measurement_id":"a","attestation_type":"azure-tdx","measurements":{{{registers}}}}}]"#
        )
    };
    let cases = [
        (String::new(), "not JSON"),
        ("[]".to_owned(), "expected at least one entry"),
        ("{}".to_owned(), "expected"),
        (list(""), "at least one register"),
        (
            list(&format!(r#""4":"{value}","4":"{value}""#)),
            "the key is there twice",
        ),
        (
            list(&format!(r#""4":"{value}","pcr4":"{value}""#)),
            "the key is there twice",
        ),
        (list(r#""4":{"expected_any":[]}"#), "at least one value"),
        (list(r#""4":"00""#), "not a value of"),
        (
            list(&format!(r#""99":"{value}""#)),
            "no register of this name",
        ),
    ];
    for (text, reason) in cases {
        place.write("wrong.json", &text);
        let run = place.get(&node, &["--expected-measurements", "wrong.json"]);
        run.says(2, reason);
        let json = place.get(&node, &["--expected-measurements", "wrong.json", "--json"]);
        assert_eq!(json.json()["outcome"], "undecided");
    }
    place
        .get(&node, &["--expected-measurements", "missing"])
        .says(2, "open missing");
    assert_eq!(node.requests(), 0);
}

#[test]
fn expectations_are_fetched_from_who_can_be_trusted_with_them() {
    let tee = tee();
    let (place, node) = (Place::of(&tee), azure_node(&tee));
    let values = azure_values(&tee, "published").to_string();
    let service = serve(Speaks::Plain(Arc::new(move |target| {
        let (status, body) = match target {
            "/values.json" => (200, values.clone()),
            _ => (404, "[]".to_owned()),
        };
        let length = body.len();
        format!("HTTP/1.1 {status} -\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
    })));
    let at = |path: &str| format!("http://{}{path}", service.address);
    let run = place.get(&node, &["--expected-measurements", &at("/values.json")]);
    run.says(0, "trusted: the machine runs published");
    place
        .get(&node, &["--expected-measurements", &at("/missing")])
        .says(2, "expected status 200, got 404");
    // By its name it could be anybody; and nothing is sent to another machine.
    for url in [
        "http://192.0.2.1/values.json",
        "http://values.example/values.json",
    ] {
        place
            .get(&node, &["--expected-measurements", url])
            .says(2, "anybody on the way could change what is expected");
    }
    let known = Arc::new(identity());
    place.write("service.pem", pem_of(&known.chain[0]));
    let values = azure_values(&tee, "over https").to_string();
    let service = serve(Speaks::Tls(known, Arc::new(move |_| ok(&values))));
    let url = format!("https://{}/values.json", service.address);
    let flag = ["--expected-measurements", &url];
    place.get(&node, &flag).says(2, "set up TLS");
    let node_url = node.url();
    let own = ["get", &node_url, "--collateral", "collateral.json"];
    let run = place.run_with(
        &[&own[..], &ROOTS, &flag].concat(),
        &[("SSL_CERT_FILE", "service.pem")],
    );
    run.says(0, "trusted: the machine runs over https");
}

#[test]
fn a_service_that_says_nothing_is_not_waited_for() {
    let tee = tee();
    let (place, node) = (Place::of(&tee), azure_node(&tee));
    let url = format!("http://{}/values.json", serve(Speaks::Silence).address);
    let flags = ["--expected-measurements", &url, "--timeout", "1"];
    place.get(&node, &flags).says(2, "no answer within 1s");
}

#[test]
fn bare_machines_are_compared_with_what_is_expected_of_them() {
    let tee = tee();
    let place = Place::of(&tee);
    let node = node_of(Script::of(&tee, EvidenceKind::DcapTdx));
    let own = ["--no-expectations", "--out-measurements", "registers.json"];
    place.get(&node, &own).says(0, "trusted");
    let registers: Value = serde_json::from_slice(&place.read("registers.json")).unwrap();
    let expect = |kind: &str, names: &[(&str, &str)]| {
        let mut expected = serde_json::Map::new();
        for (name, index) in names {
            expected.insert((*name).to_owned(), registers[*index].clone());
        }
        let list =
            json!({"measurement_id": "bare", "attestation_type": kind, "measurements": expected});
        place.write("expected.json", list.to_string());
        place.get(&node, &EXPECTED)
    };
    let all = [("mrtd", "0"), ("rtmr1", "2"), ("rtmr2", "3")];
    for kind in ["dcap-tdx", "gcp-tdx", "qemu-tdx"] {
        let run = expect(kind, &all);
        run.says(0, "trusted: the machine runs bare");
        run.says(0, "not verified RTMR0, RTMR3: any value would do");
        assert!(!run.stderr.contains("MRTD WAS NOT COMPARED"), "{run:?}");
    }
    expect("dcap-tdx", &all[1..]).says(0, "WARNING: MRTD WAS NOT COMPARED");
    expect("dcap-tdx", &all[..2]).says(0, "WARNING: RTMR2 WAS NOT COMPARED");
    let open = [("mrtd", "0"), ("rtmr2", "3")];
    expect("dcap-tdx", &open).says(2, "expected a value of RTMR1");
    expect("dcap-tdx", &[("mrtd", "2")]).says(1, "MRTD  DIFFERS");
}

fn ok(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// A certificate in PEM.
fn pem_of(der: &[u8]) -> String {
    let lines: Vec<String> = BASE64_STANDARD
        .encode(der)
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8(line.to_vec()).unwrap())
        .collect();
    let lines = lines.join("\n");
    format!("-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n")
}

#[test]
fn usage_is_checked() {
    let tee = tee();
    let place = Place::of(&tee);
    let node = azure_node(&tee);
    let own = ["--no-expectations", "--collateral", "collateral.json"];
    let root = ["--danger-trust-root", "root.der"];
    for (wrong, reason) in [
        (&["get"][..], "required"),
        (
            &["get", "http://127.0.0.1/cert"],
            "expected an address such as https://",
        ),
        (&["get", "https://user@127.0.0.1/cert"], "without a user"),
        (
            &["get", "127.0.0.1:7936"],
            "expected an address such as https://",
        ),
        (&["get", "https://127.0.0.1/", "--timeout", "0"], "0"),
        (
            &[
                "get",
                "https://127.0.0.1/",
                "--danger-trust-ak-root",
                "root.der",
            ],
            "--danger-trust-root",
        ),
        (
            &[
                "get",
                "https://127.0.0.1/",
                "--pccs-url",
                "http://127.0.0.1:1",
            ],
            "cannot be used with",
        ),
    ] {
        let run = place.run(&[wrong, &own].concat());
        run.says(2, reason);
    }
    let url = node.url();
    let flags = ["get", "--addr", &url, "--log-debug"];
    let run = place.run(&[&flags[..], &own, &root].concat());
    run.says(0, "trusted");
    assert_eq!(run.stdout, CERTIFICATE);
}
