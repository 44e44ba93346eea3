//! Keys that a program unwraps at the start, as one that asks a KMS does.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::start::refused;
use crate::support::{Hub, Kind, LAX, Place, on_both};

on_both!(
    a_program_gives_the_keys_as_a_file_would,
    without_the_right_key_no_secret_is_delivered,
);

/// The options that have a shell run a script, with `$0` the place's directory.
fn command(place: &Place, script: &str) -> Vec<String> {
    let directory = place.directory.path().display();
    vec![
        "--secrets-key-command=/bin/sh".to_owned(),
        "--secrets-key-argument=-c".to_owned(),
        format!("--secrets-key-argument={script}"),
        format!("--secrets-key-argument={directory}"),
    ]
}

fn start(place: &Place, script: &str) -> Hub {
    let command = command(place, script);
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    Hub::start_logging(place, &[LAX, &["--log-debug"], &command].concat())
}

fn fails(place: &Place, script: &str, seconds: u64) -> String {
    let command = command(place, script);
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let seconds = format!("--secrets-key-seconds={seconds}");
    refused(place, &[&command[..], &[seconds.as_str()]].concat())
}

fn secret(hub: &Hub) -> serde_json::Value {
    let answer = hub.node("1.2.3.4", "GET", "configuration", "");
    answer.ok().json()["key"].clone()
}

fn a_program_gives_the_keys_as_a_file_would(kind: Kind) {
    let place = Place::new(kind);
    // What was sealed with a key file opens with the same key out of a program, which first has to
    // unwrap it.
    let hub = Hub::lax(&place);
    hub.whitelist("m1");
    hub.builder("b1", "1.2.3.4", "production");
    hub.post("builders/secrets/b1", &json!({"key": "first"}))
        .ok();
    assert!(hub.stop());
    let old = std::fs::read_to_string(place.path("key")).unwrap();
    std::fs::remove_file(place.path("key")).unwrap();
    let wrapped: String = old.trim().chars().rev().collect();
    std::fs::write(place.path("wrapped"), wrapped).unwrap();
    let unwrap = "echo unwrapping >&2; rev \"$0/wrapped\"; echo";
    let hub = start(&place, unwrap);
    assert_eq!(secret(&hub), "first");
    hub.post("builders/secrets/b1", &json!({"key": "second"}))
        .ok();
    assert!(hub.stop());
    // No file was made beside the database.
    assert!(!place.path("hub.sqlite.key").exists() && !place.path("key").exists());
    // A new key in front, as in a file.
    let digits = "5a".repeat(32);
    let both = format!("echo new:{digits}; {unwrap}");
    let hub = start(&place, &both);
    assert_eq!(secret(&hub), "second");
    let rotated = hub.admin("POST", "secrets/rotation", "").ok().json();
    // The one that was replaced is kept, too.
    assert_eq!(rotated, json!({"resealed": 2, "key_id": "new"}));
    assert!(hub.stop());
    let hub = start(&place, &format!("echo new:{digits}"));
    assert_eq!(secret(&hub), "second");
    assert!(hub.stop());
    let log = std::fs::read_to_string(place.path("log")).unwrap();
    let (_, old) = old.trim().split_once(':').unwrap();
    assert!(!log.is_empty() && !log.contains(&digits) && !log.contains(old));
}

fn without_the_right_key_no_secret_is_delivered(kind: Kind) {
    let place = Place::new(kind);
    let hub = start(&place, &format!("echo k:{}", "1".repeat(64)));
    hub.whitelist("m1");
    hub.builder("b1", "1.2.3.4", "production");
    hub.post("builders/secrets/b1", &json!({"key": "s"})).ok();
    assert!(hub.stop());
    // Another key, of another name or even of the same one.
    for line in ["other:", "k:"] {
        let hub = start(&place, &format!("echo {line}{}", "2".repeat(64)));
        let answer = hub.node("1.2.3.4", "GET", "configuration", "");
        assert_eq!(answer.is(500).json(), json!({"message": "internal error"}));
        assert!(hub.stop());
    }
    let log = std::fs::read_to_string(place.path("log")).unwrap();
    assert!(
        log.contains("no key \\\"k\\\"") || log.contains("no key \"k\""),
        "{log}"
    );
    assert!(log.contains("has another value"), "{log}");
}

#[test]
fn a_program_that_does_not_give_keys_keeps_the_hub_from_starting() {
    let place = Place::new(Kind::Sqlite);
    let said = fails(&place, "echo key; echo 'the KMS is asleep' >&2; exit 7", 60);
    assert!(
        said.contains(
            "get the keys for secrets from /bin/sh: it failed (exit status: 7) and said: \
             the KMS is asleep"
        ),
        "{said}"
    );
    let start = Instant::now();
    let said = fails(&place, "sleep 600", 1);
    assert!(said.contains("it took longer than 1s"), "{said}");
    assert!(start.elapsed() < Duration::from_secs(60));
    let said = fails(&place, "yes", 60);
    assert!(said.contains("it wrote more than 65536 bytes"), "{said}");
    // Nothing of what could be a key is repeated.
    for (script, reason) in [
        ("echo k:5ec2e7", "expected 64 hexadecimal digits"),
        ("echo 5ec2e7", "expected an id, a colon and 64"),
        ("true", "there is no key"),
        ("printf 'k:5ec2e7\\377'", "expected text"),
    ] {
        let said = fails(&place, script, 60);
        assert!(said.contains(reason) && !said.contains("5ec2e7"), "{said}");
    }
    let missing = refused(&place, &["--secrets-key-command=/nonexistent/kms"]);
    assert!(
        missing.contains("from /nonexistent/kms: No such file"),
        "{missing}"
    );
    let relative = refused(&place, &["--secrets-key-command=sh"]);
    assert!(relative.contains("expected an absolute path"), "{relative}");
    let file = format!("--secrets-key-file={}", place.path("key").display());
    let two = refused(&place, &["--secrets-key-command=/bin/true", &file]);
    assert!(two.contains("cannot be used with"), "{two}");
    let alone = refused(&place, &["--secrets-key-argument=x"]);
    assert!(alone.contains("--secrets-key-command"), "{alone}");
}

#[test]
fn a_program_gets_the_environment_without_other_secrets() {
    let place = Place::new(Kind::Sqlite);
    let digits = "1".repeat(64);
    let script = format!(
        "test -z \"$DATABASE$POSTGRES_DSN$ADMIN_BASIC_PASSWORD_BCRYPT\" &&
         test \"$KMS_ADDRESS\" = kept && echo k:{digits}"
    );
    let command = command(&place, &script);
    let mut options: Vec<&str> = command.iter().map(String::as_str).collect();
    options.push("--disable-admin-auth");
    let hub = Hub::start_as(&place, &options, |command| {
        for (name, value) in [
            ("DATABASE", place.location.as_str()),
            ("POSTGRES_DSN", &place.location),
            ("ADMIN_BASIC_PASSWORD_BCRYPT", "a hash"),
            ("KMS_ADDRESS", "kept"),
        ] {
            command.env(name, value);
        }
    });
    assert!(hub.stop());
}
