//! What the boot is doing, for whoever has to know: systemd (`STATUS=`), the journal, the console.
//!
//! Every stage says when it begins, what keeps it waiting, and when and after how long it is over.
//! Nothing secret is said: texts name keys, files and addresses, never values.
//!
//! I/O: notifies systemd; logs.

use std::time::{Duration, Instant};

use crate::notify::Notifier;

/// A trouble that stays the same is said again after this.
const AGAIN: Duration = Duration::from_secs(60);

/// Longest status, in characters: systemd drops a message of more than 4096 bytes.
const LONGEST_STATUS: usize = 900;

/// Whether two texts tell of the same trouble: how long something takes or pauses is none of it.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    let words = |text: &str| text.replace(|it: char| it.is_ascii_digit(), "");
    words(one) == words(other)
}

/// One stage of the boot, or one refresh.
pub(super) struct Stage<'a> {
    notifier: &'a Notifier,
    name: &'static str,
    since: Instant,
    trouble: Option<(String, Instant)>,
}

impl<'a> Stage<'a> {
    pub(super) fn begin(notifier: &'a Notifier, name: &'static str) -> Self {
        let stage = Self::again(notifier, name);
        tracing::info!("{name}: begun");
        stage.status("begun");
        stage
    }

    /// Begins what comes again and again, so that only what becomes of it is worth a line.
    pub(super) fn again(notifier: &'a Notifier, name: &'static str) -> Self {
        Self {
            notifier,
            name,
            since: Instant::now(),
            trouble: None,
        }
    }

    /// What keeps the stage from being done; it will be tried again after `pause`.
    pub(super) fn waits(&mut self, error: &anyhow::Error, pause: Duration) {
        let text = format!("{error:#}");
        let is_known = self
            .trouble
            .as_ref()
            .is_some_and(|(known, at)| is_same(known, &text) && at.elapsed() < AGAIN);
        if !is_known {
            let pause = pause.as_secs_f32();
            tracing::warn!("{}: {text}; tried again in {pause:.0} s", self.name);
            self.status(&text);
            self.trouble = Some((text, Instant::now()));
        }
    }

    /// It was given up, and what was before stays.
    pub(super) fn failed(self, error: &anyhow::Error) {
        tracing::error!("{}: {error:#}", self.name);
        self.status(&format!("{error:#}"));
    }

    pub(super) fn done(self, outcome: &str) {
        let took = self.since.elapsed().as_secs_f32();
        tracing::info!("{}: {outcome}, after {took:.1} s", self.name);
        self.status(outcome);
    }

    pub(super) fn status(&self, text: &str) {
        let line: String = text
            .chars()
            .take(LONGEST_STATUS)
            .map(|it| if it.is_control() { ' ' } else { it })
            .collect();
        self.notifier.send(&format!("STATUS={}: {line}", self.name));
    }
}
