//! TD quotes that go by, kept in files for people who look for what is wrong.
//!
//! Names are those of the existing proxies: `quotes/quote_issued_20260301_120000.dat`.
//!
//! I/O: writes the directory `quotes`.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use attestation::tls::{BoxError, PeerVerifier, Shown};
use attestation::{Attester, Attesting, Binding};

use crate::moment::Moment;

const DIRECTORY: &str = "quotes";

/// Most files that one process writes: whoever connects makes one.
const MOST: u32 = 1000;

/// Whether quotes are kept, and how many were.
#[derive(Clone, Debug)]
pub(super) struct Quotes(Option<Arc<AtomicU32>>);

impl Quotes {
    pub(super) fn new(are_kept: bool) -> Self {
        Self(are_kept.then(Arc::default))
    }

    fn keep(&self, what: &str, td_quote: &[u8]) {
        let Some(kept) = &self.0 else {
            return;
        };
        if kept.fetch_add(1, Ordering::Relaxed) >= MOST {
            kept.store(MOST, Ordering::Relaxed);
            return;
        }
        if let Err(error) = write(what, td_quote) {
            tracing::warn!(%error, "quote not kept");
        }
    }
}

fn write(what: &str, td_quote: &[u8]) -> std::io::Result<()> {
    fs::create_dir_all(DIRECTORY)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = Moment(now.map_or(0, |now| now.as_secs())).to_string();
    let digits: String = now.chars().filter(char::is_ascii_digit).collect();
    let time = match digits.split_at_checked(8) {
        Some((date, time)) => format!("{date}_{time}"),
        None => digits,
    };
    // Several in one second have a number each.
    for number in 0..MOST {
        let number = match number {
            0 => String::new(),
            number => format!("_{number}"),
        };
        let path = Path::new(DIRECTORY).join(format!("quote_{what}_{time}{number}.dat"));
        match File::create_new(path) {
            Ok(mut file) => return file.write_all(td_quote),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// An attester or a verifier whose quotes are kept.
pub(super) struct Recorded<T> {
    inner: T,
    quotes: Quotes,
}

impl<T> Recorded<T> {
    pub(super) fn new(inner: T, quotes: Quotes) -> Self {
        Self { inner, quotes }
    }
}

impl<A: Attester> Attester for Recorded<A> {
    fn attest<'a>(&'a self, binding: &'a Binding) -> Attesting<'a> {
        Box::pin(async move {
            let evidence = self.inner.attest(binding).await?;
            self.quotes.keep("issued", evidence.td_quote());
            Ok(evidence)
        })
    }
}

impl<V: PeerVerifier> PeerVerifier for Recorded<V> {
    type Claims = V::Claims;

    async fn verify(&self, shown: Shown<'_>) -> Result<V::Claims, BoxError> {
        if let Ok(evidence) = shown.evidence() {
            self.quotes.keep("received", evidence.td_quote());
        }
        self.inner.verify(shown).await
    }
}
