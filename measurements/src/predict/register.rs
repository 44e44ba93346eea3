//! A predicted register and the events that lead to it.
//!
//! I/O: none.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Digests;

/// One register, in every bank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    /// Its values after all events.
    pub value: Digests,
    /// What is extended into it, in order.
    pub events: Vec<Event>,
}

/// One measurement: what is extended into a register, and what it is the digest of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What is extended, in each bank.
    pub digests: Digests,
    /// What was measured, the same for every image: `.linux: name`, `kernel command line`.
    pub subject: String,
    /// What the subject is in this image: `console=ttyS0`. Empty if the subject says everything.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

impl Register {
    /// Replays `events` from zero.
    pub fn from_events(events: Vec<Event>) -> Self {
        let value = events
            .iter()
            .fold(Digests::ZERO, |value, event| value.extend(event.digests));
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
    pub fn new(digests: Digests, subject: impl Into<String>) -> Self {
        Self {
            digests,
            subject: subject.into(),
            detail: String::new(),
        }
    }

    /// An event with a detail that differs from image to image.
    pub fn with_detail(
        digests: Digests,
        subject: impl Into<String>,
        detail: impl fmt::Display,
    ) -> Self {
        Self {
            digests,
            subject: subject.into(),
            detail: detail.to_string(),
        }
    }
}

/// The subject, and what it is in this image.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.subject)?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        Ok(())
    }
}
