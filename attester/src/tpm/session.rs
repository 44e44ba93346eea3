//! A turn at the TPM: commands, one after the other, with nobody else's between them.
//!
//! I/O: the TPM's device or socket.

use std::collections::BTreeMap;

use tokio::sync::OwnedMutexGuard;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tpm2_protocol::TpmResult;

use super::channel::Channel;
use super::code::ResponseCode;
use super::command::{Command, REGISTERS};
use super::response::{self, ResponseError};
use super::{Tpm, TpmError};
use crate::Patience;

/// Most digests in one `TPM2_PCR_Read` response: `TPML_DIGEST`, Part 2, 10.9.5.
const REGISTERS_PER_READ: usize = 8;

/// Most bytes that are read of NV memory at once; what the frames can hold.
const MAX_NV_BUFFER: u16 = 1024;

/// Largest NV index that is read. Azure's have 2,600 and 4,096 bytes.
const MAX_NV_INDEX: u16 = 8 << 10;

/// A TPM that nobody else uses, as far as this program goes.
#[derive(Debug)]
pub struct Session {
    /// `None` while a command is at work, and for ever if it was not waited for.
    open: Option<Open>,
    patience: Patience,
}

/// Goes where the command goes, so that a command which nobody waits for keeps the TPM.
#[derive(Debug)]
struct Open {
    channel: Channel,
    _turn: OwnedMutexGuard<()>,
}

impl Session {
    pub(super) async fn open(tpm: &Tpm) -> Result<Self, TpmError> {
        let limit = tpm.patience.limit;
        let turn = timeout(limit, tpm.turn.clone().lock_owned()).await;
        let turn = turn.map_err(|_| TpmError::Busy { limit })?;
        let path = tpm.path.clone();
        let opening = spawn_blocking(move || {
            let channel = Channel::open(&path, limit).map_err(|source| TpmError::Open {
                path: path.to_path_buf(),
                source,
            })?;
            Ok(Open {
                channel,
                _turn: turn,
            })
        });
        let ending = |_| TpmError::Ending {
            command: "open the TPM".into(),
        };
        let opened = timeout(limit, opening).await;
        let opened = opened.map_err(|_| TpmError::Busy { limit })?;
        Ok(Self {
            open: Some(opened.map_err(ending)??),
            patience: tpm.patience,
        })
    }

    /// Reads a whole NV index with the owner's authorization, in pieces as large as the TPM allows.
    ///
    /// # Errors
    ///
    /// [`TpmError`]; one that [is absent](TpmError::is_absent) if there is no such index.
    pub async fn read_nv(&mut self, index: u32) -> Result<Vec<u8>, TpmError> {
        let parse = |response: &[u8]| {
            let size = response::parse_nv_size(response, index)?;
            let expected = "an NV index of at most 8192 bytes";
            match size <= MAX_NV_INDEX {
                true => Ok(size),
                false => Err(ResponseError::Unexpected { expected }),
            }
        };
        let size = self.ask(Command::nv_read_public(index), parse).await?;
        let at_once = self.nv_buffer_max().await?;
        let mut content = Vec::new();
        while let Some(left) = u16::try_from(content.len())
            .ok()
            .and_then(|read| size.checked_sub(read))
            .filter(|left| *left > 0)
        {
            let (offset, piece) = (size.saturating_sub(left), left.min(at_once));
            let parse = |response: &[u8]| response::parse_nv_read(response, piece);
            let command = Command::nv_read(index, offset, piece);
            content.extend(self.ask(command, parse).await?);
        }
        Ok(content)
    }

    /// How many bytes an NV index has.
    ///
    /// # Errors
    ///
    /// [`TpmError`]; one that [is absent](TpmError::is_absent) if there is no such index.
    pub async fn nv_size(&mut self, index: u32) -> Result<u16, TpmError> {
        let parse = |response: &[u8]| response::parse_nv_size(response, index);
        self.ask(Command::nv_read_public(index), parse).await
    }

    /// Makes an NV index with the owner's authorization, which may then read and write it.
    ///
    /// # Errors
    ///
    /// [`TpmError`].
    pub async fn define_nv(&mut self, index: u32, size: u16) -> Result<(), TpmError> {
        let command = Command::nv_define(index, size);
        self.ask(command, response::parse_nv_define).await
    }

    /// Writes the beginning of an NV index with the owner's authorization; at most 1,024 bytes.
    ///
    /// # Errors
    ///
    /// [`TpmError`].
    pub async fn write_nv(&mut self, index: u32, content: &[u8]) -> Result<(), TpmError> {
        let command = Command::nv_write(index, 0, content);
        self.ask(command, response::parse_nv_write).await
    }

    /// Reads the public half of a key: a `TPMT_PUBLIC`.
    ///
    /// # Errors
    ///
    /// [`TpmError`]; one that [is absent](TpmError::is_absent) if there is no such key.
    pub async fn read_public(&mut self, key: u32) -> Result<Vec<u8>, TpmError> {
        let command = Command::read_public(key);
        self.ask(command, response::parse_public).await
    }

    /// Reads all registers of the SHA-256 bank: in several commands, between which a register may
    /// change.
    ///
    /// # Errors
    ///
    /// [`TpmError`]; [`TpmError::Malformed`] if the bank is not active.
    pub async fn read_pcrs(&mut self) -> Result<BTreeMap<u8, [u8; 32]>, TpmError> {
        let registers: Vec<u8> = (0..REGISTERS).collect();
        let mut values = BTreeMap::new();
        for some in registers.chunks(REGISTERS_PER_READ) {
            let parse = |response: &[u8]| response::parse_pcrs(response, some);
            values.extend(self.ask(Command::pcr_read(some), parse).await?);
        }
        Ok(values)
    }

    /// Quotes all registers of the SHA-256 bank; gives `TPMS_ATTEST` and `TPMT_SIGNATURE`.
    ///
    /// # Errors
    ///
    /// [`TpmError`].
    pub async fn quote(
        &mut self,
        key: u32,
        qualifying_data: &[u8; 32],
    ) -> Result<(Vec<u8>, Vec<u8>), TpmError> {
        let command = Command::quote(key, qualifying_data);
        self.ask(command, response::parse_quote).await
    }

    /// Sends a command that somebody else wrote, again while the TPM says to try again, and gives the
    /// whole response, whose code is success. `name` is for errors.
    ///
    /// # Errors
    ///
    /// [`TpmError`].
    pub async fn transact(&mut self, name: &str, command: Vec<u8>) -> Result<Vec<u8>, TpmError> {
        let command = Command {
            name: name.to_owned(),
            bytes: command,
        };
        let parse = |response: &[u8]| match response::parse_code(response)? {
            ResponseCode(0) => Ok(response.to_vec()),
            code => Err(ResponseError::Refused(code)),
        };
        self.ask(Ok(command), parse).await
    }

    async fn nv_buffer_max(&mut self) -> Result<u16, TpmError> {
        let parse = |response: &[u8]| match response::parse_nv_buffer_max(response)? {
            0 => Err(ResponseError::Unexpected {
                expected: "TPM_PT_NV_BUFFER_MAX above zero",
            }),
            most => Ok(u16::try_from(most).unwrap_or(u16::MAX).min(MAX_NV_BUFFER)),
        };
        self.ask(Command::nv_buffer_max(), parse).await
    }

    /// Sends a command until the TPM has no more reason to be asked again, and parses the response.
    async fn ask<T>(
        &mut self,
        command: TpmResult<Command>,
        parse: impl Fn(&[u8]) -> Result<T, ResponseError>,
    ) -> Result<T, TpmError> {
        let command = command.map_err(TpmError::Command)?;
        let mut tried = 1;
        loop {
            let response = self.exchange(&command).await?;
            let code = match parse(&response) {
                Ok(parsed) => return Ok(parsed),
                Err(ResponseError::Refused(code)) => code,
                Err(source) => {
                    let command = command.name;
                    return Err(TpmError::Malformed { command, source });
                }
            };
            match self.patience.pause_after(tried) {
                Some(pause) if code.is_transient() => sleep(pause).await,
                _ => {
                    let command = command.name;
                    return Err(TpmError::Refused { command, code });
                }
            }
            tried = tried.saturating_add(1);
        }
    }

    /// Sends a command once. After any error the session is over: what comes next on the channel
    /// might be the response to this command.
    async fn exchange(&mut self, command: &Command) -> Result<Vec<u8>, TpmError> {
        let limit = self.patience.limit;
        let mut open = self.open.take().ok_or(TpmError::Busy { limit })?;
        let bytes = command.bytes.clone();
        let exchanging = spawn_blocking(move || {
            let response = open.channel.transact(&bytes);
            (open, response)
        });
        let name = || command.name.clone();
        let timeout = timeout(limit, exchanging).await;
        let exchanged = timeout.map_err(|_| TpmError::Timeout {
            command: name(),
            limit,
        })?;
        let (open, response) = exchanged.map_err(|_| TpmError::Ending { command: name() })?;
        let response = response.map_err(|source| match source.kind() {
            // A socket's own limit, which is the same.
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => TpmError::Timeout {
                command: name(),
                limit,
            },
            _ => TpmError::Exchange {
                command: name(),
                source,
            },
        })?;
        self.open = Some(open);
        Ok(response)
    }
}
