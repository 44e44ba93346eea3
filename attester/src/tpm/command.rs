//! The commands, as bytes.
//!
//! TPM 2.0 Library, Part 3. Each is a frame of `tpm2-protocol`; authorized are those that must be, by
//! the empty password.
//!
//! I/O: none.

use tpm2_protocol::basic::TpmUint32;
use tpm2_protocol::data::{
    Tpm2bAuth, Tpm2bData, Tpm2bDigest, Tpm2bMaxNvBuffer, Tpm2bNvPublic, TpmAlgId, TpmCap, TpmPt,
    TpmRh, TpmSt, TpmaNv, TpmlPcrSelection, TpmsAuthCommand, TpmsNvPublic, TpmsPcrSelect,
    TpmsPcrSelection, TpmtSigScheme,
};
use tpm2_protocol::frame::{
    TpmFrame, TpmGetCapabilityCommand, TpmNvDefineSpaceCommand, TpmNvReadCommand,
    TpmNvReadPublicCommand, TpmNvWriteCommand, TpmPcrReadCommand, TpmQuoteCommand,
    TpmReadPublicCommand, tpm_marshal_command,
};
use tpm2_protocol::{TpmError, TpmResult, TpmWriter};

use super::channel::MAX_MESSAGE;

/// Registers of a PC Client TPM.
pub(super) const REGISTERS: u8 = 24;

/// A command to be sent.
#[derive(Clone, Debug)]
pub(super) struct Command {
    /// What it is and what it is about, for errors.
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

impl Command {
    /// Asks for the most bytes that one command reads or writes of NV memory.
    pub(super) fn nv_buffer_max() -> TpmResult<Self> {
        let command = TpmGetCapabilityCommand {
            cap: TpmCap::TpmProperties,
            property: (TpmPt::NvBufferMax as u32).into(),
            property_count: 1.into(),
            handles: [],
        };
        Self::write("TPM2_GetCapability".into(), &command, false)
    }

    pub(super) fn nv_read_public(index: u32) -> TpmResult<Self> {
        let handles = [index.into()];
        let name = format!("TPM2_NV_ReadPublic of {index:#010x}");
        Self::write(name, &TpmNvReadPublicCommand { handles }, false)
    }

    pub(super) fn nv_read(index: u32, offset: u16, size: u16) -> TpmResult<Self> {
        let command = TpmNvReadCommand {
            handles: [owner(), index.into()],
            size: size.into(),
            offset: offset.into(),
        };
        Self::write(format!("TPM2_NV_Read of {index:#010x}"), &command, true)
    }

    /// Makes an index that the owner, and whoever knows its empty password, reads and writes.
    ///
    /// It does not take part in the protection against guessing: there is nothing to guess, and a TPM
    /// that is locked for other reasons still takes it.
    pub(super) fn nv_define(index: u32, size: u16) -> TpmResult<Self> {
        let inner = TpmsNvPublic {
            nv_index: index.into(),
            name_alg: TpmAlgId::Sha256,
            attributes: TpmaNv::OWNERWRITE
                | TpmaNv::AUTHWRITE
                | TpmaNv::OWNERREAD
                | TpmaNv::AUTHREAD
                | TpmaNv::NO_DA,
            auth_policy: Tpm2bDigest::default(),
            data_size: size.into(),
        };
        let command = TpmNvDefineSpaceCommand {
            handles: [owner()],
            auth: Tpm2bAuth::default(),
            public_info: Tpm2bNvPublic { inner },
        };
        let name = format!("TPM2_NV_DefineSpace of {index:#010x}");
        Self::write(name, &command, true)
    }

    pub(super) fn nv_write(index: u32, offset: u16, data: &[u8]) -> TpmResult<Self> {
        let command = TpmNvWriteCommand {
            handles: [owner(), index.into()],
            data: Tpm2bMaxNvBuffer::try_from(data)?,
            offset: offset.into(),
        };
        Self::write(format!("TPM2_NV_Write of {index:#010x}"), &command, true)
    }

    pub(super) fn read_public(key: u32) -> TpmResult<Self> {
        let handles = [key.into()];
        let name = format!("TPM2_ReadPublic of {key:#010x}");
        Self::write(name, &TpmReadPublicCommand { handles }, false)
    }

    pub(super) fn pcr_read(registers: &[u8]) -> TpmResult<Self> {
        let command = TpmPcrReadCommand {
            handles: [],
            pcr_selection_in: selection(registers.iter().copied())?,
        };
        Self::write("TPM2_PCR_Read".into(), &command, false)
    }

    /// Quotes all registers of the SHA-256 bank, in the key's own scheme.
    pub(super) fn quote(key: u32, qualifying_data: &[u8; 32]) -> TpmResult<Self> {
        let command = TpmQuoteCommand {
            handles: [key.into()],
            qualifying_data: Tpm2bData::try_from(&qualifying_data[..])?,
            in_scheme: TpmtSigScheme::default(),
            pcr_select: selection(0..REGISTERS)?,
        };
        Self::write(format!("TPM2_Quote with {key:#010x}"), &command, true)
    }

    fn write(name: String, command: &impl TpmFrame, is_authorized: bool) -> TpmResult<Self> {
        let empty_password = [TpmsAuthCommand {
            session_handle: TpmRh::Pw.value().into(),
            ..TpmsAuthCommand::default()
        }];
        let (tag, sessions) = match is_authorized {
            true => (TpmSt::Sessions, &empty_password[..]),
            false => (TpmSt::NoSessions, &[][..]),
        };
        let mut bytes = vec![0; MAX_MESSAGE];
        let mut writer = TpmWriter::new(&mut bytes);
        tpm_marshal_command(command, tag, sessions, &mut writer)?;
        let size = writer.len();
        bytes.truncate(size);
        Ok(Self { name, bytes })
    }
}

fn owner() -> TpmUint32 {
    TpmRh::Owner.value().into()
}

/// A selection of registers of the SHA-256 bank, below 24.
pub(super) fn selection(registers: impl Iterator<Item = u8>) -> TpmResult<TpmlPcrSelection> {
    let bitmap = registers.fold(0_u32, |bitmap, register| {
        bitmap | 1_u32.checked_shl(register.into()).unwrap_or_default()
    });
    let [first, second, third, _] = bitmap.to_le_bytes();
    let mut selections = TpmlPcrSelection::new();
    selections.try_push(TpmsPcrSelection {
        hash: TpmAlgId::Sha256,
        pcr_select: TpmsPcrSelect::try_from(&[first, second, third][..])?,
    })?;
    Ok::<_, TpmError>(selections)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_have_the_known_bytes() {
        assert_eq!(
            Command::pcr_read(&[4, 9, 11]).unwrap().bytes,
            [
                0x80, 1, 0, 0, 0, 20, 0, 0, 1, 0x7e, // header
                0, 0, 0, 1, 0, 0x0b, 3, 0x10, 0x0a, 0, // one selection
            ]
        );
        assert_eq!(
            Command::nv_read(0x0140_0001, 0x400, 0x200).unwrap().bytes,
            [
                0x80, 2, 0, 0, 0, 35, 0, 0, 1, 0x4e, // header
                0x40, 0, 0, 1, 1, 0x40, 0, 1, // owner, index
                0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0, // empty password
                2, 0, 4, 0, // size, offset
            ]
        );
        assert_eq!(
            Command::nv_buffer_max().unwrap().bytes,
            [
                0x80, 1, 0, 0, 0, 22, 0, 0, 1, 0x7a, // header
                0, 0, 0, 6, 0, 0, 1, 0x2c, 0, 0, 0, 1, // one property
            ]
        );
        assert_eq!(
            Command::nv_define(0x0140_0002, 64).unwrap().bytes,
            [
                0x80, 2, 0, 0, 0, 45, 0, 0, 1, 0x2a, // header
                0x40, 0, 0, 1, // owner
                0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0, // empty password
                0, 0, // the index's own
                0, 14, 1, 0x40, 0, 2, 0, 0x0b, 2, 6, 0, 6, 0, 0, 0, 64,
            ]
        );
        let quote = Command::quote(0x8100_0003, &[7; 32]).unwrap().bytes;
        assert_eq!(
            quote[..14],
            [0x80, 2, 0, 0, 0, 73, 0, 0, 1, 0x58, 0x81, 0, 0, 3]
        );
        let rest = [0, 0x10, 0, 0, 0, 1, 0, 0x0b, 3, 0xff, 0xff, 0xff];
        assert_eq!(quote[61..], rest);
    }
}
