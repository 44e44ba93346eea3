//! Whether a machine's TPM holds what is published of its image.
//!
//! I/O: reads the published file.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use measurements::reference::{AttestationType, ReferenceValues, RegisterValue, Verdict};
use testkit::tpm::Pcrs;

/// Compares the registers with the file's only entry; returns what they match.
pub(super) fn compare(file: &Path, pcrs: &Pcrs) -> Result<Option<String>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let list = ReferenceValues::parse(&text).context("parse the published values")?;
    let [values] = &list[..] else {
        anyhow::bail!("{} entries in {}, not one", list.len(), file.display());
    };
    ensure!(
        values.attestation_type == AttestationType::AzureTdx,
        "{} is published for {}",
        values.measurement_id,
        values.attestation_type
    );
    let actual: BTreeMap<_, _> = values
        .registers
        .keys()
        .map(|&index| (index, RegisterValue::Sha256(pcrs.value(index))))
        .collect();
    let compared = values.compare_registers(&actual).into_iter();
    let different: Vec<_> = compared
        .filter(|one| one.verdict() != Verdict::Equal)
        .map(|one| one.register.to_string())
        .collect();
    ensure!(
        different.is_empty(),
        "PCR {} is not as published in {}",
        different.join(", "),
        file.display()
    );
    Ok(Some(values.measurement_id.clone()))
}
