//! A disk's key that the TPM gives to named images only.
//!
//! ```no_run
//! use attester::tpm::{DEVICE, Tpm};
//! use sealed_key::{Key32, Registers, Sealed, disk_key, running, seal, unseal};
//!
//! /// The first boot: makes a key, and what to store.
//! async fn first(tpm: &Tpm) -> Result<(Key32, Vec<u8>), Box<dyn std::error::Error>> {
//!     let (key, image) = (Key32::random()?, running(tpm).await?);
//!     let sealed = seal(tpm, &key, &[image]).await?;
//!     Ok((key, sealed.to_bytes()))
//! }
//!
//! /// A later boot: `former` are the images that may have left the key to this one.
//! async fn later(stored: &[u8], former: &[Registers]) -> Result<(), Box<dyn std::error::Error>> {
//!     let tpm = Tpm::new(DEVICE);
//!     let sealed = Sealed::parse(stored)?;
//!     let allowed = [&[running(&tpm).await?], former].concat();
//!     let key = unseal(&tpm, &sealed, &allowed).await?;
//!     let passphrase = disk_key::from_tpm(&key);
//!     # let _ = passphrase;
//!     Ok(())
//! }
//! ```
//!
//! # What it does
//!
//! [`seal()`] has the TPM make an object of the key, below a primary key that the TPM derives from a fixed
//! template whenever it is asked (ECC P-256, as the TCG's provisioning guidance has it; nothing is kept in the
//! TPM). The object opens only by a policy: PCR 4, 9 and 11 have the values of one of the images that were named
//! (`TPM2_PolicyPCR`, and from two images on `TPM2_PolicyOR`), and PCR 12, 13 and 15 are zero, as in the
//! claim of `docs/threat-model.md`. No password opens it, it cannot be moved to another TPM, and no failure counts
//! towards a lockout. What comes back is a [`Sealed`] for the caller to store; it is no secret.
//!
//! [`unseal`] opens it, after the TPM has confirmed who made it.
//!
//! *Upgrade*: the image that runs opens the key and seals it again, for itself and the next one. It keeps the former
//! blob until the new one is stored: [`seal()`] has opened what it returns. The next image then seals for itself alone.
//! That does not take the key away from the former image: who kept the former blob can still have it opened. A
//! new key does, unless somebody kept the disk's former header as well: changing a disk's key leaves the volume's own.
//! Then only a disk that is made anew helps.
//!
//! # What it protects from
//!
//! *Who reads the storage*, another image on the same machine included: the key leaves the TPM only after an image
//! that was named has booted, with nothing given to it beside.
//!
//! *Who writes the storage.* To seal proves nothing: another image on the same machine, or anybody who can boot one
//! there, can make an object under the very policy of our image with a key that he knows, and so have the node
//! accept a disk of his, or write secrets to a disk that he can read. Therefore the blob has the registers of the
//! image that made it, and the TPM's ticket of creation. The TPM puts the registers that it has *while it makes* an
//! object into the data that the ticket is about, and only the TPM can make a ticket (an HMAC with a secret of its
//! owner hierarchy). `TPM2_CertifyCreation` says whether the ticket fits; that works without a signing key. So what
//! opens was made by this TPM, while one of the images that [`unseal`] was told to allow ran with nothing
//! given to it, as an object of this crate and not of another program of that image (the creation data have
//! [`LABEL`]).
//!
//! *Who listens on the way to the TPM*: the key crosses it encrypted (AES-128-CFB) in sessions salted by the
//! primary key, and the TPM's answers to what matters are authenticated in the same sessions.
//!
//! # What it does not protect from
//!
//! - **A TPM that is somebody else's.** All of this is the TPM's word, and of who measures into it. Azure's vTPM is the
//!   paravisor's: in the TD, below our image, out of the host's reach as far as Microsoft's paravisor is sound. A TPM
//!   that the host emulates (QEMU, bare TDX) belongs to the host: it reads the key. There the key has to come
//!   from the hub, or from both. Nothing here asks whether the TPM is genuine; the hub does, by attestation.
//! - **Who sits between us and the TPM and changes messages.** He can be a TPM himself. The stored name of the
//!   primary key makes that visible only if he cannot change the storage too.
//! - **A TPM that is reset while the machine goes on.** Then any program can extend what it likes. The host must not be
//!   able to do that; Azure's paravisor resets the TPM with the machine.
//! - **Rollback.** The TPM counts nothing here. Who writes the storage can put back an older blob, and the older disk
//!   with it, and start a former image, with the defects it may have, that opens both. What that image leaves, a later
//!   one opens only while it is in `allowed`.
//! - **Code in the image that runs.** Whatever may use the TPM's device can open the blob, at any time.
//! - **Loss.** A TPM that is cleared (by its owner, from any image), a machine that is made anew, a vTPM without
//!   persistent state: the key is gone. Who cannot lose the data uses the hub's key.
//!
//! [`disk_key`] makes what a disk takes of a key: of the TPM's alone, or of the hub's and the TPM's, so that neither
//! alone opens the disk.
//!
//! Left out: storing the blob, and when to seal anew.
//!
//! I/O: the TPM, through `attester`; random numbers of the kernel.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "a panic in a test is a failing test, which is what is wanted"
    )
)]

mod call;
pub mod disk_key;
mod error;
mod key;
mod protected;
mod registers;
mod seal;
mod sealed;
mod structure;
mod turn;
mod wire;

pub use error::{SealError, TpmUseError, UnsealError};
pub use key::Key32;
pub use registers::Registers;
pub use seal::{running, seal, unseal};
pub use sealed::{MAX_BYTES, MAX_IMAGES, Sealed, SealedError};
pub use structure::LABEL;

#[cfg(test)]
mod tests;
