//! The workflow that existing hubs document, by curl, step by step, and one that is as strict as a
//! hub is by default.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Hub, Kind, LAX, PASSWORD, Place, on_both, vector};

on_both!(
    the_documented_workflow_works,
    the_same_with_the_defaults_works
);

/// Status and body.
fn curl(arguments: &[&str]) -> (u16, String) {
    let output = Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "30",
            "--write-out",
            "\n%{http_code}",
        ])
        .args(arguments)
        .output()
        .expect("these tests need curl");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), body.to_owned())
}

struct Steps<'a> {
    hub: &'a Hub,
    measurement: &'a str,
    kind: &'a str,
}

impl Steps<'_> {
    fn admin(&self, path: &str, body: &str, expected: u16) -> String {
        let url = format!("http://{}/api/admin/v1/{path}", self.hub.address("admin"));
        let user = format!("admin:{PASSWORD}");
        let (status, text) = curl(&["--user", &user, "--data", body, &url]);
        assert_eq!(status, expected, "{path}: {text}");
        text
    }

    fn node(&self, arguments: &[&str], path: &str, expected: u16) -> String {
        let url = format!(
            "http://{}/api/l1-builder/v1/{path}",
            self.hub.address("main")
        );
        let kind = format!("X-Flashbots-Attestation-Type: {}", self.kind);
        let measurement = format!("X-Flashbots-Measurement: {}", self.measurement);
        let base = [
            "-H",
            &kind,
            "-H",
            &measurement,
            "-H",
            "X-Forwarded-For: 1.2.3.4",
        ];
        let (status, text) = curl(&[&base, arguments, &[&url]].concat());
        assert_eq!(status, expected, "{path}: {text}");
        text
    }

    /// From an empty hub to a deactivated builder.
    fn all(&self, whitelist: &Value, configuration: &str, secrets: &str, delivered: &Value) {
        let id = whitelist["measurement_id"].as_str().unwrap();
        self.node(&[], "configuration", 403);
        self.admin("measurements", &whitelist.to_string(), 200);
        self.admin(
            &format!("measurements/activation/{id}"),
            r#"{"enabled": true}"#,
            200,
        );
        let bare = r#"{"name": "test_builder", "ip_address": "1.2.3.4"}"#;
        self.admin("builders", bare, 400);
        let builder =
            r#"{"name": "test_builder", "ip_address": "1.2.3.4", "network": "production"}"#;
        self.admin("builders", builder, 200);
        self.node(&[], "configuration", 403);
        self.admin(
            "builders/activation/test_builder",
            r#"{"enabled": true}"#,
            400,
        );
        self.admin("builders/configuration/test_builder", configuration, 200);
        self.admin(
            "builders/activation/test_builder",
            r#"{"enabled": true}"#,
            200,
        );
        self.admin("builders/secrets/test_builder", secrets, 200);
        let got = self.node(&[], "configuration", 200);
        assert_eq!(&serde_json::from_str::<Value>(&got).unwrap(), delivered);
        let address = "0x321f3426eee5bf2cbe0ca4e1c9ec6b1ca7a4a9f1";
        let credentials = json!({"ecdsa_pubkey_address": address}).to_string();
        let register = ["--data", credentials.as_str()];
        assert_eq!(
            self.node(&register, "register_credentials/rbuilder", 200),
            ""
        );
        let builders: Value = serde_json::from_str(&self.node(&[], "builders", 200)).unwrap();
        assert_eq!(
            builders,
            json!([{"name": "test_builder", "ip": "1.2.3.4", "dns_name": "",
            "rbuilder": {"ecdsa_pubkey_address": address}}])
        );
        let url = format!(
            "http://{}/api/internal/l1-builder/v1/builders",
            self.hub.address("internal")
        );
        let (status, text) = curl(&[&url]);
        assert_eq!(
            (status, serde_json::from_str(&text).unwrap()),
            (200, builders)
        );
        self.admin(
            "builders/activation/test_builder",
            r#"{"enabled": false}"#,
            200,
        );
        assert_eq!(self.node(&[], "configuration", 403), "");
    }
}

/// A proxy of a development environment says that everything is of kind `test` and measures
/// nothing, and configurations are a word long: the hub has to be told to go along with that.
fn the_documented_workflow_works(kind: Kind) {
    let place = Place::new(kind);
    let hub = Hub::start(&place, LAX);
    let steps = Steps {
        hub: &hub,
        measurement: "{}",
        kind: "test",
    };
    let whitelist =
        json!({"measurement_id": "test1", "attestation_type": "test", "measurements": {}});
    let configuration = r#"{"rbuilder": {"extra_data": "FooBar"}}"#;
    let secrets = r#"{"rbuilder": {"extra_data": "FooBar"}, "secret": "s"}"#;
    let delivered = json!({"rbuilder": {"extra_data": "FooBar"}, "secret": "s"});
    steps.all(&whitelist, configuration, secrets, &delivered);
}

fn the_same_with_the_defaults_works(kind: Kind) {
    let place = Place::new(kind);
    let hub = Hub::start(&place, &["--trust-proxy-headers"]);
    let list: Value = serde_json::from_str(&vector("hub/get-measurements.json")).unwrap();
    let whitelist = &list[0];
    let registers =
        whitelist["measurements"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(index, expected)| {
                let any = expected["expected_any"].get(1);
                (index.clone(), any.unwrap_or(&expected["expected"]).clone())
            });
    let registers = Value::Object(registers.collect()).to_string();
    let steps = Steps {
        hub: &hub,
        measurement: &registers,
        kind: "azure-tdx",
    };
    let configuration = vector("hub/get-configuration.json");
    let mut delivered: Value = serde_json::from_str(&configuration).unwrap();
    delivered["disk_encryption"]["key"] = json!("from the secrets");
    let secrets = r#"{"disk_encryption": {"key": "from the secrets"}}"#;
    steps.all(whitelist, &configuration, secrets, &delivered);
}
