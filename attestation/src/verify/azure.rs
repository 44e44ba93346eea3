//! Verification of `azure-tdx` evidence beyond its TD quote.
//!
//! I/O: none.

use measurements::Sha256Digest;
use measurements::reference::RegisterValue;
use subtle::ConstantTimeEq;

use super::{AkSource, Verified, Verifier, VerifyError, ak_certificate, check_user_data, dcap, td};
use crate::binding::Binding;
use crate::collateral::Collateral;
use crate::evidence::{AzureForm, AzureTdx, EvidenceKind, HclReport, RuntimeData};
use crate::hash::sha256;
use crate::tpm_quote::{self, AkPublic, VerifiedQuote};

/// Registers of Azure's vTPM; a quote must be of all of them.
const REGISTERS: usize = 24;

pub(super) fn verify(
    verifier: &Verifier,
    evidence: &AzureTdx,
    collateral: &Collateral,
    binding: &Binding,
    now: u64,
) -> Result<Verified, VerifyError> {
    check_user_data(claimed_user_data(evidence), binding)?;
    let td_quote = evidence.td_quote();
    let (td, tcb) = dcap::verify(verifier, td_quote, &td::Rules::AZURE, collateral, now)?;
    let runtime_data = verify_runtime_data(evidence, &td.report_data)?;
    if let Some(expected) = binding.azure_user_data() {
        let actual = runtime_data.user_data.ok_or(VerifyError::HclUserData)?;
        if !bool::from(actual.ct_eq(&expected)) {
            return Err(VerifyError::HclUserData);
        }
    }
    let quote = verify_tpm_quote(evidence, &runtime_data.ak, binding)?;
    let chain = evidence.ak_certificates();
    let has_ak_certificate = ak_certificate::verify(chain, &runtime_data.ak, &verifier.roots, now)?;
    let registers = quote.pcrs().iter();
    Ok(Verified {
        kind: EvidenceKind::AzureTdx,
        registers: registers
            .map(|(index, value)| (*index, RegisterValue::Sha256(measurements::Digest(*value))))
            .collect(),
        td,
        tcb,
        has_ak_certificate,
        tpm_clock: Some(quote.clock()),
        roots_are_pinned: verifier.roots.are_pinned(),
    })
}

fn claimed_user_data(evidence: &AzureTdx) -> Option<&[u8]> {
    match evidence.form() {
        AzureForm::Atls { user_data, .. } => Some(user_data),
        AzureForm::Ratls { .. } => None,
    }
}

/// The TD quote vouches for the runtime data by their hash, and these for the AK.
fn verify_runtime_data(
    evidence: &AzureTdx,
    report_data: &[u8; 64],
) -> Result<RuntimeData, VerifyError> {
    let (hash, padding) = report_data.split_at(Sha256Digest::ZERO.0.len());
    let bytes = evidence.runtime_data();
    if !bool::from(sha256(&[bytes]).ct_eq(hash)) {
        return Err(VerifyError::RuntimeDataHash);
    }
    if padding.iter().any(|byte| *byte != 0) {
        return Err(VerifyError::ReportDataPadding);
    }
    match evidence.form() {
        AzureForm::Atls { ak_public, .. } => {
            let claimed = AkPublic::parse(ak_public)?;
            let runtime_data = RuntimeData::parse(bytes)?;
            if runtime_data.ak != claimed {
                return Err(VerifyError::OtherAk(AkSource::Document));
            }
            Ok(runtime_data)
        }
        AzureForm::Ratls { hcl_report } => {
            // The report proves nothing that the quote does not, but must not contradict it.
            if HclReport::parse(hcl_report)?.report_data != *report_data {
                return Err(VerifyError::ReportData);
            }
            Ok(RuntimeData::parse(bytes)?)
        }
    }
}

/// The AK vouches for the registers.
fn verify_tpm_quote(
    evidence: &AzureTdx,
    ak: &AkPublic,
    binding: &Binding,
) -> Result<VerifiedQuote, VerifyError> {
    let instance_info: &[u8] = match evidence.form() {
        AzureForm::Atls { instance_info, .. } => instance_info,
        AzureForm::Ratls { .. } => &[],
    };
    let qualifying_data = binding.azure_qualifying_data(instance_info);
    let quote = evidence.tpm_quote();
    let quote = tpm_quote::verify(
        &quote.attest,
        &quote.signature,
        ak,
        &quote.pcrs,
        &qualifying_data,
    )?;
    let indices = quote.pcrs().keys().map(|index| usize::from(*index));
    if !indices.eq(0..REGISTERS) {
        return Err(VerifyError::PcrCount {
            actual: quote.pcrs().len(),
        });
    }
    Ok(quote)
}
