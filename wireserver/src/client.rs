//! The wireserver, and a report that is tried until it is accepted.
//!
//! I/O: network; draws random numbers.

use std::fmt;
use std::time::Duration;

use attested_http::client::{ClientSettings, TargetError, Unsecured};
use attested_http::{Body, Causes, Target, Upstream, body};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};
use tokio::time::{Instant, sleep};

use crate::attempt::{AttemptError, Step, exchange};
use crate::{GoalState, Report, Schedule};

/// Where Azure has the wireserver, in every region and network.
pub const WIRESERVER: &str = "http://168.63.129.16";

/// What this agent calls itself; any name will do (Azure's own agent is `WALinuxAgent`).
const AGENT: &str = "cvm-agent";

/// The version of the protocol, of which there is one.
const VERSION: &str = "2012-11-30";

/// The content type of requests.
const XML: &str = "text/xml;charset=utf-8";

/// A wireserver.
pub struct Wireserver {
    upstream: Upstream<()>,
    schedule: Schedule,
}

/// An address is not one of a wireserver.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// It is no address of a server.
    #[error("the wireserver's address cannot be used")]
    Target(#[from] TargetError),
    /// It is the address of something else.
    #[error("expected an address such as {WIRESERVER}, got {actual}")]
    Kind {
        /// The address.
        actual: String,
    },
}

/// What happens while a report is tried.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The goal state was read; the report is sent about it.
    GoalState(&'a GoalState),
    /// An attempt came to nothing; there will be another one.
    Failed {
        /// Which attempt, the first being 1.
        attempt: u32,
        /// Why.
        error: &'a AttemptError,
        /// How long until the next one.
        pause: Duration,
    },
}

/// A report that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reported {
    /// The goal state that it was about.
    pub goal_state: GoalState,
    /// How many attempts it took.
    pub attempts: u32,
    /// How long it took.
    pub elapsed: Duration,
}

/// Why a report was not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The wireserver will not have it.
    #[error("the wireserver refuses the report at attempt {attempts}")]
    Refused {
        /// How many attempts were made.
        attempts: u32,
        /// What it said.
        #[source]
        source: AttemptError,
    },
    /// Too much time has gone by.
    #[error("the wireserver has not accepted the report within {} s, {attempts} attempts", elapsed.as_secs())]
    GaveUp {
        /// How many attempts were made.
        attempts: u32,
        /// For how long.
        elapsed: Duration,
        /// Why the last one came to nothing.
        #[source]
        source: AttemptError,
    },
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GoalState(goal_state) => {
                write!(f, "goal state of incarnation {}", goal_state.incarnation)
            }
            Self::Failed {
                attempt,
                error,
                pause,
            } => {
                let (seconds, error) = (pause.as_secs_f32(), Causes(*error));
                write!(
                    f,
                    "attempt {attempt} failed, next in {seconds:.1} s: {error}"
                )
            }
        }
    }
}

impl Wireserver {
    /// The wireserver at a base address, such as [`WIRESERVER`]. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`AddressError`] if it is not `http://HOST[:PORT]`.
    pub fn new(base: &str, schedule: Schedule) -> Result<Self, AddressError> {
        let target: Target = base.parse()?;
        if target.is_https() || target.base().as_str() != "/" {
            let actual = target.to_string();
            return Err(AddressError::Kind { actual });
        }
        let settings = ClientSettings {
            tcp: schedule.connect,
            response_head: schedule.exchange,
            response_idle: schedule.exchange,
            requests: 1,
            dials: 1,
            queue: schedule.exchange,
            // A report cannot be repeated on a connection that turns out to be closed: each has its own.
            idle_connections: 0,
            // Pauses are the schedule's.
            pause: (Duration::ZERO, Duration::ZERO),
            ..ClientSettings::default()
        };
        Ok(Self {
            upstream: Upstream::new(target, Unsecured, settings),
            schedule,
        })
    }

    /// Reports, as often as it takes: each attempt reads the goal state and reports about it, so that a
    /// new goal state or another container between the two is met by the next attempt. That the report was
    /// accepted is what somebody at the wireserver's address says, and proves nothing.
    ///
    /// Cancelling it is safe; a report that was sent twice does no harm.
    ///
    /// # Errors
    ///
    /// [`ReportError`] if the wireserver refuses, or the time is over.
    pub async fn report(
        &self,
        report: &Report,
        mut on_event: impl FnMut(Event<'_>),
    ) -> Result<Reported, ReportError> {
        let begin = Instant::now();
        let mut attempts = 1;
        loop {
            let error = match self.attempt(report, &mut on_event).await {
                Ok(goal_state) => {
                    return Ok(Reported {
                        goal_state,
                        attempts,
                        elapsed: begin.elapsed(),
                    });
                }
                Err(source) if source.is_final() => {
                    return Err(ReportError::Refused { attempts, source });
                }
                Err(error) => error,
            };
            let elapsed = begin.elapsed();
            let retry_after = error.retry_after();
            let Some(pause) = self.schedule.pause_after(attempts, retry_after, elapsed) else {
                return Err(ReportError::GaveUp {
                    attempts,
                    elapsed,
                    source: error,
                });
            };
            on_event(Event::Failed {
                attempt: attempts,
                error: &error,
                pause,
            });
            sleep(pause).await;
            attempts = attempts.saturating_add(1);
        }
    }

    async fn attempt(
        &self,
        report: &Report,
        on_event: &mut impl FnMut(Event<'_>),
    ) -> Result<GoalState, AttemptError> {
        let goal_state = self.goal_state().await?;
        on_event(Event::GoalState(&goal_state));
        self.send(&goal_state, report).await?;
        Ok(goal_state)
    }

    async fn goal_state(&self) -> Result<GoalState, AttemptError> {
        let asking = request(Method::GET, "/machine/?comp=goalstate", body::empty());
        let document = self.exchange(Step::GoalState, asking).await?;
        Ok(GoalState::parse(&document)?)
    }

    async fn send(&self, goal_state: &GoalState, report: &Report) -> Result<(), AttemptError> {
        let document = body::full(report.to_xml(goal_state));
        let telling = request(Method::POST, "/machine?comp=health", document);
        self.exchange(Step::Health, telling).await?;
        Ok(())
    }

    async fn exchange(&self, step: Step, request: Request<Body>) -> Result<Vec<u8>, AttemptError> {
        exchange(&self.upstream, self.schedule.exchange, step, request).await
    }
}

fn request(method: Method, path: &'static str, body: Body) -> Request<Body> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from_static(path);
    request.headers_mut().extend([
        (CONTENT_TYPE, HeaderValue::from_static(XML)),
        (
            HeaderName::from_static("x-ms-agent-name"),
            HeaderValue::from_static(AGENT),
        ),
        (
            HeaderName::from_static("x-ms-version"),
            HeaderValue::from_static(VERSION),
        ),
    ]);
    request
}
