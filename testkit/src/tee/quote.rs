//! TD quotes: a report, signed by a key that the quoting enclave made and the PCK vouches for.
//!
//! Layout: Intel TDX DCAP Quoting Library API, appendix A, "Version 4 Quote Format" and "Version 5
//! Quote Format"; certification data of type 6 (QE report) around type 5 (PCK chain in PEM).
//!
//! I/O: none.

use super::bytes::Writer;
use super::case::Case;
use super::fault::faults;
use super::key::Key;
use super::pki::Pki;
use super::qe::{self, QeFault};
use super::td::TdReport;

faults! {
    /// What is wrong with a quote's form or signatures.
    Quote(QuoteFault) {
        /// No byte.
        Empty,
        /// Nothing after the header.
        HeaderOnly,
        /// The last 100 bytes are missing.
        Truncated,
        /// A byte follows that is not zero padding.
        Trailing,
        /// A megabyte of certificate chain.
        Oversized,
        /// The size of the signature is more than what follows.
        SignatureSizeTooLarge,
        /// The header says version 3.
        Version3,
        /// The header says version 6.
        Version6,
        /// The header says SGX.
        OtherTee,
        /// The header says ECDSA with P-384.
        OtherKeyType,
        /// The header names another maker of the quoting enclave.
        OtherVendor,
        /// One byte of the body is another than was signed.
        BodyAltered,
        /// One byte of the signature is another.
        SignatureAltered,
        /// Another key than the one in the quote has signed.
        SignatureOfOtherKey,
        /// The certification data are an encrypted PPID instead of a chain.
        CertificationDataOfPpid,
        /// The certification data are a chain without a certificate.
        ChainEmpty,
        /// The chain is one certificate, cut in half.
        ChainTruncated,
    }
}

/// Bytes of a header.
const HEADER_SIZE: usize = 48;

/// ECDSA-256 with P-256, and with P-384.
const KEY_TYPES: (u16, u16) = (2, 3);

/// TDX and SGX.
const TEES: (u32, u32) = (0x81, 0);

/// Intel, as the maker of the quoting enclave.
const VENDOR: [u8; 16] = [
    0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07,
];

/// Forms of quotes that verifiers meet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QuoteForm {
    /// Version 4: Azure, and bare machines until TDX 1.5.
    #[default]
    V4,
    /// Version 5 around the body of version 4.
    V5Td10,
    /// Version 5 with the longer body of TDX 1.5.
    V5Td15,
}

/// The quote of a report.
pub(super) fn quote(case: Case, pki: &Pki, report: &TdReport, form: QuoteForm) -> Vec<u8> {
    let mut signed = header(case, form);
    signed.extend(body(report, form));
    let key = Key::derive(case.seed, "attestation");
    let mut signature = match case.is(QuoteFault::SignatureOfOtherKey) {
        true => Key::derive(case.seed, "other attestation").sign_raw(&signed),
        false => key.sign_raw(&signed),
    };
    if case.is(QuoteFault::SignatureAltered) {
        signature[10] ^= 1;
    }
    if case.is(QuoteFault::BodyAltered) {
        // In MRTD or near it.
        signed[HEADER_SIZE + 150] ^= 1;
    }
    let certification = certification(case, pki, &key);

    let mut data = Writer::little_endian();
    data.bytes(&signature);
    data.bytes(key.public_raw());
    data.u16(6);
    data.sized_long(&certification);
    let data = data.finish();

    let mut quote = Writer::little_endian();
    quote.bytes(&signed);
    let excess = case.either(QuoteFault::SignatureSizeTooLarge, 1000, 0);
    quote.u32(u32::try_from(data.len() + excess).expect("a quote of some kilobytes"));
    quote.bytes(&data);
    mangle(case, quote.finish())
}

fn header(case: Case, form: QuoteForm) -> Vec<u8> {
    let version = match form {
        _ if case.is(QuoteFault::Version3) => 3,
        _ if case.is(QuoteFault::Version6) => 6,
        QuoteForm::V4 => 4,
        QuoteForm::V5Td10 | QuoteForm::V5Td15 => 5,
    };
    let mut vendor = VENDOR;
    if case.is(QuoteFault::OtherVendor) {
        vendor[0] ^= 1;
    }
    let mut header = Writer::little_endian();
    header.u16(version);
    header.u16(case.either(QuoteFault::OtherKeyType, KEY_TYPES.1, KEY_TYPES.0));
    header.u32(case.either(QuoteFault::OtherTee, TEES.1, TEES.0));
    // QE SVN and PCE SVN, which TD quotes leave zero.
    header.zeros(4);
    header.bytes(&vendor);
    // User data: a platform's identity; nobody relies on it.
    header.zeros(20);
    header.finish()
}

fn body(report: &TdReport, form: QuoteForm) -> Vec<u8> {
    let (kind, body) = match form {
        QuoteForm::V4 => return report.quote_body(),
        QuoteForm::V5Td10 => (2, report.quote_body()),
        QuoteForm::V5Td15 => (3, report.quote_body_15()),
    };
    let mut typed = Writer::little_endian();
    typed.u16(kind);
    typed.sized_long(&body);
    typed.finish()
}

/// QE report, its signature, its authentication data, and the PCK's chain.
fn certification(case: Case, pki: &Pki, attestation_key: &Key) -> Vec<u8> {
    let mut report = qe::report(case, attestation_key.public_raw());
    let signature = match case.is(QeFault::ReportOfOtherKey) {
        true => Key::derive(case.seed, "other PCK").sign_raw(&report),
        false => pki.pck_key.sign_raw(&report),
    };
    if case.is(QeFault::ReportAltered) {
        // The last byte of CPUSVN.
        report[15] ^= 1;
    }
    let mut auth_data = qe::auth_data(case);
    if case.is(QeFault::OtherAuthData) {
        auth_data[0] ^= 1;
    }
    let mut data = Writer::little_endian();
    data.bytes(&report);
    data.bytes(&signature);
    data.sized(&auth_data);
    match case {
        _ if case.is(QuoteFault::CertificationDataOfPpid) => {
            data.u16(2);
            // Encrypted PPID, CPUSVN, PCESVN, PCEID.
            data.sized_long(&[7; 384 + 16 + 2 + 2]);
        }
        _ => {
            data.u16(5);
            data.sized_long(chain(case, pki).as_bytes());
        }
    }
    data.finish()
}

fn chain(case: Case, pki: &Pki) -> String {
    let chain = &pki.pck_chain;
    match case {
        _ if case.is(QuoteFault::ChainEmpty) => String::new(),
        _ if case.is(QuoteFault::ChainTruncated) => chain[..400].to_owned(),
        _ if case.is(QuoteFault::Oversized) => chain.repeat((1 << 20) / chain.len() + 1),
        // Intel's quoting library leaves the end of a C string.
        _ => format!("{chain}\0"),
    }
}

fn mangle(case: Case, mut quote: Vec<u8>) -> Vec<u8> {
    match case {
        _ if case.is(QuoteFault::Empty) => quote.clear(),
        _ if case.is(QuoteFault::HeaderOnly) => quote.truncate(HEADER_SIZE),
        _ if case.is(QuoteFault::Truncated) => quote.truncate(quote.len() - 100),
        _ if case.is(QuoteFault::Trailing) => quote.push(0x5a),
        _ => {}
    }
    quote
}
