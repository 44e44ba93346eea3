//! HAProxy's own checker over what is rendered for it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic in a test is a failing test, which is what is wanted"
)]

use std::fs;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use templates::{CheckError, Root, Set};

const TEMPLATE: &str = r#"
global
    default-path config
defaults
    mode http
    timeout connect {{pause}}
    timeout client {{pause}}
    timeout server {{pause}}
frontend {{name}}
    bind {{address}}:{{port}} name "the {{name}} of all"
    acl known src -n -M -f known.txt
    http-request deny deny_status 429 if !known { path -m beg {{path}} }
    default_backend all
backend all
{{#servers}}
    server {{.name}} {{.address}}
{{/servers}}
"#;

/// As the agent checks: rendered, staged, and shown to HAProxy.
fn check(values: &Value) -> Result<(), CheckError> {
    let folder = tempfile::tempdir().unwrap();
    let templates = folder.path().join("templates/run");
    fs::create_dir_all(&templates).unwrap();
    let write = |name: &str, text: &str| fs::write(templates.join(name), text).unwrap();
    write("ha.cfg", TEMPLATE);
    write(
        "ha.cfg.template.toml",
        "format = \"haproxy\"\ncheck = [\"haproxy\", \"-c\", \"-dW\", \"-f\", \"{}\"]\n",
    );
    write("known.txt", "{{#known}}\n{{.}}\n{{/known}}\n");
    let root = Root::new(folder.path(), folder.path().join("state"));
    let set = Set::read(&folder.path().join("templates")).unwrap();
    let checked = set.render(values).unwrap().check(&root, |checker| {
        let mut command = Command::new(checker.program);
        let command = command.args(checker.arguments).stdin(Stdio::null());
        command.stdout(Stdio::null()).status()
    });
    checked.map(drop)
}

fn values() -> Value {
    json!({
        "pause": "5s", "name": "front-1.a_b:c", "address": "[::1]", "port": "8443", "path": "/a/*.b[0]",
        "known": ["192.0.2.7 partner-a", "2001:db8::/32 partner-b"],
        "servers": [
            { "name": "one", "address": "127.0.0.1:5543" },
            { "name": "two", "address": "127.0.0.2:1" },
        ],
    })
}

#[test]
fn haproxy_accepts_what_is_rendered_for_it() {
    if !testkit::needed::programs(&["haproxy"]) {
        return;
    }
    let mut values = values();
    check(&values).unwrap();
    for number in [json!(8443), json!("8443")] {
        values["port"] = number;
        check(&values).unwrap();
    }
    values["known"] = json!([]);
    check(&values).unwrap();
}

#[test]
fn haproxy_refuses_values_that_are_plain_and_wrong() {
    if !testkit::needed::programs(&["haproxy"]) {
        return;
    }
    for (key, value) in [
        ("port", json!("https")),
        ("port", json!(70000)),
        ("pause", json!("soon")),
        ("address", json!("192.0.2.300")),
        ("known", json!(["partner-a"])),
        ("known", json!(["localhost"])),
    ] {
        let mut values = values();
        values[key] = value.clone();
        let refused = check(&values);
        assert!(
            matches!(refused, Err(CheckError::Refused { .. })),
            "{key} {value}: {refused:?}"
        );
    }
}
