//! Why an Azure machine has no evidence.
//!
//! I/O: none.

use std::sync::Arc;
use std::time::Duration;

use attestation::evidence::HclError;
use attestation::tpm_quote::{AkError, QuoteError};

use super::certificate::CertificateError;
use super::imds::ImdsError;
use crate::tpm::TpmError;

/// Why an Azure machine has no evidence.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AzureError {
    /// The vTPM did not do what it was told.
    #[error("use the vTPM")]
    Tpm(#[from] TpmError),
    /// What the vTPM has at the HCL report's NV index is no HCL report of a TDX machine.
    #[error("the HCL report in the vTPM (NV 0x01400001) is malformed")]
    HclReport(#[from] HclError),
    /// The TD report in the HCL report is about something else than the HCL report's runtime data.
    #[error("the TD report in the HCL report does not have the hash of its runtime data")]
    RuntimeDataHash,
    /// What the vTPM has at the AK's handle is no attestation key.
    #[error("the AK in the vTPM (0x81000003) cannot be used")]
    Ak(#[from] AkError),
    /// The vTPM's AK is not the one that the paravisor vouches for.
    #[error("the AK in the vTPM (0x81000003) is another than the HCL report names")]
    OtherAk,
    /// Somebody has made another index where the user data go.
    #[error("NV 0x01400002 in the vTPM has {actual} bytes, expected 64 or no such index")]
    UserDataSize {
        /// What it has.
        actual: u16,
    },
    /// The paravisor did not take up the user data.
    #[error(
        "the HCL report does not have the user data {} s after they were written to NV 0x01400002",
        limit.as_secs()
    )]
    UserData {
        /// How long that was waited for.
        limit: Duration,
    },
    /// The document of `flashbots-ratls/1` needs the AK's certificate.
    #[error("the vTPM has no AK certificate (NV 0x01c101d0), which flashbots-ratls/1 needs")]
    NoAkCertificate,
    /// What the vTPM has as the AK's certificate is something else.
    #[error("the AK certificate in the vTPM (NV 0x01c101d0) cannot be used")]
    AkCertificate(#[from] CertificateError),
    /// There is no TD quote of the HCL report.
    #[error("get a TD quote from Azure's metadata service")]
    TdQuote(#[source] Arc<ImdsError>),
    /// Whoever fetched the TD quote for all has ended without saying why: the runtime is shutting
    /// down, or this program has an error.
    #[error("the fetch of the TD quote has ended early")]
    FetchEnded,
    /// The vTPM's quote is not one, or the registers never held still.
    #[error("the vTPM's quote cannot be used")]
    TpmQuote(#[source] QuoteError),
}
