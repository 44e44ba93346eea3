//! `TPMS_ATTEST` of a quote: what the TPM signs.
//!
//! I/O: none.

use std::collections::BTreeSet;
use std::fmt;

use super::wire::{ParseError, Reader, in_range};

/// `TPM_GENERATED_VALUE`: a restricted key signs nothing from outside that starts like this.
const GENERATED: u32 = 0xff54_4347;

/// `TPM_ST_ATTEST_QUOTE`.
const ST_ATTEST_QUOTE: u16 = 0x8018;

/// A name is a hash algorithm and a digest, at most SHA-512; `TPM2B_DATA` has the same bound.
const NAME_SIZE: usize = 2 + 64;

/// More banks than any TPM has (SHA-1, SHA-256, SHA-384, SHA-512, SM3, SHA-3).
const MOST_SELECTIONS: usize = 16;

/// Bytes of a selection's bitmap. The PC Client profile has 24 registers and so 3 bytes; other
/// profiles may have up to 32 registers.
const SELECT_SIZE: (usize, usize) = (1, 4);

/// A quote as it was sent: still a claim.
///
/// Use [`verify`](super::verify) for what it proves; this is for showing and for finding out what
/// a quote is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// `extraData`: what the caller of `TPM2_Quote` gave; at most 66 bytes.
    pub qualifying_data: Vec<u8>,
    /// When the quote was made.
    pub clock: ClockInfo,
    /// Each selected bank, by its `TPM_ALG_ID`, and the registers selected in it.
    pub selections: Vec<(u16, PcrSelection)>,
    /// Digest of the selected registers' values. A SHA-256 signature makes it SHA-256.
    pub pcr_digest: [u8; 32],
}

/// `TPMS_CLOCK_INFO`, and the TPM's firmware version, which follows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockInfo {
    /// Milliseconds that the TPM has been powered.
    pub clock: u64,
    /// TPM resets since the TPM was last cleared: another number, another boot.
    pub reset_count: u32,
    /// TPM restarts and resumes since the last reset.
    pub restart_count: u32,
    /// Whether no greater `clock` can have been reported before.
    pub is_safe: bool,
    /// Firmware version, as the TPM's vendor encodes it.
    pub firmware_version: u64,
}

/// Parses a quote: a `TPMS_ATTEST` as the TPM signs it, big endian, without a size in front.
///
/// Layout: TPM 2.0 Library, Part 2, `TPMS_ATTEST` and `TPMS_QUOTE_INFO`. Nothing is verified.
///
/// # Errors
///
/// [`ParseError`] if `bytes` are not exactly one such structure, are of another type than a
/// quote, or hold a register digest of another length than SHA-256's.
pub fn parse(bytes: &[u8]) -> Result<Quote, ParseError> {
    let mut reader = Reader::new(bytes);
    reader.expect_u32("magic", GENERATED)?;
    reader.expect_u16("type", ST_ATTEST_QUOTE)?;
    reader.sized("qualifiedSigner", 0, NAME_SIZE)?;
    let qualifying_data = reader.sized("extraData", 0, NAME_SIZE)?.to_vec();
    let clock = parse_clock(&mut reader)?;
    let selections = parse_selections(&mut reader)?;
    let mut pcr_digest = [0; 32];
    pcr_digest.copy_from_slice(reader.sized("pcrDigest", 32, 32)?);
    reader.finish("TPMS_ATTEST")?;
    Ok(Quote {
        qualifying_data,
        clock,
        selections,
        pcr_digest,
    })
}

fn parse_clock(reader: &mut Reader<'_>) -> Result<ClockInfo, ParseError> {
    Ok(ClockInfo {
        clock: reader.u64("clock")?,
        reset_count: reader.u32("resetCount")?,
        restart_count: reader.u32("restartCount")?,
        is_safe: match reader.u8("safe")? {
            0 => false,
            1 => true,
            actual => {
                let (field, actual) = ("safe", actual.into());
                return Err(ParseError::Value {
                    field,
                    expected: 1,
                    actual,
                });
            }
        },
        firmware_version: reader.u64("firmwareVersion")?,
    })
}

/// `TPML_PCR_SELECTION`.
fn parse_selections(reader: &mut Reader<'_>) -> Result<Vec<(u16, PcrSelection)>, ParseError> {
    let count = usize::try_from(reader.u32("pcrSelect")?).unwrap_or(usize::MAX);
    let count = in_range("pcrSelect", count, 0, MOST_SELECTIONS)?;
    (0..count)
        .map(|_| {
            let bank = reader.u16("hash")?;
            let (least, most) = SELECT_SIZE;
            let size = reader.u8("sizeofSelect")?.into();
            let size = in_range("sizeofSelect", size, least, most)?;
            Ok((
                bank,
                PcrSelection::from_bitmap(reader.bytes("pcrSelect", size)?),
            ))
        })
        .collect()
}

/// A set of registers, shown as `4,9,11`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PcrSelection(BTreeSet<u8>);

impl PcrSelection {
    /// Register `8 * i + j` is bit `j`, counted from the least, of byte `i`.
    fn from_bitmap(bitmap: &[u8]) -> Self {
        let bits = bitmap
            .iter()
            .flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
        (0..=u8::MAX)
            .zip(bits)
            .filter_map(|(pcr, is_set)| is_set.then_some(pcr))
            .collect()
    }

    /// The registers, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u8> + '_ {
        self.0.iter().copied()
    }

    /// Whether no register is selected.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<u8> for PcrSelection {
    fn from_iter<I: IntoIterator<Item = u8>>(registers: I) -> Self {
        Self(registers.into_iter().collect())
    }
}

impl fmt::Display for PcrSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        self.iter()
            .enumerate()
            .try_for_each(|(position, register)| {
                let comma = if position == 0 { "" } else { "," };
                write!(f, "{comma}{register}")
            })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A quote of PCRs 4, 9, 11, written out by hand.
    fn bytes() -> Vec<u8> {
        let mut bytes = b"\xff\x54\x43\x47\x80\x18".to_vec();
        bytes.extend(b"\x00\x03\x00\x0b\xaa");
        bytes.extend(b"\x00\x05nonce");
        bytes.extend(b"\0\0\0\0\0\0\x10\0\0\0\0\x02\0\0\0\x01\x01\0\0\0\0\0\0\0\x07");
        bytes.extend(b"\0\0\0\x01\x00\x0b\x03\x10\x0a\x00");
        bytes.extend(b"\x00\x20");
        bytes.extend([0x55; 32]);
        bytes
    }

    #[test]
    fn fields_are_where_the_specification_puts_them() {
        let quote = parse(&bytes()).unwrap();
        let clock = ClockInfo {
            clock: 0x1000,
            reset_count: 2,
            restart_count: 1,
            is_safe: true,
            firmware_version: 7,
        };
        assert_eq!(quote.qualifying_data, b"nonce");
        assert_eq!(quote.clock, clock);
        assert_eq!(
            quote.selections,
            [(0x000b, [4, 9, 11].into_iter().collect())]
        );
        assert_eq!(quote.pcr_digest, [0x55; 32]);
    }

    #[test]
    fn every_shorter_and_every_longer_text_is_refused() {
        let whole = bytes();
        for length in 0..whole.len() {
            assert!(matches!(
                parse(&whole[..length]),
                Err(ParseError::Truncated { .. })
            ));
        }
        let longer = [&whole[..], &[0]].concat();
        let trailing = ParseError::Trailing {
            structure: "TPMS_ATTEST",
            actual: 1,
        };
        assert_eq!(parse(&longer), Err(trailing));
    }

    #[test]
    fn what_is_no_quote_is_refused() {
        let (mut other_magic, mut other_type) = (bytes(), bytes());
        other_magic[3] = 0x48;
        other_type[5] = 0x17;
        let magic = ParseError::Value {
            field: "magic",
            expected: GENERATED,
            actual: 0xff54_4348,
        };
        let kind = ParseError::Value {
            field: "type",
            expected: 0x8018,
            actual: 0x8017,
        };
        assert_eq!(parse(&other_magic), Err(magic));
        assert_eq!(parse(&other_type), Err(kind));
    }

    #[test]
    fn counts_and_sizes_are_bounded() {
        let whole = bytes();
        let count = whole.len() - 34 - 10;
        for (position, value) in [(count, 0xff), (count + 6, 0), (count + 6, 5), (6, 0xff)] {
            let mut bytes = whole.clone();
            bytes[position] = value;
            assert!(
                matches!(parse(&bytes), Err(ParseError::Size { .. })),
                "{position}"
            );
        }
    }

    #[test]
    fn selections_are_shown_as_numbers() {
        let selection: PcrSelection = [11, 4, 9].into_iter().collect();
        assert_eq!(selection.to_string(), "4,9,11");
        assert_eq!(PcrSelection::default().to_string(), "none");
        assert_eq!(
            PcrSelection::from_bitmap(&[0, 0, 0, 0x80]).to_string(),
            "31"
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn no_changed_quote_makes_it_panic(position in 0..100_usize, value: u8, length in 0..120_usize) {
            let mut bytes = bytes();
            if let Some(byte) = bytes.get_mut(position) {
                *byte = value;
            }
            bytes.resize(length, value);
            let _ = parse(&bytes);
        }
    }
}
