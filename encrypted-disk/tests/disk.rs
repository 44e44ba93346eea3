//! A disk from its first boot on, with faults and power cuts at every program that is called.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic in a test is a failing test, which is what is wanted"
)]

mod support;

use std::collections::BTreeSet;
use std::fs;

use encrypted_disk::layout::Slot;
use encrypted_disk::{
    Confirmation, Disk, DiskError, Event, Key, Keys, Mounts, OpenRefusal, Refusal, Selector,
    Settings, Tools, Volume,
};
use support::{Machine, Programs, Stop, key, other_key};

fn find(machine: &Machine) -> Disk {
    Disk::find(&Selector::AzureLun(10), "data", &machine.sysfs()).unwrap()
}

/// Does something with the machine's disk; what was told comes too.
fn with_tools<T>(
    programs: &mut Programs<'_>,
    settings: &Settings,
    act: impl FnOnce(&mut Tools<'_>, &Disk) -> Result<T, DiskError>,
) -> (Result<T, DiskError>, Vec<Event>) {
    let machine = programs.machine;
    let mut events = Vec::new();
    let mut tools = Tools {
        settings,
        sysfs: &machine.sysfs(),
        run: programs,
        progress: &mut |event| events.push(event),
    };
    let done = act(&mut tools, &find(machine));
    assert_eq!(machine.scratch(), 0, "a header was left in memory");
    (done, events)
}

fn prepare(programs: &mut Programs<'_>, key: &Key) -> Result<Volume, DiskError> {
    let settings = programs.machine.settings();
    with_tools(programs, &settings, |tools, disk| {
        tools.prepare(disk, key, None)
    })
    .0
}

/// A machine whose disk has been formatted, and is closed.
fn used() -> Machine {
    let machine = Machine::azure();
    prepare(&mut Programs::of(&machine), &key()).unwrap();
    machine.reset();
    machine
}

fn boot(machine: &Machine, key: &Key) -> Result<Volume, DiskError> {
    machine.reset();
    prepare(&mut Programs::of(machine), key)
}

#[test]
fn first_boot_formats_and_second_boot_opens() {
    let machine = Machine::azure();
    let mut programs = Programs::of(&machine);
    assert!(prepare(&mut programs, &key()).unwrap().is_new);
    let path = |call: &String| call.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let calls: Vec<_> = programs.calls.iter().map(path).collect();
    let expected = [
        "blkid --probe",
        "wipefs --no-act",
        "cryptsetup luksFormat",
        "cryptsetup open",
        "cryptsetup open",
        "mkfs.ext4 -q",
        "e2fsck -p",
        "mount -t",
    ];
    assert_eq!(calls, expected);
    let made = programs.file_system();
    machine.reset();
    let mut programs = Programs::of(&machine);
    let volume = prepare(&mut programs, &key()).unwrap();
    assert!(!volume.is_new && machine.is_mounted());
    assert_eq!(volume.device.to_str(), Some("/dev/mapper/data"));
    assert_eq!(programs.file_system(), made);
    let open = programs
        .calls
        .iter()
        .find(|call| call.starts_with("cryptsetup open"))
        .unwrap();
    assert!(
        open.contains(
            "--perf-no_read_workqueue --perf-no_write_workqueue --key-file=- /dev/sdb data"
        ),
        "{open}"
    );
    assert!(open.contains("--header=/run/disk-header-"), "{open}");
    assert!(!open.contains("discards"), "{open}");
    let mount = "mount -t ext4 -o nosuid,nodev,noatime,noexec /dev/mapper/data /persistent";
    assert!(
        programs.calls.iter().any(|call| call == mount),
        "{:?}",
        programs.calls
    );
    assert_eq!(programs.calls.last().unwrap(), "resize2fs /dev/mapper/data");
}

#[test]
fn settings_become_options() {
    let machine = Machine::azure();
    let settings = Settings {
        discards: true,
        executes: true,
        ..machine.settings()
    };
    let mut programs = Programs::of(&machine);
    let prepare = |tools: &mut Tools<'_>, disk: &Disk| tools.prepare(disk, &key(), None);
    with_tools(&mut programs, &settings, prepare).0.unwrap();
    let calls = programs.calls.join("\n");
    assert!(
        calls.contains("--allow-discards") && calls.contains("nosuid,nodev,noatime /dev"),
        "{calls}"
    );
    assert!(calls.contains("lazy_journal_init=0,discard"), "{calls}");
}

#[test]
fn no_secret_is_an_argument() {
    let machine = used();
    let mut programs = Programs::of(&machine);
    let settings = machine.settings();
    with_tools(&mut programs, &settings, |tools, disk| {
        tools.prepare(disk, &key(), None)?;
        tools.grow(disk, &key())?;
        tools.change_key(disk, &key(), &other_key())
    })
    .0
    .unwrap();
    let calls = programs.calls.join("\n");
    assert!(
        calls.contains("luksChangeKey") && calls.contains("resize data")
            || calls.contains("resize --batch")
    );
    assert!(
        !calls.contains("0011") && !calls.contains("ffee"),
        "{calls}"
    );
}

/// Power is cut before or after each program of a first boot; the next boot comes up, and the
/// one after it finds the same file system.
#[test]
fn first_boot_that_is_cut_comes_up_next_time() {
    let mut cuts = 0;
    for number in 0.. {
        let mut ended = false;
        for stop in [Stop::Before(number), Stop::After(number)] {
            let machine = Machine::azure();
            let mut programs = Programs::of(&machine);
            programs.stop = Some(stop);
            ended = prepare(&mut programs, &key()).is_ok();
            if ended {
                break;
            }
            cuts += 1;
            let volume =
                boot(&machine, &key()).unwrap_or_else(|error| panic!("{stop:?}: {error:?}"));
            // It was formatted unless it had been ready.
            assert_eq!(volume.is_new, number < 6, "{stop:?}");
            let made = Programs::of(&machine).file_system();
            assert!(!boot(&machine, &key()).unwrap().is_new);
            assert_eq!(Programs::of(&machine).file_system(), made);
        }
        if ended {
            break;
        }
    }
    assert_eq!(cuts, 16);
}

/// Without a serial, nothing that changes from start to start tells whether a half-formatted disk is the same.
#[test]
fn disk_without_a_serial_that_has_another_name_next_time_is_the_same() {
    let machine = Machine::new();
    machine.scsi("sdb", support::machine::DATA, "1:0:0:10");
    let mut programs = Programs::of(&machine);
    programs.stop = Some(Stop::Before(5));
    prepare(&mut programs, &key()).unwrap_err();
    let half = machine.image();
    let machine = Machine::new();
    machine.scsi("sdc", support::machine::DATA, "1:0:0:10");
    fs::write(machine.path("dev/sdc"), half).unwrap();
    // Where the file system of these tests goes.
    fs::hard_link(machine.path("dev/sdc"), machine.path("dev/sdb")).unwrap();
    assert!(boot(&machine, &key()).unwrap().is_new);
}

/// The same, but the agent alone is restarted: mappings and mounts stay.
#[test]
fn agent_that_is_stopped_goes_on() {
    for number in 0..8 {
        for stop in [Stop::Before(number), Stop::After(number)] {
            let machine = Machine::azure();
            let mut programs = Programs::of(&machine);
            programs.stop = Some(stop);
            prepare(&mut programs, &key()).unwrap_err();
            let again = prepare(&mut Programs::of(&machine), &key());
            again.unwrap_or_else(|error| panic!("{stop:?}: {error:?}"));
            assert!(machine.is_mounted());
            let mut programs = Programs::of(&machine);
            prepare(&mut programs, &key()).unwrap();
            // Everything was done: nothing but a look whether the disk has grown.
            assert_eq!(programs.calls, ["resize2fs /dev/mapper/data"]);
        }
    }
}

#[test]
fn key_change_that_is_cut_leaves_a_disk_that_opens() {
    for number in 0..3 {
        for stop in [Stop::Before(number), Stop::After(number)] {
            let machine = used();
            let made = Programs::of(&machine).file_system();
            let settings = machine.settings();
            let change =
                |tools: &mut Tools<'_>, disk: &Disk| tools.change_key(disk, &key(), &other_key());
            let mut programs = Programs::of(&machine);
            programs.stop = Some(stop);
            let is_done = with_tools(&mut programs, &settings, change).0.is_ok();
            assert_eq!(is_done, number == 2);
            assert!(boot(&machine, &if is_done { other_key() } else { key() }).is_ok());
            // Asked once more, it is done, and a third time too.
            for _ in 0..2 {
                let changed = with_tools(&mut Programs::of(&machine), &settings, change).0;
                changed.unwrap();
            }
            let error = boot(&machine, &key()).unwrap_err();
            assert!(matches!(
                error,
                DiskError::NotOpened(OpenRefusal::WrongKey { .. })
            ));
            assert!(!boot(&machine, &other_key()).unwrap().is_new);
            assert_eq!(Programs::of(&machine).file_system(), made);
        }
    }
}

#[test]
fn wrong_key_is_said_and_changes_nothing() {
    let machine = used();
    let before = machine.image();
    let error = boot(&machine, &other_key()).unwrap_err();
    let DiskError::NotOpened(OpenRefusal::WrongKey { disk, ours }) = error else {
        panic!("{error:?}")
    };
    assert_eq!((disk, ours), (key().id(), other_key().id()));
    assert!(machine.image() == before);
    assert!(boot(&machine, &key()).is_ok());
}

#[test]
fn foreign_data_are_kept() {
    for (signature, offset) in [
        (Some("ext4"), None),
        (Some("gpt"), None),
        (None, Some(100_u64 << 20)),
    ] {
        let machine = Machine::azure();
        if let Some(offset) = offset {
            machine.poke(offset, b"precious");
        }
        let before = machine.image();
        let mut programs = Programs::of(&machine);
        programs.signature = signature;
        let error = prepare(&mut programs, &key()).unwrap_err();
        assert!(error.is_about_content(), "{error:?}");
        assert!(machine.image() == before);
        assert!(
            !programs
                .calls
                .iter()
                .any(|call| call.starts_with("cryptsetup"))
        );
    }
}

#[test]
fn header_of_an_attacker_is_not_given_to_cryptsetup() {
    let machine = used();
    let good = machine.image();
    let null = support::header::header(
        support::header::JSON
            .replace("aes-xts-plain64", "cipher_null-ecb")
            .as_bytes(),
    );
    for slots in [vec![0_u64], vec![8 << 20], vec![0, 8 << 20]] {
        for slot in &slots {
            machine.poke(*slot, &null);
        }
        machine.reset();
        let mut programs = Programs::of(&machine);
        let prepared = prepare(&mut programs, &key());
        if slots.len() == 2 {
            let error = prepared.unwrap_err();
            assert!(
                matches!(error, DiskError::NotOpened(OpenRefusal::HeaderChanged)),
                "{error:?}"
            );
            assert!(
                !programs
                    .calls
                    .iter()
                    .any(|call| call.starts_with("cryptsetup"))
            );
        } else {
            // The other slot is whole, and mends this one.
            prepared.unwrap();
            assert!(machine.image() == good);
        }
    }
}

#[test]
fn authentic_header_that_is_not_allowed_is_refused_too() {
    // As if an older version of ours, or who has the key, had made it.
    let json = support::header::JSON.replace("aes-xts-plain64", "cipher_null-ecb");
    let machine = Machine::azure();
    let disk = find(&machine);
    let header = support::header::header(json.as_bytes());
    let sha256 = |bytes: &[u8]| ring::digest::digest(&ring::digest::SHA256, bytes);
    let record = encrypted_disk::record::Record {
        state: encrypted_disk::record::State::Ready,
        sequence: 1,
        disk_bytes: disk.bytes,
        key: key().id(),
        identity: sha256(disk.serial.as_bytes()).as_ref().try_into().unwrap(),
        header: sha256(&header).as_ref().try_into().unwrap(),
    };
    machine.poke(0, &header);
    machine.poke(4 << 20, &record.to_bytes(&key()));
    let error = boot(&machine, &key()).unwrap_err();
    let DiskError::NotOpened(OpenRefusal::Header(error)) = error else {
        panic!("{error:?}")
    };
    assert!(error.to_string().contains("cipher_null-ecb"), "{error}");
}

#[test]
fn header_that_changes_after_it_was_read_does_not_matter() {
    let machine = used();
    let good = machine.image();
    let null = support::header::header(
        support::header::JSON
            .replace("aes-xts-plain64", "cipher_null-ecb")
            .as_bytes(),
    );
    let seen = std::cell::RefCell::new(Vec::new());
    let root = machine.root.path().to_owned();
    let mut programs = Programs::of(&machine);
    // When cryptsetup begins, the disk is another one, and what cryptsetup has is not.
    programs.meanwhile = Box::new(|call| {
        let given = call
            .split(' ')
            .find_map(|word| word.strip_prefix("--header=/"));
        if let Some(given) = given {
            seen.borrow_mut().push(fs::read(root.join(given)).unwrap());
            machine.poke(0, &null);
            machine.poke(8 << 20, &null);
        }
    });
    prepare(&mut programs, &key()).unwrap();
    drop(programs);
    assert_eq!(seen.borrow().len(), 1);
    assert!(seen.borrow()[0] == good[..4 << 20]);
}

#[test]
fn read_only_and_vanishing_disks_are_said() {
    let machine = Machine::azure();
    machine.write("sys/devices/sdb-block/ro", "1");
    let error = boot(&machine, &key()).unwrap_err();
    assert!(matches!(error, DiskError::Refused(Refusal::ReadOnly)));
    assert!(!error.is_about_content());
    let machine = used();
    let mut programs = Programs::of(&machine);
    programs.stop = Some(Stop::After(2));
    programs.meanwhile = Box::new(|call| {
        if call.starts_with("cryptsetup") {
            machine.unplug("sdb");
        }
    });
    let error = prepare(&mut programs, &key()).unwrap_err();
    assert_eq!(error.to_string(), "the disk sdb has gone away");
}

#[test]
fn disk_that_is_shorter_than_it_says_cannot_be_read() {
    let machine = Machine::azure();
    let image = fs::File::options()
        .write(true)
        .open(machine.path("dev/sdb"))
        .unwrap();
    image.set_len(130 << 20).unwrap();
    let error = boot(&machine, &key()).unwrap_err();
    assert!(
        matches!(error, DiskError::Refused(Refusal::Unreadable { .. })),
        "{error:?}"
    );
}

#[test]
fn damage_that_e2fsck_does_not_repair_is_an_error() {
    let machine = used();
    for code in [4, 8, 12, 16, 32, 128] {
        machine.reset();
        let mut programs = Programs::of(&machine);
        programs.fsck = code;
        let error = prepare(&mut programs, &key()).unwrap_err();
        // 8, for one, may be want of memory.
        let is_damage = matches!(error, DiskError::FileSystem { .. });
        assert_eq!(is_damage, [4, 12].contains(&code), "{error:?}");
        assert!(is_damage || matches!(error, DiskError::Unchecked { .. }));
        assert!(error.is_of_check());
        assert!(!machine.is_mounted());
    }
    for code in [0, 1, 2, 3] {
        machine.reset();
        let mut programs = Programs::of(&machine);
        programs.fsck = code;
        prepare(&mut programs, &key()).unwrap();
    }
}

#[test]
fn superblock_that_is_not_recognised_is_said_and_never_leads_to_a_format() {
    let machine = used();
    let old = Programs::of(&machine).file_system();
    let mut programs = Programs::of(&machine);
    programs.fsck = 8;
    let bell = "\u{7}\n".repeat(300);
    programs.fsck_says = format!("Bad magic number in super-block\n{bell}");
    let error = prepare(&mut programs, &key()).unwrap_err();
    let said = error.to_string();
    let begin =
        "the file system could not be checked (e2fsck: 8): Bad magic number in super-block \\u{7}";
    assert!(said.starts_with(begin), "{said}");
    assert!(
        !said.contains(char::is_control) && said.len() < 400,
        "{said}"
    );
    let made = programs.calls.iter().filter(|it| it.starts_with("mkfs"));
    assert_eq!(made.count(), 0);
    assert_eq!(programs.file_system(), old);
}

#[test]
fn operator_who_types_the_serial_has_a_disk_with_a_broken_file_system_formatted() {
    for (code, is_covered) in [
        (4, true),
        (8, false),
        (12, true),
        (16, false),
        (32, false),
        (128, false),
    ] {
        let machine = used();
        let old = Programs::of(&machine).file_system();
        let settings = machine.settings();
        let mut programs = Programs::of(&machine);
        programs.fsck = code;
        let prepare = |tools: &mut Tools<'_>, disk: &Disk| {
            let confirmation = Confirmation::of(disk, "60022480aa").unwrap();
            tools.prepare(disk, &key(), Some(confirmation))
        };
        let (prepared, events) = with_tools(&mut programs, &settings, prepare);
        assert_eq!(events.contains(&Event::Wipes), is_covered, "{code}");
        if is_covered {
            assert!(prepared.unwrap().is_new && machine.is_mounted());
            assert!(events.contains(&Event::Formatted));
        } else {
            assert!(!prepared.unwrap_err().is_about_content(), "{code}");
            assert_eq!(programs.file_system(), old);
        }
    }
}

#[test]
fn operator_who_types_the_serial_has_a_refused_disk_formatted() {
    let machine = used();
    let old = Programs::of(&machine).file_system();
    let disk = find(&machine);
    let error = Confirmation::of(&disk, "60022480AA").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the disk's serial is \"60022480aa\", and has to be typed exactly"
    );
    let settings = machine.settings();
    let prepare_with = |key: Key| {
        machine.reset();
        let mut programs = Programs::of(&machine);
        let confirmation = Confirmation::of(&disk, "60022480aa").unwrap();
        let prepare =
            |tools: &mut Tools<'_>, disk: &Disk| tools.prepare(disk, &key, Some(confirmation));
        with_tools(&mut programs, &settings, prepare)
    };
    // With the right key it is not refused, and not formatted.
    assert!(!prepare_with(key()).0.unwrap().is_new);
    assert_eq!(Programs::of(&machine).file_system(), old);
    let (volume, events) = prepare_with(other_key());
    assert!(volume.unwrap().is_new && events.contains(&Event::Wipes));
    assert!(boot(&machine, &key()).is_err());
    assert!(!boot(&machine, &other_key()).unwrap().is_new);
    // Another disk in its place is not meant.
    machine.write("sys/devices/sdb-block/serial", "another");
    let error = prepare_with(key()).0.unwrap_err();
    assert!(matches!(error, DiskError::Confirmation(_)), "{error:?}");
}

#[test]
fn confirmed_format_that_is_cut_is_refused_or_goes_on() {
    let mut outcomes = BTreeSet::new();
    for number in 0..8 {
        let machine = used();
        machine.poke(100 << 20, b"foreign");
        let settings = machine.settings();
        let prepare = |tools: &mut Tools<'_>, disk: &Disk| {
            let confirmation = Confirmation::of(disk, "60022480aa").unwrap();
            tools.prepare(disk, &other_key(), Some(confirmation))
        };
        let mut programs = Programs::of(&machine);
        programs.stop = Some(Stop::After(number));
        with_tools(&mut programs, &settings, prepare).0.unwrap_err();
        // Without a confirmation: refused as before, or finished. With one: comes up.
        let outcome = match boot(&machine, &other_key()) {
            Ok(_) => "comes up",
            Err(error) => {
                assert!(error.is_about_content(), "{error:?}");
                "refused"
            }
        };
        outcomes.insert(outcome);
        machine.reset();
        with_tools(&mut Programs::of(&machine), &settings, prepare)
            .0
            .unwrap();
    }
    assert_eq!(outcomes.len(), 2);
}

/// Also one whose owner has put back how it was in the middle of its first boot.
#[test]
fn blank_or_half_formatted_disk_is_left_alone_if_the_configuration_says_so() {
    for stop in [None, Some(Stop::Before(5))] {
        let machine = Machine::azure();
        if stop.is_some() {
            let mut programs = Programs::of(&machine);
            programs.stop = stop;
            prepare(&mut programs, &key()).unwrap_err();
            machine.reset();
        }
        let before = machine.image();
        assert_eq!(before.iter().all(|byte| *byte == 0), stop.is_none());
        let settings = Settings {
            formats_blank: false,
            ..machine.settings()
        };
        let prepare = |tools: &mut Tools<'_>, disk: &Disk| tools.prepare(disk, &key(), None);
        let error = with_tools(&mut Programs::of(&machine), &settings, prepare)
            .0
            .unwrap_err();
        assert!(matches!(
            error,
            DiskError::Refused(Refusal::FormatNotAllowed)
        ));
        assert_eq!(machine.image(), before);
    }
}

#[test]
fn closing_unmounts_and_unmaps_what_there_is() {
    let machine = Machine::azure();
    let settings = machine.settings();
    let mut programs = Programs::of(&machine);
    prepare(&mut programs, &key()).unwrap();
    programs.calls.clear();
    let close = |tools: &mut Tools<'_>, _: &Disk| tools.close();
    with_tools(&mut programs, &settings, close).0.unwrap();
    assert_eq!(
        programs.calls,
        ["umount /persistent", "dmsetup remove data"]
    );
    with_tools(&mut programs, &settings, close).0.unwrap();
    assert_eq!(programs.calls.len(), 2);
}

#[test]
fn settings_are_read_from_configuration() {
    let text =
        "mapping = 'd'\nmount_point = '/d'\nformats_blank = false\ncheck = 'danger-repair-all'";
    let settings: Settings = toml::from_str(text).unwrap();
    assert_eq!(settings.mapping, "d");
    assert!(!settings.formats_blank && !settings.executes);
    assert!(toml::from_str::<Settings>("formats-blank = true").is_err());
}

#[test]
fn mounts_are_systemds_if_others_do_not_see_ours() {
    let machine = Machine::azure();
    let settings = Settings {
        mounts: Mounts::BySystemd,
        ..machine.settings()
    };
    let mut programs = Programs::of(&machine);
    let prepare = |tools: &mut Tools<'_>, disk: &Disk| tools.prepare(disk, &key(), None);
    with_tools(&mut programs, &settings, prepare).0.unwrap();
    let mount = "systemd-mount --quiet --no-ask-password --collect --fsck=no --type=ext4 \
         --options=nosuid,nodev,noatime,noexec,x-systemd.device-bound=no /dev/mapper/data /persistent";
    assert_eq!(programs.calls.last().unwrap(), mount);
    let close = |tools: &mut Tools<'_>, _: &Disk| tools.close();
    with_tools(&mut programs, &settings, close).0.unwrap();
    let last = programs.calls.iter().rev().take(2).collect::<Vec<_>>();
    assert_eq!(
        last,
        [
            "dmsetup remove data",
            "systemd-mount --quiet --umount /persistent"
        ]
    );
}

/// The disk went away while it was open, and has come again, or another one.
#[test]
fn mapping_of_a_disk_that_has_gone_makes_room() {
    for machine in [used(), Machine::azure()] {
        machine.map();
        machine.swap();
        let (prepared, events) = with_tools(
            &mut Programs::of(&machine),
            &machine.settings(),
            |tools, disk| tools.prepare(disk, &key(), None),
        );
        prepared.unwrap();
        assert_eq!(events[0], Event::LeftOverRemoved);
        assert!(machine.is_mounted());
    }
}

#[test]
fn mapping_that_cannot_make_room_is_said_before_anything_is_written() {
    let machine = Machine::azure();
    machine.map();
    machine.swap();
    let before = machine.image();
    let mut programs = Programs::of(&machine);
    programs.is_busy = true;
    let error = prepare(&mut programs, &key()).unwrap_err();
    assert!(matches!(error, DiskError::LeftOver { .. }), "{error:?}");
    assert!(!error.is_about_content());
    assert_eq!(programs.calls, ["dmsetup remove data"]);
    assert!(machine.image() == before);
    // On a disk that is there, and of something else: not ours to remove.
    for (file, text, user) in [
        ("sys/devices/sdc-block/holders/dm-5/dm/name", "data", "sdc"),
        ("sys/block/dm-5/dm/uuid", "LVM-1", "something that is not"),
    ] {
        machine.write(file, text);
        let slave = machine.path("sys/block/dm-5/slaves/sdc");
        if user == "sdc" {
            std::os::unix::fs::symlink(machine.path("sys/devices/sdc-block"), slave).unwrap();
        } else {
            fs::remove_file(slave).unwrap();
        }
        let mut programs = Programs::of(&machine);
        let error = prepare(&mut programs, &key()).unwrap_err();
        let DiskError::MappingTaken { user: said, .. } = error else {
            panic!("{error:?}")
        };
        assert!(said.starts_with(user), "{said}");
        assert!(programs.calls.is_empty() && machine.image() == before);
    }
}

/// Another disk comes to the same name, whatever is just being done.
#[test]
fn nothing_is_written_to_another_disk_than_was_looked_at() {
    for when in [
        "nothing",
        "blkid",
        "wipefs",
        "cryptsetup luksFormat",
        "cryptsetup open",
    ] {
        for machine in [used(), Machine::azure()] {
            let is_blank = Programs::of(&machine).file_system() == 0;
            if !is_blank && when == "cryptsetup luksFormat" {
                continue;
            }
            let disk = find(&machine);
            let before = machine.image();
            let mut programs = Programs::of(&machine);
            programs.meanwhile = Box::new(|call| {
                if call.starts_with(when) {
                    machine.swap();
                }
            });
            if when == "nothing" {
                machine.swap();
            }
            let error = Tools {
                settings: &machine.settings(),
                sysfs: &machine.sysfs(),
                run: &mut programs,
                progress: &mut |_| {},
            }
            .prepare(&disk, &key(), None)
            .unwrap_err();
            assert!(
                matches!(error, DiskError::Vanished { .. }),
                "{when}: {error:?}"
            );
            assert!(machine.image() == before, "{when}");
            assert!(!machine.is_mounted() && !machine.is_mapped(), "{when}");
        }
    }
}

#[test]
fn foreign_bytes_over_one_slot_are_repaired_from_the_other_one() {
    let machine = used();
    let good = machine.image();
    for slot in Slot::ALL {
        machine.poke(slot.header(), &[7; 5 << 20]);
        machine.reset();
        let mut programs = Programs::of(&machine);
        programs.signature = Some("ext4");
        let settings = machine.settings();
        let prepare = |tools: &mut Tools<'_>, disk: &Disk| tools.prepare(disk, &key(), None);
        let (prepared, events) = with_tools(&mut programs, &settings, prepare);
        assert!(!prepared.unwrap().is_new);
        assert!(events.contains(&Event::Repaired(slot)), "{events:?}");
        let image = machine.image();
        for slot in Slot::ALL {
            let at = usize::try_from(slot.header()).unwrap();
            assert!(image[at..][..(4 << 20) + 512] == good[at..][..(4 << 20) + 512]);
        }
    }
    // With both of them gone but for what looks like a record, nothing is authentic.
    for slot in Slot::ALL {
        machine.poke(slot.header(), &[7; 4 << 20]);
        machine.poke(slot.record() + 8, &[7; 504]);
    }
    let before = machine.image();
    machine.reset();
    let mut programs = Programs::of(&machine);
    programs.signature = Some("ext4");
    let error = prepare(&mut programs, &key()).unwrap_err();
    assert!(
        matches!(&error, DiskError::Refused(Refusal::Foreign { kind, .. }) if kind == "ext4"),
        "{error:?}"
    );
    assert!(machine.image() == before);
}

/// The first boot was cut short, and then somebody used the disk for something else.
#[test]
fn half_formatted_disk_with_foreign_data_is_left_alone() {
    let machine = Machine::azure();
    let mut programs = Programs::of(&machine);
    programs.stop = Some(Stop::Before(5));
    prepare(&mut programs, &key()).unwrap_err();
    machine.reset();
    let before = machine.image();
    let mut programs = Programs::of(&machine);
    programs.signature = Some("ext4");
    let error = prepare(&mut programs, &key()).unwrap_err();
    assert!(
        matches!(error, DiskError::Refused(Refusal::Foreign { .. })),
        "{error:?}"
    );
    assert!(machine.image() == before);
}

#[test]
fn slot_that_cannot_be_written_does_not_keep_the_disk_from_being_opened() {
    let machine = used();
    machine.poke(Slot::B.header(), &[7; 4096]);
    let (device, away) = (machine.path("dev/sdb"), machine.path("dev/away"));
    let mut programs = Programs::of(&machine);
    // From when it is open until the file system is checked, the disk cannot be written.
    programs.meanwhile = Box::new(|call| {
        if call.starts_with("cryptsetup open") {
            fs::rename(&device, &away).unwrap();
            fs::create_dir(&device).unwrap();
        } else if call.starts_with("e2fsck") {
            fs::remove_dir(&device).unwrap();
            fs::rename(&away, &device).unwrap();
        }
    });
    let settings = machine.settings();
    let prepare = |tools: &mut Tools<'_>, disk: &Disk| tools.prepare(disk, &key(), None);
    let (prepared, events) = with_tools(&mut programs, &settings, prepare);
    assert!(!prepared.unwrap().is_new && machine.is_mounted());
    let is_said = |event: &Event| matches!(event, Event::NotRepaired { slot: Slot::B, reason } if reason.contains("open for writing"));
    assert!(events.iter().any(is_said), "{events:?}");
}

fn both_keys(programs: &mut Programs<'_>) -> (Result<Volume, DiskError>, Vec<Event>) {
    let settings = programs.machine.settings();
    with_tools(programs, &settings, |tools, disk| {
        let (present, previous) = (&other_key(), Some(&key()));
        tools.prepare(disk, Keys { present, previous }, None)
    })
}

/// As [`both_keys`], after what power was cut of.
fn boot_with_both(machine: &Machine) -> Volume {
    machine.reset();
    both_keys(&mut Programs::of(machine)).0.unwrap()
}

#[test]
fn disk_under_the_previous_key_gets_the_present_one() {
    let machine = used();
    let made = Programs::of(&machine).file_system();
    let (prepared, events) = both_keys(&mut Programs::of(&machine));
    assert!(!prepared.unwrap().is_new && machine.is_mounted());
    assert!(events.contains(&Event::KeyChanged), "{events:?}");
    let error = boot(&machine, &key()).unwrap_err();
    assert!(matches!(
        error,
        DiskError::NotOpened(OpenRefusal::WrongKey { .. })
    ));
    assert!(!boot(&machine, &other_key()).unwrap().is_new);
    // The previous key may stay where it is: nothing more happens.
    machine.reset();
    let mut programs = Programs::of(&machine);
    both_keys(&mut programs).0.unwrap();
    assert!(!programs.calls.join(" ").contains("luksChangeKey"));
    assert_eq!(programs.file_system(), made);
    // Without being mapped anew, too.
    let machine = used();
    prepare(&mut Programs::of(&machine), &key()).unwrap();
    both_keys(&mut Programs::of(&machine)).0.unwrap();
    assert!(boot(&machine, &other_key()).is_ok());
}

#[test]
fn change_to_the_present_key_that_is_cut_comes_up_next_time() {
    let mut cuts = 0;
    for number in 0..9 {
        for stop in [Stop::Before(number), Stop::After(number)] {
            let machine = used();
            let made = Programs::of(&machine).file_system();
            let mut programs = Programs::of(&machine);
            programs.stop = Some(stop);
            cuts += usize::from(both_keys(&mut programs).0.is_err());
            // Between two of the disk's own writes, too: one slot as it is now, the other one as it comes to be.
            let half = machine.image();
            assert!(!boot_with_both(&machine).is_new, "{stop:?}");
            for slot in Slot::ALL {
                let at = usize::try_from(slot.header()).unwrap();
                machine.poke(slot.header(), &half[at..][..(4 << 20) + 512]);
                assert!(!boot_with_both(&machine).is_new, "{stop:?} {slot}");
                assert!(boot(&machine, &other_key()).is_ok(), "{stop:?} {slot}");
            }
            assert_eq!(Programs::of(&machine).file_system(), made);
        }
    }
    assert!(cuts > 8, "{cuts}");
}

#[test]
fn disk_whose_key_cannot_be_changed_is_used_with_the_previous_one() {
    let machine = used();
    let mut programs = Programs::of(&machine);
    programs.keeps_key = true;
    let (prepared, events) = both_keys(&mut programs);
    assert!(!prepared.unwrap().is_new && machine.is_mounted());
    let is_said = |event: &Event| matches!(event, Event::KeyNotChanged { reason } if reason.contains("cryptsetup failed"));
    assert!(events.iter().any(is_said), "{events:?}");
    assert!(boot(&machine, &key()).is_ok());
}

/// Formatting begins again also if the key was changed in between, and that was cut, too.
#[test]
fn half_formatted_disk_under_the_previous_key_is_formatted_under_the_present_one() {
    for number in 4..9 {
        let machine = Machine::azure();
        let mut programs = Programs::of(&machine);
        programs.stop = Some(Stop::Before(4));
        prepare(&mut programs, &key()).unwrap_err();
        machine.reset();
        let mut programs = Programs::of(&machine);
        programs.stop = Some(Stop::Before(number));
        let _ = both_keys(&mut programs);
        let _ = boot_with_both(&machine);
        assert!(!boot(&machine, &other_key()).unwrap().is_new);
    }
}
