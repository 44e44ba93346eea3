//! Fetches Intel's collateral and keeps it: the one module of this crate that does I/O.
//!
//! Collateral is valid for a month, but Intel's judgement may change on any day, so what is kept
//! is fetched anew when it is a day old, and well before it expires. Until then it answers at
//! once, and while the service does not answer, for as long as it is valid: [`Fetched`] says how
//! old it is. A file of the cache that is a day old is only for when the service fails. What is
//! known is never replaced by something older, though signed and valid.
//!
//! A service is asked only about platforms that Intel has certified: a stranger cannot make this
//! side fetch what he likes. Without being asked it is fetched only what there was before and what
//! somebody has wanted within a week.
//!
//! Fetching is a task of its own: who asks and goes away again, such as a handshake that took too
//! long, does not take it along, so the next one finds it done.
//!
//! Nothing that is fetched or kept needs to be trusted, since the verifier checks it. But only
//! what is genuine, valid and about the platform is kept, lest every quote of it be refused until
//! it is old. TLS to the service is verified as the caller's settings say.
//!
//! I/O: network; files of the cache's directory.

mod files;
mod http;
mod known;
mod pcs;
mod rollback;
mod source;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::ClientConfig;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use self::files::CacheError;
pub use self::http::HttpError;
use self::known::{Known, Outcome, PAUSE};
pub use self::pcs::{Pcs, PcsError};
pub use self::rollback::Older;
use self::source::Source;
use crate::collateral::{Collateral, PlatformKey, PlatformKeyError};
use crate::roots::TrustRoots;

/// More kinds of platform than one service ever looks after at the same time.
const MOST_PLATFORMS: usize = 64;

/// More platforms are not refreshed at the same time: few enough not to trouble the service, so
/// many that a slow answer does not hold up the others.
const REFRESHED_AT_ONCE: usize = 8;

/// Says what time it is, in seconds since 1970.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Keeps the collateral of all platforms that were asked for.
pub struct CollateralService {
    source: Source,
    known: Platforms,
}

/// What is known of each platform.
type Platforms = Arc<Mutex<BTreeMap<PlatformKey, Known>>>;

/// Collateral, and how old it is.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The collateral. It was valid when it was asked for.
    pub collateral: Arc<Collateral>,
    /// When the service answered, in seconds since 1970. If it is from a file, the file's date,
    /// which is set to that.
    pub at: u64,
    /// Whether it is from a file of the cache; else this process has fetched it.
    pub is_from_file: bool,
}

/// Why there is no collateral.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The TD quote does not say which platform it is of.
    #[error("find out what collateral the TD quote needs")]
    Platform(#[from] PlatformKeyError),
    /// The service did not answer as it must.
    #[error("fetch collateral of platform {platform}")]
    Service {
        /// Of which platform.
        platform: PlatformKey,
        /// What it did.
        #[source]
        source: Arc<PcsError>,
    },
    /// It has failed a moment ago and is not asked again yet.
    #[error("fetch collateral of platform {platform}: failed {ago} s ago, next try in {next} s")]
    Pausing {
        /// Of which platform.
        platform: PlatformKey,
        /// Since when.
        ago: u64,
        /// Until when.
        next: u64,
        /// What it did then.
        #[source]
        source: Arc<PcsError>,
    },
}

/// What becomes of a question.
enum Found {
    Known(Fetched),
    Coming(watch::Receiver<Option<Outcome>>),
}

impl CollateralService {
    /// Fetches from `pcs`, with `tls` if its address is https. `roots` are the verifier's.
    pub fn new(pcs: Pcs, tls: Arc<ClientConfig>, clock: Clock, roots: TrustRoots) -> Self {
        Self {
            source: Source {
                pcs,
                client: http::Client::new(tls),
                clock,
                roots,
                cache: None,
            },
            known: Platforms::default(),
        }
    }

    /// Keeps collateral in files of this directory, too, which exists and is this program's own.
    #[must_use]
    pub fn with_cache(mut self, directory: PathBuf) -> Self {
        self.source.cache = Some(directory);
        self
    }

    /// Waits so long for each of the service's four answers instead of 10 s, from connecting to
    /// its last byte.
    #[must_use]
    pub fn with_answer_limit(mut self, limit: Duration) -> Self {
        self.source.client.limit = limit;
        self
    }

    /// The collateral that the verification of a TD quote takes, as of now.
    ///
    /// Answers at once if it is known and valid. Who asks while it is being fetched, waits; who
    /// stops waiting does not stop the fetching. For a Tokio runtime.
    ///
    /// # Errors
    ///
    /// [`FetchError`] if the quote is not of a platform that Intel has certified, or if there is
    /// none that is valid and the service cannot be reached.
    pub async fn collateral_for(&self, td_quote: &[u8]) -> Result<Arc<Collateral>, FetchError> {
        Ok(self.fetched_for(td_quote).await?.collateral)
    }

    /// The same, with how old it is and where it comes from.
    ///
    /// # Errors
    ///
    /// Those of [`collateral_for`](Self::collateral_for).
    pub async fn fetched_for(&self, td_quote: &[u8]) -> Result<Fetched, FetchError> {
        let now = (self.source.clock)();
        let platform = PlatformKey::certified(td_quote, &self.source.roots, now)?;
        match self.find(platform, now)? {
            Found::Known(fetched) => Ok(fetched),
            Found::Coming(coming) => wait(coming)
                .await
                .map_err(|source| FetchError::Service { platform, source }),
        }
    }

    fn find(&self, platform: PlatformKey, now: u64) -> Result<Found, FetchError> {
        let mut all = lock(&self.known);
        let Some(known) = all.get_mut(&platform) else {
            make_room(&mut all).map_err(|source| FetchError::Service { platform, source })?;
            return Ok(Found::Coming(self.begin(&mut all, platform, now)));
        };
        known.asked = now;
        let (coming, pausing) = (known.coming(), known.pausing(now));
        if let Some(held) = known.held().filter(|held| held.is_valid(now)).cloned() {
            // Nobody waits for news, but who asks next has them, also where nobody refreshes.
            if !held.is_fresh(now) && coming.is_none() && pausing.is_none() {
                self.begin(&mut all, platform, now);
            }
            return Ok(Found::Known(held.fetched));
        }
        if let Some(coming) = coming {
            return Ok(Found::Coming(coming));
        }
        if let Some((ago, next, source)) = pausing {
            return Err(FetchError::Pausing {
                platform,
                ago,
                next,
                source,
            });
        }
        Ok(Found::Coming(self.begin(&mut all, platform, now)))
    }

    /// Starts a task that gets collateral and puts it where it is known.
    fn begin(
        &self,
        all: &mut BTreeMap<PlatformKey, Known>,
        platform: PlatformKey,
        now: u64,
    ) -> watch::Receiver<Option<Outcome>> {
        let (sender, receiver) = watch::channel(None);
        let known = all.entry(platform).or_insert_with(|| Known::asked_at(now));
        known.begin(receiver.clone());
        let held = known.held().cloned();
        let (source, known) = (self.source.clone(), Arc::clone(&self.known));
        tokio::spawn(async move {
            let is_held = held.is_some();
            let got = source.collateral(platform, held).await;
            if let (true, Err(error)) = (is_held, &got) {
                let error: &dyn std::error::Error = error;
                tracing::warn!(%platform, error, "collateral could not be refreshed");
            }
            let now = (source.clock)();
            let outcome = match lock(&known).get_mut(&platform) {
                Some(known) => known.end(got, now),
                // Nobody removes it meanwhile.
                None => Err(Arc::new(PcsError::GivenUp)),
            };
            sender.send_replace(Some(outcome));
        });
        receiver
    }

    /// Fetches anew what is old or expires soon, for ever. For a task of its own.
    pub async fn keep_fresh(&self) {
        loop {
            self.refresh().await;
            tokio::time::sleep(Duration::from_secs(PAUSE)).await;
        }
    }

    /// Fetches anew what is old or expires soon and was asked for within a week; what fails is kept
    /// and tried again later. Several at a time, so that a slow answer does not hold up the others.
    ///
    /// Nobody waits meanwhile who asks for something that is known.
    pub async fn refresh(&self) {
        let now = (self.source.clock)();
        let due: Vec<PlatformKey> = lock(&self.known)
            .iter()
            .filter(|(_, known)| known.is_due(now))
            .map(|(platform, _)| *platform)
            .collect();
        let mut waiting = JoinSet::new();
        for platform in due {
            if waiting.len() >= REFRESHED_AT_ONCE {
                waiting.join_next().await;
            }
            let coming = {
                let mut all = lock(&self.known);
                match all.get(&platform) {
                    Some(known) if known.coming().is_none() => self.begin(&mut all, platform, now),
                    _ => continue,
                }
            };
            waiting.spawn(wait(coming));
        }
        while waiting.join_next().await.is_some() {}
    }
}

/// Nothing that is done while it is locked can leave it half done.
fn lock(known: &Platforms) -> MutexGuard<'_, BTreeMap<PlatformKey, Known>> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn wait(mut coming: watch::Receiver<Option<Outcome>>) -> Outcome {
    match coming.wait_for(Option::is_some).await {
        Ok(outcome) => outcome
            .clone()
            .unwrap_or_else(|| Err(Arc::new(PcsError::GivenUp))),
        Err(_) => Err(Arc::new(PcsError::GivenUp)),
    }
}

/// Forgets the platform that nobody has asked for the longest, if there are too many; those first
/// of which nothing is known but a failure.
fn make_room(all: &mut BTreeMap<PlatformKey, Known>) -> Result<(), Arc<PcsError>> {
    if all.len() < MOST_PLATFORMS {
        return Ok(());
    }
    let idle = all.iter().filter(|(_, known)| known.coming().is_none());
    let oldest = idle.min_by_key(|(_, known)| (known.held().is_some(), known.asked));
    let Some((oldest, _)) = oldest else {
        let actual = all.len();
        return Err(Arc::new(PcsError::Busy { actual }));
    };
    let oldest = *oldest;
    all.remove(&oldest);
    Ok(())
}

impl fmt::Debug for CollateralService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CollateralService")
            .field("pcs", &self.source.pcs)
            .field("cache", &self.source.cache)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collateral::PckCa;

    #[test]
    fn a_flood_of_platforms_is_bounded() {
        let platform = |number: u8| PlatformKey {
            fmspc: [number; 6],
            ca: PckCa::Platform,
        };
        let mut all = BTreeMap::new();
        let mut senders = Vec::new();
        for number in 0..64 {
            make_room(&mut all).unwrap();
            let (sender, receiver) = watch::channel(None);
            let mut known = Known::asked_at(100 - u64::from(number));
            known.begin(receiver);
            senders.push(sender);
            all.insert(platform(number), known);
        }
        let error = make_room(&mut all).unwrap_err();
        assert!(matches!(*error, PcsError::Busy { actual: 64 }));
        // Two tasks have ended without an outcome; the one that was asked for earlier goes.
        senders.remove(60);
        senders.remove(30);
        make_room(&mut all).unwrap();
        assert_eq!(all.len(), 63);
        assert!(!all.contains_key(&platform(60)) && all.contains_key(&platform(30)));
    }

    #[test]
    fn failures_are_forgotten_before_collateral() {
        let platform = |number: u8| PlatformKey {
            fmspc: [number; 6],
            ca: PckCa::Platform,
        };
        let mut all = BTreeMap::new();
        for number in 0..64 {
            // The later ones were asked for earlier.
            let mut known = Known::asked_at(100 - u64::from(number));
            match number {
                10 | 20 => known.end(Err(PcsError::GivenUp), 100).map(|_| ()),
                _ => known.end(Ok(known::tests::got(100)), 100).map(|_| ()),
            }
            .ok();
            all.insert(platform(number), known);
        }
        for expected in [20, 10, 63] {
            make_room(&mut all).unwrap();
            assert!(!all.contains_key(&platform(expected)), "{expected}");
            assert_eq!(all.len(), 63);
            all.insert(platform(100 + expected), {
                let mut known = Known::asked_at(100);
                known.end(Ok(known::tests::got(100)), 100).unwrap();
                known
            });
        }
    }
}
