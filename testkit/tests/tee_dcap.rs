//! Our quotes and collateral, judged by `dcap-qvl`: valid ones pass, and each wrong one fails for
//! the reason that its name says.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic in a test is a failing test, which is what is wanted"
)]

use std::time::{Duration, SystemTime};

use dcap_qvl::QuoteCollateralV3;
use dcap_qvl::quote::Quote;
use dcap_qvl::verify::{QuoteVerifier, VerifiedReport};
use testkit::tee::pki::PkiFault;
use testkit::tee::qe::QeFault;
use testkit::tee::quote::QuoteFault;
use testkit::tee::tcb::{ADVISORIES, MODULE_ADVISORIES, TcbFault};
use testkit::tee::td::TdFault;
use testkit::tee::{Fault, QuoteForm, Tee};

const NOW: u64 = 1_790_000_000;
const REPORT_DATA: [u8; 64] = [7; 64];

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
}

fn verify(tee: &Tee, root: &[u8], now: u64) -> Result<VerifiedReport, String> {
    let quote = tee.quote(&tee.td_report(REPORT_DATA));
    let collateral: QuoteCollateralV3 = serde_json::from_str(&tee.collateral().to_json()).unwrap();
    QuoteVerifier::new(root.to_vec())
        .verify(&quote, &collateral, now)
        .map_err(|error| format!("{error:#}"))
}

/// What dcap-qvl says of a fault.
#[derive(Debug)]
enum Expected {
    /// It refuses, and the text has this in it.
    Refused(&'static str),
    /// It accepts, with a status other than up to date and these advisories.
    Status(&'static str, &'static [&'static str]),
    /// It does not look at this; our verifier must.
    Unnoticed,
}
use Expected::{Refused, Status, Unnoticed};

fn expected(fault: Fault) -> Option<Expected> {
    Some(match fault {
        Fault::Pki(fault) => of_pki(fault),
        Fault::Tcb(fault) => of_tcb(fault),
        Fault::Qe(fault) => of_qe(fault),
        Fault::Td(fault) => of_td(fault),
        Fault::Quote(fault) => of_quote(fault),
        Fault::Hcl(_)
        | Fault::Tpm(_)
        | Fault::AkCertificate(_)
        | Fault::AzureDocument(_)
        | Fault::DcapDocument(_) => return None,
    })
}

fn of_pki(fault: PkiFault) -> Expected {
    match fault {
        PkiFault::OtherRoot | PkiFault::RootCrlOfOtherKey => {
            Refused("root CA CRL: InvalidCrlSignatureForPublicKey")
        }
        PkiFault::TcbSignerOfOtherRoot | PkiFault::PckOfOtherRoot => {
            Refused("InvalidSignatureForPublicKey")
        }
        PkiFault::PckRevoked | PkiFault::PlatformCaRevoked | PkiFault::TcbSignerRevoked => {
            Refused("CertRevoked")
        }
        PkiFault::PckExpired | PkiFault::PlatformCaExpired | PkiFault::TcbSignerExpired => {
            Refused("CertExpired")
        }
        PkiFault::PckNotYetValid => Refused("CertNotValidYet"),
        PkiFault::RootCrlExpired | PkiFault::PckCrlExpired => Refused("CrlExpired"),
        PkiFault::PckCrlOfOtherKey => Refused("chain: InvalidCrlSignatureForPublicKey"),
        PkiFault::PckCrlIsRootCrl => Refused("UnknownRevocationStatus"),
        PkiFault::PckCrlMissing => Refused("parse PCK CRL"),
        PkiFault::TcbSignerOfPlatformCa => Refused("issued directly by the root CA"),
        PkiFault::PckWithoutSgxExtension => Refused("Intel extension not found"),
        PkiFault::PckOfOtherFmspc => Refused("Fmspc mismatch"),
        PkiFault::PckOfRoot | PkiFault::PckOfOtherPceId => Unnoticed,
    }
}

fn of_tcb(fault: TcbFault) -> Expected {
    match fault {
        TcbFault::SgxHalfOutOfDate
        | TcbFault::TdxHalfOutOfDate
        | TcbFault::BothHalvesOutOfDate
        | TcbFault::PceOutOfDate => Status("OutOfDate", &ADVISORIES),
        TcbFault::ModuleOutOfDate => Status("OutOfDate", &MODULE_ADVISORIES),
        TcbFault::ModuleTooOld => Refused("ISVSVN 1 is below minimum"),
        TcbFault::ModuleUnknown => Refused("No TDX module identity with id TDX_09"),
        TcbFault::ModuleOfOtherSigner => Refused("module MRSIGNER mismatch"),
        TcbFault::NoLevel | TcbFault::AzureV6SeamLoader => Refused("No matching TCB level"),
        TcbFault::ConfigurationNeeded => Status("ConfigurationNeeded", &ADVISORIES),
        TcbFault::SwHardeningNeeded => Status("SWHardeningNeeded", &ADVISORIES),
        TcbFault::ConfigurationAndSwHardeningNeeded => {
            Status("ConfigurationAndSWHardeningNeeded", &ADVISORIES)
        }
        TcbFault::OutOfDateConfigurationNeeded => {
            Status("OutOfDateConfigurationNeeded", &ADVISORIES)
        }
        TcbFault::LevelRevoked => Refused("Revoked"),
        TcbFault::UnknownStatus => Refused("unknown variant `Splendid`"),
        TcbFault::TcbInfoExpired => Refused("TCBInfo expired"),
        TcbFault::TcbInfoNotYetIssued => Refused("in the future"),
        TcbFault::TcbInfoAltered | TcbFault::TcbInfoOfOtherKey => {
            Refused("Signature is invalid for tcb_info")
        }
        TcbFault::TcbInfoOfSgx | TcbFault::TcbInfoVersion2 => Refused("non-TDX TCB info"),
        TcbFault::TcbInfoOfOtherFmspc => Refused("Fmspc mismatch"),
        TcbFault::TcbInfoWithoutModule => Refused("missing tdxModule"),
        TcbFault::TcbInfoNotJson => Refused("decode TcbInfo"),
    }
}

fn of_qe(fault: QeFault) -> Expected {
    match fault {
        QeFault::IdentityExpired => Refused("QE Identity expired"),
        QeFault::IdentityNotYetIssued => Refused("in the future"),
        QeFault::IdentityAltered | QeFault::IdentityOfOtherKey => {
            Refused("Signature is invalid for qe_identity")
        }
        QeFault::IdentityOfSgx | QeFault::IdentityVersion1 => Refused("QE Identity id/version"),
        QeFault::IdentityNotJson => Refused("decode QeIdentity"),
        QeFault::OtherSigner => Refused("QE MRSIGNER mismatch"),
        QeFault::OtherProduct => Refused("QE ISVPRODID mismatch"),
        QeFault::OtherMiscSelect => Refused("QE MISCSELECT mismatch"),
        QeFault::Debug => Refused("Debug mode is enabled"),
        QeFault::OutOfDate => Status("OutOfDate", &[]),
        QeFault::TooOld => Refused("below minimum required"),
        QeFault::Revoked => Refused("Revoked"),
        QeFault::ReportAltered | QeFault::ReportOfOtherKey => {
            Refused("Signature is invalid for qe_report")
        }
        QeFault::OtherAttestationKey | QeFault::OtherAuthData => Refused("QE report hash mismatch"),
        QeFault::ReportDataUpperHalf => Unnoticed,
    }
}

fn of_td(fault: TdFault) -> Expected {
    match fault {
        TdFault::Debug => Refused("Debug mode is enabled"),
        TdFault::Profiled => Refused("TD profiling is enabled"),
        TdFault::WithoutSeptVeDisable => Refused("SEPT_VE_DISABLE is not enabled"),
        TdFault::ReservedAttribute => Refused("Reserved bits in TD attributes"),
        TdFault::Migratable => Refused("TD migration is enabled"),
        TdFault::SeamAttributes => Refused("SEAMATTRIBUTES mismatch"),
        TdFault::OtherSeamSigner => Refused("module MRSIGNER mismatch"),
        TdFault::ReservedXfam
        | TdFault::XfamWithoutFixedBits
        | TdFault::ConfigId
        | TdFault::Owner
        | TdFault::OwnerConfig
        | TdFault::OtherReportData
        | TdFault::ReportDataUpperHalf => Unnoticed,
    }
}

fn of_quote(fault: QuoteFault) -> Expected {
    match fault {
        QuoteFault::Empty
        | QuoteFault::HeaderOnly
        | QuoteFault::Truncated
        | QuoteFault::Oversized
        | QuoteFault::SignatureSizeTooLarge
        | QuoteFault::Version3
        | QuoteFault::Version6
        | QuoteFault::OtherTee => Refused("decode quote"),
        QuoteFault::OtherKeyType => Refused("attestation key type"),
        QuoteFault::OtherVendor => Refused("Unknown QE vendor"),
        QuoteFault::BodyAltered
        | QuoteFault::SignatureAltered
        | QuoteFault::SignatureOfOtherKey => Refused("report signature is invalid"),
        QuoteFault::CertificationDataOfPpid => Refused("PCK cert format: 2"),
        QuoteFault::ChainEmpty | QuoteFault::ChainTruncated => Refused("chain is too short"),
        QuoteFault::Trailing => Unnoticed,
    }
}

#[test]
fn valid_quotes_of_every_form_are_up_to_date_and_say_what_the_td_is() {
    let mut tee = Tee::new(1, now());
    for form in [QuoteForm::V4, QuoteForm::V5Td10, QuoteForm::V5Td15] {
        tee.quote_form = form;
        let verified = verify(&tee, tee.root(), NOW).unwrap();
        assert_eq!(verified.status, "UpToDate");
        assert_eq!(verified.advisory_ids, [""; 0]);
        let td = verified.report.as_td10().unwrap();
        assert_eq!(td.report_data, REPORT_DATA);
        assert_eq!(td.mr_td, tee.td.mrtd);
        assert_eq!([td.rt_mr0, td.rt_mr1, td.rt_mr2, td.rt_mr3], tee.td.rtmrs);
        assert_eq!(td.td_attributes, tee.td.attributes.to_le_bytes());
        assert_eq!(td.xfam, tee.td.xfam.to_le_bytes());
        let is_15 = verified.report.as_td15().is_some();
        assert_eq!(is_15, form == QuoteForm::V5Td15);
    }
}

#[test]
fn the_platform_is_the_one_that_the_certificate_describes() {
    let tee = Tee::new(1, now());
    let quote = Quote::parse(&tee.quote(&tee.td_report(REPORT_DATA))).unwrap();
    let fmspc = dcap_qvl::intel::quote_fmspc(&quote).unwrap();
    let fmspc: String = fmspc.iter().map(|byte| format!("{byte:02X}")).collect();
    assert_eq!(fmspc, tee.collateral().fmspc());
    let ca = dcap_qvl::intel::quote_ca(&quote).unwrap();
    assert_eq!(ca.as_id_str(), "platform");
}

#[test]
fn each_fault_is_refused_for_its_reason() {
    for fault in Fault::all() {
        let Some(expected) = expected(fault) else {
            continue;
        };
        let tee = Tee::with_fault(1, now(), fault);
        let verified = verify(&tee, tee.root(), NOW);
        match (&expected, verified) {
            (Refused(text), Err(error)) if error.contains(text) => {}
            (Status(status, advisories), Ok(report)) => {
                assert_eq!(report.status, *status, "{fault}");
                assert_eq!(report.advisory_ids, *advisories, "{fault}");
            }
            (Unnoticed, Ok(report)) if report.status == "UpToDate" => {}
            (_, verified) => panic!("{fault}: expected {expected:?}, got {verified:?}"),
        }
    }
}

#[test]
fn nobody_trusts_it_unasked() {
    let tee = Tee::new(1, now());
    let quote = tee.quote(&tee.td_report(REPORT_DATA));
    let collateral: QuoteCollateralV3 = serde_json::from_str(&tee.collateral().to_json()).unwrap();
    QuoteVerifier::new_prod()
        .verify(&quote, &collateral, NOW)
        .unwrap_err();
    // Nor who trusts another seed's.
    let other = Tee::new(2, now());
    verify(&tee, other.root(), NOW).unwrap_err();
}

#[test]
fn it_is_valid_for_an_hour_around_now_and_not_for_ever() {
    let tee = Tee::new(1, now());
    for then in [NOW - 3600, NOW + 3600] {
        assert_eq!(verify(&tee, tee.root(), then).unwrap().status, "UpToDate");
    }
    for then in [NOW - 3601, NOW + 31 * 86_400] {
        verify(&tee, tee.root(), then).unwrap_err();
    }
}
