//! Bytes that are base64 in JSON: standard as Go writes it, or URL-safe; both padded, both in
//! canonical form only, so that one value has one text.
//!
//! I/O: none.

use std::fmt;
use std::marker::PhantomData;

use base64::Engine as _;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

/// Which alphabet.
pub(super) trait Alphabet {
    const ENGINE: GeneralPurpose;
}

/// `+` and `/`, padded.
pub(super) struct Standard;

impl Alphabet for Standard {
    const ENGINE: GeneralPurpose = general_purpose::STANDARD;
}

/// `-` and `_`, padded.
pub(super) struct UrlSafe;

impl Alphabet for UrlSafe {
    const ENGINE: GeneralPurpose = general_purpose::URL_SAFE;
}

/// Bytes that are text in JSON.
pub(super) struct Base64<A>(pub(super) Vec<u8>, PhantomData<A>);

impl<A> From<&[u8]> for Base64<A> {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec(), PhantomData)
    }
}

impl<A: Alphabet> Serialize for Base64<A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&A::ENGINE.encode(&self.0))
    }
}

impl<'de, A: Alphabet> Deserialize<'de> for Base64<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text<A>(PhantomData<A>);

        impl<A: Alphabet> Visitor<'_> for Text<A> {
            type Value = Base64<A>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Base64<A>, E> {
                let bytes = A::ENGINE.decode(text).map_err(E::custom)?;
                Ok(Base64(bytes, PhantomData))
            }
        }
        deserializer.deserialize_str(Text(PhantomData))
    }
}
