//! Where collateral comes from: the cache's file if it is fresh, else the service, else the file.
//!
//! I/O: network; files of the cache's directory.

use std::path::PathBuf;
use std::sync::Arc;

use super::known::{Got, Held};
use super::{Clock, Fetched, files, http, rollback};
use crate::collateral::{Collateral, PlatformKey};
use crate::fetch::pcs::{Pcs, PcsError};
use crate::roots::TrustRoots;

/// Where collateral comes from.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) pcs: Pcs,
    pub(super) client: http::Client,
    pub(super) clock: Clock,
    pub(super) roots: TrustRoots,
    pub(super) cache: Option<PathBuf>,
}

impl Source {
    /// Collateral that is worth keeping, and not older than what is held.
    pub(super) async fn collateral(
        &self,
        platform: PlatformKey,
        held: Option<Held>,
    ) -> Result<Got, PcsError> {
        let now = (self.clock)();
        let is_newer = |kept: &Held| held.as_ref().is_none_or(|held| is_as_new(held, kept));
        let kept = self.read(platform).await.filter(is_newer);
        if let Some(kept) = kept.as_ref().filter(|kept| kept.is_fresh(now)) {
            let (held, failure) = (kept.clone(), None);
            return Ok(Got { held, failure });
        }
        let known: Vec<&Held> = held.iter().chain(&kept).collect();
        let is_held = held.as_ref().is_some_and(|held| held.is_valid(now));
        let spare = kept.as_ref().filter(|kept| !is_held && kept.is_valid(now));
        let fetching = self.fetch(platform, &known);
        let Some(spare) = spare else {
            let (held, failure) = (fetching.await?, None);
            return Ok(Got { held, failure });
        };
        // Who has something to fall back on need not be patient.
        let limit = self.client.limit;
        let fetched = tokio::time::timeout(limit, fetching).await;
        match fetched.unwrap_or(Err(PcsError::Slow { limit })) {
            Ok(held) => {
                let failure = None;
                Ok(Got { held, failure })
            }
            Err(failure) => {
                let (error, fetched): (&dyn std::error::Error, u64) = (&failure, spare.fetched.at);
                tracing::warn!(
                    %platform,
                    fetched,
                    error,
                    "old collateral is used, since it could not be fetched anew"
                );
                Ok(Got {
                    held: spare.clone(),
                    failure: Some(failure),
                })
            }
        }
    }

    /// What the service answers, if it is valid and no part is older than that of a known one.
    async fn fetch(&self, platform: PlatformKey, known: &[&Held]) -> Result<Held, PcsError> {
        let collateral = self.pcs.fetch(platform, &self.client).await?;
        let now = (self.clock)();
        collateral.check_genuine(platform, &self.roots)?;
        collateral.check_window(now)?;
        for known in known {
            rollback::check(&known.fetched.collateral, &collateral)?;
        }
        self.write(platform, &collateral, now).await;
        let window = collateral.window()?;
        let fetched = Fetched {
            collateral: Arc::new(collateral),
            at: now,
            is_from_file: false,
        };
        Ok(Held { fetched, window })
    }

    /// What the file has, if it is genuine; also if it is not valid any more.
    async fn read(&self, platform: PlatformKey) -> Option<Held> {
        let directory = self.cache.clone()?;
        let reading = tokio::task::spawn_blocking(move || files::read(&directory, platform));
        let (collateral, at) = match reading.await.ok()? {
            Ok(kept) => kept?,
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(%platform, error, "kept collateral could not be read");
                return None;
            }
        };
        match self.check_kept(platform, collateral, at) {
            Ok(held) => Some(held),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(%platform, error, "kept collateral is of no use");
                None
            }
        }
    }

    fn check_kept(
        &self,
        platform: PlatformKey,
        collateral: Collateral,
        at: u64,
    ) -> Result<Held, PcsError> {
        collateral.check_genuine(platform, &self.roots)?;
        let window = collateral.window()?;
        let fetched = Fetched {
            collateral: Arc::new(collateral),
            at,
            is_from_file: true,
        };
        Ok(Held { fetched, window })
    }

    async fn write(&self, platform: PlatformKey, collateral: &Collateral, now: u64) {
        let Some(directory) = self.cache.clone() else {
            return;
        };
        let json = collateral.to_json();
        let writing =
            tokio::task::spawn_blocking(move || files::write(&directory, platform, &json, now));
        if let Ok(Err(error)) = writing.await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(%platform, error, "collateral could not be kept");
        }
    }
}

fn is_as_new(held: &Held, kept: &Held) -> bool {
    rollback::check(&held.fetched.collateral, &kept.fetched.collateral).is_ok()
}
