//! What is predicted for UKIs of every shape, and which UKIs are refused.

#![allow(clippy::unwrap_used, reason = "a panic in a test is a failing test")]

mod support;

use std::io::Cursor;

use measurements::{
    Assumptions, Digests, Image, PredictError, Prediction, Sha256Digest, StubVersionError,
};
use support::{COMMAND_LINE, Section, kernel, pe, section, uki_sections};

fn predict_sections(sections: &[Section]) -> Result<Prediction, PredictError> {
    support::predict(pe(sections, &[], &[]))
}

fn with(extra: &[Section]) -> Vec<Section> {
    [uki_sections(), extra.to_vec()].concat()
}

fn without(name: &str) -> Vec<Section> {
    uki_sections()
        .into_iter()
        .filter(|section| section.name != name)
        .collect()
}

fn replaced(new: Section) -> Vec<Section> {
    let replace = |old: Section| {
        if old.name == new.name {
            new.clone()
        } else {
            old
        }
    };
    uki_sections().into_iter().map(replace).collect()
}

fn digests(prediction: &Prediction, register: u8) -> Vec<Sha256Digest> {
    prediction.registers[&register]
        .events
        .iter()
        .map(|event| event.digests.sha256)
        .collect()
}

fn subjects(prediction: &Prediction, register: u8) -> Vec<&str> {
    prediction.registers[&register]
        .events
        .iter()
        .map(|event| event.subject.as_str())
        .collect()
}

/// The archive that the stub makes of `.osrel`, written down byte by byte.
fn os_release_archive(contents: &str) -> Vec<u8> {
    let zero = "00000000";
    let mut archive = format!(
        "070701{ino}{dmode}{zero}{zero}{one}{zero}{zero}{zero}{zero}{zero}{zero}{dname}{zero}.extra\0\0\0\0\
         070701{ino2}{fmode}{zero}{zero}{one}{zero}{size:08x}{zero}{zero}{zero}{zero}{fname}{zero}\
         .extra/os-release\0{contents}",
        ino = "00000001",
        dmode = "0000416d",
        one = "00000001",
        dname = "00000007",
        ino2 = "00000002",
        fmode = "00008124",
        size = contents.len(),
        fname = "00000012",
    )
    .into_bytes();
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend(
        format!("070701{zero}{zero}{zero}{zero}00000001{zero}{zero}{zero}{zero}{zero}{zero}0000000B{zero}TRAILER!!!")
            .bytes(),
    );
    archive.extend([0; 4]);
    archive
}

#[test]
fn registers_are_the_events_of_an_ordinary_uki() {
    let prediction = predict_sections(&uki_sections()).unwrap();

    let load_options: Vec<u8> = format!("{COMMAND_LINE}\0")
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let mut initrd = vec![0x1f; 1235];
    initrd.push(0);
    initrd.extend(os_release_archive("ID=debian\nVERSION_ID=13\n"));
    assert_eq!(
        digests(&prediction, 9),
        [Sha256Digest::of(&load_options), Sha256Digest::of(&initrd)]
    );

    let command_line = format!("{COMMAND_LINE}\0");
    let measured: [(&str, &[u8]); 6] = [
        (".linux", &kernel()),
        (".osrel", b"ID=debian\nVERSION_ID=13\n"),
        (".cmdline", command_line.as_bytes()),
        (".initrd", &[0x1f; 1235]),
        (".uname", b"6.12.0-test"),
        (".sbat", b"sbat,1,SBAT Version\n"),
    ];
    let expected: Vec<_> = measured
        .iter()
        .flat_map(|(name, data)| {
            [
                Sha256Digest::of(format!("{name}\0").as_bytes()),
                Sha256Digest::of(data),
            ]
        })
        .collect();
    assert_eq!(digests(&prediction, 11), expected);
    assert_eq!(
        subjects(&prediction, 11)[..2],
        [".linux: name", ".linux: data"]
    );

    assert_eq!(prediction.registers[&4].events.len(), 4);
    for register in prediction.registers.values() {
        assert!(register.is_consistent());
    }
    assert!(
        prediction.registers[&9].events[0]
            .to_string()
            .ends_with(COMMAND_LINE)
    );
    assert_eq!(prediction.value(12), Some(Digests::ZERO));
    assert_eq!(prediction.value(7), None);
}

#[test]
fn each_section_changes_the_registers_it_should() {
    let base = predict_sections(&uki_sections()).unwrap();
    let changed = |section| {
        let other = predict_sections(&replaced(section)).unwrap();
        base.registers
            .keys()
            .copied()
            .filter(|index| other.registers[index].value != base.registers[index].value)
            .collect::<Vec<u8>>()
    };
    assert_eq!(changed(section(".text", [0xcd; 1000])), [4]);
    assert_eq!(changed(section(".uname", "6.12.1-test")), [4, 11]);
    assert_eq!(changed(section(".cmdline", "quiet\0")), [4, 9, 11]);
    // A NUL more or less is seen in PCR 11 only, besides the whole.
    assert_eq!(changed(section(".cmdline", COMMAND_LINE)), [4, 11]);
    assert_eq!(changed(section(".osrel", "ID=other")), [4, 9, 11]);
}

#[test]
fn virtual_size_beyond_the_file_is_zeros_and_below_it_cuts() {
    let sized = |data: &[u8], virtual_size| {
        let section = Section {
            virtual_size: Some(virtual_size),
            ..section(".uname", data)
        };
        let prediction = predict_sections(&replaced(section)).unwrap();
        let at = subjects(&prediction, 11)
            .iter()
            .position(|s| *s == ".uname: data")
            .unwrap();
        digests(&prediction, 11)[at]
    };
    let padded = [&b"6.12"[..], &[0; 9000 - 4]].concat();
    assert_eq!(sized(b"6.12", 9000), Sha256Digest::of(&padded));
    assert_eq!(sized(b"6.12", 2), Sha256Digest::of(b"6."));
}

#[test]
fn every_initrd_part_comes_in_its_place() {
    let parts = |sections: &[Section]| {
        predict_sections(sections).unwrap().registers[&9].events[1]
            .detail
            .clone()
    };
    assert_eq!(
        parts(&with(&[
            section(".pcrpkey", "key"),
            section(".ucode", "microcode"),
            section(".pcrsig", "{}"),
        ])),
        ".ucode (9 bytes) + .initrd (1235 bytes) + \
         /.extra/tpm2-pcr-signature.json from .pcrsig (392 bytes) + \
         /.extra/tpm2-pcr-public-key.pem from .pcrpkey (392 bytes) + \
         /.extra/os-release from .osrel (396 bytes)"
    );
}

#[test]
fn single_initrd_is_not_padded_and_none_is_not_measured() {
    let alone = predict_sections(&without(".osrel")).unwrap();
    assert_eq!(digests(&alone, 9)[1], Sha256Digest::of(&[0x1f; 1235]));
    let sections: Vec<_> = without(".osrel")
        .into_iter()
        .filter(|s| s.name != ".initrd")
        .collect();
    assert_eq!(digests(&predict_sections(&sections).unwrap(), 9).len(), 1);
}

#[test]
fn signature_section_is_not_measured_and_empty_sections_are_absent() {
    let base = predict_sections(&uki_sections()).unwrap();
    let more = with(&[section(".pcrsig", "{}"), section(".splash", "")]);
    let prediction = predict_sections(&more).unwrap();
    assert_eq!(prediction.registers[&11], base.registers[&11]);
}

#[test]
fn unknown_stubs_are_refused() {
    let refused = |sections: &[Section]| match predict_sections(sections) {
        Err(PredictError::Stub(error)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&without(".sdmagic")), StubVersionError::NoMarker);
    let version = |version: &str| {
        let marker = format!("#### LoaderInfo: systemd-stub {version} ####\0");
        refused(&replaced(section(".sdmagic", marker)))
    };
    for other in ["249.11", "263~rc1-1", "2571"] {
        let error = version(other);
        assert!(matches!(error, StubVersionError::Unknown { .. }));
        assert!(error.to_string().contains(other), "{error}");
    }
    let loader = "#### LoaderInfo: systemd-boot 257.13 ####\0";
    let refused = refused(&replaced(section(".sdmagic", loader)));
    assert!(matches!(refused, StubVersionError::Marker { .. }));
}

#[test]
fn what_is_not_known_is_refused() {
    let refused = |sections: &[Section]| predict_sections(sections).unwrap_err();
    let error = refused(&with(&[section(".dtbauto", "tree")]));
    assert!(matches!(error, PredictError::MachineDependent { section } if section == ".dtbauto"));
    let error = refused(&without(".linux"));
    assert!(matches!(error, PredictError::MissingSection { section } if section == ".linux"));
    let error = refused(&replaced(section(".linux", "not a PE")));
    assert!(matches!(error, PredictError::Authenticode { .. }));
}

#[test]
fn kernel_that_stubs_start_in_another_way_is_refused() {
    let mut kernel = kernel();
    kernel[0x58 + 44] = 0;
    let sections = replaced(section(".linux", kernel));
    let predict_with = |version: &str| {
        let assumptions = Assumptions {
            stub_version: Some(version.parse().unwrap()),
            ..Assumptions::default()
        };
        let image = Cursor::new(pe(&sections, &[], &[]));
        measurements::predict(&mut Image::open_assuming(image, assumptions).unwrap())
    };
    for version in ["252", "257", "258", "262"] {
        let error = predict_with(version).unwrap_err();
        assert!(matches!(&error, PredictError::Kernel { .. }), "{error}");
    }
    // A stub that never starts it in any other way measures nothing of it.
    assert!(predict_with("251").is_ok());
}

#[test]
fn kernel_is_linux_6_1_or_newer_or_noted() {
    let predict_with = |version: &[u8]| {
        let mut kernel = kernel();
        kernel[0x300..][..version.len()].copy_from_slice(version);
        predict_sections(&replaced(section(".linux", kernel)))
    };
    for version in [&b"5.17.0"[..], b"6.0.19"] {
        let error = predict_with(version).unwrap_err().to_string();
        assert!(error.ends_with("expected Linux 6.1 or newer"), "{error}");
    }
    for version in [&b"6.1.0-x"[..], b"6.12.9", b"7.0.0"] {
        assert_eq!(predict_with(version).unwrap().notes, [""; 0]);
    }
    let note = "the kernel in .linux does not say that it is Linux; taken for Linux 6.1 or newer";
    assert_eq!(predict_with(b"no version").unwrap().notes, [note]);
    let mut other = kernel();
    other[0x202] = 0;
    let prediction = predict_sections(&replaced(section(".linux", other))).unwrap();
    assert_eq!(prediction.notes, [note]);
}

#[test]
fn section_for_some_machines_is_refused_wherever_it_is() {
    let refused = |version: &str, extra: &[Section]| match of_version(version, extra) {
        Err(PredictError::MachineDependent { section }) => Some(section),
        Err(other) => panic!("{other:?}"),
        Ok(_) => None,
    };
    // An empty one in front changes nothing.
    let second = |name| [section(name, ""), section(name, "tree")];
    assert_eq!(refused("257", &second(".dtbauto")), Some(".dtbauto"));
    assert_eq!(refused("259", &second(".efifw")), Some(".efifw"));
    // Nor does an empty one of the profile that is booted.
    let in_base = [
        section(".dtbauto", "tree"),
        section(".profile", "ID=a"),
        section(".dtbauto", ""),
    ];
    assert_eq!(refused("257", &in_base), Some(".dtbauto"));
    assert_eq!(refused("257", &[section(".dtbauto", "")]), None);
    assert_eq!(refused("257", &[section(".efifw", "x")]), None);
}

/// The usual UKI made with another stub.
fn of_version(version: &str, extra: &[Section]) -> Result<Prediction, PredictError> {
    let marker = format!("#### LoaderInfo: systemd-stub {version} ####\0");
    let mut sections = replaced(section(".sdmagic", marker));
    sections.extend_from_slice(extra);
    predict_sections(&sections)
}

#[test]
fn versions_measure_what_they_do() {
    let all = [".ucode", ".splash", ".dtb", ".pcrpkey", ".hwids", ".pcrsig"].map(|n| section(n, n));
    let measured = |version: &str| {
        let prediction = of_version(version, &all).unwrap();
        let names = prediction.registers.get(&11).map(|register| {
            let names = register.events.iter().step_by(2);
            let name = |e: &measurements::Event| e.subject.replace(": name", "");
            names.map(name).collect::<Vec<_>>().join(" ")
        });
        (names, prediction.registers[&4].events.len())
    };
    let to_253 = ".linux .osrel .cmdline .initrd .splash .dtb .pcrpkey";
    let to_255 = ".linux .osrel .cmdline .initrd .splash .dtb .uname .sbat .pcrpkey";
    let to_256 = ".linux .osrel .cmdline .initrd .ucode .splash .dtb .uname .sbat .pcrpkey";
    let since_257 = format!("{to_256} .hwids");
    for (version, names, images) in [
        ("250.4", None, 3),
        ("252.39-1~deb12u1", Some(to_253), 4),
        ("253", Some(to_253), 4),
        ("254.26", Some(to_255), 4),
        ("255.4-1ubuntu8", Some(to_255), 4),
        ("256", Some(to_256), 4),
        ("257.13", Some(&*since_257), 4),
        ("258", Some(&*since_257), 3),
        ("260", Some(&*since_257), 3),
        ("262.1", Some(&*since_257), 3),
    ] {
        assert_eq!(
            measured(version),
            (names.map(str::to_owned), images),
            "{version}"
        );
    }
}

#[test]
fn versions_make_another_initrd() {
    let initrd = |version: &str| {
        let extra = [section(".ucode", "microcode"), section(".pcrsig", "{}")];
        let prediction = of_version(version, &extra).unwrap();
        let register = prediction.registers.get(&9)?;
        Some(register.events[1].detail.clone())
    };
    let old = ".initrd (1235 bytes) + /.extra/tpm2-pcr-signature.json from .pcrsig (392 bytes)";
    let v256 = format!(".ucode (9 bytes) + {old}");
    let v257 = format!("{v256} + /.extra/os-release from .osrel (396 bytes)");
    assert_eq!(initrd("251"), None);
    assert_eq!(initrd("252").as_deref(), Some(old));
    assert_eq!(initrd("255").as_deref(), Some(old));
    assert_eq!(initrd("256").as_deref(), Some(&*v256));
    assert_eq!(initrd("257").as_deref(), Some(&*v257));
    assert_eq!(initrd("260").as_deref(), Some(&*v257));
    // A secret of the machine is part of it, so that no value is better than a wrong one.
    let prediction = of_version("261.3", &[]).unwrap();
    assert_eq!(prediction.value(9), None);
    assert!(prediction.notes.iter().any(|note| note.contains("PCR 9")));
}

#[test]
fn section_that_is_there_twice_counts_as_the_stub_takes_it() {
    let twice = [section(".uname", "7.0")];
    let data = |version: &str| {
        let prediction = of_version(version, &twice).unwrap();
        let at = subjects(&prediction, 11)
            .iter()
            .position(|s| *s == ".uname: data");
        assert!(
            prediction.notes.iter().any(|n| n.contains(".uname")),
            "{version}"
        );
        digests(&prediction, 11)[at.unwrap()]
    };
    assert_eq!(data("257"), Sha256Digest::of(b"6.12.0-test"));
    assert_eq!(data("255"), Sha256Digest::of(b"7.0"));
    let error = of_version("256", &twice).unwrap_err();
    assert!(matches!(error, PredictError::AmbiguousSection { section, .. } if section == ".uname"));
    // Up to 255 the beginning of a name is enough.
    let longer = [section(".dtbauto", "tree")];
    let prediction = of_version("255", &longer).unwrap();
    assert!(subjects(&prediction, 11).contains(&".dtb: data"));
    let note = "section .dtbauto counts as .dtb for systemd-stub 255";
    assert_eq!(prediction.notes, [note]);
    let prediction = of_version("255", &[section(".unameX", "7.0")]).unwrap();
    let note = "section .unameX counts as .uname for systemd-stub 255";
    assert_eq!(prediction.notes, [note]);
}

#[test]
fn unknown_section_is_noted() {
    let prediction = predict_sections(&with(&[section(".evil", "x")])).unwrap();
    let note = "section .evil is not known, and measured as part of the file only";
    assert_eq!(prediction.notes, [note]);
}

#[test]
fn command_line_that_is_absent_or_empty_is_measured_as_such() {
    let absent = predict_sections(&without(".cmdline")).unwrap();
    assert_eq!(subjects(&absent, 9), ["initrd"]);
    let empty = predict_sections(&replaced(section(".cmdline", " \n"))).unwrap();
    assert_eq!(digests(&empty, 9)[0], Sha256Digest::of(&[0, 0]));
    let beyond_ascii = predict_sections(&replaced(section(".cmdline", "caf\u{e9}"))).unwrap();
    let options = [b'c', 0, b'a', 0, b'f', 0, 0xe9, 0, 0, 0];
    assert_eq!(digests(&beyond_ascii, 9)[0], Sha256Digest::of(&options));
    // Since 258 the kernel then gets what firmware gave to the UKI.
    let marker = "#### LoaderInfo: systemd-stub 259 ####\0";
    let mut sections = without(".cmdline");
    sections.retain(|s| s.name != ".sdmagic");
    sections.push(section(".sdmagic", marker));
    let error = predict_sections(&sections).unwrap_err();
    assert!(matches!(error, PredictError::MissingSection { section } if section == ".cmdline"));
}

#[test]
fn profile_adds_to_the_base_and_replaces() {
    let sections = with(&[
        section(".profile", "ID=main"),
        section(".profile", "ID=debug"),
        section(".cmdline", "debug\0"),
        section(".splash", "picture"),
    ]);
    let predict_profile = |profile| {
        let assumptions = Assumptions {
            profile,
            ..Assumptions::default()
        };
        let image = Cursor::new(pe(&sections, &[], &[]));
        measurements::predict(&mut Image::open_assuming(image, assumptions).unwrap())
    };
    let main = predict_profile(0).unwrap();
    assert_eq!(main.registers[&9].events[0].detail, COMMAND_LINE);
    assert!(subjects(&main, 11).ends_with(&[".profile: name", ".profile: data"]));
    assert!(!subjects(&main, 11).contains(&".splash: data"));
    assert_eq!(main.value(12), Some(Digests::ZERO));

    let debug = predict_profile(1).unwrap();
    assert_eq!(debug.registers[&9].events[0].detail, "debug");
    assert!(subjects(&debug, 11).contains(&".splash: data"));
    let last = digests(&debug, 11);
    assert_eq!(last.last(), Some(&Sha256Digest::of(b"ID=debug")));
    let number = b"1\0"
        .iter()
        .flat_map(|byte| [*byte, 0])
        .collect::<Vec<_>>();
    assert_eq!(digests(&debug, 12), [Sha256Digest::of(&number)]);

    let error = predict_profile(2).unwrap_err();
    assert_eq!(
        error.to_string(),
        "expected a profile from 0 to 1, got 2: the UKI has 2"
    );
}

#[test]
fn profile_for_a_stub_that_knows_none_is_refused_as_such() {
    let refused = |version: &str| {
        let assumptions = Assumptions {
            profile: 1,
            stub_version: Some(version.parse().unwrap()),
            ..Assumptions::default()
        };
        let sections = with(&[section(".profile", "ID=a"), section(".profile", "ID=b")]);
        let image = Cursor::new(pe(&sections, &[], &[]));
        measurements::predict(&mut Image::open_assuming(image, assumptions).unwrap()).unwrap_err()
    };
    assert_eq!(
        refused("255").to_string(),
        "expected a profile from 0 to 0, got 1: systemd-stub 255 knows no profiles"
    );
}

#[test]
fn kernel_is_not_measured_by_the_firmware_under_secure_boot() {
    let predict = |secure_boot| {
        let assumptions = Assumptions {
            secure_boot,
            ..Assumptions::default()
        };
        let image = Cursor::new(support::uki());
        measurements::predict(&mut Image::open_assuming(image, assumptions).unwrap()).unwrap()
    };
    let (off, on) = (predict(false), predict(true));
    assert_eq!(on.registers[&4].events, off.registers[&4].events[..3]);
    assert_eq!(on.registers[&9], off.registers[&9]);
    assert_eq!(on.registers[&11], off.registers[&11]);
}

#[test]
fn phases_come_after_the_sections() {
    let register = predict_sections(&uki_sections()).unwrap().registers[&11].clone();
    let before = register.value;
    let phases = measurements::predict::pcr11::PHASES;
    let after = measurements::predict::pcr11::after_phases(register, phases);
    let expected = phases.iter().fold(before, |value, phase| {
        value.extend(Digests::of(phase.as_bytes()))
    });
    assert_eq!(after.value, expected);
    assert!(after.is_consistent());
}
