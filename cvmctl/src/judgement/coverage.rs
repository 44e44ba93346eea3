//! Which registers a comparison must have before it says what a machine runs.
//!
//! I/O: none.

use attestation::policy::{Appraisal, Comparison};
use attestation::{EvidenceKind, Proven};
use measurements::Sha256Digest;
use measurements::reference::RegisterValue;

use super::register_name;
use crate::measure::Name;

/// PCRs that are zero unless something was added when the machine was booted.
const ZERO: [u8; 3] = [12, 13, 15];

/// The register that every program is measured into which firmware starts. A comparison without
/// it says nothing about what runs: whoever runs may extend the others as he likes.
fn program(kind: EvidenceKind) -> u8 {
    match kind {
        EvidenceKind::AzureTdx => 4,
        EvidenceKind::DcapTdx => 2,
    }
}

/// The comparison that decides: the first that is equal and says what runs, else the nearest.
pub(super) fn decisive(appraisal: &Appraisal) -> Option<&Comparison> {
    let mut images = appraisal.comparisons.iter();
    let whole =
        images.find(|image| image.is_equal() && missing_program(appraisal, image).is_none());
    whole.or_else(|| appraisal.nearest())
}

/// The register without which this comparison does not say what runs, if it was not compared.
pub(super) fn missing_program(appraisal: &Appraisal, image: &Comparison) -> Option<Name> {
    let register = program(appraisal.kind);
    (!has(image, register)).then(|| register_name(appraisal.kind, register))
}

/// What was not compared although it could have been, and what that leaves open.
pub(super) fn gaps(proven: &Proven, image: &Comparison) -> Vec<String> {
    let kind = proven.verified.kind();
    let registers: &[(u8, &str)] = match kind {
        EvidenceKind::AzureTdx => &[
            (
                4,
                "any program could have been started, and extend the others with any values",
            ),
            (
                9,
                "the kernel could have been given other initrds and options",
            ),
            (11, "parts of the image could be others"),
        ],
        EvidenceKind::DcapTdx => &[
            (
                0,
                "other firmware could have extended the RTMRs with any values",
            ),
            (
                2,
                "any program could have been started, and extend the others with any values",
            ),
            (
                3,
                "the kernel could have been given other initrds and options",
            ),
        ],
    };
    let mut said: Vec<String> = registers
        .iter()
        .filter(|(register, _)| !has(image, *register))
        .map(|(register, open)| {
            format!(
                "{} WAS NOT COMPARED: {open}",
                register_name(kind, *register)
            )
        })
        .collect();
    if kind == EvidenceKind::AzureTdx {
        said.extend(ZERO.into_iter().filter(|register| !is_zero(image, *register)).map(
            |register| {
                let name = register_name(kind, register);
                format!("{name} NEED NOT BE ZERO: something may have been added to the image when it was booted")
            },
        ));
    }
    said
}

fn has(image: &Comparison, register: u8) -> bool {
    image
        .registers
        .iter()
        .any(|compared| compared.register == register)
}

/// Whether zero was demanded, and nothing else would have done.
fn is_zero(image: &Comparison, register: u8) -> bool {
    let mut registers = image.registers.iter();
    registers.any(|compared| {
        compared.register == register
            && compared.expected == [RegisterValue::Sha256(Sha256Digest::ZERO)]
    })
}
