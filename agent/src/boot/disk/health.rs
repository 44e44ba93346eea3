//! Says when the data disk has failed after it was mounted, again each hour while it stays so, and when it is good
//! again. Nothing else is done about it.
//!
//! I/O: as `encrypted_disk::watch` has it; logs; notifies systemd.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use attested_http::Causes;
use encrypted_disk::{Selector, Settings, Sysfs, watch};

use crate::boot::progress::Stage;
use crate::config::disk::Disk as Configured;
use crate::notify::Notifier;

/// What stays bad is said again after this.
const AGAIN: Duration = Duration::from_secs(3600);

/// Who looks.
pub(super) struct Health {
    selector: Selector,
    settings: Settings,
    sysfs: Sysfs,
    /// What was said last, and when: a disk that has failed.
    said: Mutex<Option<(String, Instant)>>,
}

/// What is to be said now.
#[derive(Debug, Eq, PartialEq)]
enum News {
    Failed,
    StillFailed,
    GoodAgain,
    None,
}

impl Health {
    pub(super) fn of(configured: &Configured, sysfs: Sysfs) -> Self {
        Self {
            selector: configured.selector.clone(),
            settings: configured.settings.clone(),
            sysfs,
            said: Mutex::default(),
        }
    }

    /// Looks once.
    ///
    /// # Errors
    ///
    /// What has become of the disk.
    pub(super) async fn look(&self) -> anyhow::Result<()> {
        let Self {
            selector,
            settings,
            sysfs,
            ..
        } = self;
        let (selector, settings, sysfs) = (selector.clone(), settings.clone(), sysfs.clone());
        // The kernel may wait for a disk that has failed.
        let looked = tokio::task::spawn_blocking(move || {
            let looked = watch::look(&selector, &settings, &sysfs);
            looked.map_err(|error| anyhow!("the data disk has failed: {}", Causes(&error)))
        });
        looked.await.context("wait for the look at the disk")?
    }

    /// Looks once, and says what is new. Whether the disk is well.
    pub(super) async fn watch(&self, notifier: &Notifier) -> bool {
        let looked = self.look().await;
        let trouble = looked.as_ref().err().map(|error| format!("{error:#}"));
        let news = self.note(trouble, Instant::now());
        let stage = Stage::again(notifier, "disk");
        match (&looked, news) {
            (Err(error), News::Failed) => stage.failed(error),
            // Other stages have their say in between.
            (Err(error), _) => stage.status(&format!("{error:#}")),
            (Ok(()), News::GoodAgain) => stage.done("the data disk is good again"),
            (Ok(()), _) => {}
        }
        looked.is_ok()
    }

    fn note(&self, trouble: Option<String>, now: Instant) -> News {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(trouble) = trouble else {
            return match said.take() {
                Some(_) => News::GoodAgain,
                None => News::None,
            };
        };
        let is_known = said
            .as_ref()
            .is_some_and(|(known, at)| *known == trouble && now.duration_since(*at) < AGAIN);
        if is_known {
            return News::StillFailed;
        }
        *said = Some((trouble, now));
        News::Failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_said_once_and_again_each_hour_and_when_it_is_over() {
        let configured = Configured {
            selector: Selector::AzureLun(10),
            key: crate::config::disk::KeySource::Configuration {
                key: "key".to_owned(),
                previous: None,
            },
            settings: Settings::default(),
        };
        let health = Health::of(&configured, Sysfs::default());
        let begin = Instant::now();
        let after = |minutes: u64| begin + Duration::from_secs(minutes * 60);
        let gone = || Some("gone".to_owned());
        for (minutes, trouble, expected) in [
            (0, None, News::None),
            (1, gone(), News::Failed),
            (2, gone(), News::StillFailed),
            (60, gone(), News::StillFailed),
            (61, gone(), News::Failed),
            (62, gone(), News::StillFailed),
            (63, Some("read-only".to_owned()), News::Failed),
            (64, None, News::GoodAgain),
            (65, None, News::None),
            (66, gone(), News::Failed),
        ] {
            assert_eq!(health.note(trouble, after(minutes)), expected, "{minutes}");
        }
    }
}
