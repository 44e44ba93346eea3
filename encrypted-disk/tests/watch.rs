//! A mounted disk that fails, in every way that the kernel shows.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic in a test is a failing test, which is what is wanted"
)]

mod support;

use std::fs;
use std::os::unix::fs::symlink;

use encrypted_disk::Selector;
use encrypted_disk::watch::{Trouble, look};
use support::Machine;

fn mounted() -> Machine {
    let machine = Machine::azure();
    machine.map();
    machine.mount();
    machine
}

fn trouble(machine: &Machine) -> Option<Trouble> {
    let (selector, settings) = (Selector::AzureLun(10), machine.settings());
    look(&selector, &settings, &machine.sysfs()).err()
}

fn said(machine: &Machine) -> String {
    trouble(machine).unwrap().to_string()
}

fn remount(machine: &Machine, options: &str) {
    let table = machine.path("proc/self/mountinfo");
    let text = fs::read_to_string(&table).unwrap();
    let (before, _) = text.split_once("90 22 253:5 ").unwrap();
    fs::write(
        table,
        format!("{before}90 22 253:5 / /persistent {options}\n"),
    )
    .unwrap();
}

#[test]
fn disk_that_is_well_is_no_trouble() {
    let machine = mounted();
    assert!(trouble(&machine).is_none());
    // Options that only look like one of the bad ones.
    remount(
        &machine,
        "rw,nosuid shared:1 - ext4 /dev/mapper/data rw,errors=remount-ro",
    );
    assert!(trouble(&machine).is_none());
}

#[test]
fn file_system_that_became_read_only_is_said() {
    for options in [
        "rw,nosuid - ext4 /dev/mapper/data ro,errors=remount-ro",
        "ro,nosuid shared:1 - ext4 /dev/mapper/data rw",
        // Newer kernels leave the mount as it is.
        "rw - ext4 /dev/mapper/data rw,emergency_ro,stripe=4",
        "rw shared:1 master:2 - ext4 /dev/mapper/data rw,shutdown",
    ] {
        let machine = mounted();
        remount(&machine, options);
        assert_eq!(
            said(&machine),
            "its file system has become read-only",
            "{options}"
        );
    }
}

#[test]
fn disk_that_became_read_only_is_said() {
    let machine = mounted();
    machine.write("sys/devices/sdb-block/ro", "1\n");
    assert_eq!(said(&machine), "the disk has become read-only");
}

#[test]
fn mount_that_is_gone_or_hidden_is_said() {
    let machine = mounted();
    let table = machine.path("proc/self/mountinfo");
    let hidden = fs::read_to_string(&table).unwrap() + "91 90 0:50 / /persistent rw - tmpfs t rw\n";
    machine.unmount();
    assert_eq!(said(&machine), "it is not mounted on /persistent any more");
    fs::write(table, hidden).unwrap();
    assert!(matches!(
        trouble(&machine),
        Some(Trouble::NotMounted { .. })
    ));
}

#[test]
fn mapping_that_is_gone_is_said() {
    let machine = mounted();
    machine.unmap();
    assert_eq!(said(&machine), "its mapping data is there no longer");
}

#[test]
fn disk_that_was_taken_out_is_said_until_it_is_back() {
    let machine = mounted();
    machine.unplug("sdb");
    assert!(matches!(trouble(&machine), Some(Trouble::NotFound(_))));
    let link = machine.path("sys/block/sdb");
    symlink(machine.path("sys/devices/sdb-block"), link).unwrap();
    assert!(trouble(&machine).is_none());
    // The kernel forgets it altogether.
    machine.unplug("sdb");
    fs::remove_dir_all(machine.path("sys/devices/sdb-block")).unwrap();
    assert!(said(&machine).contains("on nothing"));
}

#[test]
fn other_disk_in_its_place_is_said() {
    let machine = mounted();
    machine.scsi("sdc", support::machine::DATA, "1:0:0:11");
    machine.write("sys/devices/sdc-block/serial", "\u{1b}else");
    // The one that is open is moved elsewhere, and another one comes where it was.
    let data = format!("sys/devices/VMBUS/{}/host/target", support::machine::DATA);
    for (name, address) in [("sdb", "1:0:0:11"), ("sdc", "1:0:0:10")] {
        let device = machine.path(&format!("sys/devices/{name}-block/device"));
        fs::remove_file(&device).unwrap();
        symlink(machine.path(&format!("{data}/{address}")), device).unwrap();
    }
    assert_eq!(
        said(&machine),
        r#"another disk, sdc (serial "\u{1b}else"), is in its place"#
    );
}
