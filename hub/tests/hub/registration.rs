//! Registration of credentials.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair, SigningKey};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::support::{Hub, Kind, LAX, Place, on_both};

on_both!(
    a_registration_replaces_the_former_one,
    certificates_have_to_be_the_builders,
    a_proof_is_checked,
    malformed_registrations_are_refused,
    a_builder_whose_registrations_all_ended_is_no_peer,
);

struct Certificate {
    pem: String,
    der: Vec<u8>,
    key: KeyPair,
}

fn certificate(names: &[&str]) -> Certificate {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2090, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Certificate {
        pem: certificate.pem(),
        der: certificate.der().to_vec(),
        key,
    }
}

fn register(hub: &Hub, service: &str, body: &Value) -> crate::support::http::Answer {
    hub.node(
        "1.2.3.4",
        "POST",
        &format!("register_credentials/{service}"),
        &body.to_string(),
    )
}

fn start(place: &Place, options: &[&str]) -> Hub {
    let hub = Hub::start(place, &[LAX, options].concat());
    hub.whitelist("m1");
    hub.builder("b_1", "1.2.3.4", "production");
    hub
}

fn a_registration_replaces_the_former_one(kind: Kind) {
    let place = Place::new(kind);
    let hub = start(&place, &[]);
    let (first, second) = (
        certificate(&["1.2.3.4"]),
        certificate(&["b-1.example.net", "localhost"]),
    );
    assert_eq!(
        register(&hub, "instance", &json!({"tls_cert": first.pem}))
            .ok()
            .body,
        b""
    );
    register(&hub, "instance", &json!({"tls_cert": second.pem})).ok();
    let peers = hub.node("1.2.3.4", "GET", "builders", "").ok().json();
    assert_eq!(peers[0]["instance"], json!({"tls_cert": second.pem}));
    let history = hub.admin("GET", "builders/credentials/b_1", "").ok().json();
    let active: Vec<_> = history["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["is_active"])
        .collect();
    assert_eq!(active, [&json!(true), &json!(false)]);
    let entry = &history["entries"][0];
    assert_eq!(entry["measurement_id"], "m1");
    assert_eq!(entry["certificate_expires"], "2090-01-01T00:00:00Z");
    assert_eq!(entry["is_proven"], false);
    let builders = hub.admin("GET", "builders", "").ok().json();
    assert_eq!(
        builders["entries"][0]["certificate_expires"],
        "2090-01-01T00:00:00Z"
    );
}

fn certificates_have_to_be_the_builders(kind: Kind) {
    let place = Place::new(kind);
    let hub = start(&place, &[]);
    for names in [
        &["b_1"][..],
        &["b-1"],
        &["b-1.example.net"],
        &["1.2.3.4", "127.0.0.1"],
    ] {
        register(&hub, "x", &json!({"tls_cert": certificate(names).pem})).ok();
    }
    for (names, reason) in [
        (&["b-2.example.net", "1.2.3.4"][..], "is not of builder"),
        (&["1.2.3.5"], "is not of builder"),
        (&["localhost"], "no subject alternative name"),
        (&[], "no subject alternative name"),
    ] {
        let refused = register(&hub, "x", &json!({"tls_cert": certificate(names).pem}))
            .is(400)
            .json();
        assert_eq!(refused["message"], "certificate refused");
        assert!(
            refused["error"].as_str().unwrap().contains(reason),
            "{refused}"
        );
    }
    let refused = register(&hub, "x", &json!({"tls_cert": "not PEM"}))
        .is(400)
        .text();
    assert!(
        refused.contains("expected 1 to 8 PEM certificates"),
        "{refused}"
    );
}

fn a_proof_is_checked(kind: Kind) {
    let place = Place::new(kind);
    let hub = start(&place, &["--certificates=proven"]);
    hub.builder("b_2", "1.2.3.5", "production");
    let ours = certificate(&["1.2.3.4"]);
    let refused = register(&hub, "x", &json!({"tls_cert": ours.pem}))
        .is(400)
        .text();
    assert!(refused.contains("this hub requires it"), "{refused}");
    let challenge = |address: &str| {
        let answer = hub
            .node(address, "GET", "registration_challenge", "")
            .ok()
            .json();
        answer["challenge"].as_str().unwrap().to_owned()
    };
    let proven = |challenge: &str, service: &str, signed_by: &KeyPair| {
        // As a node makes it, written down here a second time.
        let mut message =
            format!("builderhub registration v1\n{challenge}\n{service}\n").into_bytes();
        message.extend_from_slice(digest(&SHA256, &ours.der).as_ref());
        let signature = STANDARD.encode(signed_by.sign(&message).unwrap());
        json!({"tls_cert": ours.pem, "proof": {"challenge": challenge, "signature": signature}})
    };
    let mine = challenge("1.2.3.4");
    register(&hub, "x", &proven(&mine, "x", &ours.key)).ok();
    let entry = hub.admin("GET", "builders/credentials/b_1", "").ok().json()["entries"][0].clone();
    assert_eq!(entry["is_proven"], true);
    let other_key = KeyPair::generate().unwrap();
    for (body, reason) in [
        (
            proven(&mine, "y", &ours.key),
            "not by the certificate's key",
        ),
        (
            proven(&mine, "x", &other_key),
            "not by the certificate's key",
        ),
        (
            proven(&challenge("1.2.3.5"), "x", &ours.key),
            "not one of this builder",
        ),
        (
            proven(&mine.replacen('.', "0.", 1), "x", &ours.key),
            "not one of this builder",
        ),
        (proven("", "x", &ours.key), "not one of this builder"),
        (
            json!({"tls_cert": ours.pem, "proof": {"challenge": mine, "signature": "%"}}),
            "expected base64",
        ),
    ] {
        let refused = register(&hub, "x", &body).is(400).text();
        assert!(refused.contains(reason), "{refused}");
    }
}

fn malformed_registrations_are_refused(kind: Kind) {
    let place = Place::new(kind);
    let hub = start(&place, &[]);
    for (service, body, message) in [
        ("x", "{}", "no credentials provided"),
        (
            "x",
            r#"{"tls_cert":"","ecdsa_pubkey_address":""}"#,
            "no credentials provided",
        ),
        ("x", "{", "failed to unmarshal request body"),
        ("x", "[]", "failed to unmarshal request body"),
        (
            "x",
            r#"{"ecdsa_pubkey_address":"0x12"}"#,
            "failed to unmarshal request body",
        ),
        (
            "x",
            r#"{"ecdsa_pubkey_address":"1234567890123456789012345678901234567890"}"#,
            "failed to unmarshal request body",
        ),
        (
            "name",
            r#"{"ecdsa_pubkey_address":"0x1234567890123456789012345678901234567890"}"#,
            "bad service",
        ),
        (
            "dns_name",
            r#"{"ecdsa_pubkey_address":"0x1234567890123456789012345678901234567890"}"#,
            "bad service",
        ),
    ] {
        let path = format!("register_credentials/{service}");
        let answer = hub.node("1.2.3.4", "POST", &path, body).is(400).json();
        assert_eq!(answer["message"], message, "{body}");
    }
    let nul = register(&hub, "x", &json!({"tls_cert": "a\0b"}));
    assert_eq!(
        nul.is(400).json()["message"],
        "failed to unmarshal request body"
    );
    // No error beyond the message where existing hubs have none.
    let bare = hub
        .node("1.2.3.4", "POST", "register_credentials/x", "{}")
        .is(400)
        .json();
    assert_eq!(bare, json!({"message": "no credentials provided"}));
    hub.node("1.2.3.4", "POST", "register_credentials/", "{}")
        .is(404);
}

fn a_builder_whose_registrations_all_ended_is_no_peer(kind: Kind) {
    let place = Place::new(kind);
    let hub = start(&place, &[]);
    let names = || hub.node("1.2.3.4", "GET", "builders", "").ok().json();
    assert_eq!(names().as_array().unwrap().len(), 1);
    let address = format!("0x{}", "1".repeat(40));
    register(&hub, "x", &json!({"ecdsa_pubkey_address": address})).ok();
    assert_eq!(names()[0]["x"], json!({"ecdsa_pubkey_address": address}));
    let update = "UPDATE hub_credentials SET active = 0";
    match kind {
        Kind::Sqlite => {
            let database = rusqlite::Connection::open(&place.location).unwrap();
            database
                .busy_timeout(std::time::Duration::from_secs(10))
                .unwrap();
            database.execute(update, []).unwrap();
        }
        Kind::Postgres => drop(crate::support::postgres::sql(&place.location, update)),
    }
    assert_eq!(names(), json!([]));
}
