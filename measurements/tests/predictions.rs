//! What is predicted for UKIs of every shape, and which UKIs are refused.

#![allow(clippy::unwrap_used, reason = "a panic in a test is a failing test")]

mod support;

use measurements::{PredictError, Prediction, Sha256Digest, StubVersionError, Uki, predict};
use support::{COMMAND_LINE, Section, kernel, pe, section, uki_sections};

fn predict_sections(sections: &[Section]) -> Result<Prediction, PredictError> {
    predict(&Uki::parse(pe(sections, &[], &[])).unwrap())
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
        .map(|event| event.digest)
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
            .what
            .ends_with(COMMAND_LINE)
    );
    assert_eq!(prediction.value(12), Some(Sha256Digest::ZERO));
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
        let what = predict_sections(sections).unwrap().registers[&9].events[1]
            .what
            .clone();
        what.trim_start_matches("initrd: ").to_owned()
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
    for other in ["256.7-1", "258~rc1-1", "2571"] {
        let error = version(other);
        assert!(matches!(error, StubVersionError::Unproven { .. }));
        assert!(error.to_string().contains(other), "{error}");
    }
    let loader = "#### LoaderInfo: systemd-boot 257.13 ####\0";
    let refused = refused(&replaced(section(".sdmagic", loader)));
    assert!(matches!(refused, StubVersionError::Marker { .. }));
}

#[test]
fn what_is_not_proven_is_refused() {
    let refused = |sections: &[Section]| predict_sections(sections).unwrap_err();
    assert_eq!(
        refused(&with(&[section(".profile", "ID=main")])),
        PredictError::MultiProfile
    );
    assert_eq!(
        refused(&with(&[section(".cmdline", "init=/bin/sh")])),
        PredictError::DuplicateSection {
            section: ".cmdline".to_owned(),
            count: 2
        }
    );
    assert_eq!(
        refused(&with(&[section(".dtbauto", "tree")])),
        PredictError::MachineDependent {
            section: ".dtbauto"
        }
    );
    for name in [".linux", ".cmdline"] {
        assert_eq!(
            refused(&without(name)),
            PredictError::MissingSection { section: name }
        );
    }
    assert!(matches!(
        refused(&replaced(section(".linux", "not a PE"))),
        PredictError::KernelAuthenticode(_)
    ));
    assert!(matches!(
        refused(&replaced(section(".cmdline", "caf\u{e9}\0"))),
        PredictError::CommandLine { offset: 3, .. }
    ));
}
