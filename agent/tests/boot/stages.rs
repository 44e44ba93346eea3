//! From power-on to ready, and afterwards.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::hub::{Answer, Hub, proven_names};
use crate::node::{Node, SECRET, configuration};

const READY: &str = "ready: this node is ready";

#[tokio::test]
async fn a_node_is_configured_certified_registered_and_ready() {
    let hub = Hub::start([Answer::good(&configuration("node.example"))]).await;
    let node = Node::start(&hub).await;
    node.logged(READY, 1).await;

    let registered = hub.registered();
    assert_eq!(registered.len(), 1);
    assert_eq!(proven_names(&registered[0]), ["localhost", "node.example"]);
    assert_eq!(registered[0]["tls_cert"], node.certificate().await);
    assert_eq!(node.started(), "cvm-ready.target\n");
    let mode = fs::metadata(node.key_file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let mut said = Vec::new();
    node.until("said to be ready", || {
        said.extend(node.notifications());
        said.iter().any(|it| it.starts_with("STATUS=ready: this"))
    })
    .await;
    for expected in ["READY=1", "WATCHDOG=1"] {
        assert!(said.iter().any(|it| it == expected), "{said:?}");
    }
    let log = node.stop().await;
    assert!(!log.contains(SECRET), "{log}");
}

#[tokio::test]
async fn nothing_is_used_until_the_hub_gives_all_that_is_required() {
    let lacking = serde_json::json!({ "dns_name": "node.example", "disk": { "key": "" } });
    let mut huge = configuration("node.example");
    huge["filling"] = "x".repeat(5 << 20).into();
    let hub = Hub::start([
        Answer::Is(403, String::new()),
        Answer::Is(
            409,
            r#"{"message":"no","error":"missing keys: a.b"}"#.to_owned(),
        ),
        Answer::Is(200, "{}".to_owned()),
    ])
    .await;
    let node = Node::start(&hub).await;
    for said in [
        "does not let this node in",
        "no: missing keys: a.b",
        "disk.key is missing",
    ] {
        node.logged(said, 1).await;
        node.reload().await;
    }
    hub.answers([
        Answer::good(&lacking),
        Answer::good(&huge),
        Answer::Is(200, format!("{{\"disk\": \"{SECRET}")),
    ]);
    for said in [
        "disk.key is not a text",
        "read the hub's answer",
        "is not JSON: line 1",
    ] {
        node.logged(said, 1).await;
        node.reload().await;
    }
    assert!(!node.key_file().exists());
    assert!(hub.registered().is_empty());
    assert_eq!(node.started(), "");

    hub.answers([Answer::good(&configuration("node.example"))]);
    node.logged(READY, 1).await;
    let log = node.stop().await;
    assert!(!log.contains(SECRET), "{log}");
}

#[tokio::test]
async fn a_hub_that_is_not_there_yet_is_waited_for() {
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nowhere.local_addr().unwrap();
    drop(nowhere);
    let node = Node::start_with(address, "").await;
    node.logged("configuration: fetch the configuration", 1)
        .await;
    assert_eq!(node.started(), "");
    let _hub = Hub::start_at(address, [Answer::good(&configuration("node.example"))]).await;
    node.logged(READY, 1).await;
    node.stop().await;
}

#[tokio::test]
async fn what_is_mended_at_the_hub_reaches_a_node_that_waits() {
    let hub = Hub::start([Answer::good(&configuration("wrong.example"))]).await;
    hub.state.lock().unwrap().refusals = [400; 1000].into();
    let node = Node::start_with(hub.address, "refresh_seconds = 1").await;
    node.logged("the hub answers 400 Bad Request: not now", 1)
        .await;
    assert_eq!(node.started(), "");
    hub.answers([Answer::good(&configuration("right.example"))]);
    node.logged("refresh: changed: dns_name", 1).await;
    // A hub does not take names that are not the builder's, however often it is asked.
    node.logged("identity: certificate_sha256=", 2).await;
    hub.state.lock().unwrap().refusals.clear();
    node.logged(READY, 1).await;
    let registered = hub.registered();
    let names = proven_names(registered.first().unwrap());
    assert_eq!(names, ["localhost", "right.example"]);
    node.stop().await;
}

#[tokio::test]
async fn a_reload_while_it_waits_asks_at_once() {
    let hub = Hub::start([Answer::Is(403, String::new())]).await;
    let node = Node::start(&hub).await;
    // By now it waits for some seconds each time.
    node.until("asked", || hub.asked() >= 4).await;
    hub.answers([Answer::good(&configuration("node.example"))]);
    node.notifications();
    node.reload().await;
    node.logged(READY, 1).await;
    let said = node.notifications();
    let place = |text: &str| said.iter().position(|it| it.starts_with(text));
    let reloading = place("RELOADING=1\nMONOTONIC_USEC=").unwrap();
    assert!(said[reloading..].iter().any(|it| it == "READY=1"));
    node.stop().await;
}

#[tokio::test]
async fn another_attestation_server_gets_the_same_certificate() {
    let hub = Hub::start([Answer::good(&configuration("node.example"))]).await;
    let mut node = Node::start(&hub).await;
    node.logged(READY, 1).await;
    let certificate = node.certificate().await;
    node.restart_attestation().await;
    assert_eq!(node.certificate().await, certificate);
    // With a file that is none, it serves an identity of its own, and says so.
    fs::write(node.key_file(), "nonsense").unwrap();
    node.restart_attestation().await;
    assert_ne!(node.certificate().await, certificate);
    let log = node.attestation_log();
    assert!(
        log.contains("an identity of its own is served instead"),
        "{log}"
    );
    // On a reload it keeps what it has.
    let own = node.certificate().await;
    node.reload_attestation().await;
    node.until("refused", || {
        let log = node.attestation_log();
        log.contains("no other certificate is served")
    })
    .await;
    assert_eq!(node.certificate().await, own);
    node.stop().await;
}

#[tokio::test]
async fn a_boot_that_starts_again_has_the_same_identity() {
    let hub = Hub::start([Answer::good(&configuration("node.example"))]).await;
    let mut node = Node::start(&hub).await;
    node.logged(READY, 1).await;
    let certificate = node.certificate().await;
    node.restart_boot().await;
    node.logged(READY, 1).await;
    assert_eq!(node.certificate().await, certificate);
    let registered = hub.registered();
    assert!(registered.iter().all(|it| it["tls_cert"] == certificate));
    // Names that changed meanwhile are another identity.
    hub.answers([Answer::good(&configuration("other.example"))]);
    node.restart_boot().await;
    node.logged(READY, 1).await;
    assert_ne!(node.certificate().await, certificate);
    node.stop().await;
}

#[tokio::test]
async fn a_refused_registration_is_tried_again_and_ready_waits_for_it() {
    let hub = Hub::start([Answer::good(&configuration("node.example"))]).await;
    hub.state.lock().unwrap().refusals = [500, 403].into();
    let node = Node::start(&hub).await;
    node.logged(
        "registration: register the certificate: the hub answers 500",
        1,
    )
    .await;
    assert_eq!(node.started(), "");
    node.logged(READY, 1).await;
    assert_eq!(hub.registered().len(), 1);
    node.stop().await;
}

#[tokio::test]
async fn a_hub_without_challenges_gets_the_certificate_alone() {
    let hub = Hub::start([Answer::good(&configuration("node.example"))]).await;
    hub.state.lock().unwrap().has_challenges = false;
    let node = Node::start(&hub).await;
    node.logged(READY, 1).await;
    assert!(hub.registered()[0].get("proof").is_none());
    node.stop().await;
}

#[tokio::test]
async fn a_refresh_takes_all_or_nothing() {
    let hub = Hub::start([Answer::good(&configuration("node.example"))]).await;
    let node = Node::start(&hub).await;
    node.logged(READY, 1).await;
    let first = node.certificate().await;

    // The same again: nothing to do.
    node.notifications();
    node.reload().await;
    node.logged("refresh: nothing has changed", 1).await;
    let mut said = Vec::new();
    node.until("reloaded", || {
        said.extend(node.notifications());
        said.iter().any(|it| it == "READY=1")
    })
    .await;
    assert!(
        said.iter()
            .any(|it| it.starts_with("RELOADING=1\nMONOTONIC_USEC="))
    );
    // What cannot be used changes nothing.
    for (answer, said) in [
        (Answer::Is(200, "{}".to_owned()), "disk.key is missing"),
        (Answer::Is(500, String::new()), "answers 500"),
        (Answer::Is(200, "garbage".to_owned()), "is not JSON"),
    ] {
        hub.answers([answer]);
        node.reload().await;
        node.logged(said, 1).await;
    }
    node.logged("the last configuration stays", 3).await;
    assert_eq!(node.certificate().await, first);
    // Another value, the same names: taken, and the certificate stays.
    let mut changed = configuration("node.example");
    changed["enabled"] = true.into();
    hub.answers([Answer::good(&changed)]);
    node.reload().await;
    node.logged("refresh: changed: enabled", 1).await;
    assert_eq!(node.certificate().await, first);
    assert_eq!(hub.registered().len(), 1);
    // Another name: another certificate. While the hub does not take it, the former is served, which the node's
    // peers know.
    hub.state.lock().unwrap().refusals = [400; 3].into();
    hub.answers([Answer::good(&configuration("other.example"))]);
    node.reload().await;
    node.logged("the hub answers 400 Bad Request: not now", 1)
        .await;
    assert_eq!(node.certificate().await, first);
    node.logged("the attestation server shows the certificate", 4)
        .await;
    let second = node.certificate().await;
    assert_ne!(second, first);
    assert_eq!(hub.registered().len(), 2);
    assert_eq!(hub.registered()[1]["tls_cert"], second);
    assert_eq!(
        proven_names(&hub.registered()[1]),
        ["localhost", "other.example"]
    );
    assert_eq!(node.started(), "cvm-ready.target\n");
    node.stop().await;
}

#[tokio::test]
async fn the_configuration_is_fetched_again_by_itself() {
    let hub = Hub::start([Answer::good(&configuration("node.example"))]).await;
    let node = Node::start_with(hub.address, "refresh_seconds = 1").await;
    node.until("fetched again", || hub.asked() >= 3).await;
    // A hub that is away for long is said once, and that it is back.
    hub.answers([Answer::Is(500, String::new())]);
    let asked = hub.asked();
    node.until("fetched in vain", || hub.asked() >= asked + 4)
        .await;
    hub.answers([Answer::good(&configuration("node.example"))]);
    node.logged("can be used again, after", 1).await;
    let log = node.stop().await;
    assert_eq!(
        log.matches("the last configuration stays").count(),
        1,
        "{log}"
    );
    assert!(!log.contains("refresh: nothing has changed"), "{log}");
}

#[tokio::test]
async fn a_hub_that_hangs_does_not_keep_it_from_stopping() {
    let hub = Hub::start([Answer::Hangs]).await;
    let node = Node::start(&hub).await;
    node.until("asked", || hub.asked() >= 1).await;
    node.stop().await;
}
