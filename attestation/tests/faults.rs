//! Evidence of a TEE of test keys, wrong in one way at a time: each is refused for its own reason.
//!
//! The TEE is written from the specifications, without this crate's code, so that accepting what
//! is right is as much of a test as refusing what is wrong.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

use std::time::{Duration, SystemTime};

use attestation::collateral::{Collateral, PlatformKey, PlatformKeyError};
use attestation::verify::{TcbPart, Verified, Verifier};
use attestation::{Binding, Evidence, EvidenceKind, TcbStatus, TrustRoots, VerifyError};
use testkit::tee::ak_certificate::AkCertificateFault;
use testkit::tee::azure_document::AzureDocumentFault;
use testkit::tee::dcap_document::DcapDocumentFault;
use testkit::tee::fault::Fault;
use testkit::tee::hcl::HclFault;
use testkit::tee::pki::PkiFault;
use testkit::tee::qe::QeFault;
use testkit::tee::quote::QuoteFault;
use testkit::tee::tcb::TcbFault;
use testkit::tee::td::TdFault;
use testkit::tee::tpm_quote::TpmFault;
use testkit::tee::{QuoteForm, Tee};

const NOW: u64 = 1_790_000_000;
const USER_DATA: [u8; 32] = [7; 32];
const NONCE: &[u8] = b"nonce";
const INPUT_DATA: [u8; 64] = [9; 64];

/// How a document of a machine reaches a verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    AzureAtls,
    AzureAtlsWithCertificates,
    AzureRatls,
    DcapAtls,
    DcapRatls,
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
}

/// Trusts the roots of the machine that has no fault.
fn verifier() -> Verifier {
    let tee = Tee::new(1, now());
    let ak_root = tee.ak_certificates(&tee.ak()).root;
    let roots = TrustRoots::danger_trust_instead(tee.root().to_vec(), vec![ak_root]);
    Verifier::new(roots)
}

fn document(tee: &Tee, form: Form) -> Vec<u8> {
    match form {
        Form::AzureAtls => tee.azure_atls(USER_DATA, NONCE).atls_document(),
        Form::AzureAtlsWithCertificates => tee
            .azure_atls(USER_DATA, NONCE)
            .atls_document_with_certificates(),
        Form::AzureRatls => tee.azure_ratls(INPUT_DATA).ratls_document(),
        Form::DcapAtls => tee.dcap_atls(USER_DATA, NONCE).atls_document(),
        Form::DcapRatls => tee.dcap_ratls(INPUT_DATA).td_quote,
    }
}

fn parse(document: &[u8], form: Form) -> Result<Evidence, attestation::evidence::EvidenceError> {
    use EvidenceKind::{AzureTdx, DcapTdx};
    match form {
        Form::AzureAtls | Form::AzureAtlsWithCertificates => {
            Evidence::parse_atls(AzureTdx, document)
        }
        Form::AzureRatls => Evidence::parse_ratls(AzureTdx, document),
        Form::DcapAtls => Evidence::parse_atls(DcapTdx, document),
        Form::DcapRatls => Evidence::parse_ratls(DcapTdx, document),
    }
}

fn binding(form: Form) -> Binding {
    match form {
        Form::AzureRatls | Form::DcapRatls => Binding::ratls_input_data(INPUT_DATA),
        _ => Binding::atls_user_data(USER_DATA, NONCE),
    }
}

/// What becomes of a machine's evidence, with the claims if it is accepted.
fn verify(verifier: &Verifier, tee: &Tee, form: Form) -> Result<Verified, String> {
    let evidence = parse(&document(tee, form), form).map_err(|error| format!("{error:?}"))?;
    let collateral = Collateral::parse(tee.collateral().to_json().as_bytes()).unwrap();
    verifier
        .verify(&evidence, &collateral, &binding(form), NOW)
        .map_err(|error| format!("{error:?}"))
}

/// The beginning of the error, for aTLS of Azure, `flashbots-ratls/1` of Azure, and DCAP; or
/// `ACCEPTED`, where a fault is in what the form does not have or does not use.
struct Expected(&'static str, &'static str, &'static str);

const ACCEPTED: &str = "";

fn everywhere(error: &'static str) -> Expected {
    Expected(error, error, error)
}

fn expected(fault: Fault) -> Expected {
    match fault {
        Fault::Pki(fault) => everywhere(expected_of_pki(fault)),
        Fault::Tcb(fault) => everywhere(expected_of_tcb(fault)),
        Fault::Qe(fault) => everywhere(expected_of_qe(fault)),
        Fault::Td(fault) => expected_of_td(fault),
        Fault::Quote(fault) => everywhere(expected_of_quote(fault)),
        Fault::Hcl(fault) => {
            let (atls, ratls) = expected_of_hcl(fault);
            Expected(atls, ratls, "")
        }
        Fault::Tpm(fault) => {
            let (atls, ratls) = expected_of_tpm(fault);
            Expected(atls, ratls, "")
        }
        Fault::AkCertificate(fault) => {
            let (atls, ratls) = expected_of_ak_certificate(fault);
            Expected(atls, ratls, "")
        }
        Fault::AzureDocument(fault) => {
            let (atls, ratls) = expected_of_azure_document(fault);
            Expected(atls, ratls, "")
        }
        Fault::DcapDocument(fault) => Expected("", "", expected_of_dcap_document(fault)),
    }
}

fn expected_of_pki(fault: PkiFault) -> &'static str {
    use PkiFault::*;
    match fault {
        OtherRoot | RootCrlOfOtherKey => {
            "Quote(\"Failed to parse root CA CRL: InvalidCrlSignatureForPublicKey\")"
        }
        TcbSignerOfOtherRoot | PckOfOtherRoot => {
            "Quote(\"Failed to verify certificate chain: InvalidSignatureForPublicKey\")"
        }
        PckRevoked | PlatformCaRevoked | TcbSignerRevoked => {
            "Quote(\"Failed to verify certificate chain: CertRevoked\")"
        }
        PckExpired | PlatformCaExpired | TcbSignerExpired => {
            "Quote(\"Failed to verify certificate chain: CertExpired"
        }
        PckNotYetValid => "Quote(\"Failed to verify certificate chain: CertNotValidYet",
        RootCrlExpired => "Collateral(NotNow { part: RootCrl",
        PckCrlExpired => "Collateral(NotNow { part: PckCrl",
        PckCrlOfOtherKey => {
            "Quote(\"Failed to verify certificate chain: InvalidCrlSignatureForPublicKey\")"
        }
        PckCrlIsRootCrl => "Quote(\"Failed to verify certificate chain: UnknownRevocationStatus\")",
        PckCrlMissing => "Collateral(Dates { part: PckCrl })",
        PckOfRoot => "Platform(",
        TcbSignerOfPlatformCa => {
            "Quote(\"TCB Info signer must be issued directly by the root CA\")"
        }
        PckWithoutSgxExtension => "Platform(Pck(\"Intel extension not found\"))",
        PckOfOtherFmspc => "OtherPlatform { field: \"FMSPC\"",
        PckOfOtherPceId => "OtherPlatform { field: \"PCEID\"",
    }
}

fn expected_of_tcb(fault: TcbFault) -> &'static str {
    use TcbFault::*;
    match fault {
        // A status that is not the best is for a policy to judge.
        SgxHalfOutOfDate
        | TdxHalfOutOfDate
        | BothHalvesOutOfDate
        | PceOutOfDate
        | ModuleOutOfDate
        | ConfigurationNeeded
        | SwHardeningNeeded
        | ConfigurationAndSwHardeningNeeded
        | OutOfDateConfigurationNeeded => ACCEPTED,
        ModuleTooOld => "Quote(\"TDX module TCB level check: TDX module ISVSVN 1 is below",
        ModuleUnknown => "Quote(\"TDX module TCB level check: No TDX module identity",
        ModuleOfOtherSigner => "Quote(\"TDX module identity check: TDX module MRSIGNER",
        NoLevel | AzureV6SeamLoader => "NoTcbLevel",
        LevelRevoked => "TcbRevoked",
        UnknownStatus => "Collateral(Malformed(Error(\"unknown variant",
        TcbInfoExpired | TcbInfoNotYetIssued => "Collateral(NotNow { part: TcbInfo",
        TcbInfoAltered | TcbInfoOfOtherKey => "Quote(\"Signature is invalid for tcb_info",
        TcbInfoOfSgx | TcbInfoVersion2 => "Quote(\"TDX quote with non-TDX TCB info",
        TcbInfoOfOtherFmspc => "OtherPlatform { field: \"FMSPC\"",
        TcbInfoWithoutModule => "Quote(\"TDX module identity check: TDX TCB Info is missing",
        TcbInfoNotJson => "Collateral(Dates { part: TcbInfo })",
    }
}

fn expected_of_qe(fault: QeFault) -> &'static str {
    use QeFault::*;
    match fault {
        IdentityExpired | IdentityNotYetIssued => "Collateral(NotNow { part: QeIdentity",
        IdentityAltered | IdentityOfOtherKey => "Quote(\"Signature is invalid for qe_identity",
        IdentityOfSgx => "Quote(\"Unsupported QE Identity id/version for the quote TEE type: QE",
        IdentityVersion1 => "Quote(\"Unsupported QE Identity id/version",
        IdentityNotJson => "Collateral(Dates { part: QeIdentity })",
        OtherSigner => "Quote(\"QE MRSIGNER mismatch",
        OtherProduct => "Quote(\"QE ISVPRODID mismatch",
        OtherMiscSelect => "Quote(\"QE MISCSELECT mismatch",
        Debug => "Quote(\"QE report validation failed: Debug mode is enabled\")",
        OutOfDate => ACCEPTED,
        TooOld => "Quote(\"QE ISVSVN 1 is below minimum",
        Revoked => "TcbRevoked",
        ReportAltered | ReportOfOtherKey => "Quote(\"Signature is invalid for qe_report",
        OtherAttestationKey | OtherAuthData => "Quote(\"QE report hash mismatch\")",
        ReportDataUpperHalf => "Quote(\"second half of the QE report's data is not zero\")",
    }
}

fn expected_of_td(fault: TdFault) -> Expected {
    use TdFault::*;
    match fault {
        Debug | Profiled => everywhere("Td(Debug {"),
        WithoutSeptVeDisable | ReservedAttribute | Migratable => everywhere("Td(Attributes {"),
        ReservedXfam | XfamWithoutFixedBits => everywhere("Td(Xfam {"),
        SeamAttributes => everywhere("Quote(\"TDX module identity check: TDX module SEAMATTR"),
        OtherSeamSigner => everywhere("Quote(\"TDX module identity check: TDX module MRSIGNER"),
        ConfigId => everywhere("Td(HostField { field: \"MRCONFIGID\""),
        Owner => everywhere("Td(HostField { field: \"MROWNER\""),
        OwnerConfig => everywhere("Td(HostField { field: \"MROWNERCONFIG\""),
        OtherReportData => Expected("RuntimeDataHash", "RuntimeDataHash", "ReportData"),
        ReportDataUpperHalf => Expected("ReportDataPadding", "ReportDataPadding", "ReportData"),
    }
}

fn expected_of_quote(fault: QuoteFault) -> &'static str {
    use QuoteFault::*;
    match fault {
        Empty => "TdQuote(Truncated { field: \"version\" })",
        HeaderOnly => "TdQuote(Truncated { field: \"TEE_TCB_SVN\" })",
        Truncated | SignatureSizeTooLarge => {
            "TdQuote(Truncated { field: \"authentication data\" })"
        }
        // Existing attesters pad.
        Trailing => ACCEPTED,
        Oversized => "TooLarge { field: \"document\"",
        Version3 => "TdQuote(Version { actual: 3 })",
        Version6 => "TdQuote(Version { actual: 6 })",
        OtherTee => "TdQuote(Value { field: \"TEE type\"",
        OtherKeyType => "TdQuote(Value { field: \"attestation key type\"",
        OtherVendor => "TdQuote(QeVendor)",
        BodyAltered | SignatureAltered | SignatureOfOtherKey => {
            "Quote(\"ISV enclave report signature is invalid\")"
        }
        CertificationDataOfPpid => "TdQuote(Value { field: \"certificate type\"",
        ChainEmpty | ChainTruncated => "Platform(Pck(",
    }
}

fn expected_of_hcl(fault: HclFault) -> (&'static str, &'static str) {
    use HclFault::*;
    let both = |error| (error, error);
    match fault {
        // aTLS has the runtime data only.
        OtherSignature => (ACCEPTED, "Hcl(Value { field: \"signature\""),
        Version3 => (ACCEPTED, "Hcl(Value { field: \"version\""),
        OtherRequestType => (ACCEPTED, "Hcl(Value { field: \"request_type\""),
        RuntimeVersion2 => (ACCEPTED, "Hcl(Value { field: \"data version\""),
        ReportOfSnp => (ACCEPTED, "Hcl(Value { field: \"report_type\""),
        HashOfSha384 => (ACCEPTED, "Hcl(Value { field: \"hash_type\""),
        RuntimeDataTooLong => (ACCEPTED, "Hcl(TooLarge { field: \"runtime data\""),
        Truncated => (ACCEPTED, "Hcl(Truncated { field:"),
        RuntimeDataAltered => both("RuntimeDataHash"),
        RuntimeDataNotJson | RuntimeDataEmpty => both("Hcl(RuntimeData(Error("),
        Oversized => both("TooLarge { field: \"document\""),
        // Where the document has no AK itself, the quote's signature tells.
        OtherAk => ("OtherAk(Document)", "TpmQuote(Signature)"),
        NoAk | AkUnderOtherName => both("Hcl(AkKeys { actual: 0 })"),
        TwoAks => both("Hcl(AkKeys { actual: 2 })"),
        AkOfOtherType => both("Hcl(KeyType { actual: \"EC\" })"),
        AkOfExponent3 => both("Hcl(Key(Exponent))"),
        AkNotBase64 => both("Hcl(KeyEncoding)"),
        // aTLS does not use them.
        OtherUserData => (ACCEPTED, "HclUserData"),
    }
}

fn expected_of_tpm(fault: TpmFault) -> (&'static str, &'static str) {
    use TpmFault::*;
    let both = |error| (error, error);
    match fault {
        OtherKey | SignatureAltered | StatementAltered => both("TpmQuote(Signature)"),
        // The other document has the signature proper, without what it says of itself.
        SignatureOfPss => (
            "TpmQuote(MalformedSignature(Value { field: \"sigAlg\"",
            "TpmQuote(Signature)",
        ),
        SignatureOfSha1 => (
            "TpmQuote(MalformedSignature(Value { field: \"hash\"",
            ACCEPTED,
        ),
        NotGenerated => both("TpmQuote(MalformedQuote(Value { field: \"magic\""),
        NotAQuote => both("TpmQuote(MalformedQuote(Value { field: \"type\""),
        OtherNonce | NoNonce => both("TpmQuote(QualifyingData)"),
        Sha1Bank | Sha384Bank => ("Sha256Quotes { actual: 0 }", "Json(Error("),
        TwoBanks => both("TpmQuote(Selections { actual: 2 })"),
        NoBank => both("TpmQuote(Selections { actual: 0 })"),
        NoPcr | PcrNotQuoted | PcrNotClaimed => both("TpmQuote(PcrSelection {"),
        PcrAltered | PcrsSwapped | OtherDigest => both("TpmQuote(PcrDigest {"),
        DigestOfSha384 => both("TpmQuote(MalformedQuote(Size { field: \"pcrDigest\""),
        Truncated => both("TpmQuote(MalformedQuote(Truncated { field: \"pcrDigest\""),
        Trailing => both("TpmQuote(MalformedQuote(Trailing {"),
        SignatureTruncated => both("TpmQuote(MalformedSignature("),
        Oversized => both("TpmQuote(MalformedQuote(Size { field: \"extraData\""),
    }
}

/// With certificates, in either document.
fn expected_of_ak_certificate(fault: AkCertificateFault) -> (&'static str, &'static str) {
    use AkCertificateFault::*;
    let both = |error| (error, error);
    match fault {
        OtherRoot => both("AkCertificate(Chain("),
        Expired | IntermediateExpired => both("AkCertificate(Chain(CertExpired"),
        IntermediateMissing => both("AkCertificate(Chain(UnknownIssuer))"),
        IntermediateIsNoCa => both("AkCertificate(Chain(EndEntityUsedAsCa))"),
        OtherKey => both("OtherAk(Certificate)"),
        Altered => both("AkCertificate(Chain(InvalidSignatureForPublicKey))"),
        Malformed => both("AkCertificate(Malformed)"),
        Missing => ("AkCertificate(Malformed)", "Pem"),
    }
}

fn expected_of_azure_document(fault: AzureDocumentFault) -> (&'static str, &'static str) {
    use AzureDocumentFault::*;
    let both = |error| (error, error);
    match fault {
        Empty | NotJson | Truncated | Trailing => both("Json(Error("),
        Oversized => both("TooLarge { field: \"document\""),
        // What is not known is passed over, at any depth.
        Nested => both(ACCEPTED),
        NoQuote => ("Sha256Quotes { actual: 0 }", "Json(Error("),
        TwoQuotes => ("Sha256Quotes { actual: 2 }", ACCEPTED),
        Sha1QuoteToo => both(ACCEPTED),
        ValuesBesideSha384Quote => both("TpmQuote(PcrDigest {"),
        UnvouchedAk => ("OtherAk(Document)", "TpmQuote(Signature)"),
        // The other document has no AK of its own.
        UnrestrictedAk => ("Ak(Attributes {", ACCEPTED),
        OtherAk => ("OtherAk(Document)", ACCEPTED),
        OtherUserData | UserDataTooShort => ("UserData", ACCEPTED),
        NoUserData => ("Json(Error(\"missing field `UserData`\"", ACCEPTED),
        NoTdQuote => both("TdQuote(Truncated { field: \"version\" })"),
        InstanceInfoRewritten => ("TpmQuote(QualifyingData)", ACCEPTED),
        PcrOutOfRange => ("TpmQuote(PcrSelection {", "TooMany { field: \"PCRs\""),
        PcrTooShort => ("PcrSize { register: 11, actual: 31 }", "Json(Error("),
        OtherBankClaimed => ("Sha256Quotes { actual: 0 }", ACCEPTED),
        OtherAlphabet => ("Json(Error(\"Invalid symbol", ACCEPTED),
    }
}

fn expected_of_dcap_document(fault: DcapDocumentFault) -> &'static str {
    use DcapDocumentFault::*;
    match fault {
        Empty | NotJson | Truncated | Trailing | NoUserData | NoQuote => "Json(Error(",
        OtherUserData => "UserData",
    }
}

/// Checks one layer's faults in the forms that can have them.
fn check(faults: impl IntoIterator<Item = impl Into<Fault>>) {
    let verifier = verifier();
    for fault in faults {
        let fault = fault.into();
        let tee = Tee::with_fault(1, now(), fault);
        let Expected(azure_atls, azure_ratls, dcap) = expected(fault);
        let mut forms = Vec::new();
        if fault.is_in_azure() {
            let atls = match fault {
                Fault::AkCertificate(_) => Form::AzureAtlsWithCertificates,
                _ => Form::AzureAtls,
            };
            forms.extend([(atls, azure_atls), (Form::AzureRatls, azure_ratls)]);
        }
        if fault.is_in_dcap() {
            forms.push((Form::DcapAtls, dcap));
            if !matches!(fault, Fault::DcapDocument(_)) {
                forms.push((Form::DcapRatls, dcap));
            }
        }
        for (form, expected) in forms {
            match (verify(&verifier, &tee, form), expected) {
                (Ok(_), ACCEPTED) => {}
                (Err(error), expected) if expected != ACCEPTED && error.starts_with(expected) => {}
                (outcome, expected) => {
                    panic!("{fault} {form:?}: expected {expected:?}, got {outcome:?}")
                }
            }
        }
    }
}

#[test]
fn what_is_right_is_accepted() {
    let verifier = verifier();
    let mut tee = Tee::new(1, now());
    for quote_form in [QuoteForm::V4, QuoteForm::V5Td10, QuoteForm::V5Td15] {
        tee.quote_form = quote_form;
        for form in [
            Form::AzureAtls,
            Form::AzureAtlsWithCertificates,
            Form::AzureRatls,
            Form::DcapAtls,
            Form::DcapRatls,
        ] {
            let verified = verify(&verifier, &tee, form).unwrap();
            assert_eq!(verified.tcb().status, TcbStatus::UpToDate);
            assert!(verified.tcb().shortfalls.is_empty());
            assert!(!verified.roots_are_pinned());
            let has_certificate = [Form::AzureAtlsWithCertificates, Form::AzureRatls];
            assert_eq!(
                verified.has_ak_certificate(),
                has_certificate.contains(&form)
            );
        }
    }
}

#[test]
fn what_we_write_is_what_the_specification_says() {
    let tee = Tee::new(1, now());
    for form in [
        Form::AzureAtls,
        Form::AzureAtlsWithCertificates,
        Form::DcapAtls,
        Form::DcapRatls,
    ] {
        let document = document(&tee, form);
        let again = parse(&document, form).unwrap().to_document();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(text(&again), text(&document), "{form:?}");
    }
}

#[test]
fn the_pinned_roots_do_not_know_the_test_key() {
    let tee = Tee::new(1, now());
    let verifier = Verifier::new(TrustRoots::pinned());
    for form in [Form::AzureAtls, Form::DcapRatls] {
        let error = verify(&verifier, &tee, form).unwrap_err();
        assert!(error.starts_with("Quote("), "{error}");
    }
}

#[test]
fn wrong_certificates_are_refused() {
    check(PkiFault::ALL.iter().copied());
}

#[test]
fn wrong_tcb_infos_are_refused() {
    check(TcbFault::ALL.iter().copied());
}

#[test]
fn wrong_quoting_enclaves_are_refused() {
    check(QeFault::ALL.iter().copied());
}

#[test]
fn wrong_tds_are_refused() {
    check(TdFault::ALL.iter().copied());
}

#[test]
fn wrong_td_quotes_are_refused() {
    check(QuoteFault::ALL.iter().copied());
}

#[test]
fn wrong_hcl_reports_are_refused() {
    check(HclFault::ALL.iter().copied());
}

#[test]
fn wrong_vtpm_quotes_are_refused() {
    check(TpmFault::ALL.iter().copied());
}

#[test]
fn wrong_ak_certificates_are_refused() {
    check(AkCertificateFault::ALL.iter().copied());
}

#[test]
fn wrong_documents_are_refused() {
    check(AzureDocumentFault::ALL.iter().copied());
    check(DcapDocumentFault::ALL.iter().copied());
}

#[test]
fn the_status_says_which_half_is_short() {
    let verifier = verifier();
    use TcbFault::*;
    for (fault, status, parts) in [
        (
            SgxHalfOutOfDate,
            TcbStatus::OutOfDate,
            &[TcbPart::SgxTcb][..],
        ),
        (
            TdxHalfOutOfDate,
            TcbStatus::OutOfDate,
            &[TcbPart::TdxModule],
        ),
        (
            BothHalvesOutOfDate,
            TcbStatus::OutOfDate,
            &[TcbPart::SgxTcb, TcbPart::TdxModule],
        ),
        (PceOutOfDate, TcbStatus::OutOfDate, &[TcbPart::SgxTcb]),
        (ModuleOutOfDate, TcbStatus::OutOfDate, &[TcbPart::TdxModule]),
        (ConfigurationNeeded, TcbStatus::ConfigurationNeeded, &[]),
        (SwHardeningNeeded, TcbStatus::SwHardeningNeeded, &[]),
        (
            ConfigurationAndSwHardeningNeeded,
            TcbStatus::ConfigurationAndSwHardeningNeeded,
            &[],
        ),
        (
            OutOfDateConfigurationNeeded,
            TcbStatus::OutOfDateConfigurationNeeded,
            &[],
        ),
    ] {
        let tee = Tee::with_fault(1, now(), fault);
        let verified = verify(&verifier, &tee, Form::DcapRatls).unwrap();
        assert_eq!(verified.tcb().status, status, "{fault:?}");
        assert!(!verified.tcb().advisory_ids.is_empty(), "{fault:?}");
        let short: Vec<TcbPart> = verified.tcb().short_parts().into_iter().collect();
        assert_eq!(short, parts, "{fault:?}");
    }
    let tee = Tee::with_fault(1, now(), QeFault::OutOfDate);
    let verified = verify(&verifier, &tee, Form::DcapRatls).unwrap();
    assert_eq!(verified.tcb().status, TcbStatus::OutOfDate);
    assert!(
        verified
            .tcb()
            .short_parts()
            .contains(&TcbPart::QuotingEnclave)
    );
}

#[test]
fn the_azure_override_is_narrow() {
    let lenient = verifier().with_azure_v6_tcb_override();
    let tee = Tee::with_fault(1, now(), TcbFault::AzureV6SeamLoader);
    for form in [Form::AzureAtls, Form::AzureRatls] {
        let verified = verify(&lenient, &tee, form).unwrap();
        let tcb = verified.tcb();
        assert_eq!(tcb.status, TcbStatus::UpToDate);
        assert!(tcb.azure_v6_override);
        assert_eq!(
            tcb.shortfalls[0].to_string(),
            "SGX TCB component 7 is 3, expected 5"
        );
    }
    // Not for machines without a vTPM, nor for another platform, nor where it is not needed.
    let error = verify(&lenient, &tee, Form::DcapAtls).unwrap_err();
    assert!(error.starts_with("NoTcbLevel"), "{error}");
    let other = Tee::with_fault(1, now(), TcbFault::NoLevel);
    let error = verify(&lenient, &other, Form::AzureAtls).unwrap_err();
    assert!(error.starts_with("NoTcbLevel"), "{error}");
    let outdated = Tee::with_fault(1, now(), TcbFault::SgxHalfOutOfDate);
    let verified = verify(&lenient, &outdated, Form::AzureAtls).unwrap();
    assert_eq!(verified.tcb().status, TcbStatus::OutOfDate);
    let fine = verify(&lenient, &Tee::new(1, now()), Form::AzureAtls).unwrap();
    assert!(!fine.tcb().azure_v6_override);
}

#[test]
fn evidence_for_another_connection_is_refused() {
    let (tee, verifier) = (Tee::new(1, now()), verifier());
    let collateral = Collateral::parse(tee.collateral().to_json().as_bytes()).unwrap();
    let atls = |nonce: &[u8]| Binding::atls_user_data(USER_DATA, nonce);
    let other_key = Binding::atls_user_data([8; 32], NONCE);
    let mut session = INPUT_DATA;
    session[40] ^= 1;
    let session = Binding::ratls_input_data(session);
    for (form, binding, expected) in [
        (Form::AzureAtls, atls(b"other"), "TpmQuote(QualifyingData)"),
        (Form::AzureAtls, atls(b""), "TpmQuote(QualifyingData)"),
        (Form::AzureAtls, other_key.clone(), "UserData"),
        (Form::AzureAtls, session.clone(), "Protocol"),
        (Form::AzureRatls, session.clone(), "HclUserData"),
        (Form::AzureRatls, atls(NONCE), "Protocol"),
        (Form::DcapAtls, atls(b"other"), "ReportData"),
        (Form::DcapAtls, other_key, "UserData"),
        (Form::DcapAtls, session.clone(), "Protocol"),
        (Form::DcapRatls, session, "ReportData"),
        (Form::DcapRatls, atls(NONCE), "Protocol"),
    ] {
        let evidence = parse(&document(&tee, form), form).unwrap();
        let result = verifier.verify(&evidence, &collateral, &binding, NOW);
        let error = format!("{:?}", result.unwrap_err());
        assert!(error.starts_with(expected), "{form:?}: {error}");
    }
}

#[test]
fn collateral_is_fetched_for_certified_platforms_only() {
    let tee = Tee::new(1, now());
    let quote = tee.dcap_ratls(INPUT_DATA).td_quote;
    let roots = TrustRoots::danger_trust_instead(tee.root().to_vec(), Vec::new());
    let key = PlatformKey::certified(&quote, &roots, NOW).unwrap();
    assert_eq!(key, PlatformKey::of(&quote).unwrap());
    assert_eq!(key.to_string(), "00A06F050000-platform");
    let result = PlatformKey::certified(&quote, &TrustRoots::pinned(), NOW);
    assert!(matches!(result, Err(PlatformKeyError::Chain(_))));
    assert!(matches!(
        verifier().verify(
            &parse(&quote, Form::DcapRatls).unwrap(),
            &Collateral::parse(Tee::new(2, now()).collateral().to_json().as_bytes()).unwrap(),
            &binding(Form::DcapRatls),
            NOW
        ),
        Err(VerifyError::Quote(_))
    ));
}
