//! PCR 11, the UKI's contents: name and data of each of its sections.
//!
//! Mirrors systemd v257 `src/boot/stub.c`, `measure_sections`, and `src/fundamental/uki.c`,
//! `unified_sections`. Phases that systemd-pcrphase extends later are not included: it is masked.
//!
//! I/O: none.

use super::{Event, PredictError, Register, required};
use crate::{Sha256Digest, Uki};

/// The register's index.
pub const INDEX: u8 = 11;

/// The sections that are measured, in the order of `enum UnifiedSection`, "the canonical order in
/// which we measure" (systemd v257 `src/fundamental/uki.h`). `.pcrsig` is never measured; images
/// with `.profile` or `.dtbauto` are not predicted.
pub const SECTIONS: [&str; 11] = [
    ".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname", ".sbat",
    ".pcrpkey", ".hwids",
];

/// Returns PCR 11 after these sections were measured, each a name and the digest of its
/// VirtualSize bytes, in this order.
pub fn register<'a>(sections: impl IntoIterator<Item = (&'a str, Sha256Digest)>) -> Register {
    let events = sections.into_iter().flat_map(|(name, data)| {
        let with_nul: Vec<u8> = name.bytes().chain([0]).collect();
        [
            Event::new(Sha256Digest::of(&with_nul), format!("{name}: name")),
            Event::new(data, format!("{name}: data")),
        ]
    });
    Register::from_events(events.collect())
}

pub(super) fn predict(uki: &Uki) -> Result<Register, PredictError> {
    required(uki, ".linux")?;
    let present = SECTIONS
        .into_iter()
        .filter_map(|name| Some((name, uki.section(name)?)));
    let mut register = register(
        present
            .clone()
            .map(|(name, section)| (name, section.sha256())),
    );
    for ((name, section), events) in present.zip(register.events.chunks_exact_mut(2)) {
        if let [_, data] = events {
            *data = Event::with_detail(data.digest, data.subject.clone(), detail(name, &section));
        }
    }
    Ok(register)
}

/// Text sections are shown; of the others the size says most.
fn detail(name: &str, section: &crate::SectionData<'_>) -> String {
    let size = format!("{} bytes", section.size());
    if !matches!(name, ".cmdline" | ".uname") {
        return size;
    }
    let bytes = section.to_bytes();
    let text = String::from_utf8_lossy(&bytes);
    format!("{size}, {:?}", text.trim_end_matches('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(hex: &str) -> Sha256Digest {
        hex.parse().unwrap()
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
            register.value.to_string(),
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
        let order = SECTIONS
            .into_iter()
            .filter(|name| sections.iter().any(|(s, _)| s == name));
        assert!(order.eq(sections.map(|(name, _)| name)));
        assert_eq!(
            register(sections.map(|(name, hex)| (name, digest(hex))))
                .value
                .to_string(),
            "bf838b59ced0e5b9e9d5c31ad4ad2ad5c18572b16a39ba6986408bdcee1b3769"
        );
    }

    #[test]
    fn two_synthetic_sections_extend_to_the_reference_tools_value() {
        let sections = [
            (".linux", crate::Digest([0; 32])),
            (".initrd", crate::Digest([1; 32])),
        ];
        assert_eq!(
            register(sections).value.to_string(),
            "9dfe399fcd4432639f0e20f49df823aa66b095f0664f0a4b9fbdc11ea64683e2"
        );
    }
}
