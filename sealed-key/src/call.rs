//! A command as bytes, and what its answer is made of.
//!
//! TPM 2.0 Library, Part 1, "Command/Response Structure". Written by hand and not as a frame of `tpm2-protocol`: what
//! is hashed and encrypted is parts of the bytes.
//!
//! I/O: none.

use tpm2_protocol::data::{TpmCc, TpmRh, TpmSt};
use zeroize::Zeroizing;

use crate::wire::{Fields, sha256};

/// A command, but for who authorizes it.
pub(crate) struct Call {
    pub(crate) command: TpmCc,
    /// For errors.
    pub(crate) title: &'static str,
    pub(crate) handles: Vec<Handle>,
    pub(crate) parameters: Zeroizing<Vec<u8>>,
}

/// What a command is about.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) number: u32,
    /// Of an object that of its public area, otherwise the number.
    pub(crate) name: Vec<u8>,
}

impl Handle {
    pub(crate) fn object(number: u32, name: &[u8]) -> Self {
        let name = name.to_vec();
        Self { number, name }
    }

    pub(crate) fn permanent(which: TpmRh) -> Self {
        Self::object(which as u32, &(which as u32).to_be_bytes())
    }
}

impl Call {
    /// The command, with these authorizations; without, if there are none.
    pub(crate) fn to_bytes(&self, authorizations: &[u8]) -> Vec<u8> {
        let handles = self.handles.iter().flat_map(|h| h.number.to_be_bytes());
        let mut body: Vec<u8> = handles.collect();
        let tag = match authorizations {
            [] => TpmSt::NoSessions,
            _ => {
                body.extend(length(authorizations.len()));
                body.extend(authorizations);
                TpmSt::Sessions
            }
        };
        body.extend(self.parameters.iter());
        let head = (tag as u16).to_be_bytes();
        let code = (self.command as u32).to_be_bytes();
        let size = length(body.len().saturating_add(10));
        [&head[..], &size, &code, &body].concat()
    }

    /// `cpHash`: what an HMAC of a command is about.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let code = (self.command as u32).to_be_bytes();
        let names: Vec<u8> = self.handles.iter().flat_map(|h| h.name.clone()).collect();
        sha256(&[&code, &names, &self.parameters])
    }
}

/// The authorization by the empty password.
pub(crate) fn empty_password() -> Vec<u8> {
    // No nonce, no attributes, no password.
    [&(TpmRh::Pw as u32).to_be_bytes()[..], &[0; 5]].concat()
}

/// What a successful answer is made of.
pub(crate) struct Answer<'a> {
    pub(crate) handle: u32,
    pub(crate) parameters: &'a [u8],
    pub(crate) authorizations: &'a [u8],
}

/// Takes the answer to a command apart. `handle` is zero if the command gives none.
pub(crate) fn answer(response: &[u8], has_handle: bool) -> Option<Answer<'_>> {
    let mut fields = Fields(response);
    let tag = fields.u16()?;
    // Size and code, which have been looked at.
    fields.bytes(8)?;
    let handle = match has_handle {
        true => fields.u32()?,
        false => 0,
    };
    if tag == TpmSt::NoSessions as u16 {
        return Some(Answer {
            handle,
            parameters: fields.0,
            authorizations: &[],
        });
    }
    let size = usize::try_from(fields.u32()?).ok()?;
    Some(Answer {
        handle,
        parameters: fields.bytes(size)?,
        authorizations: fields.0,
    })
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}
