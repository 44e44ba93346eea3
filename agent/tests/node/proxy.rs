//! The proxy to the hub: requests in plain text on loopback, on attested connections beyond.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::hub::Hub;
use crate::machine::Machine;
use crate::node::{Node, PATIENCE, curl};

async fn ask(node: &Node, arguments: &[&str]) -> Result<String, String> {
    let url = format!("http://{}/api?x=1", node.hub.unwrap());
    let status = ["--write-out", "\n%{http_code}"];
    curl(&[&[url.as_str()], &status[..], arguments].concat()).await
}

#[tokio::test]
async fn the_hub_sees_a_proven_machine_by_either_protocol() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let hub = Hub::start(&machine).await;
    for (protocol, name) in [("atls", "Atls"), ("ratls", "Ratls")] {
        let node = machine.node(&hub.drop_in(protocol)).await;
        for _ in 0..2 {
            let got = ask(&node, &[]).await.unwrap();
            let (body, status) = got.rsplit_once('\n').unwrap();
            assert_eq!(status, "200", "{body}\n{}", node.log());
            let seen: Value = serde_json::from_str(body).unwrap();
            assert_eq!(seen["path"], "/base/api?x=1");
            assert_eq!(seen["host"], "localhost");
            assert_eq!(seen["protocol"], name);
            assert_eq!(seen["http"], "HTTP/2.0");
            let pcr4 = machine.tpm.client().read_pcrs().unwrap().value(4);
            assert_eq!(seen["pcr4"], pcr4.to_string());
            assert_eq!(seen["forwarded"], serde_json::json!(["127.0.0.1"]));
            assert_eq!(seen["claims"], serde_json::json!([]));
        }
        node.stop().await;
    }
}

#[tokio::test]
async fn nobody_on_the_machine_claims_what_only_evidence_can() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let hub = Hub::start(&machine).await;
    let node = machine.node(&hub.drop_in("ratls")).await;
    for header in [
        "X-Flashbots-Measurement: {}",
        "X-Flashbots-Attestation-Type: azure-tdx",
    ] {
        let got = ask(&node, &["--header", header]).await.unwrap();
        assert!(got.ends_with("\n403"), "{got}");
    }
}

#[tokio::test]
async fn who_is_not_the_hub_of_the_image_gets_nothing() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let hub = Hub::start(&machine).await;
    let port = hub.address.port();
    for protocol in ["atls", "ratls"] {
        // Right key, wrong name.
        let other_name = format!("https://127.0.0.1:{port}");
        let node = machine.node(&hub.drop_in_at(&other_name, protocol)).await;
        let got = ask(&node, &[]).await.unwrap();
        assert!(got.ends_with("\n502"), "{got}");
        assert!(got.contains("certificate was refused"), "{got}");

        // Right name, another authority.
        let imposter = Hub::start(&machine).await;
        let url = format!("https://localhost:{}", imposter.address.port());
        let node = machine.node(&hub.drop_in_at(&url, protocol)).await;
        let got = ask(&node, &[]).await.unwrap();
        assert!(got.ends_with("\n502"), "{got}");
        assert!(got.contains("certificate was refused"), "{got}");
    }
}

#[tokio::test]
async fn a_hub_that_comes_back_is_found_again() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let mut hub = Hub::start(&machine).await;
    let node = machine.node(&hub.drop_in("ratls")).await;
    assert!(ask(&node, &[]).await.unwrap().ends_with("\n200"));

    hub.stop().await;
    let got = ask(&node, &[]).await.unwrap();
    assert!(got.ends_with("\n502"), "{got}");

    hub.start_again(&machine).await;
    let until_found = async {
        while !ask(&node, &[]).await.unwrap().ends_with("\n200") {
            sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(PATIENCE, until_found).await.unwrap();
}

#[tokio::test]
async fn without_a_hub_there_is_no_proxy() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let node = machine.node("").await;
    assert_eq!(node.hub, None);
    node.stop().await;
}
