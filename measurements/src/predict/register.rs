//! A predicted register and the events that lead to it.
//!
//! I/O: none.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Sha256Digest;

/// One register of the SHA-256 bank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    /// Its value after all events.
    pub value: Sha256Digest,
    /// What is extended into it, in order.
    pub events: Vec<Event>,
}

/// One measurement: what is extended into a register, and what it is the digest of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What is extended.
    pub digest: Sha256Digest,
    /// What was measured, the same for every image: `.linux: name`, `kernel command line`.
    pub subject: String,
    /// The subject, and what it is in this image: `kernel command line: console=ttyS0`.
    pub what: String,
}

impl Register {
    /// Replays `events` from zero.
    pub fn from_events(events: Vec<Event>) -> Self {
        let value = events.iter().fold(Sha256Digest::ZERO, |value, event| {
            value.extend(event.digest)
        });
        Self { value, events }
    }

    /// Says whether the value is what the events replay to, as it is for every prediction; what
    /// was read from a file may have been edited.
    pub fn is_consistent(&self) -> bool {
        Self::from_events(self.events.clone()).value == self.value
    }
}

impl Event {
    /// An event whose subject says everything.
    pub(crate) fn new(digest: Sha256Digest, subject: impl Into<String>) -> Self {
        let subject = subject.into();
        Self {
            digest,
            what: subject.clone(),
            subject,
        }
    }

    /// An event with a detail that differs from image to image.
    pub(crate) fn with_detail(
        digest: Sha256Digest,
        subject: impl Into<String>,
        detail: impl fmt::Display,
    ) -> Self {
        let subject = subject.into();
        Self {
            digest,
            what: format!("{subject}: {detail}"),
            subject,
        }
    }
}
