//! PCR 11, the UKI's contents: name and data of each of its sections.
//!
//! Mirrors systemd v257 `src/boot/stub.c`, `measure_sections`, and `src/fundamental/uki.c`,
//! `unified_sections`; which sections, and in which order, is in `stub_rules.rs`. Phases that
//! systemd-pcrphase extends later are for [`after_phases`].
//!
//! I/O: reads sections.

use std::io::{Read, Seek};

use super::{Boot, Event, PredictError, Register};
use crate::{Digests, Image};

/// The register's index.
pub const INDEX: u8 = 11;

/// The phases of a boot, in the order in which systemd-pcrphase extends them: systemd v257
/// `units/systemd-pcrphase*.service.in`.
pub const PHASES: [&str; 4] = ["enter-initrd", "leave-initrd", "sysinit", "ready"];

/// Returns PCR 11 after these sections were measured, each a name and the digests of its
/// VirtualSize bytes, in this order.
pub fn register<'a>(sections: impl IntoIterator<Item = (&'a str, Digests)>) -> Register {
    let events = sections
        .into_iter()
        .flat_map(|(name, data)| section_events(name, data, ""));
    Register::from_events(events.collect())
}

/// Returns the register after these phases were measured, too: `pcr_extend` of systemd v257
/// `src/shared/tpm2-util.c` hashes the words as they are, without NUL.
#[must_use]
pub fn after_phases<'a>(register: Register, phases: impl IntoIterator<Item = &'a str>) -> Register {
    let phases = phases
        .into_iter()
        .map(|phase| Event::new(Digests::of(phase.as_bytes()), format!("phase {phase}")));
    Register::from_events(register.events.into_iter().chain(phases).collect())
}

pub(super) fn predict<R: Read + Seek>(
    image: &mut Image<R>,
    boot: &Boot,
) -> Result<Register, PredictError> {
    let mut events = Vec::new();
    for name in boot.rules.measured {
        let Some(content) = boot.sections.find(name) else {
            continue;
        };
        let digests = image.source.digests(content)?;
        let mut detail = format!("{} bytes", content.size());
        // Text sections are shown; of the others the size says most.
        if matches!(*name, ".cmdline" | ".uname") {
            let bytes = image.source.read(content)?;
            let text = String::from_utf8_lossy(&bytes);
            detail = format!("{detail}, {:?}", text.trim_end_matches('\0'));
        }
        events.extend(section_events(name, digests, &detail));
    }
    Ok(Register::from_events(events))
}

fn section_events(name: &str, data: Digests, detail: &str) -> [Event; 2] {
    let with_nul: Vec<u8> = name.bytes().chain([0]).collect();
    [
        Event::new(Digests::of(&with_nul), format!("{name}: name")),
        Event::with_detail(data, format!("{name}: data"), detail),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(hex: &str) -> Digests {
        sha256(hex.parse().unwrap())
    }

    fn sha256(sha256: crate::Sha256Digest) -> Digests {
        Digests {
            sha256,
            sha384: crate::Digest::ZERO,
        }
    }

    #[test]
    fn published_run_extends_to_its_published_value() {
        let sections = [
            (
                ".linux",
                "7439b377dbba898b0db23928be49fb906aa5551cfc01395bc37b8bd50d8f5530",
            ),
            (
                ".osrel",
                "94e5e922dec19c3ab3e3c85b5d30dbb563098a430418a70c11a5b729721fae39",
            ),
            (
                ".cmdline",
                "5b20d03fb990ccafdcfa1ddb37feff37141e728776ed89f335798f3c3899a135",
            ),
            (
                ".initrd",
                "0cc531c70b473425e513310dfb4cbcfd5161444a07d318b4d5b816f557d589a6",
            ),
            (
                ".uname",
                "2200d673ad92228af377b9573ed86e7a4e36a87a2a9a08d8c1134aca3ddb021c",
            ),
            (
                ".sbat",
                "eae67f3a8f5614d71bd75143feeecbb3c12cd202192e2830f0fb1c6df0f4a139",
            ),
        ];
        let register = register(sections.map(|(name, hex)| (name, digest(hex))));
        assert_eq!(
            register.value.sha256.to_string(),
            "46a1b5dd625d967205699242a2de2815e539424c3132306b91f31bcda442693f"
        );
    }

    #[test]
    fn sections_that_few_have_are_in_their_place() {
        // A fixture of the reference tool, whose `.pcrkey` no stub knows.
        let sections = [
            (
                ".linux",
                "01e5cee2d18eaace36b5bc394f7031aae1668e4a7f7cc0e949525ea65c40f795",
            ),
            (
                ".osrel",
                "6583801da29b3b740f0eb0c427d5b8520bfbf7ff6369c22ef2f4c480f0ea99fc",
            ),
            (
                ".cmdline",
                "f047d03a36f0de1f77916c2aab8877a9d880acf917683cc77b7c01df18b131c7",
            ),
            (
                ".initrd",
                "4e50306a0784471f02de7e54d90fdca10e8e12eccc2d7a9d9702f6e738e1c2ca",
            ),
            (
                ".splash",
                "36b5f482372e5049839d176cf4d14acbfdfedac1bf77ea0ea4b172a876ae2d2e",
            ),
            (
                ".dtb",
                "46a00153cad99d194af11448305c8ca1872abae920ee423c193501050f36e78d",
            ),
            (
                ".uname",
                "32d59d990e9c1f7da554cb888e3238ac6193e5e7230f99b197138dd723c0ebb6",
            ),
            (
                ".sbat",
                "6630fb7d5baf9d6cd51c9ac95410e68aa3fedb4addd42b340e4711e23cccd4b2",
            ),
        ];
        let version = "254".parse().unwrap();
        let rules = crate::predict::StubRules::of(&version).unwrap();
        let order = rules
            .measured
            .iter()
            .filter(|name| sections.iter().any(|(s, _)| s == *name));
        assert!(order.copied().eq(sections.map(|(name, _)| name)));
        assert_eq!(
            register(sections.map(|(name, hex)| (name, digest(hex))))
                .value
                .sha256
                .to_string(),
            "bf838b59ced0e5b9e9d5c31ad4ad2ad5c18572b16a39ba6986408bdcee1b3769"
        );
    }

    #[test]
    fn two_synthetic_sections_extend_to_the_reference_tools_value() {
        let sections = [
            (".linux", sha256(crate::Digest([0; 32]))),
            (".initrd", sha256(crate::Digest([1; 32]))),
        ];
        assert_eq!(
            register(sections).value.sha256.to_string(),
            "9dfe399fcd4432639f0e20f49df823aa66b095f0664f0a4b9fbdc11ea64683e2"
        );
    }
}
