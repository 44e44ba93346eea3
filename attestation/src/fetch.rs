//! Fetches Intel's collateral and keeps it: the one module of this crate that does I/O.
//!
//! Collateral is valid for a month, but Intel's judgement may change on any day, so what is kept
//! is fetched anew every day, and well before it expires; until then it answers at once, also
//! while the service does not. A service is asked only about platforms that Intel has certified:
//! a stranger cannot make this side fetch what he likes.
//!
//! Nothing that is fetched or kept needs to be trusted, since the verifier checks it. TLS to the
//! service is verified as the caller's settings say.
//!
//! I/O: network; files of the cache's directory.

mod files;
mod http;
mod pcs;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::sync::Mutex;

pub use self::files::CacheError;
pub use self::http::HttpError;
pub use self::pcs::{Pcs, PcsError};
use crate::collateral::{Collateral, PlatformKey, PlatformKeyError};
use crate::roots::TrustRoots;

/// Fetched anew when older than this, although it is still valid.
const OLD: u64 = 24 * 60 * 60;

/// Fetched anew this long before it expires, at the latest.
const BEFORE_EXPIRY: u64 = 300;

/// After a failure, the service is left alone for this long.
const PAUSE: u64 = 60;

/// More kinds of platform than one service is ever asked about.
const MOST_PLATFORMS: usize = 64;

/// Says what time it is, in seconds since 1970.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Keeps the collateral of all platforms that were asked for.
pub struct CollateralService {
    pcs: Pcs,
    tls: Arc<ClientConfig>,
    clock: Clock,
    roots: TrustRoots,
    cache: Option<PathBuf>,
    /// Each platform has a lock of its own: who waits for one does not hold up another.
    known: Mutex<BTreeMap<PlatformKey, Arc<Mutex<Known>>>>,
}

/// What is known of a platform.
#[derive(Default)]
struct Known {
    collateral: Option<Arc<Collateral>>,
    /// When the service answered last; 0 for what came from a file.
    fetched: u64,
    /// When the service failed last.
    failed: Option<u64>,
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
        source: PcsError,
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
    },
}

impl CollateralService {
    /// Fetches from `pcs`, with `tls` if its address is https. `roots` are the verifier's.
    pub fn new(pcs: Pcs, tls: Arc<ClientConfig>, clock: Clock, roots: TrustRoots) -> Self {
        Self {
            pcs,
            tls,
            clock,
            roots,
            cache: None,
            known: Mutex::default(),
        }
    }

    /// Keeps collateral in files of this directory, too, which exists and is this program's own.
    #[must_use]
    pub fn with_cache(mut self, directory: PathBuf) -> Self {
        self.cache = Some(directory);
        self
    }

    /// The collateral that the verification of a TD quote takes, as of now.
    ///
    /// Answers at once if it is known and valid. Who asks while it is being fetched, waits.
    ///
    /// # Errors
    ///
    /// [`FetchError`] if the quote is not of a platform that Intel has certified, or if there is
    /// none that is valid and the service cannot be reached.
    pub async fn collateral_for(&self, td_quote: &[u8]) -> Result<Arc<Collateral>, FetchError> {
        let now = (self.clock)();
        let platform = PlatformKey::certified(td_quote, &self.roots, now)?;
        let known = self.known(platform).await;
        let mut known = known.lock().await;
        if known.collateral.is_none() {
            known.collateral = self.read(platform);
        }
        if let Some(collateral) = known.valid_at(now) {
            return Ok(collateral);
        }
        if let Some(failed) = known.failed {
            let ago = now.saturating_sub(failed);
            if let Some(next) = PAUSE.checked_sub(ago).filter(|next| *next > 0) {
                return Err(FetchError::Pausing {
                    platform,
                    ago,
                    next,
                });
            }
        }
        match self.fetch(platform).await {
            Ok(collateral) => {
                *known = Known::fresh(collateral.clone(), (self.clock)());
                Ok(collateral)
            }
            Err(source) => {
                known.failed = Some((self.clock)());
                Err(FetchError::Service { platform, source })
            }
        }
    }

    async fn known(&self, platform: PlatformKey) -> Arc<Mutex<Known>> {
        let mut all = self.known.lock().await;
        if all.len() >= MOST_PLATFORMS && !all.contains_key(&platform) {
            all.clear();
        }
        all.entry(platform).or_default().clone()
    }

    /// Fetches anew what is old or expires soon, for ever. For a task of its own.
    pub async fn keep_fresh(&self) {
        loop {
            self.refresh().await;
            tokio::time::sleep(Duration::from_secs(PAUSE)).await;
        }
    }

    /// Fetches anew what is old or expires soon; what fails is kept and tried again later.
    ///
    /// Nobody waits meanwhile who asks for something that is known.
    pub async fn refresh(&self) {
        let now = (self.clock)();
        let all = self.known.lock().await.clone();
        for (platform, known) in all {
            if !known.lock().await.is_due(now) {
                continue;
            }
            match self.fetch(platform).await {
                Ok(collateral) => *known.lock().await = Known::fresh(collateral, (self.clock)()),
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(%platform, error, "collateral could not be refreshed");
                }
            }
        }
    }

    async fn fetch(&self, platform: PlatformKey) -> Result<Arc<Collateral>, PcsError> {
        let collateral = self.pcs.fetch(platform, &self.tls).await?;
        if let Some(directory) = &self.cache
            && let Err(error) = files::write(directory, platform, &collateral)
        {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(%platform, error, "collateral could not be kept");
        }
        Ok(Arc::new(collateral))
    }

    fn read(&self, platform: PlatformKey) -> Option<Arc<Collateral>> {
        match files::read(self.cache.as_deref()?, platform) {
            Ok(collateral) => collateral.map(Arc::new),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(%platform, error, "kept collateral could not be read");
                None
            }
        }
    }
}

impl Known {
    fn fresh(collateral: Arc<Collateral>, now: u64) -> Self {
        Self {
            collateral: Some(collateral),
            fetched: now,
            failed: None,
        }
    }

    fn valid_at(&self, now: u64) -> Option<Arc<Collateral>> {
        let collateral = self.collateral.as_ref()?;
        collateral.check_window(now).ok()?;
        Some(collateral.clone())
    }

    fn is_due(&self, now: u64) -> bool {
        let expires = self
            .collateral
            .as_ref()
            .and_then(|known| known.window().ok());
        let is_expiring =
            expires.is_none_or(|window| now.saturating_add(BEFORE_EXPIRY) >= window.until);
        is_expiring || now.saturating_sub(self.fetched) >= OLD
    }
}

impl fmt::Debug for CollateralService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CollateralService")
            .field("pcs", &self.pcs)
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}
