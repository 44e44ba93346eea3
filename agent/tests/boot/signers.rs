//! Services that hand over the address of the key that they sign with.

use std::fs;

use crate::hub::{Answer, Hub, proven_names};
use crate::node::{Node, configuration};

const READY: &str = "ready: this node is ready";

const SECTION: &str = "[registration.signers.signer]\nfile = \"KEYS/signer\"\nowner = \"ME\"\n";

const ONE: &str = "0x00000000000000000000000000000000000000aA";
const TWO: &str = "0x00000000000000000000000000000000000000bB";

#[tokio::test]
async fn an_address_is_registered_with_the_certificate_and_again_when_either_changes() {
    let hub = Hub::start([Answer::good(&configuration("node.example"))]).await;
    let node = Node::start_as(hub.address, "", SECTION, &[]).await;
    node.logged(READY, 1).await;
    let file = node.key_file().with_file_name("signer");
    // Half of one is none, and is not shown.
    fs::write(&file, &ONE[..30]).unwrap();
    node.logged(
        "expected 0x and 40 hexadecimal digits, and no more; tried again",
        1,
    )
    .await;
    assert!(!node.log().contains("0x000"));
    fs::write(&file, format!("{ONE}\n")).unwrap();
    registered(&node, &hub, 2).await;
    hub.state.lock().unwrap().refusals = [500].into();
    fs::write(&file, TWO).unwrap();
    registered(&node, &hub, 3).await;
    node.logged(
        "signers: signer: register the certificate: the hub answers 500",
        1,
    )
    .await;
    hub.answers([Answer::good(&configuration("other.example"))]);
    node.reload().await;
    registered(&node, &hub, 5).await;

    let all = hub.registered();
    let address = |at: usize| all[at]["ecdsa_pubkey_address"].as_str();
    let addresses: Vec<_> = (0..5).map(address).collect();
    assert_eq!(addresses, [None, Some(ONE), Some(TWO), None, Some(TWO)]);
    for (at, name) in [
        (1, "node.example"),
        (2, "node.example"),
        (4, "other.example"),
    ] {
        assert_eq!(proven_names(&all[at]), ["localhost", name]);
        assert_eq!(all[at]["service"], "signer");
    }
    assert_eq!(all[4]["tls_cert"], node.certificate().await);
    node.stop().await;
}

async fn registered(node: &Node, hub: &Hub, count: usize) {
    node.until("registered", || hub.registered().len() == count)
        .await;
}
