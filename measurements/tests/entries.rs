//! Which files are entries of systemd-boot's menu, what it hands to them, and where that is not
//! known.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic in a test is a failing test"
)]

mod support;

use std::io::Cursor;

use measurements::image::{BootChainError, ImageError};
use measurements::{Assumptions, Image, PredictError, Prediction};
use support::{ESP_TYPE, FatType, MemoryImage, Section, fat, gpt, pe, section, uki, uki_sections};

/// Where the UKI of [`pe`] has Machine, and SizeOfImage.
const MACHINE: usize = 0x44;
const SIZE_OF_IMAGE: usize = 0x58 + 56;

fn loader(version: &str) -> Vec<u8> {
    let marker = format!("#### LoaderInfo: systemd-boot {version} ####\0");
    pe(&[section(".sdmagic", marker)], &[], &[])
}

/// Opens a disk with systemd-boot, and these files where it looks for UKIs.
fn open_with(
    version: &str,
    files: &[(&str, &[u8])],
    entry: Option<&str>,
) -> Result<MemoryImage, ImageError> {
    let loader = loader(version);
    let paths: Vec<_> = files
        .iter()
        .map(|(name, contents)| (format!("EFI/Linux/{name}"), *contents))
        .collect();
    let files = paths.iter().map(|(path, contents)| (&path[..], *contents));
    let files: Vec<_> = [("EFI/BOOT/BOOTX64.EFI", &loader[..])]
        .into_iter()
        .chain(files)
        .collect();
    let esp = fat(FatType::Fat12, 512, 1 << 20, &files);
    let assumptions = Assumptions {
        entry: entry.map(str::to_owned),
        ..Assumptions::default()
    };
    Image::open_assuming(Cursor::new(gpt(512, &[(ESP_TYPE, &esp)])), assumptions)
}

/// The path of the UKI that is started, or why that is not known.
fn started(files: &[(&str, &[u8])], entry: Option<&str>) -> Result<String, String> {
    match open_with("257.13", files, entry) {
        Ok(image) => Ok(image.loaded()[1].path.clone()),
        Err(ImageError::BootChain(BootChainError::UndecidedEntry { reason, .. })) => Err(reason),
        Err(other) => panic!("{other:?}"),
    }
}

fn uki_with(extra: &[Section]) -> Vec<u8> {
    pe(&[uki_sections(), extra.to_vec()].concat(), &[], &[])
}

#[test]
fn program_that_only_we_refuse_leaves_the_choice_open() {
    let mut strange = uki();
    strange[SIZE_OF_IMAGE..SIZE_OF_IMAGE + 4].fill(0);
    let files = [("a.efi", &uki()[..]), ("strange.efi", &strange)];
    let reason = started(&files, None).unwrap_err();
    assert!(reason.starts_with("strange.efi is a PE"), "{reason}");
    // What is named is not a choice.
    assert_eq!(started(&files, Some("a.efi")).unwrap(), "EFI/Linux/a.efi");
}

#[test]
fn what_is_no_program_for_this_machine_is_no_entry() {
    let newer = uki_of("ID=debian\nVERSION_ID=14\n");
    let mut arm = newer.clone();
    arm[MACHINE..MACHINE + 2].copy_from_slice(&0xaa64u16.to_le_bytes());
    // Even one that would not be parsed.
    let mut strange = arm.clone();
    strange[SIZE_OF_IMAGE..SIZE_OF_IMAGE + 4].fill(0);
    let mut no_pe = newer.clone();
    no_pe[0x40] = b'X';
    let uki = uki();
    for other in [&arm[..], &strange, &no_pe, b"MZ", b"", b"text", &[0; 5000]] {
        let files = [("a.efi", &uki[..]), ("b.efi", other)];
        assert_eq!(started(&files, None).unwrap(), "EFI/Linux/a.efi");
    }
    // The check is of the machine, not of the name: this one is newer.
    let files = [("a.efi", &uki[..]), ("b.efi", &newer)];
    assert_eq!(started(&files, None).unwrap(), "EFI/Linux/b.efi");
}

/// A UKI whose os-release is this.
fn uki_of(os_release: &str) -> Vec<u8> {
    let mut sections = uki_sections();
    let is_os_release = |s: &&mut Section| s.name == ".osrel";
    sections.iter_mut().find(is_os_release).unwrap().data = os_release.as_bytes().to_vec();
    pe(&sections, &[], &[])
}

#[test]
fn uki_that_versions_take_for_different_entries_leaves_the_choice_open() {
    let profile = || section(".profile", "ID=a");
    for (name, extra, expected) in [
        ("a.efi", vec![section(".osrel", "ID=x")], "several sections"),
        ("a.efi", vec![section(".osrel", "")], "several sections"),
        (
            "a.efi",
            vec![section(".osrelX", "ID=x")],
            "several sections",
        ),
        ("a+3.efi", vec![profile(), profile()], "counts its boots"),
    ] {
        let reason = started(&[(name, &uki_with(&extra))], None).unwrap_err();
        assert!(reason.contains(expected), "{reason}");
    }
    let mut sections = uki_sections();
    sections.retain(|s| s.name != ".osrel");
    let renamed = [sections.clone(), vec![section(".osrelX", "ID=x")]].concat();
    let in_profile = [sections, vec![profile(), section(".osrel", "ID=x")]].concat();
    for (sections, expected) in [(renamed, "begins with"), (in_profile, "in a profile")] {
        let reason = started(&[("a.efi", &pe(&sections, &[], &[]))], None).unwrap_err();
        assert!(reason.contains(expected), "{reason}");
    }
    let empty = uki_of("IMAGE_ID=\nID=x\n");
    let reason = started(&[("a.efi", &empty)], None).unwrap_err();
    assert!(reason.contains("an empty IMAGE_ID"), "{reason}");
    // Each alone is plain.
    for (name, extra) in [
        ("a+3.efi", vec![profile()]),
        ("a.efi", vec![profile(), profile()]),
        ("a+3.efi", vec![]),
    ] {
        assert!(started(&[(name, &uki_with(&extra))], None).is_ok());
    }
}

/// The usual UKI of another stub, started by this systemd-boot.
fn handed_on(loader: &str, stub: &str, memory: Option<u32>) -> Result<Prediction, PredictError> {
    let mut sections = uki_sections();
    for section in &mut sections {
        match &*section.name {
            ".sdmagic" => {
                section.data = format!("#### LoaderInfo: systemd-stub {stub} ####\0").into_bytes();
            }
            ".cmdline" => section.virtual_size = memory,
            _ => {}
        }
    }
    let uki = pe(&sections, &[], &[]);
    let mut image = open_with(loader, &[("a.efi", &uki)], None).unwrap();
    measurements::predict(&mut image)
}

#[test]
fn command_line_is_handed_on_between_versions_that_agree() {
    for (loader, stub) in [("252.39", "254"), ("254", "252"), ("253", "253")] {
        let prediction = handed_on(loader, stub, None).unwrap();
        assert_eq!(prediction.registers[&12].events.len(), 2);
    }
    for (loader, stub) in [
        ("251", "252"),
        ("250", "250"),
        ("254", "255"),
        ("254", "257"),
    ] {
        let error = handed_on(loader, stub, None).unwrap_err();
        let is_meant = matches!(&error, PredictError::HandedOn { loader: l, .. } if l == loader);
        assert!(is_meant, "{loader} {stub}: {error:?}");
    }
    for (loader, stub) in [("255", "252"), ("257", "257")] {
        let prediction = handed_on(loader, stub, None).unwrap();
        assert!(!prediction.registers.contains_key(&12));
    }
}

#[test]
fn command_line_beyond_the_file_is_not_handed_on() {
    // Of 512 bytes that are stored.
    assert!(handed_on("254", "254", Some(512)).is_ok());
    let error = handed_on("254", "254", Some(513)).unwrap_err();
    assert!(error.to_string().contains(".cmdline"), "{error}");
    assert!(handed_on("257", "257", Some(513)).is_ok());
}
