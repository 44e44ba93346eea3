//! Evidence of a TDX machine of Azure: the vTPM's quote, and a TD quote that vouches for its key.
//!
//! What is where in the vTPM: the project's `spec/attestation.md` B.1, after Azure's `az-cvm-vtpm`
//! and Constellation. Evidence takes, in this order:
//!
//! 1. the HCL report, which the paravisor left in the vTPM;
//! 2. the TD quote of the TD report in it, from Azure's metadata service;
//! 3. the vTPM's quote of all registers, over data that bind it to the connection.
//!
//! For aTLS the first two are the same for all connections: they vouch for the vTPM's key, which does
//! not change. They are kept, so that a connection takes the vTPM's quote alone; each hour they are
//! got anew, since a quote may be one that verifiers refuse, which only they notice. For
//! `flashbots-ratls/1` the report must have the connection's input data: those are written, and the
//! report that has them waited for, seconds for each connection. One connection at a time does that,
//! and others use the vTPM meanwhile: strangers who speak it can only make one another wait.
//!
//! Each is checked against the former, so that a host or a TPM that does not do its part leads to an
//! error that says so. It is not checked who signed the TD quote: that takes Intel's collateral, and is
//! what verifiers are for.
//!
//! I/O: the vTPM, the metadata service.

mod cache;
mod certificate;
mod error;
mod imds;
mod platform;

use std::sync::Arc;
use std::time::Duration;

use attestation::evidence::{AzureTdx, MAX_TD_QUOTE, TpmQuote, instance_info};
use attestation::td_quote::TdQuote;
use attestation::tpm_quote::{self, AkPublic, QuoteError};
use attestation::{AttestError, Attester, Attesting, Binding, Evidence};
use tokio::sync::Mutex;

use self::cache::{Kept, Outcome};
pub use self::certificate::{CertificateError, parse_ak_certificate};
pub use self::error::AzureError;
pub use self::imds::{AnswerError, IMDS, Imds, ImdsError, parse_answer};
use self::platform::{Platform, ak_certificate};
use crate::tpm::{Session, Tpm};

/// Where Azure keeps the vTPM's attestation key.
pub const AK: u32 = 0x8100_0003;

/// NV index of the HCL report.
pub const HCL_REPORT: u32 = 0x0140_0001;

/// NV index of the data that the paravisor mixes into the next HCL report.
pub const USER_DATA: u32 = 0x0140_0002;

/// NV index of the AK's certificate.
pub const AK_CERTIFICATE: u32 = 0x01c1_01d0;

/// How often the registers may change between being read and being quoted.
const QUOTE_TRIES: u32 = 5;

/// For how long aTLS uses the same TD quote before another is fetched.
const FRESH: Duration = Duration::from_secs(60 * 60);

/// How long to wait when that has failed.
const PAUSE: Duration = Duration::from_secs(60);

/// Makes evidence of the Azure machine it runs on. Clones share the TPM and what is kept.
#[derive(Clone, Debug)]
pub struct AzureAttester {
    source: Source,
    kept: Kept<Vouched, ImdsError>,
    /// Who has it may write user data.
    user_data: Arc<Mutex<()>>,
}

/// Where evidence comes from.
#[derive(Clone, Debug)]
struct Source {
    tpm: Tpm,
    imds: Imds,
}

/// A platform, and the TD quote that vouches for its key.
#[derive(Debug)]
struct Vouched {
    platform: Platform,
    td_quote: Vec<u8>,
}

impl AzureAttester {
    /// Uses this TPM and this metadata service.
    pub fn new(tpm: Tpm, imds: Imds) -> Self {
        Self {
            source: Source { tpm, imds },
            kept: Kept::new(FRESH, PAUSE),
            user_data: Arc::default(),
        }
    }

    /// Gets what evidence for aTLS has in common, unless it is there already, so that the first
    /// connection needs not wait for it.
    ///
    /// # Errors
    ///
    /// [`AzureError`]. Nothing is lost: evidence for aTLS gets it, too, if it is not there.
    pub async fn prepare(&self) -> Result<(), AzureError> {
        self.vouched().await.map(drop)
    }

    /// Makes evidence that is bound to `binding`, in the form of its protocol.
    ///
    /// # Errors
    ///
    /// [`AzureError`]: whatever it is, no evidence leaves the machine.
    pub async fn evidence(&self, binding: &Binding) -> Result<Evidence, AzureError> {
        let evidence = match (binding.user_data(), binding.azure_user_data()) {
            (_, Some(input_data)) => self.ratls(binding, input_data).await?,
            (user_data, None) => self.atls(binding, user_data.unwrap_or_default()).await?,
        };
        Ok(Evidence::AzureTdx(Box::new(evidence)))
    }

    async fn atls(&self, binding: &Binding, user_data: [u8; 32]) -> Result<AzureTdx, AzureError> {
        let vouched = self.vouched().await?;
        let tpm_quote = self.source.tpm_quote(&vouched, binding).await?;
        let platform = &vouched.platform;
        Ok(AzureTdx::atls(
            vouched.td_quote.clone(),
            platform.runtime_data.clone(),
            platform.ak_public.clone(),
            tpm_quote,
            user_data,
        ))
    }

    async fn ratls(&self, binding: &Binding, input_data: [u8; 64]) -> Result<AzureTdx, AzureError> {
        let turn = self.user_data.lock().await;
        let platform = Platform::read_with(&self.source.tpm, input_data).await?;
        let certificate = ak_certificate(&self.source.tpm, &platform.ak).await?;
        let vouched = self.source.vouched(platform).await;
        drop(turn);
        let vouched = vouched.map_err(|error| AzureError::TdQuote(Arc::new(error)))?;
        let tpm_quote = self.source.tpm_quote(&vouched, binding).await?;
        let Vouched { platform, td_quote } = vouched;
        let evidence = AzureTdx::ratls(td_quote, platform.report, tpm_quote, vec![certificate])?;
        Ok(evidence)
    }

    /// What is kept, or is got now, once for all who ask.
    async fn vouched(&self) -> Result<Arc<Vouched>, AzureError> {
        let source = self.source.clone();
        let renew = || async move {
            let platform = Platform::read(&source.tpm).await.ok()?;
            source.vouched(platform).await.ok()
        };
        if let Some(vouched) = self.kept.value(renew) {
            return Ok(vouched);
        }
        let outcome: Outcome<Vouched, ImdsError> = match self.kept.coming().await {
            Some(outcome) => Some(outcome),
            None => {
                let platform = Platform::read(&self.source.tpm).await?;
                let source = self.source.clone();
                let fetch = || async move { source.vouched(platform).await };
                self.kept.fetched(fetch).await
            }
        };
        let outcome = outcome.ok_or(AzureError::FetchEnded)?;
        outcome.map_err(AzureError::TdQuote)
    }
}

impl Source {
    /// Has the platform vouched for.
    async fn vouched(&self, platform: Platform) -> Result<Vouched, ImdsError> {
        let quote = self.imds.td_quote(platform.td_report()).await?;
        let td_quote = checked_td_quote(quote, &platform.report_data)?;
        Ok(Vouched { platform, td_quote })
    }

    async fn tpm_quote(
        &self,
        vouched: &Vouched,
        binding: &Binding,
    ) -> Result<TpmQuote, AzureError> {
        let instance_info = instance_info(&vouched.td_quote, &vouched.platform.runtime_data);
        let qualifying_data = binding.azure_qualifying_data(&instance_info);
        let mut session = self.tpm.session().await?;
        quote(&mut session, &vouched.platform.ak, &qualifying_data).await
    }
}

impl Attester for AzureAttester {
    fn attest<'a>(&'a self, binding: &'a Binding) -> Attesting<'a> {
        Box::pin(async move { self.evidence(binding).await.map_err(AttestError::of) })
    }
}

/// Reads and quotes the registers until both are about the same values.
async fn quote(
    session: &mut Session,
    ak: &AkPublic,
    qualifying_data: &[u8; 32],
) -> Result<TpmQuote, AzureError> {
    let mut tried = 1_u32;
    loop {
        let pcrs = session.read_pcrs().await?;
        let (attest, signature) = session.quote(AK, qualifying_data).await?;
        match tpm_quote::verify(&attest, &signature, ak, &pcrs, qualifying_data) {
            Ok(_) => {
                return Ok(TpmQuote {
                    attest,
                    signature,
                    pcrs,
                });
            }
            // Something was measured meanwhile.
            Err(QuoteError::PcrDigest { .. }) if tried < QUOTE_TRIES => {}
            Err(error) => return Err(AzureError::TpmQuote(error)),
        }
        tried = tried.saturating_add(1);
    }
}

/// The quote without padding, if it is one of the report with these report data.
fn checked_td_quote(mut quote: Vec<u8>, report_data: &[u8; 64]) -> Result<Vec<u8>, ImdsError> {
    let parsed = TdQuote::parse(&quote).map_err(ImdsError::TdQuote)?;
    if parsed.body.report_data != *report_data {
        return Err(ImdsError::OtherReport);
    }
    let size = parsed.size.min(MAX_TD_QUOTE);
    quote.truncate(size);
    Ok(quote)
}
