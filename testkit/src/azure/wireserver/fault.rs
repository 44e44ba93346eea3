//! What can be wrong with the wireserver's answers, and when.
//!
//! I/O: none.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use crate::azure::http::{Answer, Manner, Request};

/// How slow a slow answer is.
const DRIP: Duration = Duration::from_millis(250);
/// How long an oversized answer is at least; a goal state has two kilobytes.
const OVERSIZED: usize = 32 << 20;
/// Nothing of HTTP: what a port that speaks something else might send.
const GARBAGE: &[u8] = b"\x16\x03\x01\x00\xff\0\0garbage\r\n<GoalState><<<\xff\xfe\r\n\r\n";

/// What is asked of the wireserver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `GET /machine/?comp=goalstate`.
    GoalState,
    /// `POST /machine?comp=health`.
    Health,
    /// `POST /provisioning/health`.
    ProvisioningHealth,
    /// Anything else.
    Other,
}

impl Endpoint {
    pub(super) fn of(request: &Request) -> Self {
        match (
            request.path().trim_end_matches('/'),
            request.parameter("comp"),
        ) {
            ("/machine", Some(comp)) if comp.eq_ignore_ascii_case("goalstate") => Self::GoalState,
            ("/machine", Some(comp)) if comp.eq_ignore_ascii_case("health") => Self::Health,
            ("/provisioning/health", _) => Self::ProvisioningHealth,
            _ => Self::Other,
        }
    }
}

/// What is wrong with one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This status, and no document.
    Status(u16),
    /// No answer, and the connection stays open.
    Hang,
    /// No answer, and the connection is closed.
    Close,
    /// Bytes that are not HTTP.
    Garbage,
    /// A web page, with status 200, as a proxy in between might send it.
    WrongContentType,
    /// The right answer, four bytes a second.
    SlowDrip,
    /// The right answer, followed by 32 MiB of blanks.
    Oversized,
    /// The first half of the right answer, then the connection is closed.
    CutOff,
}

impl Fault {
    /// Whether the service has done its work before something went wrong on the way back.
    pub(super) fn is_after_the_fact(self) -> bool {
        matches!(self, Self::SlowDrip | Self::Oversized | Self::CutOff)
    }

    /// Makes the answer wrong.
    pub(super) fn spoil(self, mut answer: Answer) -> Answer {
        match self {
            Self::Status(status) => return Answer::new(status, "text/plain", "fault\n"),
            Self::WrongContentType => {
                return Answer::new(200, "text/html", "<!DOCTYPE html><title>Sign in</title>\n");
            }
            Self::Hang => answer.manner = Manner::Hang,
            Self::Close => answer.manner = Manner::Close,
            Self::Garbage => {
                answer.body = GARBAGE.to_vec();
                answer.manner = Manner::Raw;
            }
            Self::SlowDrip => answer.manner = Manner::Drip(DRIP),
            Self::Oversized => {
                let length = answer.body.len().saturating_add(OVERSIZED);
                answer.body.resize(length, b' ');
            }
            Self::CutOff => {
                answer.body.truncate(answer.body.len() / 2);
                answer.manner = Manner::CutOff;
            }
        }
        answer
    }
}

impl FromStr for Fault {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "hang" => Self::Hang,
            "close" => Self::Close,
            "garbage" => Self::Garbage,
            "wrong-content-type" => Self::WrongContentType,
            "slow-drip" => Self::SlowDrip,
            "oversized" => Self::Oversized,
            "cut-off" => Self::CutOff,
            status => match status.parse() {
                Ok(status @ 400..=599) => Self::Status(status),
                _ => return Err(UnknownFault(text.to_owned())),
            },
        })
    }
}

/// A text that names no fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no such fault: {0}; ENDPOINT:REQUESTS=FAULT is wanted, such as goal-state:1-3=429 or *:2-=hang"
)]
pub struct UnknownFault(String);

/// Faults, each for the requests of certain numbers; the first that fits counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(Vec<(Selector, Fault)>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Selector {
    /// `None` for all, of which requests are then counted together.
    endpoint: Option<Endpoint>,
    numbers: RangeInclusive<usize>,
}

impl Faults {
    /// Nothing goes wrong.
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds a fault for the requests of these numbers, from 1, counted for this endpoint alone.
    #[must_use]
    pub fn at(mut self, endpoint: Endpoint, numbers: RangeInclusive<usize>, fault: Fault) -> Self {
        let selector = Selector {
            endpoint: Some(endpoint),
            numbers,
        };
        self.0.push((selector, fault));
        self
    }

    /// Adds a fault for the requests of these numbers, from 1, counted over all endpoints.
    #[must_use]
    pub fn anywhere(mut self, numbers: RangeInclusive<usize>, fault: Fault) -> Self {
        let selector = Selector {
            endpoint: None,
            numbers,
        };
        self.0.push((selector, fault));
        self
    }

    /// Adds these faults after those that are there.
    pub fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    /// The fault of a request: the `number`th of its endpoint and the `total`th of all.
    pub(super) fn of(&self, endpoint: Endpoint, number: usize, total: usize) -> Option<Fault> {
        self.0.iter().find_map(|(selector, fault)| {
            let fits = match selector.endpoint {
                Some(wanted) => wanted == endpoint && selector.numbers.contains(&number),
                None => selector.numbers.contains(&total),
            };
            fits.then_some(*fault)
        })
    }
}

impl FromStr for Faults {
    type Err = UnknownFault;

    /// `ENDPOINT:REQUESTS=FAULT`: endpoint `goal-state`, `health`, `provisioning-health` or `*`;
    /// requests `2`, `1-3` or `4-`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownFault(text.to_owned());
        let (place, fault) = text.split_once('=').ok_or_else(unknown)?;
        let (endpoint, numbers) = place.split_once(':').ok_or_else(unknown)?;
        let fault = fault.parse()?;
        let numbers = match numbers.split_once('-') {
            Some((first, "")) => first.parse().map(|first| first..=usize::MAX),
            Some((first, last)) => first
                .parse()
                .and_then(|first| last.parse().map(|last| first..=last)),
            None => numbers.parse().map(|number| number..=number),
        };
        let numbers = numbers.map_err(|_| unknown())?;
        if numbers.is_empty() || numbers.contains(&0) {
            return Err(unknown());
        }
        let endpoint = match endpoint {
            "goal-state" => Endpoint::GoalState,
            "health" => Endpoint::Health,
            "provisioning-health" => Endpoint::ProvisioningHealth,
            "*" => return Ok(Self::none().anywhere(numbers, fault)),
            _ => return Err(unknown()),
        };
        Ok(Self::none().at(endpoint, numbers, fault))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_parsed() {
        let faults: Faults = "goal-state:2-3=429".parse().unwrap();
        let of = |number| faults.of(Endpoint::GoalState, number, 1);
        assert_eq!(
            [1, 2, 3, 4].map(of),
            [
                None,
                Some(Fault::Status(429)),
                Some(Fault::Status(429)),
                None
            ]
        );
        assert_eq!(faults.of(Endpoint::Health, 2, 2), None);
        let faults: Faults = "*:2-=slow-drip".parse().unwrap();
        assert_eq!(faults.of(Endpoint::Other, 1, 9), Some(Fault::SlowDrip));
        assert_eq!(faults.of(Endpoint::Other, 9, 1), None);
    }

    #[test]
    fn unknown_faults_are_refused() {
        for text in [
            "",
            "goal-state=429",
            "goal-state:1=200",
            "goal-state:1=odd",
            "goal-state:0=429",
            "goal-state:3-1=429",
            "goalstate:1=429",
            "*:x=hang",
        ] {
            assert!(text.parse::<Faults>().is_err(), "{text}");
        }
    }

    #[test]
    fn first_fitting_fault_counts() {
        let faults = Faults::none()
            .at(Endpoint::Health, 1..=1, Fault::Close)
            .anywhere(1..=9, Fault::Hang);
        assert_eq!(faults.of(Endpoint::Health, 1, 5), Some(Fault::Close));
        assert_eq!(faults.of(Endpoint::Health, 2, 6), Some(Fault::Hang));
    }
}
