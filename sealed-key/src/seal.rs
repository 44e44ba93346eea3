//! Seals and opens.
//!
//! I/O: the TPM.

use attester::tpm::Tpm;
use tpm2_protocol::data::{TpmRcBase, TpmSe};

use crate::call::Handle;
use crate::protected::{Protected, Secret};
use crate::registers::hex;
use crate::structure::{creation_data, policy, sealed_public, ticket_head};
use crate::turn::{self, Primary, Turn, refusal, unexpected};
use crate::wire::{Fields, sha256};
use crate::{Key32, MAX_IMAGES, Registers, SealError, Sealed, TpmUseError, UnsealError};

/// What runs, as the TPM has it: to seal for.
///
/// # Errors
///
/// [`TpmUseError`]; [`TpmUseError::Beside`] if something was given to the image.
pub async fn running(tpm: &Tpm) -> Result<Registers, TpmUseError> {
    Turn::open(tpm).await?.registers().await
}

/// Seals a key for images, of which the one that runs has to be one: their order and how often each is named do
/// not matter. What comes back has been opened once.
///
/// The TPM of [`Tpm`] has to be out of reach of whom the key is kept from; see the crate.
///
/// # Errors
///
/// [`SealError`]. Nothing was changed anywhere.
pub async fn seal(tpm: &Tpm, key: &Key32, images: &[Registers]) -> Result<Sealed, SealError> {
    let mut images = images.to_vec();
    images.sort_unstable();
    images.dedup();
    let actual = images.len();
    if !(1..=MAX_IMAGES).contains(&actual) {
        return Err(SealError::Count { actual });
    }
    let mut turn = Turn::open(tpm).await?;
    let sealed = make(&mut turn, key, images).await;
    turn.flush().await;
    drop(turn);
    let sealed = sealed?;
    let opened = unseal(tpm, &sealed, &[sealed.maker]).await;
    match opened.map_err(SealError::Useless)? == *key {
        true => Ok(sealed),
        false => Err(SealError::OtherKey),
    }
}

/// Opens a sealed key that this TPM made while one of the `allowed` images ran: the one that runs, if it sealed for
/// itself, and those that it may have the key from. They have to come from where the disk's owner cannot
/// change them: the measured image, or the hub.
///
/// # Errors
///
/// [`UnsealError`].
pub async fn unseal(
    tpm: &Tpm,
    sealed: &Sealed,
    allowed: &[Registers],
) -> Result<Key32, UnsealError> {
    let mut turn = Turn::open(tpm).await?;
    let key = open(&mut turn, sealed, allowed).await;
    turn.flush().await;
    key
}

async fn make(turn: &mut Turn, key: &Key32, images: Vec<Registers>) -> Result<Sealed, SealError> {
    let actual = turn.registers().await?;
    if !images.contains(&actual) {
        return Err(SealError::NotAmong { actual });
    }
    let primary = turn.primary().await?;
    Ok(create(turn, &primary, key, images, actual).await?)
}

/// Has the TPM make the object, and believes nothing of it that can be known.
pub(crate) async fn create(
    turn: &mut Turn,
    primary: &Primary,
    key: &Key32,
    images: Vec<Registers>,
    maker: Registers,
) -> Result<Sealed, TpmUseError> {
    let policy = policy(&images);
    let mut session = Protected::start(turn, primary, TpmSe::Hmac).await?;
    let call = turn::create(primary, key.as_bytes(), &policy);
    let answer = session.send(turn, &call, Secret::FirstParameter).await?;
    let mut fields = Fields(&answer);
    let parts = (|| {
        let (private, public) = (fields.sized()?, fields.sized()?);
        let (data, hash) = (fields.sized()?, fields.sized()?);
        let ticket = fields.0.strip_prefix(&ticket_head()[..])?;
        let mut ticket_field = Fields(ticket);
        let ticket = ticket_field.sized()?;
        ticket_field.end()?;
        Some((private, public, data, hash, ticket))
    })();
    let Some((private, public, data, hash, ticket)) = parts else {
        return Err(unexpected(&call, "a key, creation data and a ticket"));
    };
    let expected = creation_data(&maker, &primary.name);
    if data != expected || hash != sha256(&[&expected]) {
        return Err(unexpected(
            &call,
            "about a key that was made while this image ran",
        ));
    }
    // The public area ends with what the TPM made.
    let Some((_, unique)) = public.split_last_chunk::<32>() else {
        return Err(unexpected(&call, "a key of the template"));
    };
    if public != sealed_public(&policy, unique) {
        return Err(unexpected(&call, "a key of the template"));
    }
    let sealed = Sealed {
        images,
        maker,
        primary: primary.name,
        unique: *unique,
        ticket: ticket.to_vec(),
        private: private.to_vec(),
    };
    match sealed.is_storable() {
        true => Ok(sealed),
        false => Err(unexpected(&call, "of a size that can be stored")),
    }
}

async fn open(
    turn: &mut Turn,
    sealed: &Sealed,
    allowed: &[Registers],
) -> Result<Key32, UnsealError> {
    let primary = turn.primary().await?;
    if primary.name != sealed.primary {
        return Err(UnsealError::OtherTpm {
            expected: hex(&sealed.primary),
            actual: hex(&primary.name),
        });
    }
    // Who made it is asked before it is opened, and of the TPM that will open it.
    let object = confirmed(turn, &primary, sealed).await?;
    if !allowed.contains(&sealed.maker) {
        return Err(UnsealError::OtherMaker {
            maker: sealed.maker,
            allowed: allowed.to_vec(),
        });
    }
    // The TPM decides, by its policy; this is to have it said what is wrong.
    let actual = turn.registers().await?;
    if !sealed.images.contains(&actual) {
        let expected = sealed.images.clone();
        return Err(UnsealError::OtherImage { expected, actual });
    }
    Ok(opened(turn, &primary, &object, &sealed.images).await?)
}

/// Loads the object, if the TPM made it as the blob says.
pub(crate) async fn confirmed(
    turn: &mut Turn,
    primary: &Primary,
    sealed: &Sealed,
) -> Result<Handle, UnsealError> {
    let public = sealed_public(&policy(&sealed.images), &sealed.unique);
    let object = turn.load(primary, &sealed.private, &public).await;
    let object = object.map_err(|error| match refusal(&error) {
        // The private part is authenticated by the primary key, together with the public area's name. The other two
        // codes are about the length of what is in it.
        Some(TpmRcBase::Integrity | TpmRcBase::Size | TpmRcBase::Insufficient) => {
            UnsealError::Damaged
        }
        _ => error.into(),
    })?;
    let hash = sha256(&[&creation_data(&sealed.maker, &sealed.primary)]);
    let call = turn::certify_creation(&object, &hash, &sealed.ticket);
    let mut session = Protected::start(turn, primary, TpmSe::Hmac).await?;
    match session.send(turn, &call, Secret::Nothing).await {
        Ok(_) => Ok(object),
        Err(error) if refusal(&error) == Some(TpmRcBase::Ticket) => Err(UnsealError::Forged {
            maker: sealed.maker,
        }),
        Err(error) => Err(error.into()),
    }
}

/// Opens the object by its policy, if the TPM's registers fulfil it.
pub(crate) async fn opened(
    turn: &mut Turn,
    primary: &Primary,
    object: &Handle,
    images: &[Registers],
) -> Result<Key32, TpmUseError> {
    let mut session = Protected::start(turn, primary, TpmSe::Policy).await?;
    turn.fulfil(session.handle, images).await?;
    let call = turn::unseal(object);
    let answer = session.send(turn, &call, Secret::FirstAnswer).await?;
    let mut fields = Fields(&answer);
    let key = fields
        .sized()
        .and_then(|key| <[u8; 32]>::try_from(key).ok());
    let key = key.filter(|_| fields.end().is_some()).map(Key32::new);
    key.ok_or_else(|| unexpected(&call, "a key of 32 bytes"))
}
