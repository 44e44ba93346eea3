//! Registers of UKIs that `ukify` made.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use measurements::predict::pcr11;
use measurements::{Assumptions, Digests, Image, Prediction, predict};
use object::read::pe::PeFile64;
use sha2::{Digest, Sha256, Sha384};
use testkit::needed::programs;

use crate::recipe::Signed;
use crate::tools::Folder;
use crate::uki::{self, Built};

const SYSTEMD_MEASURE: &str = "/usr/lib/systemd/systemd-measure";

/// Sections that systemd-measure takes.
const MEASURED: [&str; 12] = [
    ".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname", ".sbat",
    ".pcrpkey", ".profile", ".hwids",
];

/// Prefixes of a boot's phases.
const PHASES: [&[&str]; 3] = [&[], &pcr11::PHASES, &["enter-initrd"]];

fn open(uki: &[u8], profile: usize) -> Image<Cursor<&[u8]>> {
    let mut assumptions = Assumptions::default();
    let profile = u32::try_from(profile).unwrap();
    assumptions.profile = profile;
    Image::open_assuming(Cursor::new(uki), assumptions).unwrap()
}

fn predicted(built: &Built, profile: usize) -> Prediction {
    let prediction = predict(&mut open(&built.bytes, profile));
    prediction.unwrap_or_else(|error| panic!("{error}: {:?}", built.recipe))
}

/// What is measured of one profile: of the base what it does not have itself.
fn measured(uki: &[u8], profile: usize) -> BTreeMap<String, Vec<u8>> {
    let mut measured = BTreeMap::new();
    let mut number = None;
    for section in uki::sections(uki) {
        if section.name == ".profile" {
            number = Some(number.map_or(0, |number| number + 1));
        }
        if number.is_none_or(|number| number == profile) {
            measured.insert(section.name, section.bytes);
        }
    }
    measured.retain(|name, _| MEASURED.contains(&name.as_str()));
    measured
}

/// PCR 11 after each of [`PHASES`], as systemd-measure says.
fn calculated(sections: &BTreeMap<String, Vec<u8>>) -> Vec<Digests> {
    let folder = Folder::new();
    let mut arguments = vec!["calculate".to_owned(), "--json=short".to_owned()];
    arguments.extend(["sha256", "sha384"].map(|bank| format!("--bank={bank}")));
    arguments.extend(PHASES.map(|phases| match phases {
        // No phase; nothing would be the usual ones.
        [] => "--phase=:".to_owned(),
        phases => format!("--phase={}", phases.join(":")),
    }));
    for (name, bytes) in sections {
        let path = folder.write(name, bytes);
        let option = match name.as_str() {
            // systemd-measure 257 takes these two options for each other, fixed in 258 by
            // <https://github.com/systemd/systemd/pull/35765>; the stub does not.
            ".hwids" => "dtbauto",
            name => name.trim_start_matches('.'),
        };
        arguments.push(format!("--{option}={}", path.display()));
    }
    let printed = folder.run(SYSTEMD_MEASURE, arguments);
    let values: serde_json::Value = serde_json::from_str(&printed).unwrap();
    let value = |bank: &str, phases: &[&str]| {
        let phases = (!phases.is_empty()).then(|| phases.join(":"));
        let mut values = values[bank].as_array().unwrap().iter();
        let value = values.find(|value| value["phase"].as_str() == phases.as_deref());
        let value = value.expect("a value for each phase");
        assert_eq!(value["pcr"], 11);
        value["hash"].as_str().unwrap().to_owned()
    };
    let digests = |phases| Digests {
        sha256: value("sha256", phases).parse().unwrap(),
        sha384: value("sha384", phases).parse().unwrap(),
    };
    PHASES.map(digests).to_vec()
}

#[test]
fn pcr_11_is_what_systemd_measure_calculates() {
    let (Some(ukis), true) = (uki::all(), programs(&[SYSTEMD_MEASURE])) else {
        return;
    };
    for built in &ukis.all {
        for profile in 0..built.recipe.profiles.len().max(1) {
            let register = &predicted(built, profile).registers[&11];
            let ours = PHASES.map(|phases| {
                let register = pcr11::after_phases(register.clone(), phases.iter().copied());
                register.value
            });
            let sections = measured(&built.bytes, profile);
            let theirs = calculated(&sections);
            assert_eq!(ours[..], theirs, "profile {profile} of {:?}", built.recipe);
        }
    }
}

#[test]
fn sections_hold_what_was_put_in() {
    let Some(ukis) = uki::all() else { return };
    for built in &ukis.all {
        let mut image = open(&built.bytes, 0);
        let mut ours = Vec::new();
        for section in image.sections() {
            let mut bytes = Vec::new();
            let mut reader = image.section_reader(&section);
            reader.read_to_end(&mut bytes).unwrap();
            let name = section.name;
            ours.push(uki::Loaded { name, bytes });
        }
        assert!(ours == uki::sections(&built.bytes), "{:?}", built.recipe);
        for (name, expected) in built.recipe.contents() {
            let section = ours.iter().find(|section| section.name == name).unwrap();
            let (contents, zeros) = section.bytes.split_at(expected.len());
            assert!(contents == expected, "{name} of {:?}", built.recipe);
            assert!(zeros.iter().all(|byte| *byte == 0), "{:?}", built.recipe);
            let is_stretched = built.recipe.stretched.is_some_and(|(s, _)| s == name);
            assert!(is_stretched || zeros.is_empty(), "{name}");
        }
    }
}

/// The digests of a PE that the `authenticode` crate computes.
fn crate_digests(pe: &[u8]) -> Digests {
    let parsed = PeFile64::parse(pe).unwrap();
    let (mut sha256, mut sha384) = (Sha256::new(), Sha384::new());
    authenticode::authenticode_digest(&parsed, &mut sha256).unwrap();
    authenticode::authenticode_digest(&parsed, &mut sha384).unwrap();
    Digests {
        sha256: measurements::Digest(sha256.finalize().into()),
        sha384: measurements::Digest(sha384.finalize().into()),
    }
}

/// Says whether an sbsign signature of this digest is behind the file: its DigestInfo in DER.
fn has_signature_of(pe: &[u8], digest: &[u8; 32]) -> bool {
    const SHA256: [u8; 19] = [
        0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01,
        0x05, 0x00, 0x04, 0x20,
    ];
    let wanted = [&SHA256[..], digest].concat();
    pe.windows(wanted.len()).any(|bytes| bytes == wanted)
}

#[test]
fn authenticode_digests_are_those_of_pesign_sbsign_and_the_crate() {
    let (Some(ukis), true) = (uki::all(), programs(&["pesign", "sbverify"])) else {
        return;
    };
    let folder = Folder::new();
    folder.write("certificate.pem", &ukis.certificate);
    for built in &ukis.all {
        let events = &predicted(built, 0).registers[&4].events;
        assert_eq!(events.len(), 4);
        let kernel = measured(&built.bytes, 0).remove(".linux").unwrap();
        for (event, pe, is_signed) in [
            (&events[2], &built.bytes, built.recipe.signed != Signed::No),
            (
                &events[3],
                &kernel,
                built.recipe.signed == Signed::UkiAndKernel,
            ),
        ] {
            let context = format!("{} of {:?}", event.subject, built.recipe);
            assert_eq!(event.digests, crate_digests(pe), "{context}");
            folder.write("file.efi", pe);
            let printed = folder.run("pesign", ["--hash", "--in=file.efi"]);
            let expected = format!("{} file.efi", event.digests.sha256);
            assert_eq!(printed.trim(), expected, "{context}");
            let has_signature = has_signature_of(pe, &event.digests.sha256.0);
            assert_eq!(has_signature, is_signed, "{context}");
            if is_signed {
                let printed = folder.run("sbverify", ["--cert=certificate.pem", "file.efi"]);
                assert_eq!(printed.trim(), "Signature verification OK", "{context}");
            }
        }
    }
}
