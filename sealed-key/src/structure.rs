//! The TPM's structures that are about a sealed key, as bytes, and their digests.
//!
//! TPM 2.0 Library, Part 2 (structures) and Part 3 (what policy commands do to a policy's digest). None is read from
//! storage: each is made here of the few values that differ, so that there is nothing else in it.
//!
//! I/O: none.

use tpm2_protocol::data::{TpmAlgId, TpmCc, TpmEccCurve, TpmRh, TpmSt, TpmaLocality, TpmaObject};

use crate::registers::{Registers, ZERO};
use crate::wire::{sha256, sized};

/// What creation data have as `outsideInfo`: an object of this crate, and not of another program of an image.
pub const LABEL: &[u8] = b"sealed-key/1";

/// The registers that a key is sealed to: 4, 9, 11 and those that have to be zero.
const SELECTED: [u8; 3 + ZERO.len()] = [4, 9, 11, ZERO[0], ZERO[1], ZERO[2]];

/// Bytes of a coordinate on P-256.
const COORDINATE: usize = 32;

/// A name: the algorithm of its digest, and the digest of a public area.
pub(crate) type Name = [u8; 34];

pub(crate) const SHA256: [u8; 2] = (TpmAlgId::Sha256 as u16).to_be_bytes();
pub(crate) const NULL: [u8; 2] = (TpmAlgId::Null as u16).to_be_bytes();

/// `TPMT_SYM_DEF` of AES-128-CFB.
pub(crate) fn aes_128_cfb() -> Vec<u8> {
    numbers(&[TpmAlgId::Aes as u16, 128, TpmAlgId::Cfb as u16])
}

/// `TPML_PCR_SELECTION` of the registers that a key is sealed to.
pub(crate) fn selection() -> Vec<u8> {
    let bitmap = SELECTED.iter().fold(0_u32, |bitmap, register| {
        bitmap | 1_u32.checked_shl((*register).into()).unwrap_or_default()
    });
    let [first, second, third, _] = bitmap.to_le_bytes();
    let one = 1_u32.to_be_bytes();
    [&one[..], &SHA256, &[3, first, second, third]].concat()
}

/// `TPMT_PUBLIC` of the primary key, but for the point at its end: the ECC P-256 template for a storage root key of
/// the TCG's "TPM v2.0 Provisioning Guidance", without password.
pub(crate) fn primary_prefix() -> Vec<u8> {
    let attributes = TpmaObject::FIXED_TPM
        | TpmaObject::FIXED_PARENT
        | TpmaObject::SENSITIVE_DATA_ORIGIN
        | TpmaObject::USER_WITH_AUTH
        | TpmaObject::NO_DA
        | TpmaObject::RESTRICTED
        | TpmaObject::DECRYPT;
    [
        public_head(TpmAlgId::Ecc, attributes, &[]),
        aes_128_cfb(),
        // No signing scheme, P-256, no key derivation.
        numbers(&[
            TpmAlgId::Null as u16,
            TpmEccCurve::NistP256 as u16,
            TpmAlgId::Null as u16,
        ]),
    ]
    .concat()
}

/// The whole template: a point of zeros.
pub(crate) fn primary_template() -> Vec<u8> {
    let zero = sized(&[0; COORDINATE]);
    [&primary_prefix()[..], &zero, &zero].concat()
}

/// `TPMT_PUBLIC` of a sealed key. `unique` is empty in the template, and then what the TPM makes of the key and a
/// random value.
///
/// Without `userWithAuth` and with `adminWithPolicy`, nothing but the policy opens or administers it.
pub(crate) fn sealed_public(policy: &[u8; 32], unique: &[u8]) -> Vec<u8> {
    let attributes = TpmaObject::FIXED_TPM
        | TpmaObject::FIXED_PARENT
        | TpmaObject::ADMIN_WITH_POLICY
        | TpmaObject::NO_DA;
    [
        public_head(TpmAlgId::KeyedHash, attributes, policy),
        NULL.to_vec(),
        sized(unique),
    ]
    .concat()
}

fn public_head(kind: TpmAlgId, attributes: TpmaObject, policy: &[u8]) -> Vec<u8> {
    let kind = (kind as u16).to_be_bytes();
    let attributes = attributes.bits().to_be_bytes();
    [&kind[..], &SHA256, &attributes, &sized(policy)].concat()
}

/// `TPMS_CREATION_DATA` of what was made while these registers had these values, below this primary key.
pub(crate) fn creation_data(maker: &Registers, parent: &Name) -> Vec<u8> {
    let owner = (TpmRh::Owner as u32).to_be_bytes();
    // "Qualified": of the whole way from the hierarchy to the key.
    let qualified = name_of(&[&owner, parent]);
    [
        selection(),
        sized(&maker.digest()),
        // From where the kernel speaks to the TPM.
        vec![TpmaLocality::LOC_ZERO.bits()],
        SHA256.to_vec(),
        sized(parent),
        sized(&qualified),
        sized(LABEL),
    ]
    .concat()
}

/// What precedes the ticket's digest in a `TPMT_TK_CREATION` of the owner hierarchy.
pub(crate) fn ticket_head() -> Vec<u8> {
    let tag = (TpmSt::Creation as u16).to_be_bytes();
    let owner = (TpmRh::Owner as u32).to_be_bytes();
    [&tag[..], &owner].concat()
}

/// The name of what has this public area.
pub(crate) fn name(public: &[u8]) -> Name {
    name_of(&[public])
}

fn name_of(parts: &[&[u8]]) -> Name {
    let mut name = [0; 34];
    let bytes = SHA256.into_iter().chain(sha256(parts));
    name.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    name
}

/// The digest of a policy session after `TPM2_PolicyPCR`, while this image runs.
pub(crate) fn branch(image: &Registers) -> [u8; 32] {
    let command = (TpmCc::PolicyPcr as u32).to_be_bytes();
    sha256(&[&[0; 32], &command, &selection(), &image.digest()])
}

/// The policy of a sealed key: the one branch, or `TPM2_PolicyOR` of all of them in this order.
pub(crate) fn policy(images: &[Registers]) -> [u8; 32] {
    let branches: Vec<[u8; 32]> = images.iter().map(branch).collect();
    match branches[..] {
        [only] => only,
        _ => {
            let command = (TpmCc::PolicyOr as u32).to_be_bytes();
            sha256(&[&[0; 32], &command, branches.as_flattened()])
        }
    }
}

fn numbers(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_be_bytes()).collect()
}
