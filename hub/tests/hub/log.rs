//! The log, and the options and variables that existing hubs have for it.

use serde_json::Value;

use crate::start::refused;
use crate::support::curl::curl;
use crate::support::{Hub, Kind, LAX, PASSWORD, Place, http};

fn lines(place: &Place) -> Vec<String> {
    let log = std::fs::read_to_string(place.path("log")).unwrap();
    log.lines().map(str::to_owned).collect()
}

#[test]
fn every_line_is_an_object_with_the_usual_keys_and_never_what_was_sent() {
    let place = Place::new(Kind::Sqlite);
    let options = [
        "--log-json",
        "--log-debug=true",
        "--log-uid",
        "--log-service=hub-7",
    ];
    let hub = Hub::start_logging(&place, &[LAX, &options].concat());
    hub.whitelist("m1");
    hub.builder("b1", "1.2.3.4", "production");
    hub.admin("POST", "builders/secrets/b1", r#"{"key":"sent-in-a-body"}"#)
        .ok();
    hub.node("1.2.3.4", "GET", "configuration", "").ok();
    let headers = [("X-Forwarded-For", "sent-in-a-header")];
    let path = "/api/l1-builder/v1/configuration?sent-in-a-path";
    http::request(hub.address("main"), "GET", path, &headers, b"").is(403);
    hub.ask("main", "GET", "/sent-in-a-path").is(404);
    let url = format!("http://{}/livez", hub.address("main"));
    let header = "X-Forwarded-For: sent-in-a-header";
    curl(&["--http2-prior-knowledge", "-H", header, &url]);
    assert!(hub.stop());
    let lines = lines(&place);
    let objects: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    let uid = objects[0]["uid"].as_str().unwrap();
    assert!(
        uid.len() == 32 && uid.chars().all(|c| c.is_ascii_hexdigit()),
        "{uid}"
    );
    for object in &objects {
        assert_eq!(object["service"], "hub-7", "{object}");
        assert_eq!(object["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(object["uid"], uid);
        assert!(object["msg"].as_str().is_some_and(|text| !text.is_empty()));
        assert!(object["level"].is_string());
        let time = object["time"].as_str().unwrap();
        assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
    }
    let is_answer = |object: &&Value| object["msg"] == "answered";
    let answer = objects
        .iter()
        .filter(is_answer)
        .find(|o| o["status"] == 403);
    let answer = answer.unwrap();
    assert_eq!(answer["level"], "DEBUG");
    assert_eq!(answer["path"], "/api/l1-builder/v1/configuration");
    let stopped = objects.last().unwrap();
    assert_eq!(
        (&stopped["msg"], &stopped["level"]),
        (&"stopped".into(), &"INFO".into())
    );
    let all = lines.join("\n");
    for sent in ["sent-in", PASSWORD, &http::basic("admin", PASSWORD)] {
        assert!(!all.contains(sent), "{sent}");
    }
}

#[test]
fn without_options_it_is_text_about_what_is_of_interest() {
    let place = Place::new(Kind::Sqlite);
    let hub = Hub::start_logging(&place, LAX);
    hub.ask("main", "GET", "/livez").ok();
    assert!(hub.stop());
    let all = lines(&place).join("\n");
    assert!(
        all.contains(" INFO stopped") && !all.contains("answered"),
        "{all}"
    );
    assert!(!all.contains("uid=") && !all.contains("service="), "{all}");
}

#[test]
fn variables_of_existing_hubs_count_as_they_are() {
    let place = Place::new(Kind::Sqlite);
    let hub = Hub::start_as(&place, &["--disable-admin-auth"], |command| {
        let log = std::fs::File::create(place.path("log")).unwrap();
        command.stderr(log);
        for (name, value) in [
            ("LOG_JSON", "1"),
            ("LOG_DEBUG", "true"),
            ("LOG_UID", "0"),
            ("LOG_SERVICE", "s"),
        ] {
            command.env(name, value);
        }
    });
    hub.ask("main", "GET", "/livez").ok();
    hub.ask("admin", "GET", "/api/admin/v1/builders").ok();
    assert!(hub.stop());
    for line in lines(&place) {
        let object: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&object["service"], object.get("uid")), (&"s".into(), None));
    }
    assert!(lines(&place).iter().any(|line| line.contains("\"DEBUG\"")));
    // Text has the tags, too.
    std::fs::remove_file(place.path("log")).unwrap();
    let tags = ["--log-service=s", "--log-uid", "--log-json=false"];
    assert!(Hub::start_logging(&place, &tags).stop());
    for line in lines(&place) {
        assert!(line.contains(" service=\"s\" uid=\""), "{line}");
    }
}

/// What there is no counterpart of is refused rather than ignored.
#[test]
fn options_without_a_counterpart_are_refused() {
    let place = Place::new(Kind::Sqlite);
    for option in ["--pprof", "--mock-secrets", "--secret-prefix=x"] {
        let said = refused(&place, &[option]);
        assert!(said.contains("unexpected argument"), "{said}");
    }
    let guess = refused(&place, &["--log-json=perhaps"]);
    assert!(guess.contains("--log-json"), "{guess}");
}
