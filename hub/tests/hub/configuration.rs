//! Layers, secrets, required keys.

use serde_json::{Value, json};

use crate::support::{Hub, Kind, Place, on_both, postgres, vector};

on_both!(
    layers_are_merged_in_order,
    an_incomplete_configuration_is_never_delivered,
    the_sample_configuration_is_delivered_with_the_default_list,
    secrets_are_sealed_at_rest_and_rotate,
    history_is_kept,
    what_is_not_an_object_is_not_delivered,
);

const OPTIONS: &[&str] = &["--trust-proxy-headers"];

fn layers_are_merged_in_order(kind: Kind) {
    let place = Place::new(kind);
    let hub = Hub::lax(&place);
    hub.whitelist("m1");
    hub.builder("b1", "1.2.3.4", "production");
    hub.builder("b2", "1.2.3.5", "staging");
    hub.post(
        "defaults/configuration",
        &json!({"a": {"x": 1, "y": 1, "list": [1, 2]}, "only": "d"}),
    )
    .ok();
    hub.post(
        "networks/production/configuration",
        &json!({"a": {"x": 2}, "n": true}),
    )
    .ok();
    hub.post(
        "builders/configuration/b1",
        &json!({"a": {"y": 3, "list": [3]}, "only": null}),
    )
    .ok();
    hub.post(
        "defaults/secrets",
        &json!({"s": {"token": "all", "shared": "q\"\\"}}),
    )
    .ok();
    hub.post(
        "builders/secrets/b1",
        &json!({"s": {"token": "mine"}, "a": {"x": 4.5}}),
    )
    .ok();
    let expected = json!({"a": {"x": 4.5, "y": 3, "list": [3]}, "n": true,
        "s": {"token": "mine", "shared": "q\"\\"}});
    assert_eq!(
        hub.node("1.2.3.4", "GET", "configuration", "").ok().json(),
        expected
    );
    let full = hub
        .admin("GET", "builders/configuration/b1/full", "")
        .ok()
        .json();
    assert_eq!(full, expected);
    let own = hub
        .admin("GET", "builders/configuration/b1/active", "")
        .ok()
        .json();
    assert_eq!(own, json!({"a": {"y": 3, "list": [3]}, "only": null}));
    let other = hub.node("1.2.3.5", "GET", "configuration", "").ok().json();
    assert_eq!(
        other,
        json!({"a": {"x": 1, "y": 1, "list": [1, 2]}, "only": "d",
        "instance_name": "b2", "s": {"token": "all", "shared": "q\"\\"}})
    );
    for path in [
        "defaults/configuration",
        "defaults/secrets",
        "networks/production/configuration",
        "builders/secrets/b1",
    ] {
        hub.admin("DELETE", path, "").ok();
        hub.admin("DELETE", path, "").is(404);
    }
    let rest = hub.node("1.2.3.4", "GET", "configuration", "").ok().json();
    assert_eq!(rest, json!({"a": {"y": 3, "list": [3]}}));
}

fn an_incomplete_configuration_is_never_delivered(kind: Kind) {
    let place = Place::new(kind);
    let hub = Hub::start(&place, OPTIONS);
    hub.whitelist("m1");
    let required = json!({"required": [
        {"key": "name", "type": "string"},
        {"key": "disk.key", "type": "string", "secret": true},
    ]});
    hub.post("networks/production/required-keys", &required)
        .ok();
    let shown = hub
        .admin("GET", "networks/production/required-keys", "")
        .ok()
        .json();
    assert_eq!(shown, required);
    hub.post(
        "builders",
        &json!({"name": "b1", "ip_address": "1.2.3.4", "network": "production"}),
    )
    .ok();
    hub.post("builders/configuration/b1", &json!({"name": ""}))
        .ok();
    let refused = hub
        .post("builders/activation/b1", &json!({"enabled": true}))
        .is(400)
        .json();
    assert!(
        refused["error"]
            .as_str()
            .unwrap()
            .ends_with("missing: name (is empty)"),
        "{refused}"
    );
    hub.post("builders/configuration/b1", &json!({"name": "b1"}))
        .ok();
    // Secrets come last: activation does not wait for them, delivery does.
    hub.post("builders/activation/b1", &json!({"enabled": true}))
        .ok();
    let refused = hub
        .node("1.2.3.4", "GET", "configuration", "")
        .is(409)
        .json();
    assert_eq!(refused["message"], "no deliverable configuration");
    assert!(
        refused["error"]
            .as_str()
            .unwrap()
            .ends_with("missing: disk.key (a string)"),
        "{refused}"
    );
    let check = hub
        .admin("GET", "builders/configuration/b1/check", "")
        .ok()
        .json();
    assert_eq!(
        check,
        json!({"is_deliverable": false, "missing": ["disk.key (a string)"]})
    );
    let event = hub
        .admin("GET", "builders/events/b1?limit=1", "")
        .ok()
        .json();
    assert_eq!(event["entries"][0]["event"], "RefuseConfig");
    hub.post("builders/secrets/b1", &json!({"disk": {"key": "k"}}))
        .ok();
    let delivered = hub.node("1.2.3.4", "GET", "configuration", "").ok().json();
    assert_eq!(delivered, json!({"name": "b1", "disk": {"key": "k"}}));
    let check = hub
        .admin("GET", "builders/configuration/b1/check", "")
        .ok()
        .json();
    assert_eq!(check, json!({"is_deliverable": true, "missing": []}));
    // Without a list of its own, the network has the default one, which wants much more.
    hub.admin("DELETE", "networks/production/required-keys", "")
        .ok();
    let refused = hub
        .node("1.2.3.4", "GET", "configuration", "")
        .is(409)
        .text();
    assert!(
        refused.contains("rbuilder.relays#base64 or rbuilder.relays"),
        "{refused}"
    );
}

fn the_sample_configuration_is_delivered_with_the_default_list(kind: Kind) {
    let place = Place::new(kind);
    let hub = Hub::start(&place, OPTIONS);
    let sample: Value = serde_json::from_str(&vector("hub/get-configuration.json")).unwrap();
    hub.whitelist("m1");
    hub.post(
        "builders",
        &json!({"name": "b1", "ip_address": "1.2.3.4", "network": "production"}),
    )
    .ok();
    hub.post("builders/configuration/b1", &sample).ok();
    hub.post("builders/activation/b1", &json!({"enabled": true}))
        .ok();
    let answer = hub.node("1.2.3.4", "GET", "configuration", "").ok();
    assert_eq!(answer.json(), sample);
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

fn secrets_are_sealed_at_rest_and_rotate(kind: Kind) {
    let place = Place::new(kind);
    let secret = "a-secret-that-is-easy-to-find";
    let stored = |place: &Place| match kind {
        Kind::Sqlite => {
            let files = std::fs::read_dir(place.directory.path()).unwrap().flatten();
            let read = files.filter(|f| f.file_name().to_string_lossy().starts_with("hub.sqlite"));
            read.flat_map(|file| std::fs::read(file.path()).unwrap())
                .collect::<Vec<u8>>()
        }
        Kind::Postgres => {
            let all = "SELECT encode(body, 'escape') || coalesce(key_id, '') FROM hub_documents";
            postgres::sql(&place.location, all).into_bytes()
        }
    };
    let contains =
        |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
    let hub = Hub::lax(&place);
    hub.whitelist("m1");
    hub.builder("b1", "1.2.3.4", "production");
    hub.builder("b2", "1.2.3.5", "production");
    hub.post("builders/secrets/b1", &json!({"key": secret}))
        .ok();
    hub.post("defaults/secrets", &json!({"shared": secret}))
        .ok();
    let bytes = stored(&place);
    assert!(contains(&bytes, "instance_name") && !contains(&bytes, secret));
    let nothing = hub.admin("POST", "secrets/rotation", "").ok().json();
    assert_eq!(nothing["resealed"], 0);
    assert!(hub.stop());
    // A fresh key in front; everything still opens, and after the rotation without the old key.
    let key = place.path("key");
    let old = std::fs::read_to_string(&key).unwrap();
    let fresh = crate::support::run(&["key", "new", key.to_str().unwrap()]);
    std::fs::write(&key, format!("{fresh}{old}")).unwrap();
    let hub = Hub::lax(&place);
    let get = |hub: &Hub| hub.node("1.2.3.4", "GET", "configuration", "");
    assert_eq!(get(&hub).ok().json()["key"], secret);
    let rotated = hub.admin("POST", "secrets/rotation", "").ok().json();
    assert_eq!(rotated["resealed"], 2);
    assert_eq!(rotated["key_id"].as_str(), fresh.split(':').next());
    assert!(hub.stop());
    std::fs::write(&key, fresh).unwrap();
    let hub = Hub::lax(&place);
    assert_eq!(get(&hub).ok().json()["key"], secret);
    assert!(hub.stop());
    // With a wrong key nothing is delivered, rather than a configuration without secrets.
    std::fs::write(&key, old).unwrap();
    let hub = Hub::lax(&place);
    let failed = get(&hub).is(500).json();
    assert_eq!(failed, json!({"message": "internal error"}));
    hub.node("1.2.3.5", "GET", "configuration", "").is(500);
}

fn history_is_kept(kind: Kind) {
    let place = Place::new(kind);
    let hub = Hub::lax(&place);
    hub.builder("b1", "1.2.3.4", "production");
    hub.post("builders/secrets/b1", &json!({"key": "s"})).ok();
    hub.post("builders/configuration/b1", &json!({"version": 2}))
        .ok();
    let answer = hub.admin("GET", "builders/history/b1", "").ok();
    let history = answer.json()["entries"].as_array().unwrap().clone();
    let kinds: Vec<_> = history
        .iter()
        .map(|e| (&e["kind"], &e["is_active"]))
        .collect();
    assert_eq!(
        kinds,
        [
            (&json!("builder"), &json!(true)),
            (&json!("secrets"), &json!(true)),
            (&json!("builder"), &json!(false)),
        ]
    );
    let earlier = |entry: &Value| format!("builders/configuration/b1/earlier/{}", entry["id"]);
    let shown = hub.admin("GET", &earlier(&history[2]), "").ok().json();
    assert_eq!(shown, json!({"instance_name": "b1"}));
    hub.admin("GET", &earlier(&history[1]), "").is(404);
}

fn what_is_not_an_object_is_not_delivered(kind: Kind) {
    let place = Place::new(kind);
    let hub = Hub::lax(&place);
    hub.whitelist("m1");
    hub.builder("b1", "1.2.3.4", "production");
    hub.post("builders/configuration/b1", &json!([1, 2])).ok();
    let refused = hub
        .node("1.2.3.4", "GET", "configuration", "")
        .is(409)
        .text();
    assert!(
        refused.contains("expected an object, got an array"),
        "{refused}"
    );
    hub.post("builders/activation/b1", &json!({"enabled": true}))
        .is(400);
}
