//! What evidence is bound to: a TLS key, and a nonce or the TLS session itself.
//!
//! Both sides of a connection use this one module, so that what is attested and what is checked
//! cannot drift apart. The attesting side asks for the values that its hardware signs, the
//! verifying side hands the whole [`Binding`] to the verifier.
//!
//! | protocol | report data of a TD quote | qualifying data of a vTPM quote |
//! |---|---|---|
//! | aTLS | SHA-256(SHA-256(SPKI) ‖ nonce) ‖ 0 | SHA-256(instance info ‖ first half of the former) |
//! | `flashbots-ratls/1` | SHA-256(public key) ‖ exporter | first half of the former |
//!
//! Left out: choosing nonces, and getting exporters from TLS stacks.
//!
//! I/O: none.

use x509_cert::der::Decode;
use x509_cert::spki::SubjectPublicKeyInfoRef;

use crate::hash::sha256;

/// The label under which `flashbots-ratls/1` exports keying material; no context, 32 bytes.
pub const RATLS_EXPORTER_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// The key and the nonce or session that evidence must be about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding(Protocol);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Protocol {
    Atls { user_data: [u8; 32], nonce: Vec<u8> },
    Ratls { input_data: [u8; 64] },
}

/// A key is not a DER `SubjectPublicKeyInfo`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a subject public key info")]
pub struct SpkiError(#[source] x509_cert::der::Error);

impl Binding {
    /// Binds to a certificate's key and the peer's nonce, as Constellation-style aTLS.
    ///
    /// `spki` is the key's DER `SubjectPublicKeyInfo`. `nonce` is what the verifying side chose
    /// and the attesting side received, already base64-decoded; it is empty if none was sent, and
    /// then the evidence is not fresh.
    pub fn atls(spki: &[u8], nonce: &[u8]) -> Self {
        Self::atls_user_data(sha256(&[spki]), nonce)
    }

    /// As [`atls`](Self::atls), for a key of which only the SHA-256 was kept.
    pub fn atls_user_data(user_data: [u8; 32], nonce: &[u8]) -> Self {
        Self(Protocol::Atls {
            user_data,
            nonce: nonce.to_vec(),
        })
    }

    /// Binds to a certificate's key and a TLS session, as `flashbots-ratls/1`.
    ///
    /// `spki` is the attesting side's DER `SubjectPublicKeyInfo`; `None` if it has no certificate.
    /// What is hashed of it is the content of its bit string only. `exporter` is the session's
    /// keying material under [`RATLS_EXPORTER_LABEL`].
    ///
    /// Both sides of a session have the same exporter, so only the key tells their evidence
    /// apart: a caller must refuse a peer with its own key, and a peer without one unless it
    /// attests with a key itself.
    ///
    /// # Errors
    ///
    /// [`SpkiError`] if `spki` is something else.
    pub fn ratls(spki: Option<&[u8]>, exporter: &[u8; 32]) -> Result<Self, SpkiError> {
        let key = match spki {
            Some(spki) => {
                let spki = SubjectPublicKeyInfoRef::from_der(spki).map_err(SpkiError)?;
                sha256(&[spki.subject_public_key.raw_bytes()])
            }
            None => [0; 32],
        };
        Ok(Self::ratls_input_data(join(key, *exporter)))
    }

    /// As [`ratls`](Self::ratls), for evidence that was saved together with its input data.
    ///
    /// Input data that come from the evidence itself bind it to nothing.
    pub fn ratls_input_data(input_data: [u8; 64]) -> Self {
        Self(Protocol::Ratls { input_data })
    }

    /// The report data that a bare TD quote must have.
    pub fn report_data(&self) -> [u8; 64] {
        match &self.0 {
            Protocol::Atls { user_data, nonce } => join(sha256(&[user_data, nonce]), [0; 32]),
            Protocol::Ratls { input_data } => *input_data,
        }
    }

    /// The qualifying data that a vTPM's quote must have on Azure.
    ///
    /// `instance_info` is the document's field of that name, byte by byte as it is sent; only
    /// aTLS hashes it.
    pub fn azure_qualifying_data(&self, instance_info: &[u8]) -> [u8; 32] {
        let half = first_half(&self.report_data());
        match &self.0 {
            Protocol::Atls { .. } => sha256(&[instance_info, &half]),
            Protocol::Ratls { .. } => half,
        }
    }

    /// The user data that the HCL must have put into its report on Azure; `None` if the protocol
    /// does not use them.
    pub fn azure_user_data(&self) -> Option<[u8; 64]> {
        match &self.0 {
            Protocol::Atls { .. } => None,
            Protocol::Ratls { input_data } => Some(*input_data),
        }
    }

    /// SHA-256 of the key, which an aTLS document carries as `UserData`; `None` if the protocol's
    /// documents do not.
    pub fn user_data(&self) -> Option<[u8; 32]> {
        match &self.0 {
            Protocol::Atls { user_data, .. } => Some(*user_data),
            Protocol::Ratls { .. } => None,
        }
    }

    /// The nonce, to be kept with evidence for aTLS.
    pub fn nonce(&self) -> Option<&[u8]> {
        match &self.0 {
            Protocol::Atls { nonce, .. } => Some(nonce),
            Protocol::Ratls { .. } => None,
        }
    }

    /// The session's exporter, to be kept with evidence for `flashbots-ratls/1`.
    pub fn exporter(&self) -> Option<[u8; 32]> {
        match &self.0 {
            Protocol::Atls { .. } => None,
            Protocol::Ratls { input_data } => input_data.last_chunk().copied(),
        }
    }
}

fn join(first: [u8; 32], second: [u8; 32]) -> [u8; 64] {
    let mut joined = [0; 64];
    for (to, from) in joined.iter_mut().zip(first.into_iter().chain(second)) {
        *to = from;
    }
    joined
}

fn first_half(bytes: &[u8; 64]) -> [u8; 32] {
    let mut half = [0; 32];
    for (to, from) in half.iter_mut().zip(bytes) {
        *to = *from;
    }
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A P-256 key: the bit string begins at 26, after its count of unused bits.
    fn spki() -> Vec<u8> {
        let head = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";
        [&head[..], &[4], &[0x5a; 64]].concat()
    }

    #[test]
    fn atls_binds_the_whole_key_and_the_nonce() {
        let binding = Binding::atls(&spki(), b"nonce");
        let user_data = sha256(&[&spki()]);
        let extra_data = sha256(&[&user_data, b"nonce"]);
        assert_eq!(binding.user_data(), Some(user_data));
        assert_eq!(binding.report_data(), join(extra_data, [0; 32]));
        assert_eq!(
            binding.azure_qualifying_data(b"info"),
            sha256(&[b"info", &extra_data])
        );
        assert_eq!(binding.azure_user_data(), None);
        assert_eq!(binding.nonce(), Some(&b"nonce"[..]));
        assert_eq!(binding.exporter(), None);
        assert_eq!(binding, Binding::atls_user_data(user_data, b"nonce"));
    }

    #[test]
    fn ratls_binds_the_bit_string_and_the_session() {
        let binding = Binding::ratls(Some(&spki()), &[3; 32]).unwrap();
        let key = sha256(&[&spki()[26..]]);
        assert_eq!(binding.report_data(), join(key, [3; 32]));
        assert_eq!(binding.azure_qualifying_data(b"info"), key);
        assert_eq!(binding.azure_user_data(), Some(join(key, [3; 32])));
        assert_eq!(binding.user_data(), None);
        assert_eq!(binding.exporter(), Some([3; 32]));
        assert_eq!(binding.nonce(), None);
        let without_key = Binding::ratls(None, &[3; 32]).unwrap();
        assert_eq!(without_key.report_data(), join([0; 32], [3; 32]));
        assert!(Binding::ratls(Some(b"no key"), &[3; 32]).is_err());
    }

    #[test]
    fn key_and_nonce_cannot_be_shifted_into_one_another() {
        let one = Binding::atls(b"key", b"nonce");
        let other = Binding::atls(b"keyn", b"once");
        assert_ne!(one.report_data(), other.report_data());
    }
}
