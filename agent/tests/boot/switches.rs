//! Units that the configuration turns on and off.

use serde_json::json;

use crate::hub::{Answer, Hub};
use crate::node::{Node, configuration};

const READY: &str = "ready: this node is ready";

const SECTIONS: &str = "[switches.one]\nunit = \"one.service\"\nwhen = \"one.enabled\"\ndefault = false\n\
                        [switches.two]\nunit = \"two.service\"\nwhen = \"two.enabled\"\ndefault = true\n";

fn values(one: Option<bool>, two: Option<bool>) -> Answer {
    let mut values = configuration("node.example");
    for (name, is_on) in [("one", one), ("two", two)] {
        if let Some(is_on) = is_on {
            values[name] = json!({ "enabled": is_on });
        }
    }
    Answer::good(&values)
}

#[tokio::test]
async fn what_is_on_starts_when_the_node_is_ready_and_a_refresh_turns_it_off() {
    let hub = Hub::start([values(None, None)]).await;
    hub.state.lock().unwrap().refusals = [500].into();
    let node = Node::start_as(hub.address, "", SECTIONS, &[]).await;
    node.logged("registration: register the certificate", 1)
        .await;
    assert_eq!(node.told(), "stop one.service\n");
    node.logged(READY, 1).await;
    node.logged("switches: two is on: two.service", 1).await;
    assert_eq!(node.started(), "cvm-ready.target\ntwo.service\n");
    hub.answers([values(Some(true), Some(false))]);
    node.reload().await;
    node.logged("switches: one is on: one.service", 1).await;
    assert!(
        node.told()
            .ends_with("start two.service\nstop two.service\nstart one.service\n")
    );
    node.stop().await;
}

#[tokio::test]
async fn a_unit_that_fails_is_tried_again_and_keeps_no_other_from_starting() {
    let hub = Hub::start([Answer::Is(403, String::new())]).await;
    let node = Node::start_as(hub.address, "", SECTIONS, &[]).await;
    node.refuse("one.service");
    hub.answers([values(Some(true), Some(true))]);
    node.logged("switches: two is on: two.service", 1).await;
    node.logged("switches: one is on, but", 2).await;
    assert!(node.log().contains("one.service does not; tried again in"));
    node.accept("one.service");
    node.logged("switches: one is on: one.service", 1).await;
    // The same of one that cannot be stopped.
    node.refuse("two.service");
    hub.answers([values(Some(false), Some(false))]);
    node.reload().await;
    node.logged("switches: two is off, but", 2).await;
    node.accept("two.service");
    node.logged("switches: two is off: two.service", 1).await;
    assert!(
        node.told()
            .ends_with("stop one.service\nstop two.service\n")
    );
    assert_eq!(
        node.started(),
        "cvm-ready.target\ntwo.service\none.service\n"
    );
    node.stop().await;
}

#[tokio::test]
async fn a_switch_that_is_neither_true_nor_false_is_refused() {
    let mut wrong = configuration("node.example");
    wrong["one"] = json!({ "enabled": "yes" });
    let hub = Hub::start([Answer::good(&wrong)]).await;
    let node = Node::start_as(hub.address, "", SECTIONS, &[]).await;
    node.logged("one.enabled is not true or false", 1).await;
    assert_eq!(node.told(), "");
    hub.answers([values(Some(true), None)]);
    node.logged(READY, 1).await;
    hub.answers([Answer::good(&wrong)]);
    node.reload().await;
    node.logged(
        "the last configuration stays: the hub's configuration cannot be used: one.enabled",
        1,
    )
    .await;
    assert!(!node.told().contains("stop one.service"), "{}", node.told());
    node.stop().await;
}
