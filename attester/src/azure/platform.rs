//! What the paravisor says of the machine, and the key that it says it of.
//!
//! I/O: the vTPM.

use std::time::Duration;

use attestation::evidence::{HclReport, RuntimeData};
use attestation::tpm_quote::AkPublic;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep};

use super::certificate::parse_ak_certificate;
use super::error::AzureError;
use super::{AK, AK_CERTIFICATE, HCL_REPORT, USER_DATA};
use crate::tpm::{Session, Tpm, TpmError};

/// Bytes of user data.
const USER_DATA_SIZE: u16 = 64;

/// How long the paravisor may take until the report has new user data; it takes 3 s.
const REFRESH_LIMIT: Duration = Duration::from_secs(15);

/// How often to look whether it has.
const REFRESH_POLL: Duration = Duration::from_millis(200);

/// How often to read a report that does not fit together: the paravisor may be writing it.
const READ_TRIES: u32 = 3;

/// Where a TD report is in an HCL report.
const TD_REPORT: std::ops::Range<usize> = 32..1056;

/// A report and a key, each about the other.
#[derive(Debug)]
pub(super) struct Platform {
    pub(super) report: Vec<u8>,
    pub(super) report_data: [u8; 64],
    pub(super) runtime_data: Vec<u8>,
    pub(super) ak: AkPublic,
    /// `TPMT_PUBLIC`.
    pub(super) ak_public: Vec<u8>,
}

/// What a report says, of which each part fits the others.
struct Said {
    report_data: [u8; 64],
    runtime_data: Vec<u8>,
    ak: AkPublic,
    user_data: Option<[u8; 64]>,
}

impl Platform {
    /// Reads the report as it is.
    pub(super) async fn read(tpm: &Tpm) -> Result<Self, AzureError> {
        let mut tried = 1_u32;
        loop {
            let report = tpm.session().await?.read_nv(HCL_REPORT).await?;
            match parse(&report) {
                Ok(said) => return Self::of(tpm, report, said).await,
                Err(error) if tried >= READ_TRIES => return Err(error),
                Err(_) => sleep(REFRESH_POLL).await,
            }
            tried = tried.saturating_add(1);
        }
    }

    /// Has the paravisor mix in the user data, and waits for the report that has them. In between the
    /// TPM is free for others; nobody else may write user data meanwhile.
    pub(super) async fn read_with(tpm: &Tpm, user_data: [u8; 64]) -> Result<Self, AzureError> {
        write_user_data(&mut tpm.session().await?, &user_data).await?;
        let begin = Instant::now();
        loop {
            let report = tpm.session().await?.read_nv(HCL_REPORT).await?;
            // A report that is just being written may be no report.
            let said = parse(&report);
            match said {
                Ok(said) if said.user_data == Some(user_data) => {
                    return Self::of(tpm, report, said).await;
                }
                Err(error) if begin.elapsed() >= REFRESH_LIMIT => return Err(error),
                Ok(_) if begin.elapsed() >= REFRESH_LIMIT => {
                    let limit = REFRESH_LIMIT;
                    return Err(AzureError::UserData { limit });
                }
                _ => sleep(REFRESH_POLL).await,
            }
        }
    }

    async fn of(tpm: &Tpm, report: Vec<u8>, said: Said) -> Result<Self, AzureError> {
        let ak_public = tpm.session().await?.read_public(AK).await?;
        let ak = AkPublic::parse(&ak_public)?;
        if said.ak != ak {
            return Err(AzureError::OtherAk);
        }
        Ok(Self {
            report,
            report_data: said.report_data,
            runtime_data: said.runtime_data,
            ak,
            ak_public,
        })
    }

    pub(super) fn td_report(&self) -> &[u8] {
        self.report.get(TD_REPORT).unwrap_or_default()
    }
}

fn parse(report: &[u8]) -> Result<Said, AzureError> {
    let parsed = HclReport::parse(report)?;
    let (hash, padding) = parsed.report_data.split_at(32);
    let actual = Sha256::digest(parsed.runtime_data);
    if actual.as_slice() != hash || padding.iter().any(|byte| *byte != 0) {
        return Err(AzureError::RuntimeDataHash);
    }
    let runtime_data = RuntimeData::parse(parsed.runtime_data)?;
    Ok(Said {
        report_data: parsed.report_data,
        runtime_data: parsed.runtime_data.to_vec(),
        ak: runtime_data.ak,
        user_data: runtime_data.user_data,
    })
}

/// Writes user data where the paravisor looks for them. On a machine that is new there is no such
/// index: it is the guest's to make.
async fn write_user_data(session: &mut Session, user_data: &[u8; 64]) -> Result<(), AzureError> {
    match session.nv_size(USER_DATA).await {
        Ok(USER_DATA_SIZE) => {}
        Ok(actual) => return Err(AzureError::UserDataSize { actual }),
        Err(error) if error.is_absent() => session.define_nv(USER_DATA, USER_DATA_SIZE).await?,
        Err(error) => return Err(error.into()),
    }
    Ok(session.write_nv(USER_DATA, user_data).await?)
}

/// Reads the AK's certificate.
pub(super) async fn ak_certificate(tpm: &Tpm, ak: &AkPublic) -> Result<Vec<u8>, AzureError> {
    let read: Result<_, TpmError> = tpm.session().await?.read_nv(AK_CERTIFICATE).await;
    let content = match read {
        Err(error) if error.is_absent() => return Err(AzureError::NoAkCertificate),
        content => content?,
    };
    Ok(parse_ak_certificate(&content, ak)?.to_vec())
}
