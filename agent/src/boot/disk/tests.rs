#[path = "../../../tests/boot/machine.rs"]
mod machine;

use std::fs;
use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;

use self::machine::{
    KEY, Machine, OTHER_KEY, SERIAL, began, calls, is_one_at_a_time, programs, root,
};
use super::*;

fn disk(machine: &Machine) -> DataDisk {
    let settings = Settings {
        selector: encrypted_disk::Selector::AzureLun(10),
        key: KeySource::Configuration {
            key: "disk.key".to_owned(),
            previous: Some("disk.previous".to_owned()),
        },
        settings: encrypted_disk::Settings::default(),
    };
    let notifier = Arc::new(Notifier::from_env().unwrap());
    DataDisk::new(&settings, &root(machine), &programs(machine), &notifier)
}

fn configuration(key: &str) -> Configuration {
    let json = json!({ "disk": { "key": key } }).to_string();
    Configuration::parse(json.as_bytes(), &[].into()).unwrap()
}

async fn attempt(disk: &DataDisk, key: &str) -> Result<(), String> {
    let done = disk.attempt(&configuration(key)).await;
    done.map_err(|error| format!("{error:#}"))
}

#[tokio::test]
async fn an_operator_who_types_the_serial_has_a_refused_disk_formatted() {
    let machine = Machine::azure();
    let disk = disk(&machine);
    machine.write("signatures", "0x438,,,ext4\n");
    let error = attempt(&disk, KEY).await.unwrap_err();
    assert!(error.contains(&format!("{SERIAL:?}")), "{error}");
    // Another one is not meant, and is used up all the same.
    disk.confirm_format("60022480AA");
    attempt(&disk, KEY).await.unwrap_err();
    assert!(disk.confirmation.borrow().is_none());
    assert_eq!(began(&machine, "mkfs.ext4"), 0);
    // It is waited for beside the pause.
    let waits = timeout(Duration::from_millis(50), disk.confirmed()).await;
    assert!(waits.is_err());
    disk.confirm_format(SERIAL);
    disk.confirmed().await;
    attempt(&disk, KEY).await.unwrap();
    assert!(machine.is_mounted());
    assert_eq!(began(&machine, "mkfs.ext4"), 1);
}

#[tokio::test]
async fn a_confirmation_waits_for_the_disk_and_is_good_for_one_try() {
    let machine = Machine::new();
    let disk = disk(&machine);
    disk.confirm_format(SERIAL);
    let error = attempt(&disk, KEY).await.unwrap_err();
    assert!(error.contains("no disk at LUN 10"), "{error}");
    assert!(disk.confirmation.borrow().is_some());
    machine.scsi("sdb", machine::DATA, "1:0:0:10");
    machine.write("sys/devices/sdb-block/serial", SERIAL);
    // The disk is not even refused: it is blank, and opened. The word is used up.
    attempt(&disk, KEY).await.unwrap();
    assert!(disk.confirmation.borrow().is_none());
}

#[tokio::test]
async fn what_was_begun_is_brought_to_its_end_by_one_worker() {
    let machine = Machine::azure();
    let disk = disk(&machine);
    machine.write("slow", "");
    let begun = timeout(Duration::from_secs(60), async {
        let broken_off = attempt(&disk, KEY);
        tokio::pin!(broken_off);
        while began(&machine, "mkfs.ext4") == 0 {
            let step = timeout(Duration::from_millis(20), &mut broken_off).await;
            assert!(step.is_err());
        }
    });
    begun.await.unwrap();
    let count = calls(&machine).len();
    let again = timeout(Duration::from_millis(300), attempt(&disk, KEY)).await;
    assert!(again.is_err());
    assert_eq!(calls(&machine).len(), count);
    fs::remove_file(machine.path("slow")).unwrap();
    attempt(&disk, KEY).await.unwrap();
    assert_eq!(began(&machine, "mkfs.ext4"), 1);
    assert!(is_one_at_a_time(&calls(&machine)));
    assert!(disk.open_key().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_check_that_fails_is_repeated_more_and_more_slowly_unless_the_disk_changes() {
    let machine = Machine::azure();
    let disk = disk(&machine);
    attempt(&disk, KEY).await.unwrap();
    machine.reset();
    machine.write("fsck", "4");
    let before = began(&machine, "e2fsck");
    let notifier = Notifier::from_env().unwrap();
    let mut stage = Stage::begin(&notifier, "disk");
    let configuration = configuration(KEY);
    {
        let waits = wait(&disk, &configuration, &mut stage);
        tokio::pin!(waits);
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        assert!(timeout(hours(6), &mut waits).await.is_err());
        // Within the first hour a dozen, and then one or two each hour.
        let checks = began(&machine, "e2fsck") - before;
        assert!((8..=24).contains(&checks), "{checks}");
        // Another disk in its place is tried at once, and another that is not there is looked for.
        machine.unmap();
        machine.swap();
        fs::remove_file(machine.path("fsck")).unwrap();
        timeout(Duration::from_secs(10), waits).await.unwrap();
    }
    assert!(machine.is_mounted());
}

#[test]
fn headers_that_a_killed_agent_has_left_are_removed() {
    let machine = Machine::azure();
    machine.write("run/disk-header-0123456789abcdef/header", "");
    disk(&machine);
    assert!(!machine.path("run/disk-header-0123456789abcdef").exists());
}

#[test]
fn a_previous_key_that_is_missing_empty_or_wrong_is_none() {
    let disk = disk(&Machine::azure());
    let keys = |previous: serde_json::Value| {
        let json = json!({ "disk": { "key": KEY, "previous": previous } }).to_string();
        disk.keys(&Configuration::parse(json.as_bytes(), &[].into()).unwrap())
    };
    assert!(keys("".into()).unwrap().previous.is_none());
    assert!(disk.keys(&configuration(KEY)).unwrap().previous.is_none());
    assert!(keys(OTHER_KEY.into()).unwrap().previous.is_some());
    for wrong in [json!("short"), json!(7), json!(null)] {
        let keys = keys(wrong).unwrap();
        assert!(keys.previous.is_none());
        let why = keys.unusable.unwrap();
        assert!(why.contains("disk.previous"), "{why}");
    }
    let error = disk.keys(&Configuration::empty()).err().unwrap();
    assert_eq!(error.to_string(), "disk.key is missing");
}

#[tokio::test]
async fn a_disk_that_keeps_its_previous_key_is_known_by_it() {
    let machine = Machine::azure();
    let disk = disk(&machine);
    attempt(&disk, KEY).await.unwrap();
    machine.reset();
    machine.write("keeps-key", "");
    let both = json!({ "disk": { "key": OTHER_KEY, "previous#base64":
        "MDAxMTIyMzM0NDU1NjY3Nzg4OTlhYWJiY2NkZGVlZmY=" } });
    let both = Configuration::parse(both.to_string().as_bytes(), &[].into()).unwrap();
    disk.attempt(&both).await.unwrap();
    let (old, new) = (Key::parse(KEY).unwrap(), Key::parse(OTHER_KEY).unwrap());
    assert_eq!(disk.open_key(), Some(old.clone()));
    disk.keep_key(&both).await;
    assert_eq!(disk.open_key(), Some(old));
    let said = disk.trouble.lock().unwrap().clone();
    assert!(said.contains("cryptsetup failed"), "{said}");
    // As soon as it can be, it is changed.
    fs::remove_file(machine.path("keeps-key")).unwrap();
    disk.keep_key(&both).await;
    assert_eq!(disk.open_key(), Some(new));
    assert!(disk.trouble.lock().unwrap().is_empty());
}

#[test]
fn every_refusal_says_what_can_be_done() {
    use encrypted_disk::{DiskError, OpenRefusal, Refusal};
    let machine = Machine::azure();
    let selector = encrypted_disk::Selector::AzureLun(10);
    let disk = encrypted_disk::Disk::find(&selector, "data", &machine.sysfs()).unwrap();
    let KeySource::Configuration { key, .. } = self::disk(&machine).key;
    let source = KeySource::Configuration {
        key,
        previous: None,
    };
    let said = |error: DiskError| advice::advice(&error, &disk, &source);
    for (error, way) in [
        (Refusal::ReadOnly, "can be written"),
        (Refusal::Unreadable { offset: 1 }, "the disk is broken"),
        (Refusal::Small { actual: 1 }, "another size"),
        (Refusal::NotBlank { offset: 1 }, "or a blank one"),
        (Refusal::FormatNotAllowed, "that has the data"),
    ] {
        let is_about_content = error.is_about_content();
        let said = said(error.into());
        assert!(said.contains(way), "{said}");
        assert_eq!(said.contains("or confirm by the serial"), is_about_content);
    }
    let id = encrypted_disk::KeyId([0; 16]);
    let wrong = OpenRefusal::WrongKey { disk: id, ours: id };
    assert!(said(wrong.into()).contains("as disk.key; or confirm"));
    assert!(said(OpenRefusal::HeaderChanged.into()).contains("from a copy"));
    let damaged = DiskError::FileSystem {
        code: 4,
        said: String::new(),
    };
    assert!(said(damaged).contains("danger-repair-all"));
    let unchecked = DiskError::Unchecked {
        code: 8,
        said: String::new(),
    };
    let said = said(unchecked);
    assert!(said.contains("restart the machine if it stays so"));
    assert!(!said.contains("confirm"), "{said}");
}
