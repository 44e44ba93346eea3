//! A TEE made of test keys: everything that a confidential machine and Intel would say, valid or
//! wrong in one named way.
//!
//! ```
//! use std::time::SystemTime;
//!
//! use testkit::tee::{Tee, tcb::TcbFault};
//!
//! let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_790_000_000);
//! let tee = Tee::new(1, now);
//! let evidence = tee.azure_atls([7; 32], b"nonce");
//! assert!(evidence.atls_document().starts_with(b"{"));
//!
//! let outdated = Tee::with_fault(1, now, TcbFault::TdxHalfOutOfDate);
//! assert_eq!(outdated.root(), tee.root());
//! ```
//!
//! Seed, time and fault decide every byte (but for the one fault that signs with PSS), so a fault is
//! in some evidence exactly if the bytes differ from those without it. Layouts are written from the
//! specifications, not with the parsers that they test. [`Tee::root`] and
//! [`AkCertificates::root`] are what a relying party must be told to trust; nobody does otherwise.
//!
//! I/O: none.

#![allow(
    clippy::expect_used,
    reason = "constants and keys of our own: what cannot be written is a defect of this module"
)]

mod ak;
pub mod ak_certificate;
pub mod attester;
pub mod azure_document;
mod bytes;
mod case;
mod certificate;
mod collateral;
pub mod dcap_document;
mod der;
pub mod fault;
mod hash;
pub mod hcl;
pub(crate) mod key;
pub mod pki;
mod platform;
pub mod qe;
pub mod quote;
mod sgx_extension;
pub mod tcb;
pub mod td;
mod text;
pub mod tpm_quote;

use std::time::SystemTime;

pub use self::ak::AkPublic;
pub use self::ak_certificate::AkCertificates;
pub use self::attester::TeeAttester;
pub use self::azure_document::AzureEvidence;
pub use self::collateral::{Collateral, Response};
pub use self::dcap_document::DcapEvidence;
pub use self::fault::Fault;
pub use self::hcl::Machine;
pub use self::quote::QuoteForm;
pub use self::td::{Td, TdReport, TdReportError};
pub use self::tpm_quote::{Bank, Pcrs, TpmQuote};

use self::ak::Ak;
use self::azure_document::{AzureDocumentFault, instance_info};
use self::case::Case;
use self::hash::sha256;
use self::pki::Pki;

/// A machine with a TDX processor, a vTPM, and those who vouch for them.
#[derive(Clone)]
pub struct Tee {
    case: Case,
    pki: Pki,
    /// Which of the host's machines it is.
    number: u64,
    /// The TD that runs on it.
    pub td: Td,
    /// The vTPM's registers, SHA-256 bank.
    pub pcrs: Pcrs,
    /// In which form TD quotes are made.
    pub quote_form: QuoteForm,
}

impl Tee {
    /// A machine with nothing wrong. Another seed makes another machine under another root; all
    /// that it signs is valid for at least an hour before and after `now`.
    pub fn new(seed: u64, now: SystemTime) -> Self {
        Self::of(seed, now, None)
    }

    /// The same machine with one fault.
    pub fn with_fault(seed: u64, now: SystemTime, fault: impl Into<Fault>) -> Self {
        Self::of(seed, now, Some(fault.into()))
    }

    fn of(seed: u64, now: SystemTime, fault: Option<Fault>) -> Self {
        let case = Case {
            seed,
            now: now.into(),
            fault,
        };
        Self {
            case,
            pki: Pki::new(case),
            number: 0,
            td: Td::of(case),
            pcrs: tpm_quote::booted(),
            quote_form: QuoteForm::default(),
        }
    }

    /// Another machine on the same processor, and so under the same roots; 0 is the first.
    #[must_use]
    pub fn neighbour(mut self, number: u64) -> Self {
        self.number = number;
        self
    }

    /// The root CA of processors, in DER, in the place of Intel's.
    pub fn root(&self) -> &[u8] {
        &self.pki.root
    }

    /// What Intel publishes about the machine.
    pub fn collateral(&self) -> Collateral {
        Collateral::new(self.case, &self.pki)
    }

    /// The TD's report with these report data.
    pub fn td_report(&self, report_data: [u8; 64]) -> TdReport {
        TdReport::new(self.case, &self.td, report_data)
    }

    /// The quote of a report of this machine.
    pub fn quote(&self, report: &TdReport) -> Vec<u8> {
        quote::quote(self.case, &self.pki, report, self.quote_form)
    }

    /// The quote of a report that a guest has handed in, as Azure's metadata service makes it.
    ///
    /// # Errors
    ///
    /// [`TdReportError`] if this machine has not made the report.
    pub fn quote_bytes(&self, report: &[u8]) -> Result<Vec<u8>, TdReportError> {
        Ok(self.quote(&TdReport::check(self.case, report)?))
    }

    /// The machine's AK, for which there is a fixed key.
    pub fn ak(&self) -> AkPublic {
        Ak::own().public()
    }

    /// What the HCL report says of this machine, with the AK of [`ak`](Self::ak).
    pub fn machine(&self) -> Machine {
        let mut id = [b"VM", &self.case.seed.to_be_bytes()[..]].concat();
        if self.number != 0 {
            id.extend(self.number.to_be_bytes());
        }
        let id = text::hex_upper(&sha256(&id));
        Machine {
            ak: self.ak(),
            ek: Some(Ak::other().public()),
            vm_id: format!(
                "{}-{}-{}-{}-{}",
                &id[..8],
                &id[8..12],
                &id[12..16],
                &id[16..20],
                &id[20..32]
            ),
        }
    }

    /// The HCL report of a machine, not padded; `user_data` are what the guest wrote to NV index
    /// 0x01400002, or zeros.
    ///
    /// For a simulated machine whose TPM has made its own AK; without the EK it fits into 2,048
    /// bytes.
    pub fn hcl_report(&self, machine: &Machine, user_data: [u8; 64]) -> Vec<u8> {
        let runtime_data = hcl::runtime_data(self.case, machine, user_data);
        let report = self.td_report(hcl::report_data(&runtime_data));
        hcl::report(
            self.case,
            &report,
            &hcl::in_transit(self.case, runtime_data),
        )
    }

    /// The certificates of an AK.
    pub fn ak_certificates(&self, ak: &AkPublic) -> AkCertificates {
        AkCertificates::new(self.case, ak)
    }

    /// A quote of all registers by the machine's AK.
    pub fn tpm_quote(&self, qualifying_data: &[u8]) -> TpmQuote {
        TpmQuote::new(self.case, &Ak::own(), qualifying_data, &self.pcrs)
    }

    /// azure-tdx evidence for aTLS: `user_data` is SHA-256 of the DER `SubjectPublicKeyInfo`,
    /// `nonce` the peer's.
    pub fn azure_atls(&self, user_data: [u8; 32], nonce: &[u8]) -> AzureEvidence {
        self.azure_atls_about(user_data, extra_data(user_data, nonce))
    }

    /// The same for what user data and nonce were hashed to.
    fn azure_atls_about(&self, user_data: [u8; 32], extra_data: [u8; 32]) -> AzureEvidence {
        self.azure([0; 64], user_data, |instance_info| {
            sha256(&[instance_info, &extra_data].concat())
        })
    }

    /// azure-tdx evidence for `flashbots-ratls/1`: `input_data` are SHA-256 of the public key's bit
    /// string and the session's exporter.
    pub fn azure_ratls(&self, input_data: [u8; 64]) -> AzureEvidence {
        let mut half = [0; 32];
        half.copy_from_slice(&input_data[..32]);
        self.azure(input_data, [0; 32], |_| half)
    }

    /// dcap-tdx evidence for aTLS.
    pub fn dcap_atls(&self, user_data: [u8; 32], nonce: &[u8]) -> DcapEvidence {
        let mut report_data = [0; 64];
        report_data[..32].copy_from_slice(&extra_data(user_data, nonce));
        self.dcap(report_data, user_data)
    }

    /// dcap-tdx evidence for `flashbots-ratls/1`.
    pub fn dcap_ratls(&self, input_data: [u8; 64]) -> DcapEvidence {
        self.dcap(input_data, [0; 32])
    }

    fn dcap(&self, report_data: [u8; 64], user_data: [u8; 32]) -> DcapEvidence {
        DcapEvidence {
            case: self.case,
            td_quote: self.quote(&self.td_report(report_data)),
            user_data,
        }
    }

    /// Evidence whose TPM quotes are about what `qualifying_data` makes of the instance info.
    fn azure(
        &self,
        hcl_user_data: [u8; 64],
        user_data: [u8; 32],
        qualifying_data: impl Fn(&[u8]) -> [u8; 32],
    ) -> AzureEvidence {
        let runtime_data = hcl::runtime_data(self.case, &self.machine(), hcl_user_data);
        let report = self.td_report(hcl::report_data(&runtime_data));
        let td_quote = self.quote(&report);
        let runtime_data = hcl::in_transit(self.case, runtime_data);
        let qualifying_data = qualifying_data(&instance_info(&td_quote, &runtime_data));
        let ak = match self.case.is(AzureDocumentFault::UnvouchedAk) {
            true => Ak::other(),
            false => Ak::own(),
        };
        AzureEvidence {
            case: self.case,
            tpm_quotes: self.tpm_quotes(&ak, &qualifying_data),
            hcl_report: hcl::report(self.case, &report, &runtime_data),
            ak_certificates: self.ak_certificates(&ak.public()),
            ak: ak.public(),
            td_quote,
            runtime_data,
            user_data,
        }
    }

    fn tpm_quotes(&self, ak: &Ak, qualifying_data: &[u8]) -> Vec<TpmQuote> {
        let quote = TpmQuote::new(self.case, ak, qualifying_data, &self.pcrs);
        let quote_of =
            |bank| TpmQuote::of_banks(self.case, ak, qualifying_data, &self.pcrs, &[bank]);
        match self.case {
            case if case.is(AzureDocumentFault::NoQuote) => Vec::new(),
            case if case.is(AzureDocumentFault::TwoQuotes) => vec![quote.clone(), quote],
            case if case.is(AzureDocumentFault::Sha1QuoteToo) => vec![quote_of(Bank::Sha1), quote],
            case if case.is(AzureDocumentFault::ValuesBesideSha384Quote) => {
                let mut unsigned = quote;
                unsigned.pcrs.insert(4, vec![0x44; 32]);
                vec![quote_of(Bank::Sha384), unsigned]
            }
            _ => vec![quote],
        }
    }
}

/// What aTLS binds evidence to: the key, given by its hash, and the nonce.
fn extra_data(user_data: [u8; 32], nonce: &[u8]) -> [u8; 32] {
    sha256(&[&user_data, nonce].concat())
}
