//! Who may use the admin API: one user, whose password is stored as a bcrypt hash.
//!
//! A hash takes as long as it is meant to; a password that was right once is remembered, as an HMAC
//! under a key that only this process has, and is not hashed again.
//!
//! I/O: none but what is given.

use std::io::BufRead;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{AUTHORIZATION, HeaderMap};
use ring::hmac;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

/// Hashes that are computed at once: strangers may cost one core, not all.
const AT_ONCE: usize = 1;

/// What a hash costs: about 0.3 s.
const COST: u32 = 12;

/// Longest header; bcrypt looks at 72 bytes of a password.
const MAX_HEADER: usize = 1024;

/// The admin's credentials.
#[derive(Clone)]
pub(crate) struct AdminAuth(Arc<Inner>);

struct Inner {
    user: String,
    hash: String,
    key: hmac::Key,
    known: Mutex<Option<hmac::Tag>>,
    hashing: Semaphore,
}

impl AdminAuth {
    /// An admin with this name and the bcrypt hash of a password.
    pub(crate) fn new(user: String, hash: String) -> anyhow::Result<Self> {
        ensure!(
            !user.is_empty() && !user.contains(':'),
            "the admin's name is empty or has a colon"
        );
        let parsed = hash.parse::<bcrypt::HashParts>();
        parsed.context("parse the bcrypt hash of the admin's password")?;
        let key = crate::sealing::random::<32>()?;
        Ok(Self(Arc::new(Inner {
            user,
            hash,
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            known: Mutex::new(None),
            hashing: Semaphore::new(AT_ONCE),
        })))
    }

    /// The admin's name if the request is the admin's.
    pub(crate) async fn check(&self, headers: &HeaderMap) -> Option<String> {
        let (user, password) = credentials(headers)?;
        let inner = &self.0;
        let is_user = bool::from(user.as_bytes().ct_eq(inner.user.as_bytes()));
        // Hashed whoever asks, so that the time doesn't tell which names there are.
        let is_password = self.is_password(password).await;
        (is_user && is_password).then(|| inner.user.clone())
    }

    async fn is_password(&self, password: String) -> bool {
        let inner = &self.0;
        let tag = hmac::sign(&inner.key, password.as_bytes());
        let known = *inner.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_some_and(|known| known.as_ref().ct_eq(tag.as_ref()).into()) {
            return true;
        }
        let Ok(_permit) = inner.hashing.acquire().await else {
            return false;
        };
        let hash = inner.hash.clone();
        let verifying = tokio::task::spawn_blocking(move || bcrypt::verify(password, &hash));
        let is_right = matches!(verifying.await, Ok(Ok(true)));
        if is_right {
            *inner.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(tag);
        }
        is_right
    }
}

/// Hashes the first line of `input`.
pub(crate) fn hash(input: impl BufRead) -> anyhow::Result<String> {
    let password = input
        .lines()
        .next()
        .context("expected a password, got nothing")?;
    let password = password.context("read the password")?;
    ensure!(
        !password.is_empty(),
        "expected a password, got an empty line"
    );
    // It would be cut off at this length, without a word.
    ensure!(
        password.len() <= 72,
        "expected at most 72 bytes, got {}",
        password.len()
    );
    bcrypt::hash(password, COST).context("hash the password")
}

fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = header.split_once(' ')?;
    if header.len() > MAX_HEADER || !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    async fn check(auth: &AdminAuth, header: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_str(header).unwrap());
        auth.check(&headers).await
    }

    fn basic(text: &str) -> String {
        format!("Basic {}", STANDARD.encode(text))
    }

    #[tokio::test]
    async fn only_the_admin_with_the_password_is_the_admin() {
        let hash = bcrypt::hash("pass:word", 4).unwrap();
        let auth = AdminAuth::new("admin".into(), hash).unwrap();
        // Twice: the second time it is remembered.
        for _ in 0..2 {
            assert_eq!(
                check(&auth, &basic("admin:pass:word")).await.as_deref(),
                Some("admin")
            );
        }
        for wrong in [
            "admin:pass",
            "root:pass:word",
            "admin",
            "admin:",
            ":pass:word",
            "",
        ] {
            assert_eq!(check(&auth, &basic(wrong)).await, None, "{wrong}");
        }
        for wrong in ["Bearer x", "Basic", "Basic %%%", &basic(&"x".repeat(2000))] {
            assert_eq!(check(&auth, wrong).await, None, "{wrong}");
        }
        assert_eq!(auth.check(&HeaderMap::new()).await, None);
    }

    #[test]
    fn a_hash_has_to_be_one() {
        for hash in ["", "password", "$2a$04$short"] {
            assert!(
                AdminAuth::new("admin".into(), hash.into()).is_err(),
                "{hash}"
            );
        }
    }
}
