//! Sessions in which the TPM's answers are authenticated, and one parameter is secret.
//!
//! TPM 2.0 Library, Part 1: "Session-Based Authorizations", "Session-based encryption", and the annex about ECC
//! for secrets to such a key. The session's key comes of a point that only the primary key's holder can make; no
//! password is involved, since all of ours are empty.
//!
//! I/O: the TPM; random numbers of the kernel.

use openssl::symm::{self, Cipher};
use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::hmac;
use ring::rand::SystemRandom;
use tpm2_protocol::data::{TpmCc, TpmRh, TpmSe, TpmaSession};
use zeroize::Zeroizing;

use crate::TpmUseError;
use crate::call::{Call, Handle, answer};
use crate::key::fill_randomly;
use crate::structure::{SHA256, aes_128_cfb};
use crate::turn::{Primary, Turn, unexpected};
use crate::wire::{Fields, array, sha256, sized};

/// Bits that are derived at once: of a session's key, and of a cipher's key and first block.
const BITS: u32 = 256;

/// Bytes of AES-128's key.
const AES_KEY: usize = 16;

/// A session.
pub(crate) struct Protected {
    pub(crate) handle: u32,
    key: Zeroizing<[u8; 32]>,
    /// The TPM's latest.
    nonce: Vec<u8>,
}

/// What of a command or its answer is secret, besides being authenticated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Secret {
    Nothing,
    FirstParameter,
    FirstAnswer,
}

impl Protected {
    /// Starts a session, for passwords (`TpmSe::Hmac`) or for a policy.
    pub(crate) async fn start(
        turn: &mut Turn,
        primary: &Primary,
        kind: TpmSe,
    ) -> Result<Self, TpmUseError> {
        let (salt, encrypted_salt) = salt(primary)?;
        let our_nonce = nonce()?;
        let call = Call {
            command: TpmCc::StartAuthSession,
            title: "TPM2_StartAuthSession",
            handles: vec![primary.handle.clone(), Handle::permanent(TpmRh::Null)],
            parameters: Zeroizing::new(
                [
                    sized(&our_nonce),
                    sized(&encrypted_salt),
                    vec![kind as u8],
                    aes_128_cfb(),
                    SHA256.to_vec(),
                ]
                .concat(),
            ),
        };
        let (handle, parameters) = turn.load_by(&call, &[]).await?;
        let nonce = Fields(&parameters).sized();
        let nonce = nonce.ok_or_else(|| unexpected(&call, "a nonce"))?.to_vec();
        let key = derive(salt.as_ref(), b"ATH", &nonce, &our_nonce);
        Ok(Self { handle, key, nonce })
    }

    /// Sends a command that this session authorizes; gives the answer's parameters once they are authenticated.
    pub(crate) async fn send(
        &mut self,
        turn: &mut Turn,
        call: &Call,
        secret: Secret,
    ) -> Result<Zeroizing<Vec<u8>>, TpmUseError> {
        let our_nonce = nonce()?;
        let attributes = match secret {
            Secret::Nothing => TpmaSession::CONTINUE_SESSION,
            Secret::FirstParameter => TpmaSession::CONTINUE_SESSION | TpmaSession::DECRYPT,
            Secret::FirstAnswer => TpmaSession::CONTINUE_SESSION | TpmaSession::ENCRYPT,
        };
        let attributes = attributes.bits();
        let encrypted = match secret {
            Secret::FirstParameter => Some(self.encrypt(call, &our_nonce)?),
            _ => None,
        };
        let call = encrypted.as_ref().unwrap_or(call);
        let message = authenticated(&call.digest(), &our_nonce, &self.nonce, attributes);
        let tag = hmac::sign(&self.authentication(), &message);
        let authorization = [
            &self.handle.to_be_bytes()[..],
            &sized(&our_nonce),
            &[attributes],
            &sized(tag.as_ref()),
        ]
        .concat();
        let response = turn.send(call, &authorization).await?;
        let answer = answer(&response, false);
        let answer = answer.ok_or_else(|| unexpected(call, "well-formed"))?;
        let mut fields = Fields(answer.authorizations);
        let authorization = (|| {
            Some((
                fields.sized()?,
                fields.u8()?,
                fields.sized()?,
                fields.end()?,
            ))
        })();
        let (nonce, attributes, tag, ()) =
            authorization.ok_or_else(|| unexpected(call, "authorized"))?;
        let code = (call.command as u32).to_be_bytes();
        let digest = sha256(&[&[0; 4], &code, answer.parameters]);
        let message = authenticated(&digest, nonce, &our_nonce, attributes);
        let command = call.title;
        hmac::verify(&self.authentication(), &message, tag)
            .map_err(|_| TpmUseError::Altered { command })?;
        self.nonce = nonce.to_vec();
        match secret {
            Secret::FirstAnswer => self.decrypt(answer.parameters, &our_nonce, call),
            _ => Ok(Zeroizing::new(answer.parameters.to_vec())),
        }
    }

    fn authentication(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, self.key.as_ref())
    }

    fn encrypt(&self, call: &Call, our_nonce: &[u8]) -> Result<Call, TpmUseError> {
        let mut rest = Fields(&call.parameters);
        let first = rest.sized().unwrap_or_default();
        let (key, block) = self.cipher(our_nonce, &self.nonce);
        let encrypted = symm::encrypt(
            Cipher::aes_128_cfb128(),
            key.as_ref(),
            Some(block.as_ref()),
            first,
        );
        let encrypted = encrypted.map_err(TpmUseError::Cipher)?;
        Ok(Call {
            handles: call.handles.clone(),
            parameters: Zeroizing::new([&sized(&encrypted)[..], rest.0].concat()),
            ..*call
        })
    }

    /// Decrypts with the nonces of an answer that has come.
    fn decrypt(
        &self,
        parameters: &[u8],
        our_nonce: &[u8],
        call: &Call,
    ) -> Result<Zeroizing<Vec<u8>>, TpmUseError> {
        let mut rest = Fields(parameters);
        let first = rest.sized();
        let first = first.ok_or_else(|| unexpected(call, "a buffer"))?;
        let (key, block) = self.cipher(&self.nonce, our_nonce);
        let decrypted = symm::decrypt(
            Cipher::aes_128_cfb128(),
            key.as_ref(),
            Some(block.as_ref()),
            first,
        );
        let decrypted = Zeroizing::new(decrypted.map_err(TpmUseError::Cipher)?);
        let first = Zeroizing::new(sized(&decrypted));
        Ok(Zeroizing::new([&first[..], rest.0].concat()))
    }

    /// The key and the first block of one message.
    fn cipher(
        &self,
        newer: &[u8],
        older: &[u8],
    ) -> (Zeroizing<[u8; AES_KEY]>, Zeroizing<[u8; AES_KEY]>) {
        let derived = derive(self.key.as_ref(), b"CFB", newer, older);
        let (key, block) = derived.split_at(AES_KEY);
        (Zeroizing::new(array(key)), Zeroizing::new(array(block)))
    }
}

/// What an HMAC is of; the digest is that of the command or of the answer.
fn authenticated(digest: &[u8; 32], newer: &[u8], older: &[u8], attributes: u8) -> Vec<u8> {
    [digest, newer, older, &[attributes]].concat()
}

/// A salt, and the same for the eyes of the primary key's holder: `KDFe` of an ephemeral key.
fn salt(primary: &Primary) -> Result<(Zeroizing<[u8; 32]>, Vec<u8>), TpmUseError> {
    let random = |_| TpmUseError::Random;
    let ours = EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new()).map_err(random)?;
    let public = ours.compute_public_key().map_err(random)?;
    // Uncompressed: a four, then both coordinates.
    let (_, point) = public.as_ref().split_at(1);
    let (x, y) = point.split_at(32);
    let mut theirs = vec![4];
    for coordinate in [&primary.x, &primary.y] {
        // A TPM may leave zeros at the beginning away.
        theirs.extend(vec![0; 32_usize.saturating_sub(coordinate.len())]);
        theirs.extend(coordinate);
    }
    let theirs = UnparsedPublicKey::new(&ECDH_P256, theirs);
    let agreed = agree_ephemeral(ours, &theirs, |z| {
        Zeroizing::new(sha256(&[
            &1_u32.to_be_bytes(),
            z,
            b"SECRET\0",
            x,
            &primary.x,
        ]))
    });
    let salt = agreed.map_err(|_| TpmUseError::Answer {
        command: "TPM2_CreatePrimary of the storage key",
        expected: "a point on P-256",
    })?;
    Ok((salt, [sized(x), sized(y)].concat()))
}

/// `KDFa`: one block of it, which is 256 bits.
fn derive(key: &[u8], label: &[u8], u: &[u8], v: &[u8]) -> Zeroizing<[u8; 32]> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let mut context = hmac::Context::with_key(&key);
    for part in [
        &1_u32.to_be_bytes()[..],
        label,
        &[0],
        u,
        v,
        &BITS.to_be_bytes(),
    ] {
        context.update(part);
    }
    Zeroizing::new(array(context.sign().as_ref()))
}

fn nonce() -> Result<[u8; 32], TpmUseError> {
    let mut nonce = [0; 32];
    fill_randomly(&mut nonce)?;
    Ok(nonce)
}
