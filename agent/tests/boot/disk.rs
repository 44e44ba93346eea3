//! The data disk of a node: formatted, found again, waited for, refused, and given another key.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::hub::{Answer, Hub};
use crate::machine::{BOOT, DATA, KEY, Machine, OTHER_KEY, SERIAL, began, calls, is_one_at_a_time};
use crate::node::{Node, configuration};

const READY: &str = "ready: this node is ready";
const SETTING: &str = "refresh_seconds = 600";

fn keys(key: &str, previous: Option<&str>) -> Value {
    let mut value = configuration("node.example");
    value["disk"] = json!({ "key": key, "previous": previous.unwrap_or_default() });
    if previous.is_none() {
        value["disk"] = json!({ "key": key });
    }
    value
}

async fn start(hub: &Hub, machine: &Machine) -> Node {
    Node::start_on(hub.address, SETTING, Some(machine)).await
}

/// A machine whose disk was formatted under [`KEY`] by a node that has ended in order.
async fn used() -> Machine {
    let machine = Machine::azure();
    let hub = Hub::start([Answer::good(&keys(KEY, None))]).await;
    let node = start(&hub, &machine).await;
    node.logged(READY, 1).await;
    let said = node.close_disk().await;
    assert!(said.contains("it is unmounted and closed"), "{said}");
    assert!(!machine.is_mounted() && !machine.is_mapped());
    node.stop().await;
    machine
}

#[tokio::test]
async fn a_blank_disk_is_formatted_and_an_agent_that_is_killed_goes_on() {
    let machine = Machine::azure();
    let hub = Hub::start([Answer::good(&keys(KEY, None))]).await;
    let mut node = start(&hub, &machine).await;
    node.logged(READY, 1).await;
    assert!(machine.is_mounted());
    // What closes it comes before it is open, and the node is ready after.
    assert_eq!(node.started(), "cvm-disk.service\ncvm-ready.target\n");
    let log = node.log();
    let name = format!("disk: sdb (serial {SERIAL:?})");
    for said in [
        "the disk is blank",
        "the disk is formatted and ready",
        "the file system is clean",
        "the file system is mounted",
    ] {
        assert!(log.contains(&format!("{name}: {said}")), "{said}: {log}");
    }
    let place = |text: &str| log.find(text).unwrap();
    assert!(place("disk: it is mounted") < place("identity: begun"));

    node.restart_boot().await;
    node.logged(READY, 1).await;
    assert!(node.log().contains("the disk is open already"));
    assert_eq!(began(&machine, "mkfs.ext4"), 1);
    assert_eq!(began(&machine, "systemd-mount"), 1);
    let log = node.stop().await;
    assert!(!log.contains(KEY), "{log}");
    assert!(!calls(&machine).join("\n").contains(KEY));
}

#[tokio::test]
async fn a_disk_that_comes_late_is_waited_for() {
    let machine = Machine::new();
    machine.scsi("sda", BOOT, "0:0:0:0");
    let hub = Hub::start([Answer::good(&keys(KEY, None))]).await;
    let node = start(&hub, &machine).await;
    node.logged("disk: no disk at LUN 10 of Azure's data controller", 1)
        .await;
    assert_eq!(node.started(), "cvm-disk.service\n");
    machine.scsi("sdb", DATA, "1:0:0:10");
    node.logged(READY, 1).await;
    assert!(machine.is_mounted());
    node.stop().await;
}

#[tokio::test]
async fn a_disk_that_fails_keeps_a_node_from_becoming_ready_and_is_said() {
    let machine = Machine::azure();
    let hub = Hub::start([Answer::good(&keys(KEY, None))]).await;
    hub.state.lock().unwrap().refusals = [503; 4].into();
    let node = start(&hub, &machine).await;
    node.logged("registration: ", 2).await;
    machine.unplug("sdb");
    let failed = "ready: the data disk has failed: it cannot be found: no disk at LUN 10";
    node.logged(failed, 1).await;
    assert_eq!(node.started(), "cvm-disk.service\n");
    // Whatever else changes, the disk is looked at at once.
    let mut changed = keys(KEY, None);
    changed["enabled"] = true.into();
    hub.answers([Answer::good(&changed)]);
    node.reload().await;
    node.logged("disk: the data disk has failed", 1).await;
    let device = machine.path("sys/devices/sdb-block");
    std::os::unix::fs::symlink(device, machine.path("sys/block/sdb")).unwrap();
    node.logged(READY, 1).await;
    changed["enabled"] = false.into();
    hub.answers([Answer::good(&changed)]);
    node.reload().await;
    node.logged("disk: the data disk is good again", 1).await;
    assert_eq!(began(&machine, "systemd-mount"), 1);
    node.stop().await;
}

#[tokio::test]
async fn a_wrong_key_is_said_and_mended_at_the_hub() {
    let machine = used().await;
    let before = machine.image();
    let hub = Hub::start([Answer::good(&keys(OTHER_KEY, None))]).await;
    let node = start(&hub, &machine).await;
    node.logged("the key is wrong: the disk wants key", 1).await;
    node.logged(
        "give the node the key that the disk wants, as disk.key, or as disk.previous",
        1,
    )
    .await;
    assert!(machine.image() == before && !machine.is_mapped());
    assert_eq!(node.started(), "cvm-disk.service\n");
    // What is no key at all is not tried.
    hub.answers([Answer::good(&keys("short", None))]);
    node.reload().await;
    node.logged("use disk.key: the disk's key has 5 characters", 1)
        .await;
    hub.answers([Answer::good(&keys(KEY, None))]);
    node.reload().await;
    node.logged(READY, 1).await;
    assert_eq!(began(&machine, "mkfs.ext4"), 1);
    let log = node.stop().await;
    assert!(!log.contains(OTHER_KEY), "{log}");
}

#[tokio::test]
async fn foreign_data_are_left_alone_and_the_ways_on_are_said() {
    let machine = Machine::azure();
    machine.write("signatures", "0x438,,,ext4\n");
    let hub = Hub::start([Answer::good(&keys(KEY, None))]).await;
    let node = start(&hub, &machine).await;
    node.logged(
        "the disk is left alone: the disk has foreign data: ext4 at 1080; nothing more is written",
        1,
    )
    .await;
    node.logged(&format!("or confirm by the serial {SERIAL:?}"), 1)
        .await;
    assert_eq!(began(&machine, "cryptsetup"), 0);
    assert_eq!(node.started(), "cvm-disk.service\n");
    node.stop().await;
}

#[tokio::test]
async fn another_key_in_the_configuration_becomes_the_disks() {
    let machine = used().await;
    let hub = Hub::start([Answer::good(&keys(KEY, None))]).await;
    let node = start(&hub, &machine).await;
    node.logged(READY, 1).await;
    // A slip at the hub changes no disk.
    for slip in [keys(OTHER_KEY, None), keys(OTHER_KEY, Some(OTHER_KEY))] {
        hub.answers([Answer::good(&slip)]);
        node.reload().await;
        node.logged("does not name the present one as the previous key", 1)
            .await;
    }
    // A disk whose key cannot be changed keeps it, and the node goes on.
    machine.write("keeps-key", "");
    hub.answers([Answer::good(&keys(OTHER_KEY, Some(KEY)))]);
    node.reload().await;
    node.logged("disk: its key stays as it was: sdb", 1).await;
    // Tried again with the next change.
    fs::remove_file(machine.path("keeps-key")).unwrap();
    let mut changed = keys(OTHER_KEY, Some(KEY));
    changed["enabled"] = true.into();
    hub.answers([Answer::good(&changed)]);
    node.reload().await;
    node.logged("the disk has another key", 1).await;
    assert!(machine.is_mounted());
    node.close_disk().await;
    node.stop().await;

    // Back again, over a restart, with both keys at hand.
    let hub = Hub::start([Answer::good(&keys(KEY, Some(OTHER_KEY)))]).await;
    let node = start(&hub, &machine).await;
    node.logged(READY, 1).await;
    assert!(node.log().contains("the disk has another key"));
    let log = node.stop().await;
    assert!(!log.contains(KEY) && !log.contains(OTHER_KEY), "{log}");
    assert_eq!(began(&machine, "mkfs.ext4"), 1);
}

#[tokio::test]
async fn a_previous_key_that_is_none_keeps_no_node_from_its_disk_nor_from_a_configuration() {
    let machine = used().await;
    let mut wrong = keys(KEY, None);
    wrong["disk"]["previous"] = Value::Null;
    let hub = Hub::start([Answer::good(&wrong)]).await;
    let node = start(&hub, &machine).await;
    node.logged(READY, 1).await;
    let said = "there is a previous key, but none that can be used: ";
    node.logged(said, 1).await;
    // The same at a refresh, as said as anew.
    wrong["disk"]["previous"] = "short".into();
    hub.answers([Answer::good(&wrong)]);
    node.reload().await;
    node.logged("refresh: changed: disk", 1).await;
    node.logged(said, 2).await;
    let log = node.stop().await;
    assert_eq!(log.matches(said).count(), 2, "{log}");
    assert_eq!(began(&machine, "mkfs.ext4"), 1);
}

#[tokio::test]
async fn a_format_is_awaited_although_the_configuration_changes() {
    let machine = Machine::azure();
    machine.write("slow", "");
    let hub = Hub::start([Answer::good(&keys(KEY, None))]).await;
    let node = start(&hub, &machine).await;
    node.until("formatting", || began(&machine, "mkfs.ext4") == 1)
        .await;
    let mut changed = keys(KEY, None);
    changed["enabled"] = true.into();
    hub.answers([Answer::good(&changed)]);
    node.reload().await;
    node.logged("refresh: changed: enabled", 1).await;
    let before = calls(&machine).len();
    // It is slow for longer than a try takes to begin.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(calls(&machine).len(), before);
    fs::remove_file(machine.path("slow")).unwrap();
    node.logged(READY, 1).await;
    assert_eq!(began(&machine, "mkfs.ext4"), 1);
    let calls = calls(&machine);
    assert!(is_one_at_a_time(&calls), "{calls:#?}");
    node.stop().await;
}

/// `close-disk` with the drop-ins that the images have; it reads all of them.
fn close_with(names: &[&str]) -> Output {
    let machine = Machine::azure();
    let directory = tempfile::tempdir().unwrap();
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for name in names {
        let from = checkout.join(name);
        fs::copy(&from, directory.path().join(from.file_name().unwrap())).unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_cvm-agent"));
    command
        .arg("close-disk")
        .arg("--config")
        .arg(directory.path());
    command.arg("--root").arg(machine.root.path());
    command.output().unwrap()
}

#[test]
fn the_images_drop_ins_name_a_disk_and_its_key() {
    let base = "meta-base/mkosi.extra/usr/lib/cvm-agent/conf.d/10-base.toml";
    let layer = "meta-buildernet/mkosi.extra/usr/lib/cvm-agent/conf.d/50-buildernet.toml";
    let sim = "meta-base/mkosi.profiles/sim/mkosi.extra/usr/lib/cvm-agent/conf.d/90-sim.toml";
    for (names, expected) in [
        (&[base][..], "this image has none"),
        (&[base, layer], "it is unmounted and closed"),
        (&[base, layer, sim], "it is unmounted and closed"),
    ] {
        let output = close_with(names);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains(expected), "{said}");
    }
}
