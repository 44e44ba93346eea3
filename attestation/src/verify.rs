//! Verification: from evidence, which anyone can make up, to claims, which nobody could have.
//!
//! The checks, in their order; each has an error of its own:
//! 1. the document's form is the binding's, and its `UserData` are;
//! 2. the TD quote is well-formed, and what it admits itself is acceptable: no debugging, nobody
//!    but its owner acting upon the TD;
//! 3. the collateral is about this platform and valid now;
//! 4. the TD quote's signatures, certificates and revocation, up to Intel's root; TCB status;
//! 5. the quote's report data: the binding's or, on Azure, the hash of the runtime data, and
//!    then zeros;
//! 6. on Azure: the AK is the one that the runtime data name; it signed a quote of all 24 PCRs of
//!    the SHA-256 bank, for the binding's qualifying data, and of exactly the claimed values; its
//!    certificate, if there is one, chains to Microsoft's roots.
//!
//! What is *measured* is not judged here but by [`Policy`](crate::Policy), nor is the TCB status.
//!
//! I/O: none; logs the use of the override.

mod ak_certificate;
mod azure;
mod dcap;
mod tcb;
mod td;

use std::collections::BTreeMap;

use measurements::reference::RegisterValue;
use subtle::ConstantTimeEq;

pub use self::ak_certificate::AkCertificateError;
pub use self::tcb::{Shortfall, TcbPart, TcbReport, TcbStatus, UnknownTcbStatus};
pub use self::td::TdError;
use crate::binding::Binding;
use crate::collateral::{Collateral, CollateralError, PlatformKeyError};
use crate::evidence::{DcapTdx, Evidence, EvidenceKind, HclError};
use crate::roots::TrustRoots;
use crate::td_quote::{TdBody, TdQuoteError};
use crate::tpm_quote::{AkError, ClockInfo, QuoteError};

/// Whom to trust, and what to overlook; nothing by default.
#[derive(Clone, Debug)]
pub struct Verifier {
    roots: TrustRoots,
    azure_v6_tcb_override: bool,
}

/// What is proven about a machine. Only [`Verifier::verify`] makes one.
///
/// It proves that a genuine TDX machine of this kind had these registers when the evidence was
/// made, and made it for the binding's key and nonce or session. Whether the registers are good,
/// and the TCB status good enough, is for a [`Policy`](crate::Policy) to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    kind: EvidenceKind,
    registers: BTreeMap<u8, RegisterValue>,
    td: TdBody,
    tcb: TcbReport,
    has_ak_certificate: bool,
    tpm_clock: Option<ClockInfo>,
    roots_are_pinned: bool,
}

/// Why evidence proves nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The evidence is a document of another protocol than the binding.
    #[error("the evidence is a document of another protocol than the connection's")]
    Protocol,
    /// The evidence is about another key than the connection's.
    #[error("the evidence was made for another key")]
    UserData,
    /// The TD quote is malformed.
    #[error("the TD quote is malformed")]
    TdQuote(#[from] TdQuoteError),
    /// The TD is set up in a way that gives others access to it.
    #[error("the TD cannot be trusted")]
    Td(#[from] TdError),
    /// The certificates of the TD quote or of the collateral's signers are malformed, or others
    /// than they should be.
    #[error("the certificates of the platform or of its collateral cannot be used")]
    Platform(#[from] PlatformKeyError),
    /// The collateral is not valid now.
    #[error("the collateral cannot be used")]
    Collateral(#[from] CollateralError),
    /// The collateral is about another platform.
    #[error("the collateral is about platforms of {field} {actual}, expected {expected}")]
    OtherPlatform {
        /// `FMSPC` or `PCEID`.
        field: &'static str,
        /// That of the quote's certificate, hex.
        expected: String,
        /// That of the collateral.
        actual: String,
    },
    /// A signature, a certificate, or the quoting enclave is not genuine, or is revoked.
    #[error("the TD quote is not genuine: {0}")]
    Quote(String),
    /// The platform is older than all that Intel still speaks of.
    #[error("no TCB level covers the platform: {}", tcb::list(.shortfalls))]
    NoTcbLevel {
        /// What is missing to the level that is up to date.
        shortfalls: Vec<Shortfall>,
    },
    /// Intel has revoked the platform's TCB.
    #[error("the platform's TCB is revoked")]
    TcbRevoked,
    /// The TD quote was made for another key, or another nonce or session.
    #[error("the TD quote was made for other report data")]
    ReportData,
    /// The TD quote does not vouch for these runtime data.
    #[error("the TD quote was made for other runtime data")]
    RuntimeDataHash,
    /// The second half of the report data is used for something that is not known.
    #[error("the second half of the report data is not zero")]
    ReportDataPadding,
    /// The runtime data are malformed.
    #[error("the HCL report is malformed")]
    Hcl(#[from] HclError),
    /// The HCL made its report for another key or session.
    #[error("the HCL report was made for other user data")]
    HclUserData,
    /// The AK is not one.
    #[error("the AK cannot be used")]
    Ak(#[from] AkError),
    /// The AK is not the one that the TD quote vouches for.
    #[error("the {0} is not the one that the HCL report names")]
    OtherAk(AkSource),
    /// The vTPM's quote does not prove the registers.
    #[error("the vTPM quote proves nothing")]
    TpmQuote(#[from] QuoteError),
    /// The quote covers too few registers.
    #[error("the vTPM quote is of {actual} PCRs, expected all 24")]
    PcrCount {
        /// How many it is of.
        actual: usize,
    },
    /// The AK's certificate is not Microsoft's.
    #[error("the AK's certificate cannot be trusted")]
    AkCertificate(#[from] AkCertificateError),
}

/// Where an AK that differs was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AkSource {
    /// In the document.
    Document,
    /// In the certificate.
    Certificate,
}

impl std::fmt::Display for AkSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Document => "document's AK",
            Self::Certificate => "certificate's AK",
        })
    }
}

impl Verifier {
    /// Trusts `roots`, usually [`TrustRoots::pinned`], and overlooks nothing.
    pub fn new(roots: TrustRoots) -> Self {
        Self {
            roots,
            azure_v6_tcb_override: false,
        }
    }

    /// Takes Azure's v6 machines for up to date although one component is not.
    ///
    /// Such machines, with FMSPC 90C06F000000, run a TDX loader whose SVN (SGX TCB component 7)
    /// is 3, where Intel asks for more. With this override, 3 will do: for that component, that
    /// platform and `azure-tdx` evidence only, and only if the evidence does not pass without.
    /// Each use is logged and is said in [`TcbReport::azure_v6_override`].
    #[must_use]
    pub fn with_azure_v6_tcb_override(self) -> Self {
        Self {
            azure_v6_tcb_override: true,
            ..self
        }
    }

    /// Whom it trusts.
    pub(crate) fn roots(&self) -> &TrustRoots {
        &self.roots
    }

    /// Verifies evidence.
    ///
    /// `collateral` is about the platform of the evidence's TD quote and need not be trusted.
    /// `binding` is what this side knows of the connection. `now` is in seconds since 1970 and
    /// must be right: it decides whether certificates and collateral are valid.
    ///
    /// # Errors
    ///
    /// Any [`VerifyError`] means: nothing is proven.
    pub fn verify(
        &self,
        evidence: &Evidence,
        collateral: &Collateral,
        binding: &Binding,
        now: u64,
    ) -> Result<Verified, VerifyError> {
        match evidence {
            Evidence::AzureTdx(evidence) => azure::verify(self, evidence, collateral, binding, now),
            Evidence::DcapTdx(evidence) => self.verify_dcap(evidence, collateral, binding, now),
        }
    }

    fn verify_dcap(
        &self,
        evidence: &DcapTdx,
        collateral: &Collateral,
        binding: &Binding,
        now: u64,
    ) -> Result<Verified, VerifyError> {
        check_user_data(evidence.user_data.as_deref(), binding)?;
        let rules = td::Rules::DCAP;
        let (td, tcb) = dcap::verify(self, &evidence.td_quote, &rules, collateral, now)?;
        if !bool::from(td.report_data.ct_eq(&binding.report_data())) {
            return Err(VerifyError::ReportData);
        }
        let registers = std::iter::once(td.mr_td).chain(td.rtmr);
        Ok(Verified {
            kind: EvidenceKind::DcapTdx,
            registers: (0..).zip(registers.map(RegisterValue::Sha384)).collect(),
            td,
            tcb,
            has_ak_certificate: false,
            tpm_clock: None,
            roots_are_pinned: self.roots.are_pinned(),
        })
    }
}

/// Compares a document's `UserData` with the binding; both have them or neither.
fn check_user_data(claimed: Option<&[u8]>, binding: &Binding) -> Result<(), VerifyError> {
    match (claimed, binding.user_data()) {
        (Some(claimed), Some(expected)) if bool::from(claimed.ct_eq(&expected)) => Ok(()),
        (Some(_), Some(_)) => Err(VerifyError::UserData),
        (None, None) => Ok(()),
        _ => Err(VerifyError::Protocol),
    }
}

impl Verified {
    /// What kind of machine it is.
    pub fn kind(&self) -> EvidenceKind {
        self.kind
    }

    /// The registers: PCR 0 to 23 on Azure; MRTD and RTMR 0 to 3, as 0 to 4, else.
    pub fn registers(&self) -> &BTreeMap<u8, RegisterValue> {
        &self.registers
    }

    /// What the TDX module says of the TD. On Azure this is the paravisor's, the same for all.
    pub fn td(&self) -> &TdBody {
        &self.td
    }

    /// How up to date the platform is.
    pub fn tcb(&self) -> &TcbReport {
        &self.tcb
    }

    /// Whether Microsoft's roots vouch for the AK, beside the TD quote. Its certificate then was
    /// valid in time, but whether it was revoked is not known: Azure publishes no list for these.
    pub fn has_ak_certificate(&self) -> bool {
        self.has_ak_certificate
    }

    /// When the vTPM made its quote, on its own clock; `None` without a vTPM.
    pub fn tpm_clock(&self) -> Option<ClockInfo> {
        self.tpm_clock
    }

    /// Whether Intel and Microsoft were trusted, not somebody in their place.
    pub fn roots_are_pinned(&self) -> bool {
        self.roots_are_pinned
    }
}
