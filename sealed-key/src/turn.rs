//! A turn at the TPM: what it is asked, and that nothing stays in it.
//!
//! Whoever opens a turn flushes it, whatever came of it. Who is stopped in between, or loses the TPM,
//! leaves it to the kernel, whose resource manager flushes what a program had when it closes the device.
//!
//! I/O: the TPM.

use attester::tpm::{Session, Tpm, TpmError};
use tpm2_protocol::data::{TpmCc, TpmRcBase, TpmRh};
use zeroize::Zeroizing;

use crate::call::{Answer, Call, Handle, answer, empty_password};
use crate::structure::{self, NULL, Name};
use crate::wire::{Fields, sized};
use crate::{Registers, TpmUseError};

/// The TPM, and what was loaded into it.
pub(crate) struct Turn {
    session: Session,
    loaded: Vec<u32>,
}

/// The primary key.
pub(crate) struct Primary {
    pub(crate) handle: Handle,
    pub(crate) name: Name,
    /// As the TPM has it, which is what counts where it is hashed.
    pub(crate) x: Vec<u8>,
    pub(crate) y: Vec<u8>,
}

impl Turn {
    pub(crate) async fn open(tpm: &Tpm) -> Result<Self, TpmUseError> {
        Ok(Self {
            session: tpm.session().await?,
            loaded: Vec::new(),
        })
    }

    /// What runs.
    pub(crate) async fn registers(&mut self) -> Result<Registers, TpmUseError> {
        Registers::of(&self.session.read_pcrs().await?)
    }

    /// Sends a command and gives the answer, which says success.
    pub(crate) async fn send(
        &mut self,
        call: &Call,
        authorizations: &[u8],
    ) -> Result<Vec<u8>, TpmUseError> {
        let command = call.to_bytes(authorizations);
        Ok(self.session.transact(call.title, command).await?)
    }

    /// The same for a command that loads something, which is flushed later.
    pub(crate) async fn load_by(
        &mut self,
        call: &Call,
        authorizations: &[u8],
    ) -> Result<(u32, Vec<u8>), TpmUseError> {
        let response = self.send(call, authorizations).await?;
        let Some(Answer {
            handle, parameters, ..
        }) = answer(&response, true)
        else {
            return Err(unexpected(call, "one with a handle"));
        };
        self.loaded.push(handle);
        Ok((handle, parameters.to_vec()))
    }

    /// `TPM2_CreatePrimary` of the template in the owner hierarchy, which gives the same key each time.
    pub(crate) async fn primary(&mut self) -> Result<Primary, TpmUseError> {
        let call = Call {
            command: TpmCc::CreatePrimary,
            title: "TPM2_CreatePrimary of the storage key",
            handles: vec![Handle::permanent(TpmRh::Owner)],
            parameters: Zeroizing::new(
                [
                    // No password, no data; no label; no registers.
                    sized(&[0; 4]),
                    sized(&structure::primary_template()),
                    sized(&[]),
                    vec![0; 4],
                ]
                .concat(),
            ),
        };
        let (number, parameters) = self.load_by(&call, &empty_password()).await?;
        let public = Fields(&parameters).sized();
        let point = public.and_then(|public| {
            let mut point = Fields(public.strip_prefix(&structure::primary_prefix()[..])?);
            let (x, y) = (point.sized()?, point.sized()?);
            point.end()?;
            Some((x.to_vec(), y.to_vec()))
        });
        let (Some(public), Some((x, y))) = (public, point) else {
            return Err(unexpected(&call, "a key of the template"));
        };
        let name = structure::name(public);
        Ok(Primary {
            handle: Handle::object(number, &name),
            name,
            x,
            y,
        })
    }

    /// `TPM2_Load`.
    pub(crate) async fn load(
        &mut self,
        primary: &Primary,
        private: &[u8],
        public: &[u8],
    ) -> Result<Handle, TpmUseError> {
        let call = Call {
            command: TpmCc::Load,
            title: "TPM2_Load of the sealed key",
            handles: vec![primary.handle.clone()],
            parameters: Zeroizing::new([sized(private), sized(public)].concat()),
        };
        let (number, _name) = self.load_by(&call, &empty_password()).await?;
        // The TPM's own word for its name is not needed: who uses a wrong one is refused.
        Ok(Handle::object(number, &structure::name(public)))
    }

    /// Fulfils the policy of these images in a session, as far as the registers do.
    pub(crate) async fn fulfil(
        &mut self,
        session: u32,
        images: &[Registers],
    ) -> Result<(), TpmUseError> {
        let session = Handle::object(session, &session.to_be_bytes());
        let call = Call {
            command: TpmCc::PolicyPcr,
            title: "TPM2_PolicyPCR",
            handles: vec![session.clone()],
            parameters: Zeroizing::new([sized(&[]), structure::selection()].concat()),
        };
        self.send(&call, &[]).await?;
        let count = u32::try_from(images.len()).unwrap_or(u32::MAX);
        if count < 2 {
            return Ok(());
        }
        let branches = images.iter().map(structure::branch);
        let branches: Vec<u8> = branches.flat_map(|branch| sized(&branch)).collect();
        let call = Call {
            command: TpmCc::PolicyOr,
            title: "TPM2_PolicyOR",
            handles: vec![session],
            parameters: Zeroizing::new([&count.to_be_bytes()[..], &branches].concat()),
        };
        self.send(&call, &[]).await.map(drop)
    }

    /// Flushes all that was loaded. What cannot be flushed is left to the resource manager.
    pub(crate) async fn flush(&mut self) {
        // Sessions and objects before the key below which they are.
        while let Some(handle) = self.loaded.pop() {
            let call = Call {
                command: TpmCc::FlushContext,
                title: "TPM2_FlushContext",
                handles: Vec::new(),
                parameters: Zeroizing::new(handle.to_be_bytes().to_vec()),
            };
            let _ = self.send(&call, &[]).await;
        }
    }
}

/// `TPM2_CertifyCreation` without a signature: whether the ticket is the TPM's for this object and these data.
pub(crate) fn certify_creation(object: &Handle, creation_hash: &[u8], ticket: &[u8]) -> Call {
    Call {
        command: TpmCc::CertifyCreation,
        title: "TPM2_CertifyCreation of the sealed key",
        handles: vec![Handle::permanent(TpmRh::Null), object.clone()],
        parameters: Zeroizing::new(
            [
                sized(&[]),
                sized(creation_hash),
                NULL.to_vec(),
                structure::ticket_head(),
                sized(ticket),
            ]
            .concat(),
        ),
    }
}

/// `TPM2_Create` of a key with this policy. The first parameter is secret.
pub(crate) fn create(primary: &Primary, key: &[u8; 32], policy: &[u8; 32]) -> Call {
    // No password.
    let sensitive = Zeroizing::new([&sized(&[])[..], &Zeroizing::new(sized(key))].concat());
    Call {
        command: TpmCc::Create,
        title: "TPM2_Create of the sealed key",
        handles: vec![primary.handle.clone()],
        parameters: Zeroizing::new(
            [
                &Zeroizing::new(sized(&sensitive))[..],
                &sized(&structure::sealed_public(policy, &[])),
                &sized(structure::LABEL),
                &structure::selection(),
            ]
            .concat(),
        ),
    }
}

/// `TPM2_Unseal`. The answer is secret.
pub(crate) fn unseal(object: &Handle) -> Call {
    Call {
        command: TpmCc::Unseal,
        title: "TPM2_Unseal of the sealed key",
        handles: vec![object.clone()],
        parameters: Zeroizing::new(Vec::new()),
    }
}

/// Another answer than `expected`.
pub(crate) fn unexpected(call: &Call, expected: &'static str) -> TpmUseError {
    TpmUseError::Answer {
        command: call.title,
        expected,
    }
}

/// Which code the TPM refused with, if it did.
pub(crate) fn refusal(error: &TpmUseError) -> Option<TpmRcBase> {
    match error {
        TpmUseError::Tpm(TpmError::Refused { code, .. }) => code.base(),
        _ => None,
    }
}
