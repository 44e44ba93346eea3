//! Finds disks in trees as Azure, QEMU and others show them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic in a test is a failing test, which is what is wanted"
)]

mod support;

use encrypted_disk::{Disk, FindError, Selector};
use support::Machine;
use support::machine::{BOOT, DATA, SIZE};

const MODEL: &str = "MSFT NVMe Accelerator v1.0";

fn find(machine: &Machine, selector: &Selector) -> Result<Disk, FindError> {
    Disk::find(selector, "data", &machine.sysfs())
}

fn is_missing(machine: &Machine, selector: &Selector) -> bool {
    matches!(find(machine, selector), Err(FindError::NotThere { .. }))
}

#[test]
fn scsi_disk_is_found_by_controller_and_lun() {
    let machine = Machine::azure();
    let disk = find(&machine, &Selector::AzureLun(10)).unwrap();
    assert_eq!(disk.name, "sdb");
    assert_eq!(disk.device, machine.path("dev/sdb"));
    assert_eq!(disk.bytes, SIZE);
    assert_eq!(disk.serial, "60022480aa");
    assert!(!disk.is_read_only && disk.mapping.is_none() && disk.is_there());
    assert!(is_missing(&machine, &Selector::AzureLun(0)));
    assert!(is_missing(&machine, &Selector::AzureLun(1)));
}

#[test]
fn nvme_namespace_is_two_more_on_azures_controller_alone() {
    let machine = Machine::new();
    machine.nvme("nvme0n1", MODEL, 1);
    machine.nvme("nvme0n12", MODEL, 12);
    assert_eq!(
        find(&machine, &Selector::AzureLun(10)).unwrap().name,
        "nvme0n12"
    );
    assert!(is_missing(&machine, &Selector::AzureLun(12)));
    let machine = Machine::new();
    machine.nvme("nvme0n12", "QEMU NVMe Ctrl", 12);
    machine.nvme("nvme1n12", "MSFT NVMe Accelerator v1.0 too", 12);
    machine.nvme("nvme2n10", MODEL, 10);
    assert!(is_missing(&machine, &Selector::AzureLun(10)));
}

#[test]
fn weak_match_takes_its_own_name() {
    let machine = Machine::new();
    machine.virtio_scsi("sdb", "2:0:0:10");
    assert!(is_missing(&machine, &Selector::AzureLun(10)));
    let disk = find(&machine, &Selector::DangerAnyControllerLun(10)).unwrap();
    assert_eq!(disk.name, "sdb");
    // No serial, no world-wide name: still something to type.
    assert_eq!(disk.serial, format!("sdb-{SIZE}"));
    let machine = Machine::new();
    machine.nvme("nvme0n12", "QEMU NVMe Ctrl", 12);
    assert!(find(&machine, &Selector::DangerAnyControllerLun(10)).is_ok());
}

#[test]
fn same_lun_of_the_boot_controller_is_another_disk() {
    let machine = Machine::new();
    machine.scsi("sdb", BOOT, "0:0:0:10");
    assert!(is_missing(&machine, &Selector::AzureLun(10)));
}

#[test]
fn two_that_match_are_refused() {
    let machine = Machine::azure();
    machine.scsi("sdc", DATA, "2:0:0:10");
    let error = find(&machine, &Selector::AzureLun(10))
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "sdb, sdc are all at LUN 10 of Azure's data controller"
    );
}

#[test]
fn serials_are_exact_and_come_from_all_buses() {
    let machine = Machine::new();
    machine.virtio_scsi("sdb", "2:0:0:1");
    machine.write(
        "sys/devices/pci/virtio3/host/target/2:0:0:1/vpd_pg80",
        "\0\u{1}\0\u{a}persistent",
    );
    machine.nvme("nvme0n1", MODEL, 1);
    machine.write("sys/devices/pci/nvme0n1-controller/serial", "SN1  \n");
    machine.virtio_scsi("vdc", "2:0:0:3");
    machine.write("sys/devices/vdc-block/serial", "virtual");
    for (serial, name) in [
        ("persistent", "sdb"),
        ("SN1", "nvme0n1"),
        ("virtual", "vdc"),
    ] {
        let disk = find(&machine, &Selector::Serial(serial.to_owned())).unwrap();
        assert_eq!((disk.name.as_str(), disk.serial.as_str()), (name, serial));
    }
    for serial in ["persist", "persistent2", ""] {
        assert!(is_missing(&machine, &Selector::Serial(serial.to_owned())));
    }
}

#[test]
fn names_by_id_point_to_disks_not_partitions() {
    let machine = Machine::azure();
    machine.by_id("google-persistent", "sdb");
    machine.by_id("google-persistent-part1", "sdb1");
    let by_id = |name: &str| Selector::ById(name.to_owned());
    assert_eq!(
        find(&machine, &by_id("google-persistent")).unwrap().name,
        "sdb"
    );
    for other in [
        "google-persistent-part1",
        "google",
        "../by-id/google-persistent",
        "",
    ] {
        assert!(is_missing(&machine, &by_id(other)), "{other}");
    }
}

#[test]
fn disk_in_use_is_refused_and_what_uses_it_is_said() {
    let machine = Machine::azure();
    let boot = Selector::DangerAnyControllerLun(0);
    let error = find(&machine, &boot).unwrap_err().to_string();
    assert_eq!(
        error,
        "sda is at LUN 0 of any controller, but the mapping root uses it"
    );
    // A partition that is mounted without a mapping.
    machine.write("sys/devices/sdb-block/sdb1/partition", "1");
    machine.write("sys/devices/sdb-block/sdb1/dev", "8:17\n");
    machine.write(
        "proc/self/mountinfo",
        "30 22 8:17 / /mnt rw - ext4 /dev/sdb1 rw\n",
    );
    let error = find(&machine, &Selector::AzureLun(10))
        .unwrap_err()
        .to_string();
    assert!(error.ends_with("but the mount /mnt uses it"), "{error}");
}

#[test]
fn our_own_mapping_is_no_other_use() {
    let machine = Machine::azure();
    machine.map();
    let disk = find(&machine, &Selector::AzureLun(10)).unwrap();
    assert_eq!(disk.mapping.as_deref(), Some("data"));
    // Something else under our name is not ours.
    machine.write("sys/devices/sdb-block/holders/dm-5/dm/uuid", "LVM-1\n");
    let error = find(&machine, &Selector::AzureLun(10)).unwrap_err();
    assert!(matches!(error, FindError::InUse { .. }), "{error}");
}

#[test]
fn hidden_paths_and_other_devices_are_no_disks() {
    let machine = Machine::new();
    machine.nvme("nvme0c0n12", MODEL, 12);
    machine.write("sys/devices/nvme0c0n12-block/hidden", "1\n");
    machine.scsi("sr0", DATA, "1:0:0:10");
    assert!(is_missing(&machine, &Selector::AzureLun(10)));
}

#[test]
fn rubbish_in_sysfs_is_an_error() {
    let machine = Machine::azure();
    machine.write("sys/devices/sdb-block/size", "many");
    let error = find(&machine, &Selector::AzureLun(10)).unwrap_err();
    assert!(matches!(error, FindError::Value { .. }), "{error}");
}

#[test]
fn what_may_pass_is_told_from_what_stays() {
    let machine = Machine::azure();
    let missing = find(&machine, &Selector::AzureLun(3)).unwrap_err();
    assert!(missing.may_pass());
    let in_use = find(&machine, &Selector::DangerAnyControllerLun(0)).unwrap_err();
    assert!(in_use.may_pass());
    machine.scsi("sdc", DATA, "2:0:0:10");
    assert!(
        !find(&machine, &Selector::AzureLun(10))
            .unwrap_err()
            .may_pass()
    );
    // The tree cannot be read where a disk comes or goes.
    let machine = Machine::azure();
    let size = machine.path("sys/devices/sdb-block/size");
    std::fs::remove_file(&size).unwrap();
    std::fs::create_dir(&size).unwrap();
    let error = find(&machine, &Selector::AzureLun(10)).unwrap_err();
    assert!(matches!(error, FindError::Read { .. }), "{error}");
    assert!(error.may_pass());
}

#[test]
fn selectors_are_read_from_configuration() {
    #[derive(serde::Deserialize)]
    struct Drop {
        disk: Selector,
    }
    let read = |text: &str| toml::from_str::<Drop>(text).map(|drop| drop.disk);
    assert_eq!(
        read("disk = { azure_lun = 10 }").unwrap(),
        Selector::AzureLun(10)
    );
    let serial = Selector::Serial("persistent".to_owned());
    assert_eq!(read("disk = { serial = 'persistent' }").unwrap(), serial);
    let any = read("disk = { danger_any_controller_lun = 10 }").unwrap();
    assert_eq!(any, Selector::DangerAnyControllerLun(10));
    for wrong in [
        "disk = { largest = true }",
        "disk = { azure_lun = -1 }",
        "disk = {}",
    ] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}
