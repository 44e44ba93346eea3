//! The same UKI is found in every kind of image, and images that are ambiguous or damaged are
//! refused with a reason.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic in a test is a failing test"
)]

mod support;

use std::io::Cursor;

use measurements::image::{BootChainError, FatError, GptError, ImageError, VhdError};
use measurements::{Assumptions, Digests, Image, PeError, PeFileError, predict};
use support::{ESP_TYPE, FatType, OTHER_TYPE, disk, esp, fat, gpt, uki, uki_in as read, vhd};

const PATH: &str = "EFI/BOOT/BOOTX64.EFI";

#[test]
fn raw_vhd_and_bare_uki_lead_to_the_same_prediction() {
    let predict = |image| support::predict(image).unwrap();
    let bare = predict(uki());
    assert_eq!(predict(disk(&uki())), bare);
    assert_eq!(predict(vhd(disk(&uki()))), bare);
    assert_eq!(
        bare.registers.keys().copied().collect::<Vec<_>>(),
        [4, 9, 11]
    );
}

#[test]
fn every_width_of_fat_and_block_size_is_read() {
    for (kind, sector, size) in [
        (FatType::Fat12, 512, 1 << 20),
        (FatType::Fat12, 4096, 8 << 20),
        (FatType::Fat16, 512, 16 << 20),
        (FatType::Fat16, 4096, 64 << 20),
        (FatType::Fat32, 512, 40 << 20),
    ] {
        let partition = fat(kind, sector, size, &[(PATH, &uki())]);
        for block in [512, 4096] {
            let image = gpt(block, &[(ESP_TYPE, &partition)]);
            assert_eq!(
                read(image).unwrap(),
                uki(),
                "{kind:?}, sectors {sector}, blocks {block}"
            );
        }
    }
}

#[test]
fn names_are_compared_without_case_and_may_be_long() {
    let uki = uki();
    let image = |path: &str| {
        let files = [("a file with a long name.txt", &b"x"[..]), (path, &uki)];
        gpt(
            512,
            &[(ESP_TYPE, &fat(FatType::Fat12, 512, 1 << 20, &files))],
        )
    };
    assert_eq!(read(image("efi/boot/bootx64.efi")).unwrap(), uki);
    assert_eq!(read(image("EFI/Boot/BootX64.efi")).unwrap(), uki);
}

#[test]
fn fragmented_files_are_put_together() {
    // Two files written in turns, a cluster each, have no two clusters in a row.
    use std::io::Write;
    let uki = uki();
    let mut volume = Cursor::new(fat(FatType::Fat16, 512, 16 << 20, &[]));
    {
        let fat = fatfs::FileSystem::new(&mut volume, fatfs::FsOptions::new()).unwrap();
        fat.root_dir()
            .create_dir("EFI")
            .unwrap()
            .create_dir("BOOT")
            .unwrap();
        let mut file = fat.root_dir().create_file(PATH).unwrap();
        let mut other = fat.root_dir().create_file("other").unwrap();
        for chunk in uki.chunks(512) {
            file.write_all(chunk).unwrap();
            other.write_all(&[0xee; 512]).unwrap();
        }
    }
    assert_eq!(
        read(gpt(512, &[(ESP_TYPE, volume.get_ref())])).unwrap(),
        uki
    );
}

#[test]
fn not_exactly_one_esp_is_refused() {
    let esp = esp(&uki());
    let none = read(gpt(512, &[(OTHER_TYPE, &esp)]));
    assert!(
        matches!(none, Err(ImageError::Gpt(GptError::EspCount { count: 0 }))),
        "{none:?}"
    );
    let two = read(gpt(
        512,
        &[(ESP_TYPE, &esp), (OTHER_TYPE, &[0; 512]), (ESP_TYPE, &esp)],
    ));
    assert!(
        matches!(two, Err(ImageError::Gpt(GptError::EspCount { count: 2 }))),
        "{two:?}"
    );
}

#[test]
fn damaged_partition_table_is_refused() {
    let header = |offset: usize| {
        let mut image = disk(&uki());
        image[offset] ^= 1;
        read(image).unwrap_err()
    };
    let is_checksum = |error: &ImageError, name: &str| matches!(error, ImageError::Gpt(GptError::Checksum { what, .. }) if *what == name);
    assert!(is_checksum(&header(512 + 40), "header"));
    assert!(is_checksum(&header(1024 + 40), "partition entries"));
}

#[test]
fn missing_file_and_file_in_place_of_directory_are_told_apart() {
    let error = |path: &str| {
        let partition = fat(FatType::Fat12, 512, 1 << 20, &[(path, &uki())]);
        read(gpt(512, &[(ESP_TYPE, &partition)])).unwrap_err()
    };
    let missing = error("EFI/Linux/uki.efi");
    assert!(
        matches!(&missing, ImageError::Fat(FatError::NotFound { missing, .. }) if missing == "BOOT"),
        "{missing:?}"
    );
    assert!(matches!(
        error("EFI/BOOT"),
        ImageError::Fat(FatError::WrongKind { .. })
    ));
}

#[test]
fn additions_that_the_stub_would_take_are_refused() {
    for addition in [
        "EFI/BOOT/BOOTX64.EFI.extra.d/debug.addon.efi",
        "EFI/BOOT/BOOTX64.EFI.extra.d/passwd.cred",
        "loader/addons/debug.addon.efi",
        "loader/credentials/passwd.CRED",
    ] {
        let files = [(PATH, &uki()[..]), (addition, &b"x"[..])];
        let image = gpt(
            512,
            &[(ESP_TYPE, &fat(FatType::Fat12, 512, 1 << 20, &files))],
        );
        let error = read(image).unwrap_err();
        assert!(
            matches!(
                &error,
                ImageError::BootChain(BootChainError::Sidecar { .. })
            ),
            "{addition}: {error:?}"
        );
    }
    let harmless = [(PATH, &uki()[..]), ("loader/random-seed", &b"x"[..])];
    let image = gpt(
        512,
        &[(ESP_TYPE, &fat(FatType::Fat12, 512, 1 << 20, &harmless))],
    );
    assert_eq!(read(image).unwrap(), uki());
}

#[test]
fn damaged_and_dynamic_vhds_are_refused() {
    let broken = |offset_from_footer: usize, value: u8| {
        let mut image = vhd(disk(&uki()));
        let footer = image.len() - 512;
        image[footer + offset_from_footer] = value;
        read(image).unwrap_err()
    };
    assert!(matches!(
        broken(63, 3),
        ImageError::Vhd(VhdError::NotFixed { actual: 3 })
    ));
    assert!(matches!(
        broken(100, 1),
        ImageError::Vhd(VhdError::Checksum { .. })
    ));
    // A disk that was cut: the footer still says its old size.
    let mut cut = disk(&uki());
    let footer = vhd(cut.clone()).split_off(cut.len());
    cut.truncate(cut.len() - 512);
    cut.extend(footer);
    assert!(matches!(
        read(cut).unwrap_err(),
        ImageError::Vhd(VhdError::Size { .. })
    ));
}

#[test]
fn unknown_ambiguous_and_empty_files_are_refused() {
    for image in [
        Vec::new(),
        vec![0; 100_000],
        b"MZ".to_vec(),
        b"conectix".to_vec(),
    ] {
        assert!(matches!(read(image), Err(ImageError::UnknownFormat)));
    }
    let mut both = disk(&uki());
    both[..2].copy_from_slice(b"MZ");
    both[0x3c..0x40].copy_from_slice(&0x80u32.to_le_bytes());
    both[0x80..0x84].copy_from_slice(b"PE\0\0");
    assert!(matches!(read(both), Err(ImageError::Ambiguous)));
}

#[test]
fn cut_images_are_refused() {
    let mut cut = disk(&uki());
    cut.truncate(600_000);
    assert!(read(cut).is_err());
    let mut short = uki();
    short.truncate(short.len() - 1);
    let error = read(short).unwrap_err();
    assert!(
        matches!(
            error,
            ImageError::Pe {
                source: PeFileError::Pe(PeError::SectionOutside { .. }),
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn file_system_larger_than_its_partition_is_refused() {
    let mut partition = esp(&uki());
    partition.truncate(partition.len() - 512);
    let error = read(gpt(512, &[(ESP_TYPE, &partition)])).unwrap_err();
    let is_size =
        matches!(&error, ImageError::Fat(FatError::Field { what, .. }) if *what == "TotSec");
    assert!(is_size, "{error:?}");
}

#[test]
fn looping_and_broken_cluster_chains_end() {
    let partition = esp(&uki());
    // FAT12, one reserved sector: the entries of clusters 2 and 3 are at bytes 3 to 5 of the FAT.
    for entries in [
        [0x02, 0x20, 0x00],
        [0x00, 0x00, 0x00],
        [0xf7, 0x7f, 0xff],
        [0xee, 0xee, 0xee],
    ] {
        let mut broken = partition.clone();
        let fat = usize::from(u16::from_le_bytes([broken[14], broken[15]])) * 512;
        broken[fat + 3..fat + 6].copy_from_slice(&entries);
        let error = read(gpt(512, &[(ESP_TYPE, &broken)])).unwrap_err();
        assert!(
            matches!(
                error,
                ImageError::Fat(FatError::Chain { .. } | FatError::EndlessDirectory)
            ),
            "{entries:x?}: {error:?}"
        );
    }
}

fn read_fat(volume: &[u8]) -> Result<Vec<u8>, ImageError> {
    read(gpt(512, &[(ESP_TYPE, volume)]))
}

/// Replaces a name in directory entries, of which there must be one.
fn rename(volume: &mut [u8], old: &[u8; 11], new: &[u8; 11]) {
    let mut entries = volume.chunks_exact_mut(32).filter(|e| e[..11] == old[..]);
    entries.next().unwrap()[..11].copy_from_slice(new);
    assert!(entries.next().is_none());
}

#[test]
fn several_entries_of_one_name_are_refused() {
    let uki = uki();
    for (other, old, new) in [
        ("EFI/BOOT/OTHER.EFI", b"OTHER   EFI", b"BOOTX64 EFI"),
        ("EFI/OTHER/FILE", b"OTHER      ", b"BOOT       "),
        ("OTHER/FILE", b"OTHER      ", b"EFI        "),
    ] {
        let files = [(PATH, &uki[..]), (other, &b"x"[..])];
        let mut volume = fat(FatType::Fat12, 512, 1 << 20, &files);
        assert_eq!(read_fat(&volume).unwrap(), uki);
        rename(&mut volume, old, new);
        let error = read_fat(&volume).unwrap_err();
        assert!(
            matches!(
                &error,
                ImageError::Fat(FatError::DuplicateName { count: 2, .. })
            ),
            "{other}: {error:?}"
        );
    }
}

#[test]
fn short_name_of_an_addition_counts() {
    let files = [
        (PATH, &uki()[..]),
        ("loader/extensions/a long name.img", &b"x"[..]),
    ];
    let mut volume = fat(FatType::Fat12, 512, 1 << 20, &files);
    assert!(read_fat(&volume).is_ok());
    // Both names, so that the long one still belongs to the short one: its checksum is in each of
    // its parts.
    let (old, new) = (*b"ALONGN~1IMG", *b"ALONGN~1RAW");
    let sum = |name: &[u8; 11]| {
        name.iter()
            .fold(0u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte))
    };
    for entry in volume.chunks_exact_mut(32) {
        if entry[11] == 0x0f && entry[13] == sum(&old) {
            entry[13] = sum(&new);
        }
    }
    rename(&mut volume, &old, &new);
    let error = read_fat(&volume).unwrap_err();
    assert!(
        matches!(&error, ImageError::BootChain(BootChainError::Sidecar { path, .. }) if path.ends_with("ALONGN~1.RAW")),
        "{error:?}"
    );
}

#[test]
fn disk_without_a_plain_protective_mbr_is_refused() {
    let changed = |offset: usize, value: u8| {
        let mut image = disk(&uki());
        image[offset] = value;
        read(image)
    };
    // What the entry says besides type and first block does not matter.
    assert!(changed(446 + 12, 0x17).is_ok());
    for (offset, value) in [
        (510, 0),
        (446, 0x80),
        (446 + 4, 0x0c),
        (446 + 4, 0),
        (446 + 8, 2),
        (446 + 16 + 4, 0xef),
        (446 + 63, 1),
    ] {
        let error = changed(offset, value).unwrap_err();
        assert!(
            matches!(error, ImageError::Gpt(GptError::ProtectiveMbr { .. })),
            "{offset}: {error:?}"
        );
    }
}

#[test]
fn second_fat_is_refused_wherever_it_is() {
    let esp = esp(&uki());
    for partitions in [
        [(OTHER_TYPE, &esp[..]), (ESP_TYPE, &esp)],
        [(ESP_TYPE, &esp), (OTHER_TYPE, &esp[..512])],
    ] {
        let error = read(gpt(512, &partitions)).unwrap_err();
        assert!(
            matches!(error, ImageError::Gpt(GptError::OtherFat { .. })),
            "{error:?}"
        );
    }
    let mut image = disk(&uki());
    image[..64].copy_from_slice(&esp[..64]);
    let error = read(image).unwrap_err();
    assert!(
        matches!(&error, ImageError::Gpt(GptError::OtherFat { place }) if place == "the disk"),
        "{error:?}"
    );
}

#[test]
fn tables_for_two_block_sizes_are_refused() {
    // The entries of the table for small blocks end before byte 17,408, unused but for the first
    // two: the other header fits in between.
    let mut image = disk(&uki());
    let other = gpt(4096, &[(ESP_TYPE, &esp(&uki()))]);
    image[4096..4096 + 92].copy_from_slice(&other[4096..4096 + 92]);
    let error = read(image).unwrap_err();
    assert!(
        matches!(error, ImageError::Gpt(GptError::SeveralTables)),
        "{error:?}"
    );
}

/// systemd-boot, as far as it matters here.
fn loader(version: &str) -> Vec<u8> {
    let marker = format!("#### LoaderInfo: systemd-boot {version} ####\0");
    let sections = [
        support::section(".text", [0xc3; 100]),
        support::section(".sdmagic", marker),
    ];
    support::pe(&sections, &[], &[])
}

/// A UKI whose os-release is this.
fn uki_of(os_release: &str) -> Vec<u8> {
    let mut sections = support::uki_sections();
    let is_os_release = |s: &&mut support::Section| s.name == ".osrel";
    sections.iter_mut().find(is_os_release).unwrap().data = os_release.as_bytes().to_vec();
    support::pe(&sections, &[], &[])
}

fn disk_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    gpt(
        512,
        &[(ESP_TYPE, &fat(FatType::Fat12, 512, 1 << 20, files))],
    )
}

fn refused_chain(files: &[(&str, &[u8])]) -> BootChainError {
    match support::open(disk_of(files)) {
        Err(ImageError::BootChain(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn loader_is_measured_before_the_uki_that_it_starts() {
    let (loader, uki) = (loader("257.13"), uki());
    let files = [(PATH, &loader[..]), ("EFI/Linux/node.efi", &uki)];
    let mut image = support::open(disk_of(&files)).unwrap();
    let paths: Vec<_> = image.loaded().iter().map(|l| l.path.clone()).collect();
    assert_eq!(paths, [PATH, "EFI/Linux/node.efi"]);
    assert_eq!(image.loaded()[0].program, "systemd-boot 257.13");

    let through_loader = predict(&mut image).unwrap();
    let direct = support::predict(uki.clone()).unwrap();
    let (long, short) = (&through_loader.registers[&4], &direct.registers[&4]);
    assert_eq!(long.events.len(), short.events.len() + 1);
    assert_eq!(
        long.events[2].subject,
        "Authenticode digest of the boot loader"
    );
    assert_eq!(long.events[3..], short.events[2..]);
    assert_eq!(through_loader.registers[&9], direct.registers[&9]);
    assert_eq!(through_loader.registers[&11], direct.registers[&11]);
    assert_eq!(through_loader.value(12), Some(Digests::ZERO));
}

#[test]
fn old_loader_hands_on_the_command_line_and_that_shows() {
    let mut sections = support::uki_sections();
    let is_marker = |s: &&mut support::Section| s.name == ".sdmagic";
    let marker = b"#### LoaderInfo: systemd-stub 254.26 ####";
    sections.iter_mut().find(is_marker).unwrap().data = marker.to_vec();
    let (loader, uki) = (loader("254.26"), support::pe(&sections, &[], &[]));
    let files = [(PATH, &loader[..]), ("EFI/Linux/node.efi", &uki)];
    let prediction = support::predict(disk_of(&files)).unwrap();
    let events = &prediction.registers[&12].events;
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].digests, events[1].digests);
    assert_eq!(
        events[0].digests,
        prediction.registers[&9].events[0].digests
    );

    let assumptions = Assumptions {
        secure_boot: true,
        ..Assumptions::default()
    };
    let mut image = Image::open_assuming(Cursor::new(disk_of(&files)), assumptions).unwrap();
    let under_secure_boot = predict(&mut image).unwrap();
    assert_eq!(under_secure_boot.registers[&12].events, events[..1]);
}

#[test]
fn profile_that_the_loader_starts_is_measured_twice() {
    let mut sections = support::uki_sections();
    sections.push(support::section(".profile", "ID=a"));
    sections.push(support::section(".profile", "ID=b"));
    let (loader, uki) = (loader("257.13"), support::pe(&sections, &[], &[]));
    let files = [(PATH, &loader[..]), ("EFI/Linux/node.efi", &uki)];
    let assumptions = Assumptions {
        profile: 1,
        ..Assumptions::default()
    };
    let mut image = Image::open_assuming(Cursor::new(disk_of(&files)), assumptions).unwrap();
    let prediction = predict(&mut image).unwrap();
    let events = &prediction.registers[&12].events;
    let text: Vec<_> = events.iter().map(ToString::to_string).collect();
    assert_eq!(text, ["load options from systemd-boot: @1", "profile: 1"]);
    // "@1" and a NUL in UTF-16.
    assert_eq!(events[0].digests, Digests::of(b"@\x001\0\0\0"));
}

#[test]
fn secret_of_the_machine_can_be_kept_out() {
    let mut sections = support::uki_sections();
    let is_marker = |s: &&mut support::Section| s.name == ".sdmagic";
    let marker = b"#### LoaderInfo: systemd-stub 262 ####";
    sections.iter_mut().find(is_marker).unwrap().data = marker.to_vec();
    let uki = support::pe(&sections, &[], &[]);
    let value = |mixin: &[u8]| {
        let files = [(PATH, &uki[..]), ("loader/boot-secret-mixin", mixin)];
        support::predict(disk_of(&files)).unwrap().value(9)
    };
    let bare = support::predict(disk_of(&[(PATH, &uki[..])])).unwrap();
    assert_eq!(bare.value(9), None);
    let expected = support::predict(support::uki()).unwrap().value(9);
    assert_eq!(value(&[0; 31]), expected);
    assert_eq!(value(&[0; 32]), None);
    assert_eq!(value(&[]), None);
}

#[test]
fn newest_entry_is_started_unless_another_is_named() {
    let loader = loader("257.13");
    let old = uki_of("ID=node\nIMAGE_VERSION=1.9\n");
    let new = uki_of("ID=node\nIMAGE_VERSION=1.10\n");
    let stray = support::pe(&[support::section(".text", "x")], &[], &[]);
    let files = [
        (PATH, &loader[..]),
        ("EFI/Linux/a.efi", &old),
        ("EFI/Linux/b.efi", &new),
        ("EFI/Linux/auto-z.efi", &new),
        ("EFI/Linux/not-a-uki.efi", &stray),
        ("EFI/Linux/nothing.efi", b"x"),
    ];
    assert_eq!(read(disk_of(&files)).unwrap(), new);
    let prediction = support::predict(disk_of(&files)).unwrap();
    assert_eq!(
        prediction.notes,
        ["systemd-boot starts b.efi by itself, of b.efi, a.efi"]
    );
    let configured = [
        &files[..],
        &[("loader/loader.conf", b"timeout 0\ndefault A*\n")],
    ]
    .concat();
    assert_eq!(read(disk_of(&configured)).unwrap(), old);

    let named = |entry: &str| {
        let assumptions = Assumptions {
            entry: Some(entry.to_owned()),
            ..Assumptions::default()
        };
        Image::open_assuming(Cursor::new(disk_of(&files)), assumptions)
    };
    assert_eq!(named("A.EFI").unwrap().loaded()[1].path, "EFI/Linux/a.efi");
    let error = named("c.efi").unwrap_err();
    let wanted = BootChainError::UnknownEntry {
        wanted: "c.efi".to_owned(),
        candidates: vec!["b.efi".to_owned(), "a.efi".to_owned()],
    };
    assert!(
        matches!(&error, ImageError::BootChain(e) if *e == wanted),
        "{error:?}"
    );
}

#[test]
fn what_leaves_the_choice_open_is_refused() {
    let (loader, uki) = (loader("257.13"), uki());
    let files = [(PATH, &loader[..]), ("EFI/Linux/a.efi", &uki)];
    let refused = |path, contents| refused_chain(&[&files[..], &[(path, contents)]].concat());
    for (path, contents) in [
        (
            "loader/entries/other.conf",
            &b"title x\nlinux /vmlinuz\n"[..],
        ),
        ("loader/loader.conf", b"default a@1\n"),
        ("loader/loader.conf", b"preferred a.efi\n"),
    ] {
        let error = refused(path, contents);
        let is_open = matches!(error, BootChainError::UndecidedEntry { .. });
        assert!(is_open, "{path}: {error:?}");
    }
    for path in [
        "EFI/systemd/drivers/evilx64.efi",
        "EFI/Linux/a.efi.extra.d/x.addon.efi",
        "loader/addons/x.addon.efi",
    ] {
        let error = refused(path, b"x");
        assert!(
            matches!(error, BootChainError::Sidecar { .. }),
            "{path}: {error:?}"
        );
    }
    assert_eq!(refused_chain(&files[..1]), BootChainError::NoEntry);
    let grub = support::pe(&[support::section(".text", "GRUB")], &[], &[]);
    let error = refused_chain(&[(PATH, &grub)]);
    assert!(
        matches!(error, BootChainError::UnknownProgram { .. }),
        "{error:?}"
    );
}

#[test]
fn entry_is_not_for_an_image_without_loader() {
    let assumptions = Assumptions {
        entry: Some("a.efi".to_owned()),
        ..Assumptions::default()
    };
    let error = Image::open_assuming(Cursor::new(disk(&uki())), assumptions).unwrap_err();
    let is_meant = matches!(
        error,
        ImageError::BootChain(BootChainError::NoLoader { .. })
    );
    assert!(is_meant, "{error:?}");
}

#[test]
fn partitions_and_sections_can_be_read() {
    use std::io::Read;
    let mut image = support::open(vhd(disk(&uki()))).unwrap();
    let partitions = image.partitions().to_vec();
    assert_eq!(partitions.len(), 2);
    assert_eq!(
        partitions[1].type_id.to_string(),
        "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
    );
    let mut root = Vec::new();
    image
        .partition_reader(&partitions[0])
        .read_to_end(&mut root)
        .unwrap();
    assert_eq!(root[..5000], [0xaa; 5000]);
    let sections = image.sections();
    let initrd = sections.iter().find(|s| s.name == ".initrd").unwrap();
    let mut bytes = Vec::new();
    image
        .section_reader(initrd)
        .read_to_end(&mut bytes)
        .unwrap();
    assert_eq!(bytes, [0x1f; 1235]);
    assert_eq!(image.section_digests(initrd).unwrap(), Digests::of(&bytes));
    assert_eq!(image.read_section(".initrd", 2000).unwrap(), bytes);
    assert!(image.read_section(".initrd", 1234).is_err());
    assert!(image.read_section(".splash", 2000).is_err());
}

#[test]
fn boot_sector_that_firmware_reads_otherwise_or_not_at_all_is_refused() {
    let fat32 = fat(FatType::Fat32, 512, 40 << 20, &[(PATH, &uki())]);
    let fat12 = esp(&uki());
    assert!(read_fat(&fat32).is_ok() && read_fat(&fat12).is_ok());
    // Where in the boot sector, and what: entries of a root directory that FAT32 does not have, its
    // version, one active FAT, a medium that there is not; FAT12 without root directory.
    for (volume, offset, value) in [
        (&fat32, 17, 16),
        (&fat32, 42, 1),
        (&fat32, 40, 0x80),
        (&fat32, 21, 0xf1),
        (&fat12, 21, 0x80),
        (&fat12, 17, 0),
        (&fat12, 18, 0),
    ] {
        let mut changed = volume.clone();
        if offset >= 17 && volume.len() < 2 << 20 && value == 0 {
            changed[17..19].fill(0);
        }
        changed[offset] = value;
        let error = read_fat(&changed).unwrap_err();
        assert!(
            matches!(error, ImageError::Fat(FatError::Field { .. })),
            "{offset}: {error:?}"
        );
    }
    // FAT32 with too few clusters is none to firmware.
    let mut small = fat(FatType::Fat16, 512, 16 << 20, &[(PATH, &uki())]);
    let sectors_per_table = [small[22], small[23]];
    small[22..24].fill(0);
    small[36..38].copy_from_slice(&sectors_per_table);
    small[38..44].fill(0);
    small[17..19].fill(0);
    let error = read_fat(&small).unwrap_err();
    assert!(
        matches!(error, ImageError::Fat(FatError::Field { .. })),
        "{error:?}"
    );
}

#[test]
fn second_fat_without_a_jump_in_front_is_refused() {
    let mut hidden = esp(&uki());
    hidden[0] = 0;
    let image = gpt(512, &[(OTHER_TYPE, &hidden), (ESP_TYPE, &esp(&uki()))]);
    let error = read(image).unwrap_err();
    assert!(
        matches!(error, ImageError::Gpt(GptError::OtherFat { .. })),
        "{error:?}"
    );
}

#[test]
fn what_firmware_might_look_into_is_refused() {
    let nested = |at: usize, bytes: &[u8]| {
        let mut partition = vec![0; 64 << 10];
        partition[at..at + bytes.len()].copy_from_slice(bytes);
        read(gpt(
            512,
            &[(OTHER_TYPE, &partition), (ESP_TYPE, &esp(&uki()))],
        ))
    };
    assert!(nested(0, b"hsqs").is_ok());
    for (at, bytes) in [
        (510, &[0x55, 0xaa][..]),
        (512, b"EFI PART"),
        (4096, b"EFI PART"),
        (0x8001, b"CD001"),
        (0x8001, b"BEA01"),
        (0x8001, b"NSR03"),
    ] {
        let error = nested(at, bytes).unwrap_err();
        let is_nested = matches!(error, ImageError::Gpt(GptError::Nested { number: 1, .. }));
        assert!(is_nested, "{at}: {error:?}");
    }
    // A partition table in the boot sector of the EFI system partition itself.
    let mut partition = esp(&uki());
    partition[446 + 4] = 0x0c;
    let error = read(gpt(512, &[(ESP_TYPE, &partition)])).unwrap_err();
    let is_nested = matches!(error, ImageError::Gpt(GptError::Nested { number: 1, .. }));
    assert!(is_nested, "{error:?}");
}

#[test]
fn partitions_that_firmware_would_pass_over_are_refused() {
    // The second partition's entry: one block earlier, and so over the first.
    let mut image = disk(&uki());
    let entry = 1024 + 128 + 32;
    image[entry] -= 1;
    let checksum = support::crc32(&image[1024..1024 + 128 * 128]).to_le_bytes();
    image[512 + 88..512 + 92].copy_from_slice(&checksum);
    image[512 + 16..512 + 20].fill(0);
    let checksum = support::crc32(&image[512..512 + 92]).to_le_bytes();
    image[512 + 16..512 + 20].copy_from_slice(&checksum);
    let error = read(image).unwrap_err();
    let is_placement = matches!(error, ImageError::Gpt(GptError::Placement { number: 2 }));
    assert!(is_placement, "{error:?}");
}

#[test]
fn additions_count_whatever_the_boot_counters_say() {
    let (loader, uki) = (loader("257.13"), uki());
    let files = [(PATH, &loader[..]), ("EFI/Linux/a+3-1.efi", &uki)];
    assert_eq!(read(disk_of(&files)).unwrap(), uki);
    for folder in ["a.efi.extra.d", "a+2-2.efi.extra.d", "a+3-1.efi.extra.d"] {
        let path = format!("EFI/Linux/{folder}/x.addon.efi");
        let error = refused_chain(&[&files[..], &[(&path, &b"x"[..])]].concat());
        assert!(
            matches!(error, BootChainError::Sidecar { .. }),
            "{folder}: {error:?}"
        );
    }
}

#[test]
fn keys_that_the_loader_would_enrol_are_refused() {
    let (loader, uki) = (loader("257.13"), uki());
    let files = [
        (PATH, &loader[..]),
        ("EFI/Linux/a.efi", &uki),
        ("loader/keys/auto/db.auth", b"x"),
    ];
    let error = refused_chain(&files);
    assert!(
        matches!(&error, BootChainError::Sidecar { path, .. } if path == "loader/keys/auto/db.auth"),
        "{error:?}"
    );
}

#[test]
fn disk_in_a_vhd_that_is_a_pe_too_is_refused() {
    let error = read(vhd(uki())).unwrap_err();
    assert!(matches!(error, ImageError::Ambiguous), "{error:?}");
}
