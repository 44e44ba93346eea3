//! Our evidence, judged by `attestation`: each valid kind proves what the machine is, and each
//! wrong one is refused with the error that says what is wrong.
//!
//! Writer and parsers were made from the same specification by different hands.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic in a test is a failing test, which is what is wanted"
)]

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use attestation::collateral::{CollateralError, PlatformKeyError};
use attestation::evidence::{EvidenceError, HclError};
use attestation::td_quote::TdQuoteError;
use attestation::tpm_quote::{AkError, ParseError, QuoteError};
use attestation::verify::{AkCertificateError, AkSource, TcbPart, TdError};
use attestation::{
    Attester, Binding, Collateral, Evidence, EvidenceKind, TcbStatus, TrustRoots, Verified,
    Verifier, VerifyError,
};
use measurements::reference::RegisterValue;
use testkit::tee::ak_certificate::AkCertificateFault;
use testkit::tee::azure_document::AzureDocumentFault;
use testkit::tee::dcap_document::DcapDocumentFault;
use testkit::tee::hcl::HclFault;
use testkit::tee::pki::PkiFault;
use testkit::tee::qe::QeFault;
use testkit::tee::quote::QuoteFault;
use testkit::tee::tcb::{ADVISORIES, MODULE_ADVISORIES, TcbFault};
use testkit::tee::td::TdFault;
use testkit::tee::tpm_quote::TpmFault;
use testkit::tee::{Fault, QuoteForm, Tee};

const NOW: u64 = 1_790_000_000;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
}

/// A document: a kind of machine in a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    AzureAtls,
    AzureRatls,
    DcapAtls,
    DcapRatls,
}

impl Form {
    const ALL: [Self; 4] = [
        Self::AzureAtls,
        Self::AzureRatls,
        Self::DcapAtls,
        Self::DcapRatls,
    ];

    fn kind(self) -> EvidenceKind {
        match self {
            Self::AzureAtls | Self::AzureRatls => EvidenceKind::AzureTdx,
            Self::DcapAtls | Self::DcapRatls => EvidenceKind::DcapTdx,
        }
    }

    fn is_atls(self) -> bool {
        matches!(self, Self::AzureAtls | Self::DcapAtls)
    }

    fn is_azure(self) -> bool {
        self.kind() == EvidenceKind::AzureTdx
    }

    fn binding(self) -> Binding {
        match self.is_atls() {
            true => Binding::atls_user_data([1; 32], b"nonce"),
            false => Binding::ratls_input_data([2; 64]),
        }
    }
}

/// Who refused.
#[derive(Debug)]
enum Refusal {
    Parsing(EvidenceError),
    Verifying(VerifyError),
}

fn verifier(tee: &Tee) -> Verifier {
    let ak_root = tee.ak_certificates(&tee.ak()).root;
    Verifier::new(TrustRoots::danger_trust_instead(
        tee.root().to_vec(),
        vec![ak_root],
    ))
}

fn verify(tee: &Tee, form: Form) -> Result<Verified, Refusal> {
    verify_with(&verifier(tee), tee, form)
}

fn verify_with(verifier: &Verifier, tee: &Tee, form: Form) -> Result<Verified, Refusal> {
    let document = tee.document(form.kind(), &form.binding());
    verify_document(verifier, tee, form, &document)
}

fn verify_document(
    verifier: &Verifier,
    tee: &Tee,
    form: Form,
    document: &[u8],
) -> Result<Verified, Refusal> {
    let evidence = match form.is_atls() {
        true => Evidence::parse_atls(form.kind(), document),
        false => Evidence::parse_ratls(form.kind(), document),
    }
    .map_err(Refusal::Parsing)?;
    let json = tee.collateral().to_json();
    let collateral = Collateral::parse(json.as_bytes()).unwrap();
    verifier
        .verify(&evidence, &collateral, &form.binding(), NOW)
        .map_err(Refusal::Verifying)
}

/// What a fault must lead to.
enum Expected {
    /// A refusal of this form, which is also given as text.
    Refused(fn(&Refusal) -> bool, &'static str),
    /// Proof, but with this status, these advisories and these parts short.
    Status(TcbStatus, &'static [&'static str], &'static [TcbPart]),
    /// Proof: what is unusual proves nothing wrong.
    Accepted,
}
use Expected::{Accepted, Status};

/// [`Expected::Refused`] with an error of `attestation`'s verification.
macro_rules! refused {
    ($($error:tt)+) => {
        Expected::Refused(
            |refusal| matches!(refusal, Refusal::Verifying($($error)+)),
            stringify!($($error)+),
        )
    };
}

/// [`Expected::Refused`] with an error of `attestation`'s parsing.
macro_rules! unparsed {
    ($($error:tt)+) => {
        Expected::Refused(
            |refusal| matches!(refusal, Refusal::Parsing($($error)+)),
            stringify!($($error)+),
        )
    };
}

/// [`Expected::Refused`] because the quote is not genuine, with this in the text.
macro_rules! not_genuine {
    ($text:literal) => {
        Expected::Refused(
            |refusal| {
                matches!(refusal, Refusal::Verifying(VerifyError::Quote(text)) if text.contains($text))
            },
            concat!("VerifyError::Quote(…", $text, "…)"),
        )
    };
}

fn expected(fault: Fault, form: Form) -> Expected {
    match fault {
        Fault::Pki(fault) => of_pki(fault),
        Fault::Tcb(fault) => of_tcb(fault),
        Fault::Qe(fault) => of_qe(fault),
        Fault::Td(fault) => of_td(fault, form),
        Fault::Quote(fault) => of_quote(fault),
        Fault::Hcl(fault) => of_hcl(fault, form),
        Fault::Tpm(fault) => of_tpm(fault, form),
        Fault::AkCertificate(fault) => of_ak_certificate(fault),
        Fault::AzureDocument(fault) => of_azure_document(fault, form),
        Fault::DcapDocument(fault) => of_dcap_document(fault),
    }
}

fn of_pki(fault: PkiFault) -> Expected {
    match fault {
        PkiFault::OtherRoot | PkiFault::RootCrlOfOtherKey => {
            not_genuine!("root CA CRL: InvalidCrlSignatureForPublicKey")
        }
        PkiFault::TcbSignerOfOtherRoot | PkiFault::PckOfOtherRoot => {
            not_genuine!("InvalidSignatureForPublicKey")
        }
        PkiFault::PckRevoked | PkiFault::PlatformCaRevoked | PkiFault::TcbSignerRevoked => {
            not_genuine!("CertRevoked")
        }
        PkiFault::PckExpired | PkiFault::PlatformCaExpired | PkiFault::TcbSignerExpired => {
            not_genuine!("CertExpired")
        }
        PkiFault::PckNotYetValid => not_genuine!("CertNotValidYet"),
        PkiFault::RootCrlExpired | PkiFault::PckCrlExpired => {
            refused!(VerifyError::Collateral(CollateralError::NotNow { .. }))
        }
        PkiFault::PckCrlOfOtherKey => not_genuine!("InvalidCrlSignatureForPublicKey"),
        PkiFault::PckCrlIsRootCrl => not_genuine!("UnknownRevocationStatus"),
        PkiFault::PckCrlMissing => {
            refused!(VerifyError::Collateral(CollateralError::Dates { .. }))
        }
        PkiFault::TcbSignerOfPlatformCa => not_genuine!("issued directly by the root CA"),
        PkiFault::PckWithoutSgxExtension | PkiFault::PckOfRoot => {
            refused!(VerifyError::Platform(PlatformKeyError::Pck(_)))
        }
        PkiFault::PckOfOtherFmspc => {
            refused!(VerifyError::OtherPlatform { field: "FMSPC", .. })
        }
        PkiFault::PckOfOtherPceId => {
            refused!(VerifyError::OtherPlatform { field: "PCEID", .. })
        }
    }
}

fn of_tcb(fault: TcbFault) -> Expected {
    use TcbPart::{SgxTcb, TdxModule};
    match fault {
        TcbFault::SgxHalfOutOfDate | TcbFault::PceOutOfDate => {
            Status(TcbStatus::OutOfDate, &ADVISORIES, &[SgxTcb])
        }
        TcbFault::TdxHalfOutOfDate => Status(TcbStatus::OutOfDate, &ADVISORIES, &[TdxModule]),
        TcbFault::BothHalvesOutOfDate => {
            Status(TcbStatus::OutOfDate, &ADVISORIES, &[SgxTcb, TdxModule])
        }
        TcbFault::ModuleOutOfDate => Status(TcbStatus::OutOfDate, &MODULE_ADVISORIES, &[TdxModule]),
        TcbFault::ModuleTooOld => not_genuine!("ISVSVN 1 is below minimum"),
        TcbFault::ModuleUnknown => not_genuine!("No TDX module identity with id TDX_09"),
        TcbFault::ModuleOfOtherSigner => not_genuine!("module MRSIGNER mismatch"),
        TcbFault::NoLevel | TcbFault::AzureV6SeamLoader => {
            refused!(VerifyError::NoTcbLevel { .. })
        }
        TcbFault::ConfigurationNeeded => Status(TcbStatus::ConfigurationNeeded, &ADVISORIES, &[]),
        TcbFault::SwHardeningNeeded => Status(TcbStatus::SwHardeningNeeded, &ADVISORIES, &[]),
        TcbFault::ConfigurationAndSwHardeningNeeded => Status(
            TcbStatus::ConfigurationAndSwHardeningNeeded,
            &ADVISORIES,
            &[],
        ),
        TcbFault::OutOfDateConfigurationNeeded => {
            Status(TcbStatus::OutOfDateConfigurationNeeded, &ADVISORIES, &[])
        }
        TcbFault::LevelRevoked => refused!(VerifyError::TcbRevoked),
        TcbFault::UnknownStatus => {
            refused!(VerifyError::Collateral(CollateralError::Malformed(_)))
        }
        TcbFault::TcbInfoExpired | TcbFault::TcbInfoNotYetIssued => {
            refused!(VerifyError::Collateral(CollateralError::NotNow { .. }))
        }
        TcbFault::TcbInfoAltered | TcbFault::TcbInfoOfOtherKey => {
            not_genuine!("Signature is invalid for tcb_info")
        }
        TcbFault::TcbInfoOfSgx | TcbFault::TcbInfoVersion2 => not_genuine!("non-TDX TCB info"),
        TcbFault::TcbInfoOfOtherFmspc => {
            refused!(VerifyError::OtherPlatform { field: "FMSPC", .. })
        }
        TcbFault::TcbInfoWithoutModule => not_genuine!("missing tdxModule"),
        TcbFault::TcbInfoNotJson => {
            refused!(VerifyError::Collateral(CollateralError::Dates { .. }))
        }
    }
}

fn of_qe(fault: QeFault) -> Expected {
    match fault {
        QeFault::IdentityExpired | QeFault::IdentityNotYetIssued => {
            refused!(VerifyError::Collateral(CollateralError::NotNow { .. }))
        }
        QeFault::IdentityAltered | QeFault::IdentityOfOtherKey => {
            not_genuine!("Signature is invalid for qe_identity")
        }
        QeFault::IdentityOfSgx | QeFault::IdentityVersion1 => {
            not_genuine!("QE Identity id/version")
        }
        QeFault::IdentityNotJson => {
            refused!(VerifyError::Collateral(CollateralError::Dates { .. }))
        }
        QeFault::OtherSigner => not_genuine!("QE MRSIGNER mismatch"),
        QeFault::OtherProduct => not_genuine!("QE ISVPRODID mismatch"),
        QeFault::OtherMiscSelect => not_genuine!("QE MISCSELECT mismatch"),
        QeFault::Debug => not_genuine!("Debug mode is enabled"),
        QeFault::OutOfDate => Status(TcbStatus::OutOfDate, &[], &[TcbPart::QuotingEnclave]),
        QeFault::TooOld => not_genuine!("below minimum required"),
        QeFault::Revoked => refused!(VerifyError::TcbRevoked),
        QeFault::ReportAltered | QeFault::ReportOfOtherKey => {
            not_genuine!("Signature is invalid for qe_report")
        }
        QeFault::OtherAttestationKey | QeFault::OtherAuthData => {
            not_genuine!("QE report hash mismatch")
        }
        QeFault::ReportDataUpperHalf => not_genuine!("second half of the QE report's data"),
    }
}

fn of_td(fault: TdFault, form: Form) -> Expected {
    match fault {
        TdFault::Debug | TdFault::Profiled => refused!(VerifyError::Td(TdError::Debug { .. })),
        TdFault::WithoutSeptVeDisable | TdFault::ReservedAttribute | TdFault::Migratable => {
            refused!(VerifyError::Td(TdError::Attributes { .. }))
        }
        TdFault::ReservedXfam | TdFault::XfamWithoutFixedBits => {
            refused!(VerifyError::Td(TdError::Xfam { .. }))
        }
        TdFault::SeamAttributes => not_genuine!("SEAMATTRIBUTES mismatch"),
        TdFault::OtherSeamSigner => not_genuine!("module MRSIGNER mismatch"),
        TdFault::ConfigId | TdFault::Owner | TdFault::OwnerConfig => {
            refused!(VerifyError::Td(TdError::HostField { .. }))
        }
        TdFault::OtherReportData if form.is_azure() => refused!(VerifyError::RuntimeDataHash),
        TdFault::ReportDataUpperHalf if form.is_azure() => refused!(VerifyError::ReportDataPadding),
        TdFault::OtherReportData | TdFault::ReportDataUpperHalf => {
            refused!(VerifyError::ReportData)
        }
    }
}

fn of_quote(fault: QuoteFault) -> Expected {
    match fault {
        QuoteFault::Empty
        | QuoteFault::HeaderOnly
        | QuoteFault::Truncated
        | QuoteFault::SignatureSizeTooLarge => {
            refused!(VerifyError::TdQuote(TdQuoteError::Truncated { .. }))
        }
        QuoteFault::Oversized => unparsed!(EvidenceError::TooLarge { .. }),
        QuoteFault::Version3 | QuoteFault::Version6 => {
            refused!(VerifyError::TdQuote(TdQuoteError::Version { .. }))
        }
        QuoteFault::OtherTee => {
            refused!(VerifyError::TdQuote(TdQuoteError::Value {
                field: "TEE type",
                ..
            }))
        }
        QuoteFault::OtherKeyType => {
            refused!(VerifyError::TdQuote(TdQuoteError::Value {
                field: "attestation key type",
                ..
            }))
        }
        QuoteFault::CertificationDataOfPpid => {
            refused!(VerifyError::TdQuote(TdQuoteError::Value {
                field: "certificate type",
                ..
            }))
        }
        QuoteFault::OtherVendor => refused!(VerifyError::TdQuote(TdQuoteError::QeVendor)),
        QuoteFault::BodyAltered
        | QuoteFault::SignatureAltered
        | QuoteFault::SignatureOfOtherKey => not_genuine!("report signature is invalid"),
        QuoteFault::ChainEmpty | QuoteFault::ChainTruncated => {
            refused!(VerifyError::Platform(PlatformKeyError::Pck(_)))
        }
        // Configfs pads quotes, so what follows one is not looked at.
        QuoteFault::Trailing => Accepted,
    }
}

fn of_hcl(fault: HclFault, form: Form) -> Expected {
    match fault {
        HclFault::OtherSignature
        | HclFault::Version3
        | HclFault::OtherRequestType
        | HclFault::RuntimeVersion2
        | HclFault::ReportOfSnp
        | HclFault::HashOfSha384 => unparsed!(EvidenceError::Hcl(HclError::Value { .. })),
        HclFault::RuntimeDataTooLong => {
            unparsed!(EvidenceError::Hcl(HclError::TooLarge { .. }))
        }
        HclFault::Truncated => unparsed!(EvidenceError::Hcl(HclError::Truncated { .. })),
        HclFault::Oversized => unparsed!(EvidenceError::TooLarge { .. }),
        HclFault::RuntimeDataAltered => refused!(VerifyError::RuntimeDataHash),
        HclFault::RuntimeDataNotJson | HclFault::RuntimeDataEmpty => {
            refused!(VerifyError::Hcl(HclError::RuntimeData(_)))
        }
        // The other document does not say which AK it is, but it has not signed.
        HclFault::OtherAk if form.is_atls() => refused!(VerifyError::OtherAk(AkSource::Document)),
        HclFault::OtherAk => refused!(VerifyError::TpmQuote(QuoteError::Signature)),
        HclFault::NoAk | HclFault::AkUnderOtherName => {
            refused!(VerifyError::Hcl(HclError::AkKeys { actual: 0 }))
        }
        HclFault::TwoAks => refused!(VerifyError::Hcl(HclError::AkKeys { actual: 2 })),
        HclFault::AkOfOtherType => refused!(VerifyError::Hcl(HclError::KeyType { .. })),
        HclFault::AkOfExponent3 => refused!(VerifyError::Hcl(HclError::Key(AkError::Exponent))),
        HclFault::AkNotBase64 => refused!(VerifyError::Hcl(HclError::KeyEncoding)),
        // aTLS does not use them.
        HclFault::OtherUserData if form.is_atls() => Accepted,
        HclFault::OtherUserData => refused!(VerifyError::HclUserData),
    }
}

fn of_tpm(fault: TpmFault, form: Form) -> Expected {
    match fault {
        TpmFault::OtherKey | TpmFault::SignatureAltered | TpmFault::StatementAltered => {
            refused!(VerifyError::TpmQuote(QuoteError::Signature))
        }
        // The other document carries the bare signature.
        TpmFault::SignatureOfPss if !form.is_atls() => {
            refused!(VerifyError::TpmQuote(QuoteError::Signature))
        }
        TpmFault::SignatureOfPss | TpmFault::SignatureOfSha1 => {
            refused!(VerifyError::TpmQuote(QuoteError::MalformedSignature(
                ParseError::Value { .. }
            )))
        }
        TpmFault::SignatureTruncated => {
            refused!(VerifyError::TpmQuote(QuoteError::MalformedSignature(_)))
        }
        TpmFault::NotGenerated => {
            refused!(VerifyError::TpmQuote(QuoteError::MalformedQuote(
                ParseError::Value { field: "magic", .. }
            )))
        }
        TpmFault::NotAQuote => {
            refused!(VerifyError::TpmQuote(QuoteError::MalformedQuote(
                ParseError::Value { field: "type", .. }
            )))
        }
        TpmFault::Truncated => {
            refused!(VerifyError::TpmQuote(QuoteError::MalformedQuote(
                ParseError::Truncated { .. }
            )))
        }
        TpmFault::Trailing => {
            refused!(VerifyError::TpmQuote(QuoteError::MalformedQuote(
                ParseError::Trailing { .. }
            )))
        }
        TpmFault::Oversized | TpmFault::DigestOfSha384 => {
            refused!(VerifyError::TpmQuote(QuoteError::MalformedQuote(
                ParseError::Size { .. }
            )))
        }
        TpmFault::OtherNonce | TpmFault::NoNonce => {
            refused!(VerifyError::TpmQuote(QuoteError::QualifyingData))
        }
        // The other document has nothing but values, and they have another size.
        TpmFault::Sha1Bank | TpmFault::Sha384Bank if !form.is_atls() => {
            unparsed!(EvidenceError::Json(_))
        }
        TpmFault::Sha1Bank | TpmFault::Sha384Bank => {
            unparsed!(EvidenceError::Sha256Quotes { actual: 0 })
        }
        TpmFault::TwoBanks => {
            refused!(VerifyError::TpmQuote(QuoteError::Selections { actual: 2 }))
        }
        TpmFault::NoBank => refused!(VerifyError::TpmQuote(QuoteError::Selections { actual: 0 })),
        TpmFault::NoPcr | TpmFault::PcrNotQuoted | TpmFault::PcrNotClaimed => {
            refused!(VerifyError::TpmQuote(QuoteError::PcrSelection { .. }))
        }
        TpmFault::PcrAltered | TpmFault::PcrsSwapped | TpmFault::OtherDigest => {
            refused!(VerifyError::TpmQuote(QuoteError::PcrDigest { .. }))
        }
    }
}

fn of_ak_certificate(fault: AkCertificateFault) -> Expected {
    match fault {
        AkCertificateFault::OtherRoot
        | AkCertificateFault::Expired
        | AkCertificateFault::IntermediateExpired
        | AkCertificateFault::IntermediateMissing
        | AkCertificateFault::IntermediateIsNoCa
        | AkCertificateFault::Altered => {
            refused!(VerifyError::AkCertificate(AkCertificateError::Chain(_)))
        }
        AkCertificateFault::OtherKey => refused!(VerifyError::OtherAk(AkSource::Certificate)),
        AkCertificateFault::Malformed => {
            refused!(VerifyError::AkCertificate(AkCertificateError::Malformed))
        }
        AkCertificateFault::Missing => unparsed!(EvidenceError::Pem),
    }
}

fn of_azure_document(fault: AzureDocumentFault, form: Form) -> Expected {
    match fault {
        AzureDocumentFault::Empty
        | AzureDocumentFault::NotJson
        | AzureDocumentFault::Truncated
        | AzureDocumentFault::Trailing
        | AzureDocumentFault::NoUserData
        | AzureDocumentFault::OtherAlphabet => unparsed!(EvidenceError::Json(_)),
        AzureDocumentFault::Oversized => unparsed!(EvidenceError::TooLarge { .. }),
        AzureDocumentFault::NoQuote if !form.is_atls() => unparsed!(EvidenceError::Json(_)),
        AzureDocumentFault::NoQuote | AzureDocumentFault::OtherBankClaimed => {
            unparsed!(EvidenceError::Sha256Quotes { actual: 0 })
        }
        AzureDocumentFault::TwoQuotes => unparsed!(EvidenceError::Sha256Quotes { actual: 2 }),
        AzureDocumentFault::ValuesBesideSha384Quote => {
            refused!(VerifyError::TpmQuote(QuoteError::PcrDigest { .. }))
        }
        AzureDocumentFault::UnvouchedAk if !form.is_atls() => {
            refused!(VerifyError::TpmQuote(QuoteError::Signature))
        }
        AzureDocumentFault::UnvouchedAk | AzureDocumentFault::OtherAk => {
            refused!(VerifyError::OtherAk(AkSource::Document))
        }
        AzureDocumentFault::UnrestrictedAk => {
            refused!(VerifyError::Ak(AkError::Attributes { .. }))
        }
        AzureDocumentFault::OtherUserData | AzureDocumentFault::UserDataTooShort => {
            refused!(VerifyError::UserData)
        }
        AzureDocumentFault::NoTdQuote => {
            refused!(VerifyError::TdQuote(TdQuoteError::Truncated { .. }))
        }
        AzureDocumentFault::InstanceInfoRewritten => {
            refused!(VerifyError::TpmQuote(QuoteError::QualifyingData))
        }
        AzureDocumentFault::PcrOutOfRange if !form.is_atls() => {
            unparsed!(EvidenceError::TooMany { .. })
        }
        AzureDocumentFault::PcrOutOfRange => {
            refused!(VerifyError::TpmQuote(QuoteError::PcrSelection { .. }))
        }
        AzureDocumentFault::PcrTooShort if !form.is_atls() => unparsed!(EvidenceError::Json(_)),
        AzureDocumentFault::PcrTooShort => {
            unparsed!(EvidenceError::PcrSize { register: 11, .. })
        }
        // What nobody knows is passed over, however deep, and so are other banks.
        AzureDocumentFault::Nested | AzureDocumentFault::Sha1QuoteToo => Accepted,
    }
}

fn of_dcap_document(fault: DcapDocumentFault) -> Expected {
    match fault {
        DcapDocumentFault::Empty
        | DcapDocumentFault::NotJson
        | DcapDocumentFault::Truncated
        | DcapDocumentFault::Trailing
        | DcapDocumentFault::NoUserData
        | DcapDocumentFault::NoQuote => unparsed!(EvidenceError::Json(_)),
        DcapDocumentFault::OtherUserData => refused!(VerifyError::UserData),
    }
}

#[test]
fn valid_evidence_of_each_form_proves_the_machine_it_is_of() {
    let mut tee = Tee::new(1, now());
    for form in Form::ALL {
        for quote_form in [QuoteForm::V4, QuoteForm::V5Td10, QuoteForm::V5Td15] {
            tee.quote_form = quote_form;
            let verified = verify(&tee, form).unwrap();
            assert_eq!(verified.kind(), form.kind());
            assert_eq!(verified.tcb().status, TcbStatus::UpToDate);
            assert!(!verified.roots_are_pinned());
            assert_eq!(verified.has_ak_certificate(), form == Form::AzureRatls);
            let registers: Vec<RegisterValue> = verified.registers().values().copied().collect();
            assert_eq!(registers, registers_of(&tee, form));
        }
    }
}

fn registers_of(tee: &Tee, form: Form) -> Vec<RegisterValue> {
    match form.is_azure() {
        true => tee
            .pcrs
            .values()
            .map(|value| RegisterValue::Sha256(measurements::Digest(*value)))
            .collect(),
        false => std::iter::once(tee.td.mrtd)
            .chain(tee.td.rtmrs)
            .map(|value| RegisterValue::Sha384(measurements::Digest(value)))
            .collect(),
    }
}

#[test]
fn certificates_in_an_atls_document_are_verified_too() {
    let tee = Tee::new(1, now());
    let form = Form::AzureAtls;
    let document = tee
        .azure_atls([1; 32], b"nonce")
        .atls_document_with_certificates();
    let evidence = Evidence::parse_atls(form.kind(), &document).unwrap();
    let collateral = Collateral::parse(tee.collateral().to_json().as_bytes()).unwrap();
    let verified = verifier(&tee)
        .verify(&evidence, &collateral, &form.binding(), NOW)
        .unwrap();
    assert!(verified.has_ak_certificate());
}

/// Each fault of a layer, in each form in which it is to be seen.
fn check(faults: impl Iterator<Item = Fault>) {
    let valid = Tee::new(1, now());
    for fault in faults {
        let tee = Tee::with_fault(1, now(), fault);
        let has_valid_collateral = tee.collateral() == valid.collateral();
        for form in Form::ALL {
            let document = |tee: &Tee| tee.document(form.kind(), &form.binding());
            if has_valid_collateral && document(&tee) == document(&valid) {
                continue;
            }
            let result = verify(&tee, form);
            match (expected(fault, form), &result) {
                (Expected::Refused(is_expected, _), Err(refusal)) if is_expected(refusal) => {}
                (Status(status, advisories, parts), Ok(verified)) => {
                    let tcb = verified.tcb();
                    let ids: Vec<&str> = tcb.advisory_ids.iter().map(String::as_str).collect();
                    let short = BTreeSet::from_iter(parts.iter().copied());
                    assert_eq!(tcb.status, status, "{fault}, {form:?}");
                    assert_eq!(ids, advisories, "{fault}, {form:?}");
                    assert_eq!(tcb.short_parts(), short, "{fault}, {form:?}");
                }
                (Accepted, Ok(verified)) => {
                    assert_eq!(
                        verified.tcb().status,
                        TcbStatus::UpToDate,
                        "{fault}, {form:?}"
                    );
                }
                (Expected::Refused(_, text), _) => {
                    panic!("{fault}, {form:?}: expected {text}, got {result:?}")
                }
                (_, Err(refusal)) => panic!("{fault}, {form:?}: refused with {refusal:?}"),
            }
        }
    }
}

/// One test per layer, so that they run side by side.
macro_rules! check {
    ($($name:ident: $faults:ident,)+) => {
        $(
            #[test]
            fn $name() {
                check($faults::ALL.iter().map(|fault| Fault::from(*fault)));
            }
        )+

        #[test]
        fn no_layer_is_forgotten() {
            let checked = [$($faults::ALL.len(),)+];
            assert_eq!(checked.iter().sum::<usize>(), Fault::all().count());
        }
    };
}

check! {
    each_fault_of_certificates_is_refused_with_its_error: PkiFault,
    each_tcb_status_is_told_and_each_wrong_tcb_info_refused: TcbFault,
    each_fault_of_the_quoting_enclave_is_refused_with_its_error: QeFault,
    each_fault_of_the_td_is_refused_with_its_error: TdFault,
    each_fault_of_the_td_quote_is_refused_with_its_error: QuoteFault,
    each_fault_of_the_hcl_report_is_refused_with_its_error: HclFault,
    each_fault_of_the_tpm_quote_is_refused_with_its_error: TpmFault,
    each_fault_of_ak_certificates_is_refused_with_its_error: AkCertificateFault,
    each_fault_of_the_azure_document_is_refused_with_its_error: AzureDocumentFault,
    each_fault_of_the_dcap_document_is_refused_with_its_error: DcapDocumentFault,
}

#[test]
fn the_v6_override_is_for_that_machine_on_azure_alone() {
    let tee = Tee::with_fault(1, now(), TcbFault::AzureV6SeamLoader);
    let verifier = verifier(&tee).with_azure_v6_tcb_override();
    let verified = verify_with(&verifier, &tee, Form::AzureAtls).unwrap();
    assert_eq!(verified.tcb().status, TcbStatus::UpToDate);
    assert!(verified.tcb().azure_v6_override);
    let refused = verify_with(&verifier, &tee, Form::DcapAtls);
    assert!(matches!(
        refused,
        Err(Refusal::Verifying(VerifyError::NoTcbLevel { .. }))
    ));
    // Another machine below all levels gains nothing.
    let tee = Tee::with_fault(1, now(), TcbFault::NoLevel);
    let refused = verify_with(&verifier, &tee, Form::AzureAtls);
    assert!(matches!(
        refused,
        Err(Refusal::Verifying(VerifyError::NoTcbLevel { .. }))
    ));
}

/// A hundred bits per document, spread over it; which of the eight changes with the place.
#[test]
fn a_flipped_bit_is_refused_or_changes_nothing() {
    let tee = Tee::new(1, now());
    let verifier = verifier(&tee);
    for form in Form::ALL {
        let document = tee.document(form.kind(), &form.binding());
        let valid = verify_document(&verifier, &tee, form, &document).unwrap();
        let places = (0..document.len()).step_by(document.len() / 100);
        for (number, place) in places.enumerate() {
            let mut altered = document.clone();
            altered[place] ^= 1 << (number % 8);
            if let Ok(verified) = verify_document(&verifier, &tee, form, &altered) {
                assert_eq!(verified, valid, "{form:?}: bit {number} of byte {place}");
            }
        }
    }
}

#[test]
fn another_connection_is_refused() {
    let tee = Tee::new(1, now());
    let collateral = Collateral::parse(tee.collateral().to_json().as_bytes()).unwrap();
    for (form, other) in [
        (
            Form::AzureAtls,
            Binding::atls_user_data([1; 32], b"another nonce"),
        ),
        (
            Form::DcapAtls,
            Binding::atls_user_data([1; 32], b"another nonce"),
        ),
        (Form::AzureRatls, Binding::ratls_input_data([3; 64])),
        (Form::DcapRatls, Binding::ratls_input_data([3; 64])),
    ] {
        let document = tee.document(form.kind(), &form.binding());
        let evidence = match form.is_atls() {
            true => Evidence::parse_atls(form.kind(), &document).unwrap(),
            false => Evidence::parse_ratls(form.kind(), &document).unwrap(),
        };
        let error = verifier(&tee)
            .verify(&evidence, &collateral, &other, NOW)
            .unwrap_err();
        let is_expected = match form {
            Form::AzureAtls => {
                matches!(error, VerifyError::TpmQuote(QuoteError::QualifyingData))
            }
            Form::AzureRatls => matches!(error, VerifyError::HclUserData),
            Form::DcapAtls | Form::DcapRatls => matches!(error, VerifyError::ReportData),
        };
        assert!(is_expected, "{form:?}: {error:?}");
    }
}

#[test]
fn the_production_roots_do_not_trust_it() {
    let tee = Tee::new(1, now());
    for form in Form::ALL {
        let result = verify_with(&Verifier::new(TrustRoots::pinned()), &tee, form);
        assert!(
            matches!(&result, Err(Refusal::Verifying(VerifyError::Quote(_)))),
            "{form:?}: {result:?}"
        );
    }
}

#[test]
fn the_attester_makes_the_same_evidence_and_it_survives_being_written() {
    let tee = Tee::new(1, now());
    for form in Form::ALL {
        let binding = form.binding();
        let attester = tee.attester(form.kind());
        let evidence = ready(attester.attest(&binding)).unwrap();
        assert_eq!(evidence.kind(), form.kind());
        let document = evidence.to_document();
        let again = match form.is_atls() {
            true => Evidence::parse_atls(form.kind(), &document).unwrap(),
            false => Evidence::parse_ratls(form.kind(), &document).unwrap(),
        };
        assert_eq!(again, evidence);
    }
    let malformed = Tee::with_fault(1, now(), AzureDocumentFault::NotJson);
    let attester = malformed.attester(EvidenceKind::AzureTdx);
    let error = ready(attester.attest(&Form::AzureAtls.binding())).unwrap_err();
    assert_eq!(error.to_string(), "make evidence");
}

/// The result of a future that waits for nothing.
fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => panic!("the test TEE waits"),
    }
}
