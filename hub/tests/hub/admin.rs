//! The admin API: authentication, whitelist, builders, every error.

use serde_json::{Value, json};

use crate::support::{Hub, Kind, LAX, Place, http, on_both, vector};

on_both!(
    measurements_are_inactive_until_activated,
    builders_are_inactive_until_activated,
    unknown_ids_are_not_found,
    malformed_bodies_are_refused_with_a_reason,
    a_deleted_builder_leaves_nothing_but_the_log,
    lists_come_in_pages,
    published_lists_are_taken,
);

fn measurements_are_inactive_until_activated(kind: Kind) {
    let place = Place::new(kind);
    let hub = Hub::lax(&place);
    let measurement =
        json!({"measurement_id": "m/1", "attestation_type": "test", "measurements": {}});
    assert_eq!(hub.post("measurements", &measurement).ok().body, b"");
    let duplicate = hub.post("measurements", &measurement).is(500).json();
    assert_eq!(duplicate["message"], "already exists");
    let entry = hub.admin("GET", "measurements/m%2F1", "").ok().json();
    assert_eq!(entry["is_active"], false);
    hub.post("measurements/activation/m%2F1", &json!({"enabled": true}))
        .ok();
    assert_eq!(
        hub.admin("GET", "measurements/m%2F1", "").ok().json()["is_active"],
        true
    );
    let refused = hub.admin("DELETE", "measurements/m%2F1", "").is(400).json();
    assert_eq!(refused["message"], "refused");
    hub.post("measurements/activation/m%2F1", &json!({"enabled": false}))
        .ok();
    hub.admin("DELETE", "measurements/m%2F1", "").ok();
    hub.admin("GET", "measurements/m%2F1", "").is(404);
}

fn builders_are_inactive_until_activated(kind: Kind) {
    let place = Place::new(kind);
    let hub = Hub::lax(&place);
    let builder = json!({"name": "b1", "ip_address": "1.2.3.4", "network": "production"});
    hub.post("builders", &builder).ok();
    hub.post("builders", &builder).is(500);
    assert_eq!(
        hub.admin("GET", "builders/b1", "").ok().json()["is_active"],
        false
    );
    let refused = hub
        .post("builders/activation/b1", &json!({"enabled": true}))
        .is(400)
        .json();
    assert!(
        refused["error"]
            .as_str()
            .unwrap()
            .contains("no active configuration"),
        "{refused}"
    );
    hub.post("builders/configuration/b1", &json!({})).ok();
    hub.post("builders/activation/b1", &json!({"enabled": true}))
        .ok();
    assert_eq!(
        hub.admin("GET", "builders/b1", "").ok().json()["is_active"],
        true
    );
    hub.admin("DELETE", "builders/b1", "").is(400);
}

fn unknown_ids_are_not_found(kind: Kind) {
    let place = Place::new(kind);
    let hub = Hub::lax(&place);
    let enabled = r#"{"enabled":true}"#;
    for (method, path, body) in [
        ("GET", "measurements/x", ""),
        ("DELETE", "measurements/x", ""),
        ("POST", "measurements/activation/x", enabled),
        ("GET", "builders/x", ""),
        ("DELETE", "builders/x", ""),
        ("POST", "builders/activation/x", enabled),
        ("GET", "builders/configuration/x/active", ""),
        ("GET", "builders/configuration/x/full", ""),
        ("GET", "builders/configuration/x/check", ""),
        ("GET", "builders/configuration/x/earlier/1", ""),
        ("GET", "builders/configuration/x/earlier/one", ""),
        ("POST", "builders/configuration/x", "{}"),
        ("POST", "builders/secrets/x", "{}"),
        ("DELETE", "builders/secrets/x", ""),
        ("GET", "builders/history/x", ""),
        ("GET", "builders/credentials/x", ""),
        ("GET", "defaults/configuration", ""),
        ("DELETE", "defaults/configuration", ""),
        ("DELETE", "defaults/secrets", ""),
        ("GET", "networks/x/configuration", ""),
        ("DELETE", "networks/x/configuration", ""),
        ("GET", "networks/x/required-keys", ""),
        ("DELETE", "networks/x/required-keys", ""),
    ] {
        let answer = hub.admin(method, path, body);
        assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text());
        assert_eq!(answer.json()["message"], "not found");
    }
    hub.admin("GET", "nothing", "").is(404);
    hub.admin("GET", "measurements/%00", "").is(404);
    hub.admin("POST", "networks/a%00b/configuration", "{}")
        .is(404);
    hub.admin("PUT", "builders", "").is(405);
}

fn malformed_bodies_are_refused_with_a_reason(kind: Kind) {
    let place = Place::new(kind);
    let hub = Hub::lax(&place);
    hub.post(
        "builders",
        &json!({"name": "b1", "ip_address": "1.2.3.4", "network": "n"}),
    )
    .ok();
    let digest = "0".repeat(64);
    for (path, body) in [
        ("measurements", "{".to_owned()),
        ("measurements", "[]".to_owned()),
        ("measurements", r#"{"measurement_id":"m"}"#.to_owned()),
        ("measurements", r#"{"measurement_id":"","attestation_type":"t","measurements":{}}"#.to_owned()),
        ("measurements", r#"{"measurement_id":"m","attestation_type":"azure-tdx","measurements":{"4":{"expected":"xy"}}}"#.to_owned()),
        ("measurements", format!(r#"{{"measurement_id":"m","attestation_type":"azure-tdx","measurements":{{"99":{{"expected":"{digest}"}}}}}}"#)),
        ("builders", r#"{"name":"b2","ip_address":"1.2.3.5"}"#.to_owned()),
        ("builders", r#"{"name":"b2","ip_address":"1.2.3","network":"n"}"#.to_owned()),
        ("builders", r#"{"name":"","ip_address":"1.2.3.4","network":"n"}"#.to_owned()),
        ("builders", r#"{"name":"a\u0000b","ip_address":"1.2.3.4","network":"n"}"#.to_owned()),
        ("builders", "nonsense".to_owned()),
        ("builders/activation/b1", "{}".to_owned()),
        ("builders/activation/b1", r#"{"enabled":"yes"}"#.to_owned()),
        ("measurements/activation/m", "".to_owned()),
        ("builders/configuration/b1", "{".to_owned()),
        ("builders/secrets/b1", "{\"a\":".to_owned()),
        ("networks/n/required-keys", r#"{"required":[{"key":""}]}"#.to_owned()),
        ("defaults/configuration", "x".to_owned()),
    ] {
        let answer = hub.admin("POST", path, &body);
        assert_eq!(answer.status, 400, "{path} {body}: {}", answer.text());
        assert!(answer.json()["error"].as_str().is_some_and(|error| !error.is_empty()), "{body}");
    }
    hub.admin("GET", "builders?limit=x", "").is(400);
    hub.admin("GET", "events?before=1", "").is(400);
}

fn a_deleted_builder_leaves_nothing_but_the_log(kind: Kind) {
    let place = Place::new(kind);
    let hub = Hub::lax(&place);
    hub.whitelist("m1");
    hub.builder("b1", "1.2.3.4", "production");
    hub.post("builders/secrets/b1", &json!({"key": "old"})).ok();
    let credentials = json!({"ecdsa_pubkey_address": format!("0x{}", "1".repeat(40))}).to_string();
    hub.node(
        "1.2.3.4",
        "POST",
        "register_credentials/rbuilder",
        &credentials,
    )
    .ok();
    hub.post("builders/activation/b1", &json!({"enabled": false}))
        .ok();
    hub.admin("DELETE", "builders/b1", "").ok();
    hub.builder("b1", "1.2.3.4", "production");
    let configuration = hub.node("1.2.3.4", "GET", "configuration", "").ok().json();
    assert_eq!(configuration, json!({"instance_name": "b1"}));
    let history = hub.admin("GET", "builders/credentials/b1", "").ok().json();
    assert_eq!(history["entries"], json!([]));
    let events = hub
        .admin("GET", "builders/events/b1?limit=1000", "")
        .ok()
        .text();
    assert!(events.contains("DeleteBuilder") && events.contains("RegisterCredentials"));
}

fn lists_come_in_pages(kind: Kind) {
    let place = Place::new(kind);
    let hub = Hub::lax(&place);
    for n in 0..5 {
        let name = format!("b{n}");
        hub.post(
            "builders",
            &json!({"name": name, "ip_address": "1.2.3.4", "network": "n"}),
        )
        .ok();
    }
    let mut names = Vec::new();
    let mut after = json!(0);
    while !after.is_null() {
        let page = hub
            .admin("GET", &format!("builders?limit=2&after={after}"), "")
            .ok()
            .json();
        let entries = page["entries"].as_array().unwrap();
        assert!(entries.len() <= 2);
        names.extend(
            entries
                .iter()
                .map(|entry| entry["name"].as_str().unwrap().to_owned()),
        );
        after = page["after"].clone();
    }
    assert_eq!(names, ["b0", "b1", "b2", "b3", "b4"]);
}

/// Every published list and every sample of an existing hub.
fn published_lists_are_taken(kind: Kind) {
    let place = Place::new(kind);
    let hub = Hub::lax(&place);
    let mut expected: Vec<Value> = Vec::new();
    for name in [
        "measurements/buildernet.json",
        "measurements/cvm-reverse-proxy.json",
        "hub/get-measurements.json",
    ] {
        let list: Value = serde_json::from_str(&vector(name)).unwrap();
        for entry in list.as_array().unwrap() {
            let id = entry["measurement_id"].as_str().unwrap();
            if expected.iter().any(|known| known["measurement_id"] == id) {
                continue;
            }
            let answer = hub.post("measurements", entry);
            if answer.status == 400 {
                // A sample whose digests are cut short; an existing hub takes it, nothing matches it.
                assert!(answer.text().contains("not a value"), "{}", answer.text());
                continue;
            }
            answer.ok();
            hub.post(
                &format!("measurements/activation/{id}"),
                &json!({"enabled": true}),
            )
            .ok();
            expected.push(entry.clone());
        }
    }
    assert!(expected.len() > 10);
    let active = hub
        .ask("main", "GET", "/api/l1-builder/v1/measurements")
        .ok()
        .json();
    assert_eq!(active.as_array().unwrap(), &expected);
}

#[test]
fn only_the_admin_is_let_in() {
    let place = Place::new(Kind::Sqlite);
    let hub = Hub::start(&place, &["--admin-failures-per-minute=5"]);
    let path = "/api/admin/v1/builders";
    let ask =
        |headers: &[(&str, &str)]| http::request(hub.address("admin"), "GET", path, headers, b"");
    let answer = ask(&[]).is(401);
    assert_eq!(
        answer.header("www-authenticate"),
        Some("Basic realm=\"admin\"")
    );
    assert!(
        answer
            .header("content-type")
            .unwrap()
            .starts_with("text/plain")
    );
    let wrong = http::basic("admin", "wrong");
    let right = http::basic("admin", crate::support::PASSWORD);
    ask(&[("Authorization", &wrong)]).is(401);
    ask(&[("Authorization", &right)]).ok();
    hub.ask("admin", "GET", "/").is(401);
    hub.ask("admin", "GET", "/style.css").ok();
    for _ in 0..2 {
        ask(&[("Authorization", &wrong)]).is(401);
    }
    // Who guesses is slowed down, even with the right guess.
    ask(&[("Authorization", &right)]).is(429);
}

#[test]
fn other_sites_pages_cannot_use_a_browsers_password() {
    let place = Place::new(Kind::Sqlite);
    let hub = Hub::lax(&place);
    let basic = http::basic("admin", crate::support::PASSWORD);
    let body = br#"{"name":"b1","ip_address":"1.2.3.4","network":"n"}"#;
    let post = |name: &str, value: &str| {
        let headers = [("Authorization", basic.as_str()), (name, value)];
        http::request(
            hub.address("admin"),
            "POST",
            "/api/admin/v1/builders",
            &headers,
            body,
        )
    };
    post("Sec-Fetch-Site", "cross-site").is(403);
    post("Sec-Fetch-Site", "same-site").is(403);
    post("Origin", "https://evil.example").is(403);
    post("Sec-Fetch-Site", "same-origin").ok();
}

#[test]
fn a_measurement_that_matches_everything_is_not_activated() {
    let place = Place::new(Kind::Sqlite);
    let hub = Hub::start(&place, &[]);
    let any = json!({"measurement_id": "any", "attestation_type": "azure-tdx", "measurements": {}});
    hub.post("measurements", &any).ok();
    let refused = hub
        .post("measurements/activation/any", &json!({"enabled": true}))
        .is(400);
    assert!(refused.text().contains("every machine would match"));
    assert_eq!(
        hub.ask("main", "GET", "/api/l1-builder/v1/measurements")
            .ok()
            .json(),
        json!([])
    );
}

#[test]
fn the_page_shows_what_there_is_and_escapes_it() {
    let place = Place::new(Kind::Sqlite);
    let hub = Hub::start(&place, LAX);
    let evil = "<script>alert(1)</script>";
    let builder = json!({"name": evil, "ip_address": "1.2.3.4", "network": evil});
    hub.post("builders", &builder).ok();
    hub.whitelist("m1");
    let page = hub.admin_at("GET", "/", "").ok();
    let text = page.text();
    assert!(!text.contains("<script") && text.contains("&lt;script&gt;alert(1)"));
    assert!(text.contains("m1") && text.contains("AddBuilder"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'self'"));
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
}
