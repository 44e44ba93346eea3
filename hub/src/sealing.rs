//! Secrets at rest: AES-256-GCM under a key from a file, or from a program that writes what a file
//! would hold.
//!
//! The file holds one key a line, `id:` and 64 hexadecimal digits; the first seals, all of them open.
//! To rotate, put a new line first, restart, and have what is stored sealed anew. What is sealed is
//! bound to what it is and whose (the additional data), so that a database's owner cannot give one
//! builder the secrets of another. He can still give it older ones of its own.
//!
//! A sealed document is 12 bytes of nonce, the ciphertext, 16 bytes of tag. A nonce is random: one
//! key must seal fewer than 2^32 documents.
//!
//! I/O: reads and creates the key file; random numbers of the system.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use crate::private_file;

/// Why a stored secret can't be opened, or sealed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum SealError {
    /// Its key is not among those that were given.
    #[error("no key {0:?} among the keys for secrets")]
    UnknownKey(String),
    /// It was changed, belongs to another, or the key has the wrong value.
    #[error("it is damaged, not of this owner, or the key {0:?} has another value")]
    Damaged(String),
    /// The system has no random numbers.
    #[error("the system gave no random numbers")]
    Random,
}

/// The keys of a file, the sealing one first.
pub(crate) struct Keys(Vec<Key>);

struct Key {
    id: String,
    cipher: LessSafeKey,
    authentication: hmac::Key,
}

/// What is stored of a secret.
pub(crate) struct Sealed {
    /// Which key opens it.
    pub(crate) key_id: String,
    /// Nonce, ciphertext, tag.
    pub(crate) bytes: Vec<u8>,
}

impl Keys {
    /// Reads a key file.
    ///
    /// # Errors
    ///
    /// If it can't be read, can be read by others, or has not exactly the form above.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = private_file::read(path, "key file")?;
        Self::parse(&text).with_context(|| format!("read the key file {}", path.display()))
    }

    /// Reads what a key file holds.
    ///
    /// # Errors
    ///
    /// If it has not exactly the form above; nothing of it is in the error.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let keys = lines.enumerate().map(|(index, line)| {
            Key::parse(line).with_context(|| format!("key {}", index.saturating_add(1)))
        });
        let keys: Vec<Key> = keys.collect::<Result<_, _>>()?;
        ensure!(!keys.is_empty(), "there is no key");
        for (index, key) in keys.iter().enumerate() {
            ensure!(
                keys.iter()
                    .skip(index.saturating_add(1))
                    .all(|other| other.id != key.id),
                "an id is there twice"
            );
        }
        Ok(Self(keys))
    }

    /// Creates a key file with one fresh key, readable by its owner only.
    ///
    /// # Errors
    ///
    /// If it is there already, or can't be written.
    pub(crate) fn create(path: &Path) -> anyhow::Result<()> {
        let line = Self::fresh_line()?;
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(path);
        let mut file = file.with_context(|| format!("create {}", path.display()))?;
        file.write_all(line.as_bytes())
            .and_then(|()| file.sync_all())
            .context("write the key")?;
        let directory = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let directory = std::fs::File::open(directory.unwrap_or(Path::new(".")));
        directory
            .and_then(|directory| directory.sync_all())
            .context("sync the key's directory")
    }

    /// A fresh key, as a line of a key file.
    ///
    /// # Errors
    ///
    /// If the system has no random numbers.
    pub(crate) fn fresh_line() -> anyhow::Result<String> {
        let id = random::<4>()?;
        let key = random::<32>()?;
        Ok(format!(
            "k{}:{}\n",
            crate::text::hex(&id),
            crate::text::hex(&key)
        ))
    }

    /// Which key seals.
    pub(crate) fn current(&self) -> &str {
        self.0.first().map_or("", |key| &key.id)
    }

    /// Seals a document for what `context` names.
    pub(crate) fn seal(&self, context: &str, document: &[u8]) -> Result<Sealed, SealError> {
        let key = self.0.first().ok_or(SealError::UnknownKey(String::new()))?;
        let nonce = random::<NONCE_LEN>()?;
        let mut sealed = document.to_vec();
        let with = Nonce::assume_unique_for_key(nonce);
        let tag = key
            .cipher
            .seal_in_place_append_tag(with, Aad::from(context), &mut sealed);
        tag.map_err(|_| SealError::Damaged(key.id.clone()))?;
        let bytes = [nonce.as_slice(), &sealed].concat();
        Ok(Sealed {
            key_id: key.id.clone(),
            bytes,
        })
    }

    /// Opens what was sealed for what `context` names.
    pub(crate) fn open(&self, context: &str, sealed: &Sealed) -> Result<Vec<u8>, SealError> {
        let key = self.0.iter().find(|key| key.id == sealed.key_id);
        let key = key.ok_or_else(|| SealError::UnknownKey(sealed.key_id.clone()))?;
        let damaged = || SealError::Damaged(key.id.clone());
        let (nonce, ciphertext) = sealed.bytes.split_first_chunk().ok_or_else(damaged)?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let mut document = ciphertext.to_vec();
        let opened = key
            .cipher
            .open_in_place(nonce, Aad::from(context), &mut document);
        let length = opened.map_err(|_| damaged())?.len();
        document.truncate(length);
        Ok(document)
    }

    /// Authenticates what this hub, or one with the same keys, will see again.
    pub(crate) fn authenticate(&self, message: &[u8]) -> Vec<u8> {
        let key = self.0.first();
        key.map_or_else(Vec::new, |key| {
            hmac::sign(&key.authentication, message).as_ref().to_vec()
        })
    }

    /// Whether one of the keys authenticated it. In constant time.
    pub(crate) fn is_authentic(&self, message: &[u8], tag: &[u8]) -> bool {
        self.0
            .iter()
            .any(|key| hmac::verify(&key.authentication, message, tag).is_ok())
    }
}

impl Key {
    fn parse(line: &str) -> anyhow::Result<Self> {
        // Nothing of the line is repeated: it is a key.
        let Some((id, digits)) = line.split_once(':') else {
            bail!("expected an id, a colon and 64 hexadecimal digits");
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        ensure!(
            !id.is_empty() && id.len() <= 64 && id.chars().all(is_name),
            "expected a short id"
        );
        let bytes =
            crate::text::parse_hex::<32>(digits).context("expected 64 hexadecimal digits")?;
        let unbound = UnboundKey::new(&AES_256_GCM, &bytes);
        let unbound = unbound.map_err(|_| anyhow::anyhow!("not a key of AES-256"))?;
        // Another key for another purpose, made of the first.
        let parent = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
        let derived = hmac::sign(&parent, b"builderhub challenge key v1");
        Ok(Self {
            id: id.to_owned(),
            cipher: LessSafeKey::new(unbound),
            authentication: hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()),
        })
    }
}

/// Random bytes.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], SealError> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| SealError::Random)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn keys(lines: &[&str]) -> Keys {
        Keys::parse(&lines.concat()).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_for_its_owner_only() {
        let keys = keys(&[&Keys::fresh_line().unwrap()]);
        let sealed = keys.seal("secrets/a", b"{}").unwrap();
        assert_eq!(keys.open("secrets/a", &sealed).unwrap(), b"{}");
        assert!(matches!(
            keys.open("secrets/b", &sealed),
            Err(SealError::Damaged(_))
        ));
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let keys = keys(&[&Keys::fresh_line().unwrap()]);
        let Sealed { key_id, bytes } = keys.seal("x", b"a secret").unwrap();
        for index in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[index] ^= 1;
            assert!(
                keys.open(
                    "x",
                    &Sealed {
                        key_id: key_id.clone(),
                        bytes
                    }
                )
                .is_err(),
                "{index}"
            );
        }
        for length in 0..bytes.len() {
            let bytes = bytes[..length].to_vec();
            assert!(
                keys.open(
                    "x",
                    &Sealed {
                        key_id: key_id.clone(),
                        bytes
                    }
                )
                .is_err(),
                "{length}"
            );
        }
    }

    #[test]
    fn a_new_key_comes_first_and_the_old_one_still_opens() {
        let (old, new) = (Keys::fresh_line().unwrap(), Keys::fresh_line().unwrap());
        let sealed = keys(&[&old]).seal("x", b"1").unwrap();
        let both = keys(&[&new, &old]);
        assert_eq!(both.open("x", &sealed).unwrap(), b"1");
        assert_ne!(both.seal("x", b"1").unwrap().key_id, sealed.key_id);
        let unknown = keys(&[&new]).open("x", &sealed);
        assert_eq!(unknown, Err(SealError::UnknownKey(sealed.key_id)));
    }

    #[test]
    fn two_seals_of_one_document_differ() {
        let keys = keys(&[&Keys::fresh_line().unwrap()]);
        assert_ne!(
            keys.seal("x", b"1").unwrap().bytes,
            keys.seal("x", b"1").unwrap().bytes
        );
    }

    #[test]
    fn malformed_key_files_are_refused() {
        let digits = "0".repeat(64);
        for text in [
            "",
            "\n",
            "abc",
            "a:00",
            ":",
            &format!(":{digits}"),
            &format!("a:{digits}0"),
            &format!("a b:{digits}"),
            &format!("a:{digits}\na:{digits}"),
        ] {
            assert!(Keys::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_key_file_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        Keys::create(&path).unwrap();
        Keys::read(&path).unwrap();
        assert!(Keys::create(&path).is_err());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(Keys::read(&path).is_err());
    }
}
