//! The configuration as files: all of them or none, and only those who read what has changed are told.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::hub::{Answer, Hub};
use crate::node::{Node, SECRET, configuration};

const READY: &str = "ready: this node is ready";

const SECTION: &str = "[templates]\n";

const TEMPLATES: [(&str, &str); 4] = [
    ("run/a/a.toml", "name = {{dns_name}}\nkey = {{disk.key}}\n"),
    (
        "run/a/a.toml.template.toml",
        "mode = \"0640\"\nreload = [\"a.service\"]\n\
         check = [\"/bin/sh\", \"-c\", \"! grep -q refused $0 || { cat $0; exit 3; }\", \"{}\"]\n",
    ),
    ("run/b.env", "LEVEL={{level}}\n"),
    ("run/b.env.template.toml", "restart = [\"b.service\"]\n"),
];

fn values(dns_name: &str, level: &Value) -> Answer {
    let mut values = configuration(dns_name);
    values["level"] = level.clone();
    Answer::good(&values)
}

async fn start(hub: &Hub) -> Node {
    Node::start_as(hub.address, "refresh_seconds = 600", SECTION, &TEMPLATES).await
}

/// Both files.
fn files(node: &Node) -> [Option<String>; 2] {
    ["run/a/a.toml", "run/b.env"].map(|file| fs::read_to_string(node.path(file)).ok())
}

fn ensure_each_was_told_once(node: &Node) {
    let told = node.told();
    for told_once in ["try-restart b.service", "try-reload-or-restart a.service"] {
        assert_eq!(told.matches(told_once).count(), 1, "{told}");
    }
}

fn file_a(dns_name: &str) -> String {
    format!("name = \"{dns_name}\"\nkey = \"{SECRET}\"\n")
}

#[tokio::test]
async fn files_are_there_before_the_node_is_registered_and_only_changes_are_told() {
    let hub = Hub::start([values("node.example", &json!(1))]).await;
    hub.state.lock().unwrap().refusals = [500].into();
    let node = start(&hub).await;
    node.logged("registration: register the certificate", 1)
        .await;
    let now = [
        Some(file_a("node.example")),
        Some("LEVEL=\"1\"\n".to_owned()),
    ];
    assert_eq!(files(&node), now);
    let mode = fs::metadata(node.path("run/a/a.toml"))
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o640);
    node.logged(READY, 1).await;
    let told = "try-restart b.service\ntry-reload-or-restart a.service\nstart cvm-ready.target\n";
    assert_eq!(node.told(), told);
    node.logged("render: /run/a/a.toml is written, /run/b.env is written", 1)
        .await;

    hub.answers([values("node.example", &json!(2))]);
    node.reload().await;
    node.logged("render: /run/b.env is written", 1).await;
    assert_eq!(node.told(), format!("{told}try-restart b.service\n"));
    // Something that no template knows.
    let mut other = configuration("node.example");
    (other["level"], other["more"]) = (json!(2), json!(1));
    hub.answers([Answer::good(&other)]);
    node.reload().await;
    node.logged("render: no file has changed", 1).await;
    assert_eq!(node.told(), format!("{told}try-restart b.service\n"));
    let log = node.stop().await;
    assert!(!log.contains(SECRET), "{log}");
}

#[tokio::test]
async fn a_first_configuration_that_does_not_render_is_waited_for() {
    let hub = Hub::start([Answer::good(&configuration("node.example"))]).await;
    let node = start(&hub).await;
    node.logged("render: run/b.env: line 1: level: missing; tried again", 1)
        .await;
    assert_eq!(files(&node), [None, None]);
    assert!(hub.registered().is_empty());
    // Nor one that another program refuses, which shows what it refuses.
    hub.answers([values("refused.example", &json!(1))]);
    node.reload().await;
    node.logged(
        "run/a/a.toml: /bin/sh refuses the rendered file: exit status: 3",
        1,
    )
    .await;
    assert_eq!(files(&node), [None, None]);
    assert_eq!(node.told(), "");
    hub.answers([values("node.example", &json!(1))]);
    node.reload().await;
    node.logged(READY, 1).await;
    assert!(files(&node).iter().all(Option::is_some));
    let log = node.stop().await;
    assert!(!log.contains(SECRET), "{log}");
}

#[tokio::test]
async fn a_refresh_that_does_not_render_leaves_everything_as_it_was() {
    let hub = Hub::start([values("node.example", &json!(1))]).await;
    let node = start(&hub).await;
    node.logged(READY, 1).await;
    let (certificate, before, told) = (node.certificate().await, files(&node), node.told());
    for (answer, said) in [
        (
            Answer::good(&configuration("other.example")),
            "refresh: the last configuration stays: run/b.env: line 1: level: missing",
        ),
        (
            values("other.example", &json!(null)),
            "refresh: the last configuration stays: run/b.env: line 1: level: expected a value",
        ),
        (
            values("refused.example", &json!(1)),
            "refresh: the last configuration stays: run/a/a.toml: /bin/sh refuses",
        ),
    ] {
        hub.answers([answer]);
        node.reload().await;
        node.logged(said, 1).await;
        assert_eq!(files(&node), before);
    }
    assert_eq!(node.certificate().await, certificate);
    assert_eq!(hub.registered().len(), 1);
    assert_eq!(node.told(), told);
    // The next one is tried again.
    hub.answers([values("other.example", &json!(1))]);
    node.reload().await;
    node.until("registered again", || hub.registered().len() == 2)
        .await;
    assert_eq!(files(&node)[0], Some(file_a("other.example")));
    node.stop().await;
}

#[tokio::test]
async fn a_unit_that_cannot_be_told_is_told_later_and_no_other_again() {
    let hub = Hub::start([Answer::Is(403, String::new())]).await;
    let node = start(&hub).await;
    node.refuse("a.service");
    hub.answers([values("node.example", &json!(1))]);
    node.logged("a.service does not; tried again", 1).await;
    node.accept("a.service");
    node.logged(READY, 1).await;
    ensure_each_was_told_once(&node);
    node.stop().await;
}

#[tokio::test]
async fn an_agent_that_was_killed_cleans_up_and_tells_what_it_had_not_told() {
    let hub = Hub::start([Answer::Is(403, String::new())]).await;
    let mut node = start(&hub).await;
    node.refuse("a.service");
    hub.answers([values("node.example", &json!(1))]);
    node.logged("a.service does not; tried again", 1).await;
    // As if it had been killed in the midst of a check, too.
    let staging = node.path("run/cvm-agent/templates/staging");
    fs::create_dir(&staging).unwrap();
    fs::write(staging.join("a.toml"), SECRET).unwrap();
    hub.answers([Answer::Hangs]);
    node.restart_boot().await;
    node.logged(
        "render: units have not been told of their last files yet",
        1,
    )
    .await;
    assert!(!staging.exists());
    hub.answers([values("node.example", &json!(1))]);
    node.accept("a.service");
    node.restart_boot().await;
    node.logged(READY, 1).await;
    ensure_each_was_told_once(&node);
    node.stop().await;
}

#[tokio::test]
async fn an_agent_that_starts_again_refuses_what_a_running_one_refuses() {
    let hub = Hub::start([values("node.example", &json!(1))]).await;
    let mut node = start(&hub).await;
    node.logged(READY, 1).await;
    let certificate = node.certificate().await;
    // Of other names, and without what the templates need.
    hub.answers([Answer::good(&configuration("other.example"))]);
    node.restart_boot().await;
    node.logged("missing; tried again", 1).await;
    assert_eq!(node.certificate().await, certificate);
    assert_eq!(hub.registered().len(), 1);
    hub.answers([values("node.example", &json!(2))]);
    node.logged(READY, 1).await;
    node.stop().await;
}

#[tokio::test]
async fn a_configuration_that_changes_in_the_midst_of_a_check_waits_for_its_end() {
    let hub = Hub::start([values("one.example", &json!(1))]).await;
    let slow = "check = [\"/bin/sh\", \"-c\", \"echo begun >> $1; sleep 2; echo over >> $1\", \"{}\", \"{}\", \"CHECKS\"]\n";
    let checks = tempfile::NamedTempFile::new().unwrap();
    let slow = slow
        .replace("\"{}\", \"{}\", ", "\"{}\", ")
        .replace("CHECKS", checks.path().to_str().unwrap());
    let mut templates = TEMPLATES;
    templates[1].1 = &slow;
    let node = Node::start_as(hub.address, "refresh_seconds = 1", SECTION, &templates).await;
    let log = || fs::read_to_string(checks.path()).unwrap();
    node.until("checked", || log().contains("begun")).await;
    hub.answers([values("two.example", &json!(2))]);
    node.logged(READY, 1).await;
    assert_eq!(files(&node)[0], Some(file_a("two.example")));
    // Never two at once.
    let lines = log();
    let pairs: Vec<_> = lines.lines().collect();
    assert!(pairs.len() >= 4, "{lines}");
    assert!(
        pairs.chunks_exact(2).all(|it| it == ["begun", "over"]),
        "{lines}"
    );
    node.stop().await;
}

#[tokio::test]
async fn nothing_is_rendered_outside_of_run() {
    let hub = Hub::start([values("node.example", &json!(1))]).await;
    let outside = [("etc/a.toml", "name = {{dns_name}}\n")];
    let node = Node::start_as(hub.address, "", SECTION, &outside).await;
    node.logged(
        "render: etc/a.toml: expected a template of a file below /run",
        1,
    )
    .await;
    assert!(!node.path("etc/a.toml").exists());
    node.stop().await;
}
