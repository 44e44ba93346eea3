//! vTPM quotes: which values a TPM's registers have, signed by the AK.
//!
//! Layout: TPM 2.0 Library, Part 2, `TPMS_ATTEST` (10.12.12) and `TPMT_SIGNATURE` (11.3.4).
//!
//! I/O: none.

use std::collections::BTreeMap;

use super::ak::{Ak, Scheme};
use super::bytes::Writer;
use super::case::Case;
use super::fault::faults;
use super::hash::{sha1, sha256, sha384};

faults! {
    /// What is wrong with the vTPM's quote.
    Tpm(TpmFault) {
        /// Another key has signed.
        OtherKey,
        /// One byte of the signature is another.
        SignatureAltered,
        /// One byte of the statement is another than was signed.
        StatementAltered,
        /// The signature's scheme is PSS.
        SignatureOfPss,
        /// The signature's hash is said to be SHA-1.
        SignatureOfSha1,
        /// The statement does not begin with the TPM's mark, and is signed as such.
        NotGenerated,
        /// The statement certifies a key instead of quoting registers.
        NotAQuote,
        /// The qualifying data are another nonce's.
        OtherNonce,
        /// There are no qualifying data.
        NoNonce,
        /// The SHA-1 bank is quoted.
        Sha1Bank,
        /// The SHA-384 bank is quoted.
        Sha384Bank,
        /// The SHA-1 and the SHA-256 bank are quoted together.
        TwoBanks,
        /// No bank is quoted.
        NoBank,
        /// No register is selected.
        NoPcr,
        /// PCR 11 is claimed, but not quoted.
        PcrNotQuoted,
        /// PCR 11 is quoted, but not claimed.
        PcrNotClaimed,
        /// PCR 11 is claimed to have another value.
        PcrAltered,
        /// The values of PCR 4 and PCR 9 are swapped.
        PcrsSwapped,
        /// The digest is that of other values, and signed as such.
        OtherDigest,
        /// The digest is a SHA-384 one.
        DigestOfSha384,
        /// The statement lacks its last byte, and is signed as such.
        Truncated,
        /// The statement has a byte more, and is signed as such.
        Trailing,
        /// The signature lacks its last byte.
        SignatureTruncated,
        /// The qualifying data are 60,000 bytes.
        Oversized,
    }
}

/// A bank: all registers, extended with one hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bank {
    /// SHA-1.
    Sha1,
    /// SHA-256: the only one that counts.
    Sha256,
    /// SHA-384.
    Sha384,
}

impl Bank {
    /// `TPM_ALG_ID`; TPM 2.0 Library, Part 2, 6.3.
    pub fn algorithm(self) -> u16 {
        match self {
            Self::Sha1 => 0x0004,
            Self::Sha256 => 0x000b,
            Self::Sha384 => 0x000c,
        }
    }

    /// Values of this bank for a machine that has these in its SHA-256 bank.
    fn values(self, sha256_values: &Pcrs) -> BTreeMap<u8, Vec<u8>> {
        let value = |value: &[u8; 32]| match self {
            Self::Sha1 => sha1(value),
            Self::Sha256 => value.to_vec(),
            Self::Sha384 => sha384(value).to_vec(),
        };
        sha256_values
            .iter()
            .map(|(pcr, known)| (*pcr, value(known)))
            .collect()
    }
}

/// Registers of the SHA-256 bank.
pub type Pcrs = BTreeMap<u8, [u8; 32]>;

/// Registers of a machine that has booted: some measured, some never used, 17 to 22 for other ways
/// to boot.
pub(super) fn booted() -> Pcrs {
    let value = |pcr| match pcr {
        8 | 10 | 12 | 13 | 15 | 16 | 23 => [0; 32],
        17..=22 => [0xff; 32],
        measured => sha256(&[measured]),
    };
    (0..24).map(|pcr| (pcr, value(pcr))).collect()
}

/// A quote as a TPM returns it, with the values that are claimed for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TpmQuote {
    /// `TPMS_ATTEST`.
    pub statement: Vec<u8>,
    /// `TPMT_SIGNATURE`.
    pub signature: Vec<u8>,
    /// The bank that is said to be quoted.
    pub bank: Bank,
    /// The values that are said to be quoted.
    pub pcrs: BTreeMap<u8, Vec<u8>>,
}

impl TpmQuote {
    /// A quote of all of `pcrs`, signed with `ak`.
    pub(super) fn new(case: Case, ak: &Ak, qualifying_data: &[u8], pcrs: &Pcrs) -> Self {
        let banks = match case {
            _ if case.is(TpmFault::Sha1Bank) => vec![Bank::Sha1],
            _ if case.is(TpmFault::Sha384Bank) => vec![Bank::Sha384],
            _ if case.is(TpmFault::TwoBanks) => vec![Bank::Sha1, Bank::Sha256],
            _ => vec![Bank::Sha256],
        };
        Self::of_banks(case, ak, qualifying_data, pcrs, &banks)
    }

    /// The same for a list of banks; the last one's values are claimed.
    pub(super) fn of_banks(
        case: Case,
        ak: &Ak,
        qualifying_data: &[u8],
        pcrs: &Pcrs,
        banks: &[Bank],
    ) -> Self {
        let mut quoted = pcrs.clone();
        if case.is(TpmFault::PcrNotQuoted) {
            quoted.remove(&11);
        }
        let statement = statement(case, ak, qualifying_data, &quoted, banks);
        let signature = signature(case, ak, &statement);
        let bank = banks.last().copied().unwrap_or(Bank::Sha256);
        Self {
            statement: altered(statement, case.is(TpmFault::StatementAltered)),
            signature,
            bank,
            pcrs: claimed(case, bank.values(pcrs)),
        }
    }

    /// The signature without scheme, hash and size: what some tools call the raw one.
    pub fn raw_signature(&self) -> &[u8] {
        self.signature.get(6..).unwrap_or_default()
    }
}

/// `TPMS_ATTEST` of these registers, as it will be signed.
fn statement(
    case: Case,
    ak: &Ak,
    qualifying_data: &[u8],
    quoted: &Pcrs,
    banks: &[Bank],
) -> Vec<u8> {
    let mut statement = Writer::big_endian();
    // TPM_GENERATED_VALUE: "\xffTCG".
    statement.u32(case.either(TpmFault::NotGenerated, 0xff54_4348, 0xff54_4347));
    // TPM_ST_ATTEST_QUOTE, TPM_ST_ATTEST_CERTIFY.
    statement.u16(case.either(TpmFault::NotAQuote, 0x8017, 0x8018));
    let name = sha256(&ak.public().tpmt_public());
    statement.sized(&[&[0x00, 0x0b], &name[..]].concat());
    statement.sized(&qualifying(case, qualifying_data));
    // TPMS_CLOCK_INFO: milliseconds, resets, restarts, safe; then the firmware's version.
    statement.u64(62_000_000);
    statement.u32(3);
    statement.u32(0);
    statement.u8(1);
    statement.u64(0x2020_0312_0012_0003);
    if case.is(TpmFault::NotAQuote) {
        // TPMS_CERTIFY_INFO: name and qualified name.
        statement.sized(&name);
        statement.sized(&name);
        return statement.finish();
    }
    let banks = if case.is(TpmFault::NoBank) {
        &[]
    } else {
        banks
    };
    statement.u32(u32::try_from(banks.len()).expect("few banks"));
    for bank in banks {
        statement.u16(bank.algorithm());
        statement.u8(3);
        statement.bytes(&bitmap(case, quoted));
    }
    statement.sized(&digest(case, quoted, banks));
    let mut statement = statement.finish();
    match case {
        _ if case.is(TpmFault::Truncated) => drop(statement.pop()),
        _ if case.is(TpmFault::Trailing) => statement.push(0),
        _ => {}
    }
    statement
}

fn qualifying(case: Case, data: &[u8]) -> Vec<u8> {
    match case {
        _ if case.is(TpmFault::OtherNonce) => sha256(data).to_vec(),
        _ if case.is(TpmFault::NoNonce) => Vec::new(),
        _ if case.is(TpmFault::Oversized) => vec![7; 60_000],
        _ => data.to_vec(),
    }
}

/// Bit `j` of byte `i` stands for register `8 * i + j`.
fn bitmap(case: Case, quoted: &Pcrs) -> [u8; 3] {
    let mut bitmap = [0; 3];
    if !case.is(TpmFault::NoPcr) {
        for pcr in quoted.keys() {
            bitmap[usize::from(pcr / 8)] |= 1 << (pcr % 8);
        }
    }
    bitmap
}

/// The hash of all selected values in order; it is the signature's hash, whatever the bank.
fn digest(case: Case, quoted: &Pcrs, banks: &[Bank]) -> Vec<u8> {
    if case.is(TpmFault::OtherDigest) {
        return sha256(b"other values").to_vec();
    }
    let mut values: Vec<u8> = banks
        .iter()
        .flat_map(|bank| bank.values(quoted).into_values().flatten())
        .collect();
    if case.is(TpmFault::NoPcr) {
        values.clear();
    }
    match case.is(TpmFault::DigestOfSha384) {
        true => sha384(&values).to_vec(),
        false => sha256(&values).to_vec(),
    }
}

fn signature(case: Case, ak: &Ak, statement: &[u8]) -> Vec<u8> {
    let is_pss = case.is(TpmFault::SignatureOfPss);
    let scheme = if is_pss {
        Scheme::Rsapss
    } else {
        Scheme::Rsassa
    };
    let raw = match case.is(TpmFault::OtherKey) {
        true => Ak::other().sign(scheme, statement),
        false => ak.sign(scheme, statement),
    };
    let mut signature = Writer::big_endian();
    // TPM_ALG_RSAPSS, TPM_ALG_RSASSA; TPM_ALG_SHA1, TPM_ALG_SHA256.
    signature.u16(if is_pss { 0x0016 } else { 0x0014 });
    signature.u16(case.either(TpmFault::SignatureOfSha1, 0x0004, 0x000b));
    signature.sized(&altered(raw, case.is(TpmFault::SignatureAltered)));
    let mut signature = signature.finish();
    if case.is(TpmFault::SignatureTruncated) {
        signature.pop();
    }
    signature
}

fn claimed(case: Case, mut pcrs: BTreeMap<u8, Vec<u8>>) -> BTreeMap<u8, Vec<u8>> {
    let value = |pcrs: &BTreeMap<u8, Vec<u8>>, pcr| pcrs.get(&pcr).cloned().unwrap_or_default();
    match case {
        _ if case.is(TpmFault::PcrNotClaimed) => drop(pcrs.remove(&11)),
        _ if case.is(TpmFault::PcrAltered) => drop(pcrs.insert(11, sha256(b"altered").to_vec())),
        _ if case.is(TpmFault::PcrsSwapped) => {
            let (fourth, ninth) = (value(&pcrs, 4), value(&pcrs, 9));
            pcrs.extend([(4, ninth), (9, fourth)]);
        }
        _ => {}
    }
    pcrs
}

fn altered(mut bytes: Vec<u8>, is_altered: bool) -> Vec<u8> {
    if is_altered && let Some(byte) = bytes.get_mut(60) {
        *byte ^= 1;
    }
    bytes
}
