//! Verification of a TD quote.
//!
//! The crate `dcap-qvl` verifies signatures, certificate chains, CRLs and dates of all of them,
//! the quoting enclave against its identity (among that, that it is not under debug), the TDX
//! module against the TCB info, and finds the TCB level. What it leaves to us is done here:
//! which PCK certificates count (the quote's own, never others), that the certificates are those
//! that they should be by their names, `PCEID`, the second half of the quoting enclave's report
//! data, and everything about the TD itself.
//!
//! I/O: none; logs the use of the override.

use dcap_qvl::verify::QuoteVerifier;
use dcap_qvl::{QeIdentity, QuoteClaims, TcbInfo};

use super::tcb::{self, PlatformSvns, TcbReport, TcbStatus};
use super::{Verifier, VerifyError, td};
use crate::collateral::{self, Collateral, PlatformKey};
use crate::td_quote::{TdBody, TdQuote};

/// The platform that Azure's v6 override is about, and the SVN that it lets pass.
const AZURE_V6_FMSPC: [u8; 6] = [0x90, 0xc0, 0x6f, 0, 0, 0];
const AZURE_V6_COMPONENT: usize = 7;
const AZURE_V6_SVN: u8 = 3;

/// Verifies a TD quote against `rules`; says what is in it and how up to date its platform is.
pub(super) fn verify(
    verifier: &Verifier,
    td_quote: &[u8],
    rules: &td::Rules,
    collateral: &Collateral,
    now: u64,
) -> Result<(TdBody, TcbReport), VerifyError> {
    let quote = TdQuote::parse(td_quote)?;
    td::check(&quote.body, rules)?;
    collateral.check_window(now)?;
    let platform = PlatformKey::of_pck_chain(quote.pck_chain)?;
    let statements = Statements::parse(collateral)?;
    same("FMSPC", &platform.fmspc, &statements.tcb_info.fmspc)?;
    // Without padding, which is not signed and need not be looked at by anybody else.
    let td_quote = td_quote.get(..quote.size).unwrap_or(td_quote);
    let once = Once {
        verifier,
        td_quote,
        quote: &quote,
        statements: &statements,
        collateral,
        now,
    };
    let strictly = once.verify(false);
    let is_up_to_date = |report: &TcbReport| report.status == TcbStatus::UpToDate;
    let may_override = rules.allow_azure_v6_override
        && verifier.azure_v6_tcb_override
        && platform.fmspc == AZURE_V6_FMSPC;
    let tcb = match strictly {
        Ok(report) if is_up_to_date(&report) || !may_override => report,
        Err(error) if !may_override || !matches!(error, VerifyError::NoTcbLevel { .. }) => {
            return Err(error);
        }
        strictly => match once.verify(true) {
            Ok(report) if is_up_to_date(&report) => {
                let short = tcb::list(&report.shortfalls);
                tracing::warn!(%short, "Azure's v6 TCB override is used");
                report
            }
            _ => strictly?,
        },
    };
    Ok((quote.body, tcb))
}

/// What the collateral states. Not to be believed before the verifying crate has.
struct Statements {
    tcb_info: TcbInfo,
    qe_identity: QeIdentity,
}

impl Statements {
    fn parse(collateral: &Collateral) -> Result<Self, VerifyError> {
        use crate::collateral::CollateralError::Malformed;
        let parts = collateral.as_dcap();
        collateral::check_signer(&parts.tcb_info_issuer_chain)?;
        collateral::check_signer(&parts.qe_identity_issuer_chain)?;
        Ok(Self {
            tcb_info: serde_json::from_str(&parts.tcb_info).map_err(Malformed)?,
            qe_identity: serde_json::from_str(&parts.qe_identity).map_err(Malformed)?,
        })
    }
}

/// One verification, with the override or without.
struct Once<'a> {
    verifier: &'a Verifier,
    td_quote: &'a [u8],
    quote: &'a TdQuote<'a>,
    statements: &'a Statements,
    collateral: &'a Collateral,
    now: u64,
}

impl Once<'_> {
    fn verify(&self, with_override: bool) -> Result<TcbReport, VerifyError> {
        let claims = QuoteVerifier::new(self.verifier.roots.intel().to_vec())
            .dangerous_verify_claims_with_tcb_override(
                self.td_quote,
                self.collateral.as_dcap(),
                self.now,
                |tcb_info| match with_override {
                    true => overridden(tcb_info),
                    false => tcb_info,
                },
            )
            .map_err(|error| self.refused(&error.root_cause().to_string(), format!("{error:#}")))?;
        self.check(&claims)?;
        let status = TcbStatus::from_dcap(claims.tcb.status).ok_or(VerifyError::TcbRevoked)?;
        let qe = tcb::qe_shortfall(&self.statements.qe_identity, claims.qe.report.isv_svn);
        let svns = PlatformSvns {
            cpu: claims.platform.pck.cpu_svn,
            pce: claims.platform.pck.pce_svn,
        };
        let mut shortfalls = tcb::shortfalls(&self.statements.tcb_info, &svns, &self.quote.body);
        shortfalls.extend(qe);
        Ok(TcbReport {
            status,
            advisory_ids: claims.tcb.advisory_ids.into_iter().collect(),
            shortfalls,
            fmspc: claims.platform.pck.fmspc,
            evaluation_data_number: claims.tcb.eval_data_number,
            azure_v6_override: with_override,
        })
    }

    /// What the verifying crate leaves unchecked.
    fn check(&self, claims: &QuoteClaims) -> Result<(), VerifyError> {
        same(
            "PCEID",
            &claims.platform.pck.pce_id,
            &self.statements.tcb_info.pce_id,
        )?;
        let report_data = claims.qe.report.report_data;
        if report_data.iter().skip(32).any(|byte| *byte != 0) {
            let message = "second half of the QE report's data is not zero";
            return Err(VerifyError::Quote(message.to_owned()));
        }
        Ok(())
    }

    /// Sorts what the verifying crate says; its errors are texts.
    fn refused(&self, root_cause: &str, text: String) -> VerifyError {
        match root_cause {
            "TCB status is invalid: Revoked" => VerifyError::TcbRevoked,
            "No matching TCB level found" => {
                let extension = dcap_qvl::intel::parse_pck_extension_from_pem(self.quote.pck_chain);
                let shortfalls = extension.ok().map(|pck| {
                    let svns = PlatformSvns {
                        cpu: pck.cpu_svn,
                        pce: pck.pce_svn,
                    };
                    tcb::shortfalls(&self.statements.tcb_info, &svns, &self.quote.body)
                });
                VerifyError::NoTcbLevel {
                    shortfalls: shortfalls.unwrap_or_default(),
                }
            }
            _ => VerifyError::Quote(text),
        }
    }
}

/// Refuses collateral that is about another platform than the quote.
fn same(field: &'static str, expected: &[u8], actual: &str) -> Result<(), VerifyError> {
    let expected: String = expected.iter().map(|byte| format!("{byte:02X}")).collect();
    if actual.eq_ignore_ascii_case(&expected) {
        return Ok(());
    }
    Err(VerifyError::OtherPlatform {
        field,
        expected,
        actual: actual.to_owned(),
    })
}

/// Lowers what the levels that are up to date ask of one component.
fn overridden(mut tcb_info: TcbInfo) -> TcbInfo {
    for level in &mut tcb_info.tcb_levels {
        let component = level.tcb.sgx_components.get_mut(AZURE_V6_COMPONENT);
        if let (dcap_qvl::TcbStatus::UpToDate, Some(component)) = (level.tcb_status, component) {
            component.svn = component.svn.min(AZURE_V6_SVN);
        }
    }
    tcb_info
}
