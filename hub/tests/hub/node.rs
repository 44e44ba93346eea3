//! Who is let in as a node, and what it sees of others.

use serde_json::json;

use crate::support::{Hub, Kind, LAX, Place, http, on_both};

on_both!(
    only_an_active_builder_with_an_active_measurement_is_let_in,
    the_first_matching_measurement_counts,
    peers_are_of_the_same_network_and_flat,
    every_poll_is_in_the_log,
    public_measurements_are_the_active_ones,
);

fn only_an_active_builder_with_an_active_measurement_is_let_in(kind: Kind) {
    let place = Place::new(kind);
    let hub = Hub::lax(&place);
    let get = |address: &str| hub.node(address, "GET", "configuration", "");
    assert_eq!(get("1.2.3.4").is(403).body, b"");
    hub.whitelist("m1");
    assert_eq!(get("1.2.3.4").is(403).body, b"");
    hub.builder("b1", "1.2.3.4", "production");
    assert_eq!(get("1.2.3.4").ok().json(), json!({"instance_name": "b1"}));
    assert_eq!(
        get("9.9.9.9, 1.2.3.4").ok().json(),
        json!({"instance_name": "b1"})
    );
    get("1.2.3.4, 9.9.9.9").is(403);
    for registers in [
        r#"{"4":"ab"}"#,
        r#"{"4":"AA"}"#,
        "{}",
        "[]",
        "{",
        r#"{"4":1}"#,
    ] {
        let answer = hub.node_with("1.2.3.4", registers, "GET", "configuration", "");
        assert_eq!(answer.is(403).body, b"", "{registers}");
    }
    hub.node_with(
        "1.2.3.4",
        r#"{"4":"aa","5":"x"}"#,
        "GET",
        "configuration",
        "",
    )
    .ok();
    for missing in 0..3 {
        let mut headers = vec![
            ("X-Flashbots-Attestation-Type", "test"),
            ("X-Flashbots-Measurement", r#"{"4":"aa"}"#),
            ("X-Forwarded-For", "1.2.3.4"),
        ];
        headers.remove(missing);
        let path = "/api/l1-builder/v1/configuration";
        http::request(hub.address("main"), "GET", path, &headers, b"").is(403);
    }
    hub.post("measurements/activation/m1", &json!({"enabled": false}))
        .ok();
    get("1.2.3.4").is(403);
    hub.post("measurements/activation/m1", &json!({"enabled": true}))
        .ok();
    get("1.2.3.4").ok();
    hub.post("builders/activation/b1", &json!({"enabled": false}))
        .ok();
    for (method, path, body) in [
        ("GET", "configuration", ""),
        ("GET", "builders", ""),
        ("GET", "registration_challenge", ""),
        ("POST", "register_credentials/rbuilder", "{}"),
    ] {
        assert_eq!(hub.node("1.2.3.4", method, path, body).is(403).body, b"");
    }
}

fn the_first_matching_measurement_counts(kind: Kind) {
    let place = Place::new(kind);
    let hub = Hub::lax(&place);
    hub.whitelist("first");
    hub.whitelist("second");
    hub.builder("b1", "1.2.3.4", "production");
    hub.node("1.2.3.4", "GET", "configuration", "").ok();
    let last =
        || hub.admin("GET", "builders", "").ok().json()["entries"][0]["measurement_id"].clone();
    assert_eq!(last(), "first");
    hub.post("measurements/activation/first", &json!({"enabled": false}))
        .ok();
    hub.node("1.2.3.4", "GET", "configuration", "").ok();
    assert_eq!(last(), "second");
}

fn peers_are_of_the_same_network_and_flat(kind: Kind) {
    let place = Place::new(kind);
    let hub = Hub::start(&place, &[LAX, &["--certificates=any"]].concat());
    hub.whitelist("m1");
    for (name, ip, network) in [
        ("b1", "1.1.1.1", "production"),
        ("b2", "1.1.1.2", "production"),
        ("b3", "1.1.1.3", "staging"),
        ("b4", "1.1.1.4", "production"),
    ] {
        hub.builder(name, ip, network);
    }
    hub.post("builders/activation/b4", &json!({"enabled": false}))
        .ok();
    let address = format!("0x{}", "Ab".repeat(20));
    let credentials = json!({"ecdsa_pubkey_address": address, "tls_cert": "x", "region": "us"});
    let path = "register_credentials/orderflow_proxy";
    hub.node("1.1.1.1", "POST", path, &credentials.to_string())
        .ok();
    let credentials = json!({"ecdsa_pubkey_address": address});
    hub.node(
        "1.1.1.1",
        "POST",
        "register_credentials/rbuilder",
        &credentials.to_string(),
    )
    .ok();
    let lower = address.to_lowercase();
    let expected = json!([
        {"name": "b1", "ip": "1.1.1.1", "dns_name": "b1.example.net",
         "orderflow_proxy": {"tls_cert": "x", "ecdsa_pubkey_address": lower, "region": "us"},
         "rbuilder": {"ecdsa_pubkey_address": lower}},
        {"name": "b2", "ip": "1.1.1.2", "dns_name": "b2.example.net"},
    ]);
    assert_eq!(
        hub.node("1.1.1.2", "GET", "builders", "").ok().json(),
        expected
    );
    let internal = "/api/internal/l1-builder";
    let ask = |path: &str| hub.ask("internal", "GET", path).ok().json();
    assert_eq!(ask(&format!("{internal}/v1/builders")), expected);
    assert_eq!(
        ask(&format!("{internal}/v2/network/production/builders")),
        expected
    );
    assert_eq!(
        ask(&format!("{internal}/v2/network/staging/builders"))[0]["name"],
        "b3"
    );
    assert_eq!(
        ask(&format!("{internal}/v2/network/none/builders")),
        json!([])
    );
}

fn every_poll_is_in_the_log(kind: Kind) {
    let place = Place::new(kind);
    let hub = Hub::lax(&place);
    hub.whitelist("m1");
    hub.builder("b1", "1.2.3.4", "production");
    hub.node("1.2.3.4", "GET", "configuration", "").ok();
    let events = hub.admin("GET", "builders/events/b1", "").ok().json();
    let event = &events["entries"][0];
    for (key, value) in [
        ("event", "GetConfig"),
        ("actor_kind", "node"),
        ("actor", "b1"),
        ("builder", "b1"),
        ("measurement_id", "m1"),
        ("address", "1.2.3.4"),
    ] {
        assert_eq!(event[key], value, "{event}");
    }
    let names: Vec<_> = events["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["event"])
        .collect();
    assert_eq!(
        names,
        ["GetConfig", "ActivateBuilder", "SetConfig", "AddBuilder"]
    );
    let page = hub.admin("GET", "events?limit=2", "").ok().json();
    assert_eq!(page["entries"].as_array().unwrap().len(), 2);
    let next = hub
        .admin(
            "GET",
            &format!("events?limit=2&after={}", page["after"]),
            "",
        )
        .ok()
        .json();
    assert_eq!(next["entries"][0]["event"], "SetConfig");
    let measurement = hub.admin("GET", "measurements/m1", "").ok().json();
    assert_eq!(measurement["builders"], 1);
}

fn public_measurements_are_the_active_ones(kind: Kind) {
    let place = Place::new(kind);
    let hub = Hub::lax(&place);
    hub.whitelist("m1");
    let inactive = json!({"measurement_id": "m2", "attestation_type": "test", "measurements": {}});
    hub.post("measurements", &inactive).ok();
    let expected = json!([{"measurement_id": "m1", "attestation_type": "test",
        "measurements": {"4": {"expected": "aa"}}}]);
    for listener in ["main", "internal"] {
        let answer = hub
            .ask(listener, "GET", "/api/l1-builder/v1/measurements")
            .ok();
        assert_eq!(answer.json(), expected);
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
}

#[test]
fn without_the_option_headers_say_nothing() {
    let place = Place::new(Kind::Sqlite);
    let hub = Hub::start(&place, &["--required-keys=none"]);
    hub.whitelist("m1");
    hub.builder("b1", "1.2.3.4", "production");
    hub.node("1.2.3.4", "GET", "configuration", "").is(403);
}

#[test]
fn a_node_that_asks_too_often_has_to_wait() {
    let place = Place::new(Kind::Sqlite);
    let options = [
        "--trust-proxy-headers",
        "--required-keys=none",
        "--node-requests-per-minute=3",
    ];
    let hub = Hub::start(&place, &options);
    hub.whitelist("m1");
    hub.builder("b1", "1.2.3.4", "production");
    for _ in 0..3 {
        hub.node("1.2.3.4", "GET", "configuration", "").ok();
    }
    let answer = hub.node("1.2.3.4", "GET", "configuration", "").is(429);
    assert!(answer.header("retry-after").is_some());
    hub.node("1.2.3.5", "GET", "configuration", "").is(403);
}

#[test]
fn a_large_body_is_refused() {
    let place = Place::new(Kind::Sqlite);
    let hub = Hub::lax(&place);
    let body = format!("\"{}\"", "x".repeat(1 << 20));
    hub.node("1.2.3.4", "POST", "register_credentials/x", &body)
        .is(413);
    hub.admin("POST", "measurements", &body).is(413);
}
