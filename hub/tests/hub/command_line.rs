//! The commands for admins, against a running hub.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Hub, Kind, PASSWORD, PROGRAM, Place, on_both, vector};

on_both!(an_admin_can_do_everything_from_the_command_line);

struct Admin {
    url: String,
    credentials: PathBuf,
}

impl Admin {
    fn new(place: &Place, hub: &Hub) -> Self {
        let credentials = place.path("credentials");
        std::fs::write(&credentials, format!("admin:{PASSWORD}\n")).unwrap();
        std::fs::set_permissions(&credentials, std::fs::Permissions::from_mode(0o600)).unwrap();
        Self {
            url: format!("http://{}", hub.address("admin")),
            credentials,
        }
    }

    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(words.split(' '))
            .args(["--admin-url", &self.url, "--credentials"]);
        command.arg(&self.credentials).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn output(&self, words: &str, input: &str) -> (bool, String, String) {
        let mut child = self.command(words).spawn().unwrap();
        // A command that doesn't read its input may end first.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (
            output.status.success(),
            text(output.stdout),
            text(output.stderr),
        )
    }

    #[track_caller]
    fn run(&self, words: &str, input: &str) -> String {
        let (is_good, out, errors) = self.output(words, input);
        assert!(is_good, "{words}: {errors}");
        out
    }

    #[track_caller]
    fn json(&self, words: &str) -> Value {
        serde_json::from_str(&self.run(&format!("{words} --json"), "")).unwrap()
    }

    #[track_caller]
    fn fails(&self, words: &str) -> String {
        let (is_good, _, errors) = self.output(words, "");
        assert!(!is_good, "{words}");
        errors
    }
}

fn an_admin_can_do_everything_from_the_command_line(kind: Kind) {
    let place = Place::new(kind);
    let hub = Hub::lax(&place);
    let admin = Admin::new(&place, &hub);
    // A published list as it is, and what `cvmctl measure` prints, which is one of our own.
    admin.run(
        "measurement add - --activate",
        &vector("measurements/cvm-reverse-proxy.json"),
    );
    let own = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../measurements/published/base-0.1.0-azure-tdx.json"
    );
    admin.run(&format!("measurement add {own}"), "");
    let list = admin.json("measurement list");
    assert_eq!(list["entries"].as_array().unwrap().len(), 4);
    assert!(
        admin
            .run("measurement list", "")
            .starts_with("id  measurement_id")
    );
    admin.run("measurement deactivate dcap-tdx-dummy", "");
    assert_eq!(
        admin.json("measurement show dcap-tdx-dummy")["is_active"],
        false
    );
    admin.run("measurement activate dcap-tdx-dummy", "");
    admin.run("measurement deactivate dcap-tdx-dummy", "");
    admin.run("measurement delete dcap-tdx-dummy", "");
    assert!(
        admin
            .fails("measurement show dcap-tdx-dummy")
            .contains("404 Not Found: not found")
    );

    hub.whitelist("m1");
    admin.run(
        "builder add b1 --ip 1.2.3.4 --network production --dns-name b1.example.net",
        "",
    );
    assert!(
        admin
            .fails("builder activate b1")
            .contains("has no active configuration")
    );
    admin.run("builder config set b1 -", r#"{"v": 1}"#);
    admin.run("builder secrets set b1 -", r#"{"key": "s"}"#);
    admin.run("defaults set -", r#"{"d": 1}"#);
    admin.run("defaults set-secrets -", r#"{"t": 1}"#);
    admin.run("network config set production -", r#"{"n": 1}"#);
    admin.run(
        "network required-keys set production -",
        r#"{"required": [{"key": "key"}]}"#,
    );
    admin.run("builder activate b1", "");
    let expected = json!({"v": 1, "key": "s", "d": 1, "t": 1, "n": 1});
    assert_eq!(
        hub.node("1.2.3.4", "GET", "configuration", "").ok().json(),
        expected
    );
    assert_eq!(admin.json("builder config show b1 --full"), expected);
    assert_eq!(admin.json("builder config show b1"), json!({"v": 1}));
    assert_eq!(
        admin.json("builder config check b1")["is_deliverable"],
        true
    );
    assert_eq!(
        admin.json("network required-keys show production")["required"][0]["key"],
        "key"
    );
    assert_eq!(
        admin.json("network config show production"),
        json!({"n": 1})
    );
    assert_eq!(admin.json("defaults show"), json!({"d": 1}));
    assert_eq!(admin.json("builder secrets rotate")["resealed"], 0);
    for words in [
        "builder list",
        "builder history b1",
        "builder credentials b1",
        "builder events b1",
        "events --limit 3",
        "builder show b1",
    ] {
        assert!(admin.json(words).is_object(), "{words}");
    }
    for words in [
        "builder secrets delete b1",
        "defaults delete",
        "defaults delete-secrets",
        "network config delete production",
        "network required-keys delete production",
        "builder deactivate b1",
        "builder delete b1",
    ] {
        assert!(admin.run(words, "").starts_with("done: "), "{words}");
    }
    assert_eq!(admin.json("builder list")["entries"], json!([]));
}

#[test]
fn passwords_are_kept() {
    let place = Place::new(Kind::Sqlite);
    let hub = Hub::lax(&place);
    let mut admin = Admin::new(&place, &hub);
    std::fs::set_permissions(&admin.credentials, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(
        admin
            .fails("builder list")
            .contains("can be read by others")
    );
    std::fs::set_permissions(&admin.credentials, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&admin.credentials, "admin:wrong").unwrap();
    assert!(admin.fails("builder list").contains("401"));
    // Refused before anything is sent.
    admin.url = "http://192.0.2.1:8081".to_owned();
    assert!(admin.fails("builder list").contains("unencrypted"));
}

#[test]
fn a_document_that_is_not_json_is_not_repeated() {
    let place = Place::new(Kind::Sqlite);
    let hub = Hub::lax(&place);
    let admin = Admin::new(&place, &hub);
    let (is_good, out, errors) = admin.output("builder secrets set b1 -", "{\"key\": hush}");
    assert!(
        !is_good && !out.contains("hush") && !errors.contains("hush"),
        "{errors}"
    );
    assert!(errors.contains("line 1 column"), "{errors}");
}
