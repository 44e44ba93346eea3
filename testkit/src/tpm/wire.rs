//! Writes TPM commands and reads responses: the few of them that are needed.
//!
//! Structures and constants are those of the TPM 2.0 Library specification, Part 2 (structures)
//! and Part 3 (commands). Everything is big-endian.
//!
//! I/O: none.

use super::TpmError;

/// `TPM_CC`, Part 2, 6.5.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Code {
    /// `TPM2_EvictControl`.
    EvictControl = 0x120,
    /// `TPM2_CreatePrimary`.
    CreatePrimary = 0x131,
    /// `TPM2_Startup`.
    Startup = 0x144,
    /// `TPM2_Shutdown`.
    Shutdown = 0x145,
    /// `TPM2_Quote`.
    Quote = 0x158,
    /// `TPM2_FlushContext`.
    FlushContext = 0x165,
    /// `TPM2_PCR_Read`.
    PcrRead = 0x17E,
    /// `TPM2_PCR_Extend`.
    PcrExtend = 0x182,
}

/// `TPM_ALG_RSA`, Part 2, 6.3.
pub const ALG_RSA: u16 = 0x0001;
/// `TPM_ALG_SHA256`.
pub const ALG_SHA256: u16 = 0x000B;
/// `TPM_ALG_SHA384`.
pub const ALG_SHA384: u16 = 0x000C;
/// `TPM_ALG_NULL`.
pub const ALG_NULL: u16 = 0x0010;
/// `TPM_ALG_RSASSA`.
pub const ALG_RSASSA: u16 = 0x0014;
/// `TPM_RH_OWNER`, Part 2, 7.4.
pub const OWNER: u32 = 0x4000_0001;
/// `TPM_RH_ENDORSEMENT`.
pub const ENDORSEMENT: u32 = 0x4000_000B;

const ST_NO_SESSIONS: u16 = 0x8001;
const ST_SESSIONS: u16 = 0x8002;
/// `TPM_RS_PW`: a password session, here always with the empty password.
const RS_PW: u32 = 0x4000_0009;

/// A command being written: handles first, then parameters.
#[derive(Debug)]
pub struct Command {
    code: Code,
    authorized: bool,
    handles: Vec<u8>,
    parameters: Vec<u8>,
}

impl Command {
    /// A command without handles, sessions or parameters.
    pub fn new(code: Code) -> Self {
        Self {
            code,
            authorized: false,
            handles: Vec::new(),
            parameters: Vec::new(),
        }
    }

    /// Adds a handle.
    #[must_use]
    pub fn handle(mut self, handle: u32) -> Self {
        self.handles.extend(handle.to_be_bytes());
        self
    }

    /// Authorizes the first handle with the empty password.
    #[must_use]
    pub fn authorized(mut self) -> Self {
        self.authorized = true;
        self
    }

    /// Adds parameter bytes as they are.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.parameters.extend(bytes);
        self
    }

    /// Adds a `TPM2B`: its length in 16 bits, then the bytes.
    #[must_use]
    pub fn sized(self, bytes: &[u8]) -> Self {
        let bytes = sized(bytes);
        self.bytes(&bytes)
    }

    /// Adds a 32-bit number.
    #[must_use]
    pub fn u32(self, value: u32) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    /// Adds a 16-bit number.
    #[must_use]
    pub fn u16(self, value: u16) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    /// The code, for error messages.
    pub fn code(&self) -> u32 {
        self.code as u32
    }

    /// The command as it is sent.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = self.handles.clone();
        if self.authorized {
            let mut session = RS_PW.to_be_bytes().to_vec();
            session.extend([0; 5]); // no nonce, no attributes, no password
            body.extend(length(session.len()));
            body.extend(session);
        }
        body.extend(&self.parameters);
        let tag = if self.authorized {
            ST_SESSIONS
        } else {
            ST_NO_SESSIONS
        };
        let mut bytes = tag.to_be_bytes().to_vec();
        bytes.extend(length(body.len() + 10));
        bytes.extend(self.code().to_be_bytes());
        bytes.extend(body);
        bytes
    }
}

/// A `TPM2B` of `bytes`.
pub fn sized(bytes: &[u8]) -> Vec<u8> {
    let mut out = u16::try_from(bytes.len())
        .unwrap_or(u16::MAX)
        .to_be_bytes()
        .to_vec();
    out.extend(bytes);
    out
}

/// A `TPML_PCR_SELECTION` of the bank of this algorithm, with the given registers below 24.
pub fn pcr_selection(bank: u16, registers: impl IntoIterator<Item = u8>) -> Vec<u8> {
    let mut bitmap = 0u32;
    for register in registers {
        bitmap |= 1 << (register % 24);
    }
    let mut out = 1u32.to_be_bytes().to_vec();
    out.extend(bank.to_be_bytes());
    out.push(3);
    out.extend(bitmap.to_le_bytes().iter().take(3));
    out
}

/// What remains to be read of a response.
#[derive(Debug)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Reads from bytes without a header.
    pub fn of_bytes(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Takes the header off the response to `command`.
    ///
    /// # Errors
    ///
    /// [`TpmError::Refused`] if the response code is not zero.
    pub fn of_response(command: u32, response: &'a [u8]) -> Result<Self, TpmError> {
        let mut fields = Self(response);
        fields.u16()?;
        fields.u32()?;
        match fields.u32()? {
            0 => Ok(fields),
            code => Err(TpmError::Refused { command, code }),
        }
    }

    /// Reads `length` bytes.
    ///
    /// # Errors
    ///
    /// [`TpmError::Malformed`] if there are fewer.
    pub fn bytes(&mut self, length: usize) -> Result<&'a [u8], TpmError> {
        let (head, tail) = self
            .0
            .split_at_checked(length)
            .ok_or(TpmError::Malformed("it ends too early"))?;
        self.0 = tail;
        Ok(head)
    }

    /// Reads a 16-bit number.
    ///
    /// # Errors
    ///
    /// [`TpmError::Malformed`] at the end.
    pub fn u16(&mut self) -> Result<u16, TpmError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    /// Reads a 32-bit number.
    ///
    /// # Errors
    ///
    /// [`TpmError::Malformed`] at the end.
    pub fn u32(&mut self) -> Result<u32, TpmError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// Reads a `TPM2B`.
    ///
    /// # Errors
    ///
    /// [`TpmError::Malformed`] if it is longer than the response.
    pub fn sized(&mut self) -> Result<&'a [u8], TpmError> {
        let length = self.u16()?;
        self.bytes(usize::from(length))
    }

    /// Reads exactly `N` bytes.
    ///
    /// # Errors
    ///
    /// [`TpmError::Malformed`] if there are fewer.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], TpmError> {
        self.bytes(N)?
            .try_into()
            .map_err(|_| TpmError::Malformed("it ends too early"))
    }

    /// All that is left.
    pub fn rest(self) -> &'a [u8] {
        self.0
    }
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn startup_has_the_known_bytes() {
        let command = Command::new(Code::Startup).u16(0).to_bytes();
        assert_eq!(command, [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0]);
    }

    #[test]
    fn pcr_read_has_the_known_bytes() {
        let command = Command::new(Code::PcrRead)
            .bytes(&pcr_selection(ALG_SHA256, [4, 9, 11]))
            .to_bytes();
        let expected = [
            0x80, 1, 0, 0, 0, 20, 0, 0, 1, 0x7E, // header
            0, 0, 0, 1, 0, 0x0B, 3, 0x10, 0x0A, 0, // one selection
        ];
        assert_eq!(command, expected);
    }

    #[test]
    fn password_session_has_the_known_bytes() {
        let command = Command::new(Code::PcrExtend)
            .handle(16)
            .authorized()
            .bytes(&[0xAB])
            .to_bytes();
        let expected = [
            0x80, 2, 0, 0, 0, 28, 0, 0, 1, 0x82, // header
            0, 0, 0, 16, // register
            0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0, // session
            0xAB,
        ];
        assert_eq!(command, expected);
    }

    #[test]
    fn refusal_carries_the_code() {
        let response = [0x80, 1, 0, 0, 0, 10, 0, 0, 1, 1];
        let error = Fields::of_response(0x17E, &response).unwrap_err();
        assert!(matches!(
            error,
            TpmError::Refused {
                command: 0x17E,
                code: 0x101
            }
        ));
    }

    #[test]
    fn short_response_is_malformed() {
        let response = [0x80, 1, 0, 0, 0, 13, 0, 0, 0, 0, 0, 9, 1];
        let mut fields = Fields::of_response(0x17E, &response).unwrap();
        assert!(matches!(fields.sized(), Err(TpmError::Malformed(_))));
    }
}
