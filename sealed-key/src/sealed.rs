//! A sealed key as it is stored.
//!
//! Big-endian, as all that concerns a TPM:
//!
//! ```text
//! length   what
//! 8        "tpm-key", 1
//! 2        how many images the key is sealed for, 1 to 8
//! 96 each  their registers: PCR 4, 9, 11; in ascending order, each once
//! 96       registers of the image that made it
//! 34       name of the primary key: 000b and 32 bytes
//! 32       what the TPM made of the key in the public area (`unique`)
//! 2        length of the ticket's digest, 32 to 64
//! …        the digest
//! 2        length of the private part, 64 to 512
//! …        the private part, encrypted by the TPM
//! 32       SHA-256 of all before: against accidents, not attacks
//! ```
//!
//! All else of the TPM's structures is constant. Nothing is behind, and nothing of it is secret.
//!
//! I/O: none.

use crate::Registers;
use crate::registers::REGISTERS_BYTES;
use crate::structure::{Name, SHA256};
use crate::wire::{Fields, sha256, sized};

/// Most images of one policy: `TPM2_PolicyOR` takes no more.
pub const MAX_IMAGES: usize = 8;

/// Most bytes of a sealed key.
pub const MAX_BYTES: usize =
    8 + 2 + (MAX_IMAGES + 1) * REGISTERS_BYTES + 34 + 32 + 2 + 64 + 2 + 512 + CHECKSUM;

const MAGIC: [u8; 8] = *b"tpm-key\x01";
const CHECKSUM: usize = 32;
const TICKET: std::ops::RangeInclusive<usize> = 32..=64;
const PRIVATE: std::ops::RangeInclusive<usize> = 64..=512;

/// Why bytes are not a sealed key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealedError {
    /// Something else is there.
    #[error("the sealed key does not begin with \"tpm-key\" and version 1")]
    Magic,

    /// They end too early, or go on.
    #[error("the sealed key has {actual} bytes, which does not fit what is in it")]
    Size {
        /// How many there are.
        actual: usize,
    },

    /// They have changed since they were written.
    #[error("the sealed key is damaged: its checksum is wrong")]
    Checksum,

    /// A field has a value that this version does not write.
    #[error("the sealed key's {field} is not {expected}")]
    Field {
        /// Which.
        field: &'static str,
        /// What it has to be.
        expected: &'static str,
    },
}

/// A sealed key: for whom, by whom, and the TPM's parts. It is believed only by
/// [`unseal`](crate::unseal).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Ascending.
    pub(crate) images: Vec<Registers>,
    pub(crate) maker: Registers,
    pub(crate) primary: Name,
    pub(crate) unique: [u8; 32],
    pub(crate) ticket: Vec<u8>,
    pub(crate) private: Vec<u8>,
}

impl Sealed {
    /// Reads what [`Sealed::to_bytes`] wrote.
    ///
    /// # Errors
    ///
    /// [`SealedError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, SealedError> {
        let mut fields = Fields(bytes);
        if fields.array() != Some(MAGIC) {
            return Err(SealedError::Magic);
        }
        let actual = bytes.len();
        let size = SealedError::Size { actual };
        let (content, checksum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(size)?;
        if actual > MAX_BYTES {
            return Err(size);
        }
        if sha256(&[content]) != *checksum {
            return Err(SealedError::Checksum);
        }
        let mut fields = Fields(content);
        fields.bytes(MAGIC.len()).ok_or(size)?;
        let count = usize::from(fields.u16().ok_or(size)?);
        check(
            (1..=MAX_IMAGES).contains(&count),
            "number of images",
            "1 to 8",
        )?;
        let images = (0..count).map(|_| Registers::read(&mut fields));
        let images = images.collect::<Option<Vec<_>>>().ok_or(size)?;
        let is_ascending = images.is_sorted_by(|one, next| one < next);
        check(is_ascending, "list of images", "ascending")?;
        let sealed = Self {
            images,
            maker: Registers::read(&mut fields).ok_or(size)?,
            primary: fields.array().ok_or(size)?,
            unique: fields.array().ok_or(size)?,
            ticket: fields.sized().ok_or(size)?.to_vec(),
            private: fields.sized().ok_or(size)?.to_vec(),
        };
        fields.end().ok_or(size)?;
        let is_sha256 = sealed.primary.starts_with(&SHA256);
        check(is_sha256, "name of the primary key", "one by SHA-256")?;
        check(
            sealed.is_storable(),
            "ticket or private part",
            "of a size that a TPM makes",
        )?;
        Ok(sealed)
    }

    /// What to store.
    pub fn to_bytes(&self) -> Vec<u8> {
        let count = u16::try_from(self.images.len()).unwrap_or(u16::MAX);
        let images: Vec<u8> = self.images.iter().flat_map(|i| i.to_bytes()).collect();
        let mut bytes = [
            &MAGIC[..],
            &count.to_be_bytes(),
            &images,
            &self.maker.to_bytes(),
            &self.primary,
            &self.unique,
            &sized(&self.ticket),
            &sized(&self.private),
        ]
        .concat();
        let checksum = sha256(&[&bytes]);
        bytes.extend(checksum);
        bytes
    }

    /// Whom the key is sealed for, as the blob says. The TPM has confirmed that if
    /// [`unseal`](crate::unseal) succeeded.
    pub fn images(&self) -> &[Registers] {
        &self.images
    }

    /// Who sealed it, as the blob says; see [`Sealed::images`].
    pub fn maker(&self) -> Registers {
        self.maker
    }

    /// Whether the parts of variable size can be read again.
    pub(crate) fn is_storable(&self) -> bool {
        TICKET.contains(&self.ticket.len()) && PRIVATE.contains(&self.private.len())
    }
}

fn check(is_right: bool, field: &'static str, expected: &'static str) -> Result<(), SealedError> {
    match is_right {
        true => Ok(()),
        false => Err(SealedError::Field { field, expected }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn registers() -> impl Strategy<Value = Registers> {
        any::<[[u8; 32]; 3]>().prop_map(|[pcr4, pcr9, pcr11]| Registers { pcr4, pcr9, pcr11 })
    }

    prop_compose! {
        fn any_sealed()(
            images in prop::collection::btree_set(registers(), 1..=MAX_IMAGES),
            maker in registers(),
            primary: [u8; 32],
            unique: [u8; 32],
            ticket in prop::collection::vec(any::<u8>(), TICKET),
            private in prop::collection::vec(any::<u8>(), PRIVATE),
        ) -> Sealed {
            Sealed {
                images: images.into_iter().collect(),
                maker,
                primary: [&SHA256[..], &primary].concat().try_into().unwrap(),
                unique,
                ticket,
                private,
            }
        }
    }

    fn with_checksum(content: &[u8]) -> Vec<u8> {
        [content, &sha256(&[content])].concat()
    }

    fn one() -> Sealed {
        let of = |value| Registers {
            pcr4: [value; 32],
            pcr9: [0; 32],
            pcr11: [0; 32],
        };
        Sealed {
            images: vec![of(1), of(2)],
            maker: of(1),
            primary: [&SHA256[..], &[3; 32]].concat().try_into().unwrap(),
            unique: [4; 32],
            ticket: vec![5; 32],
            private: vec![6; 64],
        }
    }

    #[test]
    fn fields_are_where_they_are_said_to_be() {
        let bytes = one().to_bytes();
        assert_eq!(bytes.len(), 8 + 2 + 3 * 96 + 34 + 32 + 2 + 32 + 2 + 64 + 32);
        assert_eq!(bytes[..10], *b"tpm-key\x01\0\x02");
        assert_eq!(bytes[10..43], [&[1; 32][..], &[0]].concat());
        assert_eq!(bytes[298..302], [0, 0x0b, 3, 3]);
        assert_eq!(bytes[332..364], [4; 32]);
        assert_eq!(bytes[364..368], [0, 32, 5, 5]);
        assert_eq!(bytes[398..402], [0, 64, 6, 6]);
    }

    #[test]
    fn what_is_not_written_is_not_read() {
        let (mut twice, mut none, mut many) = (one(), one(), one());
        twice.images[1] = twice.images[0];
        none.images.clear();
        many.images = vec![many.maker; 9];
        let (mut name, mut ticket, mut private) = (one(), one(), one());
        name.primary[1] = 0x0c;
        ticket.ticket.pop();
        private.private.resize(513, 0);
        for (sealed, field) in [
            (twice, "list of images"),
            (none, "number of images"),
            (many, "number of images"),
            (name, "name of the primary key"),
            (ticket, "ticket or private part"),
            (private, "ticket or private part"),
        ] {
            match Sealed::parse(&sealed.to_bytes()) {
                Err(SealedError::Field { field: actual, .. }) => assert_eq!(actual, field),
                other => panic!("{field}: {other:?}"),
            }
        }
        assert_eq!(Sealed::parse(b"tpm-key\x02"), Err(SealedError::Magic));
        assert_eq!(Sealed::parse(b""), Err(SealedError::Magic));
        let long = [&one().to_bytes()[..], &[0; MAX_BYTES]].concat();
        let actual = long.len();
        assert_eq!(Sealed::parse(&long), Err(SealedError::Size { actual }));
    }

    #[test]
    fn every_other_length_is_refused() {
        let bytes = one().to_bytes();
        let content = &bytes[..bytes.len() - CHECKSUM];
        for length in 0..content.len() {
            assert!(Sealed::parse(&bytes[..length]).is_err());
            assert!(
                Sealed::parse(&with_checksum(&content[..length])).is_err(),
                "{length}"
            );
        }
        let longer = with_checksum(&[content, &[0]].concat());
        let actual = longer.len();
        assert_eq!(Sealed::parse(&longer), Err(SealedError::Size { actual }));
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(sealed in any_sealed()) {
            let bytes = sealed.to_bytes();
            prop_assert!(bytes.len() <= MAX_BYTES);
            prop_assert_eq!(Sealed::parse(&bytes), Ok(sealed));
        }

        #[test]
        fn every_changed_byte_is_noticed(sealed in any_sealed(), at: prop::sample::Index, change in 1_u8..) {
            let mut bytes = sealed.to_bytes();
            *at.get_mut(&mut bytes) ^= change;
            prop_assert!(matches!(
                Sealed::parse(&bytes),
                Err(SealedError::Magic | SealedError::Checksum)
            ));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..1024)) {
            let _ = Sealed::parse(&bytes);
            let _ = Sealed::parse(&with_checksum(&[&MAGIC[..], &bytes].concat()));
        }
    }
}
