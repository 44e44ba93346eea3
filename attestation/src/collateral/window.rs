//! When parts of collateral are valid, as they say themselves.
//!
//! I/O: none.

use std::fmt;

use serde::Deserialize;
use x509_cert::crl::CertificateList;
use x509_cert::der::{DateTime, Decode};

/// A time span, both ends included, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// First second.
    pub from: u64,
    /// Last second.
    pub until: u64,
}

/// The parts of collateral that have dates of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dated {
    /// What versions are up to date.
    TcbInfo,
    /// What quoting enclave is genuine.
    QeIdentity,
    /// Which PCK certificates are revoked.
    PckCrl,
    /// Which CAs' certificates are revoked.
    RootCrl,
}

impl fmt::Display for Dated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TcbInfo => "TCB info",
            Self::QeIdentity => "QE identity",
            Self::PckCrl => "PCK CRL",
            Self::RootCrl => "root CRL",
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dates {
    issue_date: String,
    next_update: String,
}

/// Dates of TCB info or of a QE identity.
pub(super) fn of_json(json: &str) -> Option<Window> {
    let dates: Dates = serde_json::from_str(json).ok()?;
    let seconds = |text: &str| {
        let date: DateTime = text.parse().ok()?;
        Some(date.unix_duration().as_secs())
    };
    Some(Window {
        from: seconds(&dates.issue_date)?,
        until: seconds(&dates.next_update)?,
    })
}

/// Dates of a CRL, which ends just before the next one is due. One that does not say when that
/// will be is refused.
pub(super) fn of_crl(der: &[u8]) -> Option<Window> {
    let list = CertificateList::<x509_cert::certificate::Rfc5280>::from_der(der).ok()?;
    let list = list.tbs_cert_list;
    Some(Window {
        from: list.this_update.to_unix_duration().as_secs(),
        until: list
            .next_update?
            .to_unix_duration()
            .as_secs()
            .saturating_sub(1),
    })
}
