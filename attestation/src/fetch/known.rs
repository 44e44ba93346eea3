//! What is known of a platform: its collateral, whether more is coming, how the last try went.
//!
//! I/O: none.

use std::sync::Arc;

use tokio::sync::watch;

use super::Fetched;
use super::pcs::PcsError;
use crate::collateral::Window;

/// Fetched anew when older than this, although it is still valid.
const OLD: u64 = 24 * 60 * 60;

/// Fetched anew this long before it expires, at the latest.
const BEFORE_EXPIRY: u64 = 300;

/// Who has not been asked for in this time is not kept fresh any more.
const IDLE: u64 = 7 * 24 * 60 * 60;

/// After a failure, the service is left alone for this long.
pub(super) const PAUSE: u64 = 60;

/// The longest that a service can ask to be left alone.
const LONGEST_PAUSE: u64 = 60 * 60;

/// What a try ends with, for all who wait.
pub(super) type Outcome = Result<Fetched, Arc<PcsError>>;

/// Collateral, with its dates.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) fetched: Fetched,
    pub(super) window: Window,
}

/// Collateral that can be used, and why the service did not confirm it, if it was asked in vain.
pub(super) struct Got {
    pub(super) held: Held,
    pub(super) failure: Option<PcsError>,
}

/// What is known of a platform.
pub(super) struct Known {
    held: Option<Held>,
    /// When somebody asked last.
    pub(super) asked: u64,
    failure: Option<Failure>,
    coming: Option<watch::Receiver<Option<Outcome>>>,
}

struct Failure {
    at: u64,
    pause: u64,
    source: Arc<PcsError>,
}

impl Held {
    pub(super) fn is_valid(&self, now: u64) -> bool {
        (self.window.from..=self.window.until).contains(&now)
    }

    /// Whether the service need not be asked. What is from the future has an unknown age.
    pub(super) fn is_fresh(&self, now: u64) -> bool {
        let age = now.checked_sub(self.fetched.at);
        let is_expiring = now.saturating_add(BEFORE_EXPIRY) >= self.window.until;
        self.is_valid(now) && !is_expiring && age.is_some_and(|age| age < OLD)
    }
}

impl Known {
    pub(super) fn asked_at(now: u64) -> Self {
        Self {
            held: None,
            asked: now,
            failure: None,
            coming: None,
        }
    }

    pub(super) fn begin(&mut self, coming: watch::Receiver<Option<Outcome>>) {
        self.coming = Some(coming);
    }

    /// Takes note of how a try went. What was known outlives a failure.
    pub(super) fn end(&mut self, got: Result<Got, PcsError>, now: u64) -> Outcome {
        self.coming = None;
        self.failure = None;
        match got {
            Ok(Got { held, failure }) => {
                if let Some(error) = failure {
                    self.fail(error, now);
                }
                let fetched = held.fetched.clone();
                self.held = Some(held);
                Ok(fetched)
            }
            Err(error) => Err(self.fail(error, now)),
        }
    }

    fn fail(&mut self, error: PcsError, now: u64) -> Arc<PcsError> {
        let source = Arc::new(error);
        let wanted = source.retry_after().unwrap_or(0).min(LONGEST_PAUSE);
        self.failure = Some(Failure {
            at: now,
            pause: wanted.max(PAUSE),
            source: Arc::clone(&source),
        });
        source
    }

    /// What is being fetched; `None` also if its task has ended without an outcome.
    pub(super) fn coming(&self) -> Option<watch::Receiver<Option<Outcome>>> {
        let coming = self.coming.as_ref()?;
        coming.has_changed().ok()?;
        Some(coming.clone())
    }

    /// The last collateral that there was, valid or not.
    pub(super) fn held(&self) -> Option<&Held> {
        self.held.as_ref()
    }

    /// How long ago the last try failed, in how long there may be another, and why it failed.
    pub(super) fn pausing(&self, now: u64) -> Option<(u64, u64, Arc<PcsError>)> {
        let failure = self.failure.as_ref()?;
        let ago = now.saturating_sub(failure.at);
        let next = failure.pause.checked_sub(ago).filter(|next| *next > 0)?;
        Some((ago, next, Arc::clone(&failure.source)))
    }

    /// Whether it is time to fetch anew although nobody asks, and the service has not asked to be
    /// left alone. Of what there never was, nobody knows whether it will be asked for again.
    pub(super) fn is_due(&self, now: u64) -> bool {
        let Some(held) = &self.held else {
            return false;
        };
        let has_asked = |failure: &Failure| failure.pause > PAUSE;
        let is_refused = self.failure.as_ref().is_some_and(has_asked);
        let is_wanted = now.saturating_sub(self.asked) <= IDLE;
        let is_left_alone = is_refused && self.pausing(now).is_some();
        is_wanted && !is_left_alone && !held.is_fresh(now)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::collateral::{Collateral, CollateralParts};

    const FETCHED: u64 = 1_790_000_000;
    const MONTH: u64 = 30 * OLD;

    /// Collateral without contents that was fetched at this time.
    pub(in crate::fetch) fn got(at: u64) -> Got {
        let collateral = Collateral::new(CollateralParts {
            tcb_info_issuer_chain: String::new(),
            tcb_info: String::new(),
            tcb_info_signature: Vec::new(),
            qe_identity_issuer_chain: String::new(),
            qe_identity: String::new(),
            qe_identity_signature: Vec::new(),
            pck_crl_issuer_chain: String::new(),
            pck_crl: Vec::new(),
            root_ca_crl: Vec::new(),
        });
        let fetched = Fetched {
            collateral: Arc::new(collateral),
            at,
            is_from_file: false,
        };
        let window = Window {
            from: FETCHED,
            until: FETCHED + MONTH,
        };
        Got {
            held: Held { fetched, window },
            failure: None,
        }
    }

    #[test]
    fn it_is_fresh_for_a_day_of_its_validity() {
        let held = got(FETCHED).held;
        assert!(held.is_fresh(FETCHED) && held.is_fresh(FETCHED + OLD - 1));
        assert!(!held.is_fresh(FETCHED + OLD) && held.is_valid(FETCHED + OLD));
        assert!(!held.is_fresh(FETCHED - 1), "from the future");
        let late = got(FETCHED + MONTH - 1000).held;
        assert!(late.is_fresh(FETCHED + MONTH - 301) && !late.is_fresh(FETCHED + MONTH - 300));
        assert!(late.is_valid(FETCHED + MONTH) && !late.is_valid(FETCHED + MONTH + 1));
    }

    #[test]
    fn what_is_old_is_due_as_long_as_somebody_asks() {
        let mut known = Known::asked_at(FETCHED);
        known.end(Ok(got(FETCHED)), FETCHED).unwrap();
        assert!(!known.is_due(FETCHED) && known.is_due(FETCHED + OLD));
        assert!(known.is_due(FETCHED + IDLE) && !known.is_due(FETCHED + IDLE + 1));
        known.asked = FETCHED + IDLE;
        assert!(known.is_due(FETCHED + IDLE + 1));
        // Also when it has expired meanwhile.
        known.asked = FETCHED + MONTH;
        assert!(known.is_due(FETCHED + MONTH + 1));
    }

    #[test]
    fn what_never_came_is_not_due() {
        let mut known = Known::asked_at(FETCHED);
        assert!(!known.is_due(FETCHED));
        known.end(Err(PcsError::GivenUp), FETCHED).unwrap_err();
        for later in [0, PAUSE, OLD, IDLE, MONTH] {
            assert!(!known.is_due(FETCHED + later), "{later}");
        }
    }

    #[test]
    fn what_was_not_confirmed_is_used_and_due() {
        let mut known = Known::asked_at(FETCHED);
        let got = Got {
            failure: Some(PcsError::GivenUp),
            ..got(FETCHED - OLD)
        };
        assert_eq!(known.end(Ok(got), FETCHED).unwrap().at, FETCHED - OLD);
        assert!(known.pausing(FETCHED).is_some() && known.is_due(FETCHED));
        assert!(known.held().is_some_and(|held| held.is_valid(FETCHED)));
    }
}
