//! The workflow that existing hubs document, by the same curl commands; and the steps of their own
//! tests, also with a hub that is as strict as it is by default.

use serde_json::{Value, json};

use crate::support::curl::{Curled, curl};
use crate::support::{Hub, Kind, LAX, PASSWORD, Place, on_both, proxy, vector};

on_both!(
    the_published_commands_work_unchanged,
    the_published_tests_steps_work,
    the_documented_workflow_works,
    the_same_with_the_defaults_works
);

/// What a hub for development is told, as the published one is by its containers' variables: no
/// passwords, and everything that a proxy says is believed. The last two are this hub's own.
const DEVELOPMENT: &[&str] = &[
    "--disable-admin-auth",
    "--trust-proxy-headers",
    "--danger-accept-any-measurement",
    "--required-keys=none",
    "--certificates=any",
];

/// The published ports, and whoever has them here.
struct Ports(Vec<(&'static str, String)>);

impl Ports {
    fn new(hub: &Hub) -> Self {
        let proxy = proxy::start(hub.address("main"));
        let port = |name: &str| hub.address(name).port().to_string();
        Self(vec![
            ("8080", port("main")),
            ("8081", port("admin")),
            ("8082", port("internal")),
            ("8888", proxy.port().to_string()),
        ])
    }

    /// Runs a command as it is published, but for the port.
    fn curl(&self, arguments: &[&str]) -> Curled {
        let arguments: Vec<String> = arguments
            .iter()
            .map(|argument| {
                let mut argument = (*argument).to_owned();
                for (published, here) in &self.0 {
                    let host = |port: &str| format!("http://localhost:{port}/");
                    argument = argument.replace(&host(published), &host(here));
                }
                argument
            })
            .collect();
        curl(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    #[track_caller]
    fn is_done(&self, arguments: &[&str]) {
        let Curled { status, body, .. } = self.curl(arguments);
        assert_eq!((status, body.as_str()), (200, ""), "{arguments:?}");
    }

    #[track_caller]
    fn gives(&self, arguments: &[&str], expected: &Value) {
        let Curled {
            status, body, kind, ..
        } = self.curl(arguments);
        assert_eq!((status, kind.as_str()), (200, "application/json"), "{body}");
        assert_eq!(&serde_json::from_str::<Value>(&body).unwrap(), expected);
    }

    #[track_caller]
    fn refuses(&self, arguments: &[&str], status: u16) {
        let answer = self.curl(arguments);
        assert_eq!(answer.status, status, "{arguments:?} {}", answer.body);
        if status == 403 {
            assert_eq!(answer.body, "");
        } else {
            let body: Value = serde_json::from_str(&answer.body).unwrap();
            assert!(body["message"].is_string() && body["error"].is_string());
            assert_eq!(answer.kind, "application/json");
        }
    }
}

/// An admin's command, with a body as it is typed there.
fn post(path: &'static str, body: &Value) -> [String; 5] {
    let url = format!("http://localhost:8081/api/admin/v1/{path}");
    let body = serde_json::to_string_pretty(body).unwrap();
    [
        "-v".to_owned(),
        "--url".to_owned(),
        url,
        "--data".to_owned(),
        body,
    ]
}

/// The guide to a development environment (`docs/devenv-setup.md` at v0.6.2), command after command.
fn the_published_commands_work_unchanged(kind: Kind) {
    let place = Place::new(kind);
    let hub = Hub::start(&place, DEVELOPMENT);
    let ports = Ports::new(&hub);
    let node = |path: &str| format!("http://localhost:8888/api/l1-builder/v1/{path}");
    let public = "http://localhost:8080/api/l1-builder/v1/measurements";
    ports.gives(&[public], &json!([]));

    let admin = |command: [String; 5]| ports.is_done(&command.each_ref().map(String::as_str));
    let measurement =
        json!({"measurement_id": "test1", "attestation_type": "test", "measurements": {}});
    admin(post("measurements", &measurement));
    let [_, _, url, _, body] = post("measurements/activation/test1", &json!({"enabled": true}));
    ports.is_done(&["-v", "--request", "POST", "--url", &url, "--data", &body]);
    let builder = json!({"name": "test_builder", "ip_address": "1.2.3.4",
        "dns_name": "foobar-v1.a.b.c", "network": "production"});
    admin(post("builders", &builder));
    admin(post("builders/configuration/test_builder", &json!({})));
    let secrets = json!({"rbuilder": {"extra_data": "FooBar"}});
    admin(post("builders/secrets/test_builder", &secrets));
    admin(post(
        "builders/activation/test_builder",
        &json!({"enabled": true}),
    ));

    ports.gives(&[public], &json!([measurement]));
    ports.gives(&[&node("configuration")], &secrets);
    let mut peer = json!({"name": "test_builder", "ip": "1.2.3.4", "dns_name": "foobar-v1.a.b.c"});
    ports.gives(&[&node("builders")], &json!([peer]));
    let address = "0x321f3426eEc20DE1910af1CD595c4DD83BEA0BA5";
    let body = serde_json::to_string_pretty(&json!({"ecdsa_pubkey_address": address})).unwrap();
    let url = node("register_credentials/rbuilder");
    ports.is_done(&["-v", "--url", &url, "--data", &body]);
    peer["rbuilder"] = json!({"ecdsa_pubkey_address": address.to_lowercase()});
    ports.gives(&[&node("builders")], &json!([peer]));
    assert!(hub.stop());
}

/// The steps of the published end-to-end test (`scripts/ci/e2e-test.hurl`) and what is around them:
/// refusals, and the end of a builder. That the internal routes are at the main listener, too, is
/// the one thing that differs, on purpose.
fn the_published_tests_steps_work(kind: Kind) {
    let place = Place::new(kind);
    let hub = Hub::start(&place, DEVELOPMENT);
    let ports = Ports::new(&hub);
    let admin =
        |path, body: Value| ports.is_done(&post(path, &body).each_ref().map(String::as_str));
    let refused = |path, body: Value| {
        ports.refuses(&post(path, &body).each_ref().map(String::as_str), 400);
    };
    let node = |path: &str| format!("http://localhost:8888/api/l1-builder/v1/{path}");
    let register = |service: &str, body: &Value| {
        let (url, body) = (
            node(&format!("register_credentials/{service}")),
            body.to_string(),
        );
        ports.is_done(&["--request", "POST", &url, "--json", &body]);
    };
    let enabled = json!({"enabled": true});

    ports.refuses(&[&node("configuration")], 403);
    let measurement =
        json!({"measurement_id": "test1", "attestation_type": "test", "measurements": {}});
    admin("measurements", measurement.clone());
    ports.refuses(&[&node("configuration")], 403);
    let internal = "http://localhost:8082/api/l1-builder/v1/measurements";
    ports.gives(&[internal], &json!([]));
    admin("measurements/activation/test1", enabled.clone());
    ports.gives(&[internal], &json!([measurement]));

    refused(
        "builders",
        json!({"name": "test_builder", "ip_address": "1.2.3.4"}),
    );
    refused(
        "builders",
        json!({"name": "b", "ip_address": "1.2.3", "network": "production"}),
    );
    let builder = json!({"name": "test_builder", "ip_address": "1.2.3.4",
        "dns_name": "foobar-v1.a.b.c", "network": "production"});
    admin("builders", builder);
    refused("builders/activation/test_builder", enabled.clone());
    let configuration = json!({"rbuilder": {"extra_data": "FooBar"}});
    admin("builders/configuration/test_builder", configuration.clone());
    ports.refuses(&[&node("configuration")], 403);
    admin("builders/activation/test_builder", enabled);
    let own = "http://localhost:8081/api/admin/v1/builders/configuration/test_builder";
    ports.gives(&[&format!("{own}/active")], &configuration);

    let mut peer = json!({"name": "test_builder", "ip": "1.2.3.4", "dns_name": "foobar-v1.a.b.c"});
    let api = "api/internal/l1-builder";
    let lists = [
        format!("http://localhost:8082/{api}/v1/builders"),
        format!("http://localhost:8082/{api}/v2/network/production/builders"),
        node("builders"),
    ];
    lists
        .iter()
        .for_each(|list| ports.gives(&[list], &json!([peer])));
    let elsewhere = format!("http://localhost:8082/{api}/v2/network/other/builders");
    ports.gives(&[&elsewhere], &json!([]));
    for list in &lists[..2] {
        let main = list.replace("8082", "8080");
        assert_eq!(ports.curl(&[&main]).status, 404);
    }
    ports.gives(&[&node("configuration")], &configuration);
    let secrets = json!({"rbuilder": {"extra_data": "FooBar"}, "key": "s"});
    admin("builders/secrets/test_builder", secrets.clone());
    ports.gives(&[&node("configuration")], &secrets);
    ports.gives(&[&format!("{own}/full")], &secrets);

    let address = "0x321f3426eEc20DE1910af1CD595c4DD83BEA0BA5";
    for (service, mut body) in [
        ("rbuilder", json!({"ecdsa_pubkey_address": address})),
        (
            "orderflow_proxy",
            json!({"ecdsa_pubkey_address": address, "tls_cert": "abcdefghijklmnopqrstuvwxyz"}),
        ),
        ("instance", json!({"tls_cert": "1234567890"})),
        (
            "foobar123",
            json!({"tls_cert": "1234567890", "ecdsa_pubkey_address": address}),
        ),
    ] {
        register(service, &body);
        if body.get("ecdsa_pubkey_address").is_some() {
            body["ecdsa_pubkey_address"] = json!(address.to_lowercase());
        }
        peer[service] = body;
    }
    lists
        .iter()
        .for_each(|list| ports.gives(&[list], &json!([peer])));
    let url = node("register_credentials/rbuilder");
    let answer = ports.curl(&["--url", &url, "--data", "{}"]);
    let expected = r#"{"message":"no credentials provided"}"#;
    assert_eq!((answer.status, answer.body.as_str()), (400, expected));
    ports.refuses(&["--url", &url, "--data", "{"], 400);

    admin(
        "builders/activation/test_builder",
        json!({"enabled": false}),
    );
    ports.refuses(&[&node("configuration")], 403);
    ports.refuses(&[&node("builders")], 403);
    lists[..2]
        .iter()
        .for_each(|list| ports.gives(&[list], &json!([])));
    for (path, status) in [
        ("livez", 200),
        ("readyz", 200),
        ("drain", 200),
        ("readyz", 503),
    ] {
        let answer = ports.curl(&[&format!("http://localhost:8080/{path}")]);
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (status, ""),
            "{path}"
        );
    }
    assert!(hub.stop());
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
        let Curled {
            status, body: text, ..
        } = curl(&["--user", &user, "--data", body, &url]);
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
        let Curled {
            status, body: text, ..
        } = curl(&[&base, arguments, &[&url]].concat());
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
        let Curled {
            status, body: text, ..
        } = curl(&[&url]);
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
