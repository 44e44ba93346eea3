//! A quote's body: the TD report without the parts that only the machine itself can check.
//!
//! I/O: none.

use measurements::Sha384Digest;

use super::TdQuoteError;
use super::reader::Reader;

/// Types and sizes of version 5 bodies: TDX 1.0, 1.5, and 1.5 with its extension.
const TDX_10: (u16, u32) = (2, 584);
const TDX_15: (u16, u32) = (3, 648);
const TDX_15_EX: (u16, u32) = (4, 885);

/// What a TDX module says of a TD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TdBody {
    /// `TEE_TCB_SVN`: versions of the TDX module's parts when the TD was launched.
    pub tee_tcb_svn: [u8; 16],
    /// `MRSEAM`: the TDX module.
    pub mr_seam: Sha384Digest,
    /// `MRSIGNERSEAM`: who signed the TDX module; zero is Intel.
    pub mr_signer_seam: Sha384Digest,
    /// `SEAMATTRIBUTES`, little endian.
    pub seam_attributes: u64,
    /// `TDATTRIBUTES`, little endian.
    pub td_attributes: u64,
    /// `XFAM`: which extended CPU features the TD may use, little endian.
    pub xfam: u64,
    /// `MRTD`: what the TD started from.
    pub mr_td: Sha384Digest,
    /// `MRCONFIGID`: set by the host.
    pub mr_config_id: Sha384Digest,
    /// `MROWNER`: set by the host.
    pub mr_owner: Sha384Digest,
    /// `MROWNERCONFIG`: set by the host.
    pub mr_owner_config: Sha384Digest,
    /// `RTMR` 0 to 3: what the TD measured.
    pub rtmr: [Sha384Digest; 4],
    /// `REPORTDATA`: what the TD bound the report to.
    pub report_data: [u8; 64],
    /// What TDX 1.5 adds; only version 5 quotes have it.
    pub tdx_15: Option<Tdx15>,
}

/// What TDX 1.5 adds to a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tdx15 {
    /// `TEE_TCB_SVN2`: the versions now, after updates that preserve TDs.
    pub tee_tcb_svn2: [u8; 16],
    /// `MRSERVICETD`: TDs that may act upon this one, such as to migrate it.
    pub mr_service_td: Sha384Digest,
}

/// Parses the body and, for version 5, what says of which type it is.
pub(super) fn parse(reader: &mut Reader<'_>, version: u16) -> Result<TdBody, TdQuoteError> {
    let kind = match version {
        5 => (reader.u16("body type")?, reader.u32("body size")?),
        _ => TDX_10,
    };
    let mut body = parse_10(reader)?;
    match kind {
        TDX_10 => {}
        TDX_15 => body.tdx_15 = Some(parse_15(reader)?),
        TDX_15_EX => {
            body.tdx_15 = Some(parse_15(reader)?);
            reader.array::<237>("TDX 1.5 extension")?;
        }
        (kind, size) => return Err(TdQuoteError::Body { kind, size }),
    }
    Ok(body)
}

fn parse_10(reader: &mut Reader<'_>) -> Result<TdBody, TdQuoteError> {
    Ok(TdBody {
        tee_tcb_svn: *reader.array("TEE_TCB_SVN")?,
        mr_seam: digest(reader, "MRSEAM")?,
        mr_signer_seam: digest(reader, "MRSIGNERSEAM")?,
        seam_attributes: u64::from_le_bytes(*reader.array("SEAMATTRIBUTES")?),
        td_attributes: u64::from_le_bytes(*reader.array("TDATTRIBUTES")?),
        xfam: u64::from_le_bytes(*reader.array("XFAM")?),
        mr_td: digest(reader, "MRTD")?,
        mr_config_id: digest(reader, "MRCONFIGID")?,
        mr_owner: digest(reader, "MROWNER")?,
        mr_owner_config: digest(reader, "MROWNERCONFIG")?,
        rtmr: [
            digest(reader, "RTMR0")?,
            digest(reader, "RTMR1")?,
            digest(reader, "RTMR2")?,
            digest(reader, "RTMR3")?,
        ],
        report_data: *reader.array("REPORTDATA")?,
        tdx_15: None,
    })
}

fn parse_15(reader: &mut Reader<'_>) -> Result<Tdx15, TdQuoteError> {
    Ok(Tdx15 {
        tee_tcb_svn2: *reader.array("TEE_TCB_SVN2")?,
        mr_service_td: digest(reader, "MRSERVICETD")?,
    })
}

fn digest(reader: &mut Reader<'_>, field: &'static str) -> Result<Sha384Digest, TdQuoteError> {
    reader
        .array(field)
        .map(|bytes| measurements::Digest(*bytes))
}
