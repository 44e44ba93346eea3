//! What a TPM answers, parsed: bytes of a device that is not trusted.
//!
//! TPM 2.0 Library, Part 3. Read with the frames of `tpm2-protocol`, except what goes into evidence
//! as it is: `TPMT_PUBLIC`, `TPMS_ATTEST` and `TPMT_SIGNATURE` are cut out, because a structure that
//! is read and written anew may be another one, and then the signature no longer fits.
//!
//! I/O: none.

use tpm2_protocol::TpmError;
use tpm2_protocol::basic::Tpm2b;
use tpm2_protocol::data::{TpmCc, TpmPt, TpmSt, TpmuCapabilities};
use tpm2_protocol::frame::{
    TpmGetCapabilityResponse, TpmNvReadPublicResponse, TpmNvReadResponse, TpmPcrReadResponse,
    TpmResponse,
};

use super::code::ResponseCode;
use super::command::selection;

/// Largest `TPMS_ATTEST` and `TPMT_PUBLIC`, which have 145 and 280 bytes on Azure.
const MAX_STRUCTURE: usize = 1024;

/// Largest `TPM2B_NAME`: a hash algorithm and a digest of SHA-512.
const MAX_NAME: usize = 66;

/// Why a response cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResponseError {
    /// The TPM refused.
    #[error("the TPM refused with {0}")]
    Refused(ResponseCode),
    /// It is not a response to this command.
    #[error("{0}")]
    Malformed(TpmError),
    /// Something else came than was asked for.
    #[error("expected {expected}")]
    Unexpected {
        /// What was asked for.
        expected: &'static str,
    },
}

/// The code of a response: zero is success.
///
/// # Errors
///
/// [`ResponseError`] if there is no header.
pub fn parse_code(response: &[u8]) -> Result<ResponseCode, ResponseError> {
    // Not through the frame, which knows only the codes of today.
    let expected = "a header";
    response
        .get(6..)
        .and_then(|rest| rest.first_chunk())
        .map(|code| ResponseCode(u32::from_be_bytes(*code)))
        .ok_or(ResponseError::Unexpected { expected })
}

/// `TPM2_GetCapability` of `TPM_PT_NV_BUFFER_MAX`: bytes that one command reads of NV memory.
///
/// # Errors
///
/// [`ResponseError`] if it is something else.
pub fn parse_nv_buffer_max(response: &[u8]) -> Result<u32, ResponseError> {
    let response: TpmGetCapabilityResponse = frame(response)?.unmarshal()?;
    let expected = "TPM_PT_NV_BUFFER_MAX";
    match response.capability_data.data {
        TpmuCapabilities::TpmProperties(properties) => properties
            .iter()
            .find(|property| property.property == TpmPt::NvBufferMax)
            .map(|property| property.value.value())
            .ok_or(ResponseError::Unexpected { expected }),
        _ => Err(ResponseError::Unexpected { expected }),
    }
}

/// `TPM2_NV_ReadPublic`: how many bytes the index has.
///
/// # Errors
///
/// [`ResponseError`] if it is something else, or about another index.
pub fn parse_nv_size(response: &[u8], index: u32) -> Result<u16, ResponseError> {
    let response: TpmNvReadPublicResponse = frame(response)?.unmarshal()?;
    let public = response.nv_public.inner;
    if public.nv_index.value() != index {
        let expected = "the NV index that was asked for";
        return Err(ResponseError::Unexpected { expected });
    }
    Ok(public.data_size.value())
}

/// `TPM2_NV_Read`: exactly `size` bytes.
///
/// # Errors
///
/// [`ResponseError`] if it is something else.
pub fn parse_nv_read(response: &[u8], size: u16) -> Result<Vec<u8>, ResponseError> {
    let response: TpmNvReadResponse = frame(response)?.unmarshal()?;
    let bytes = response.data.as_ref();
    if bytes.len() != usize::from(size) {
        let expected = "as many bytes as were asked for";
        return Err(ResponseError::Unexpected { expected });
    }
    Ok(bytes.to_vec())
}

/// `TPM2_PCR_Read`: the values of exactly these registers of the SHA-256 bank, in their order.
///
/// # Errors
///
/// [`ResponseError`] if it is something else, as of a TPM whose SHA-256 bank is not active.
pub fn parse_pcrs(response: &[u8], registers: &[u8]) -> Result<Vec<(u8, [u8; 32])>, ResponseError> {
    let response: TpmPcrReadResponse = frame(response)?.unmarshal()?;
    let expected = "the registers of the SHA-256 bank that were asked for";
    let unexpected = || ResponseError::Unexpected { expected };
    if response.pcr_selection_out != selection(registers.iter().copied())?
        || response.pcr_values.len() != registers.len()
    {
        return Err(unexpected());
    }
    registers
        .iter()
        .zip(response.pcr_values.iter())
        .map(|(register, value)| {
            let value = value.as_ref().try_into().map_err(|_| unexpected())?;
            Ok((*register, value))
        })
        .collect()
}

/// `TPM2_ReadPublic`: the key's `TPMT_PUBLIC`, as it came.
///
/// # Errors
///
/// [`ResponseError`] if it is something else.
pub fn parse_public(response: &[u8]) -> Result<Vec<u8>, ResponseError> {
    let parameters = parameters(response, TpmCc::ReadPublic)?;
    let (public, rest) = Tpm2b::<MAX_STRUCTURE>::cast_prefix(parameters)?;
    let (_name, rest) = Tpm2b::<MAX_NAME>::cast_prefix(rest)?;
    let (_qualified_name, rest) = Tpm2b::<MAX_NAME>::cast_prefix(rest)?;
    if !rest.is_empty() {
        let expected = "nothing after the qualified name";
        return Err(ResponseError::Unexpected { expected });
    }
    Ok(public.data().to_vec())
}

/// `TPM2_Quote`: `TPMS_ATTEST` and `TPMT_SIGNATURE`, as they came.
///
/// # Errors
///
/// [`ResponseError`] if it is something else. What the two say is left to who verifies the quote.
pub fn parse_quote(response: &[u8]) -> Result<(Vec<u8>, Vec<u8>), ResponseError> {
    let parameters = parameters(response, TpmCc::Quote)?;
    let (attest, signature) = Tpm2b::<MAX_STRUCTURE>::cast_prefix(parameters)?;
    if signature.is_empty() || signature.len() > MAX_STRUCTURE {
        let expected = "a signature";
        return Err(ResponseError::Unexpected { expected });
    }
    Ok((attest.data().to_vec(), signature.to_vec()))
}

/// `TPM2_NV_Write`: that it was done.
///
/// # Errors
///
/// [`ResponseError`] if not.
pub fn parse_nv_write(response: &[u8]) -> Result<(), ResponseError> {
    done(response, TpmCc::NvWrite)
}

/// `TPM2_NV_DefineSpace`: that it was done.
///
/// # Errors
///
/// [`ResponseError`] if not.
pub fn parse_nv_define(response: &[u8]) -> Result<(), ResponseError> {
    done(response, TpmCc::NvDefineSpace)
}

fn done(response: &[u8], command: TpmCc) -> Result<(), ResponseError> {
    match parameters(response, command)? {
        [] => Ok(()),
        _ => Err(ResponseError::Unexpected {
            expected: "no parameters",
        }),
    }
}

/// The message, if it is well-formed and says success.
fn frame(response: &[u8]) -> Result<&TpmResponse, ResponseError> {
    match parse_code(response)? {
        ResponseCode(0) => Ok(TpmResponse::cast(response)?),
        code => Err(ResponseError::Refused(code)),
    }
}

/// The parameters of a successful response without handles, between header and sessions.
fn parameters(response: &[u8], command: TpmCc) -> Result<&[u8], ResponseError> {
    let frame = frame(response)?;
    frame.validate(command)?;
    if frame.tag()? != TpmSt::Sessions {
        return Ok(frame.body());
    }
    let expected = "parameters of the size that is said";
    frame
        .body()
        .split_first_chunk()
        .and_then(|(size, rest)| rest.get(..usize::try_from(u32::from_be_bytes(*size)).ok()?))
        .ok_or(ResponseError::Unexpected { expected })
}

impl From<TpmError> for ResponseError {
    fn from(error: TpmError) -> Self {
        Self::Malformed(error)
    }
}

#[cfg(test)]
mod tests;
