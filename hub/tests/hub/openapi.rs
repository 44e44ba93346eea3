//! The served document against what the program does.

use serde_json::Value;

use crate::support::{Hub, Kind, LAX, PASSWORD, Place, http};

#[test]
fn every_documented_route_is_answered_as_documented() {
    let place = Place::new(Kind::Sqlite);
    let hub = Hub::start(
        &place,
        &[LAX, &["--admin-failures-per-minute=1000"]].concat(),
    );
    let document = hub.ask("main", "GET", "/openapi.json").ok().json();
    assert_eq!(document["openapi"], "3.1.0");
    let mut answered = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            for listener in operation["x-listeners"].as_array().unwrap() {
                let listener = listener.as_str().unwrap();
                if listener != "attested" {
                    ask(&hub, listener, method, path, operation);
                    answered += 1;
                }
            }
        }
    }
    assert!(answered > 45, "{answered}");
}

/// Asks once as it should be asked, with an empty body and unknown names, and once as nobody.
fn ask(hub: &Hub, listener: &str, method: &str, path: &str, operation: &Value) {
    let method = method.to_uppercase();
    let concrete = path.replace(['{', '}'], "");
    let basic = http::basic("admin", PASSWORD);
    let headers = [
        ("Authorization", basic.as_str()),
        ("X-Flashbots-Attestation-Type", "test"),
        ("X-Flashbots-Measurement", "{}"),
        ("X-Forwarded-For", "1.2.3.4"),
    ];
    let address = hub.address(listener);
    for (headers, is_nobody) in [(&headers[..], false), (&[][..], true)] {
        let answer = http::request(address, &method, &concrete, headers, b"");
        let status = answer.status.to_string();
        assert_ne!(answer.status, 405, "{listener} {method} {path}");
        let documented = operation["responses"].as_object().unwrap();
        assert!(
            documented.contains_key(&status),
            "{listener} {method} {path}: {status}"
        );
        // A route that is not there answers in plain text; one whose name is not, in JSON.
        if answer.status == 404 {
            assert_eq!(
                answer.json()["message"],
                "not found",
                "{listener} {method} {path}"
            );
        }
        let is_open = operation.get("security").is_none();
        assert!(
            is_open || !is_nobody || answer.status == 401 || answer.status == 403,
            "{path}"
        );
    }
}
