//! The clock: plausible before anything is verified by it, synchronised before the node is ready.
//!
//! Whether a certificate is valid depends on the time, and the time the machine starts with is the host's.
//! Two things are done about that. Nothing is verified while the clock shows what cannot be
//! ([`Clock::wait_until_plausible`]): a time before the image was built, whose date is in the image
//! and measured. Beside the boot, chronyd asks servers that prove who they are (NTS, RFC 8915), and
//! the node is ready only when that has set the clock ([`Clock::wait_until_synchronised`]), after which
//! somebody has to keep looking ([`Clock::watch`]).
//!
//! Between the two, the host chooses the time, later than the image's date: it can make a certificate
//! pass that has expired since then, and must have its key to make use of that.
//!
//! Left out: setting the clock, which systemd (`/usr/lib/clock-epoch`) and chronyd do.
//!
//! I/O: reads the clocks; reads a file of the image; runs `chronyc`.

mod chronyc;
mod image;
mod plausible;
mod steps;
mod tracking;

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use tokio::time::{Instant, sleep};

pub(crate) use self::plausible::Implausible;
use self::steps::Steps;
pub(crate) use self::steps::{Reading, Step};
pub(crate) use self::tracking::{State, Tracking};

/// How often what is waited for is said again.
const REMINDER: Duration = Duration::from_secs(60);

/// Where things are, and what to wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// What the image's files are below: `/`, but in tests.
    pub(crate) root: PathBuf,
    /// The program that asks chronyd.
    pub(crate) chronyc: PathBuf,
    /// Where chronyd listens.
    pub(crate) socket: PathBuf,
    /// How often to look while something is waited for.
    pub(crate) poll: Duration,
    /// How often to look after that.
    pub(crate) interval: Duration,
    /// Whether not to wait for synchronisation: the measured configuration says so, in a simulator
    /// without time servers. Then the host's time is believed.
    pub(crate) danger_unsynchronised: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            root: "/".into(),
            chronyc: "/usr/bin/chronyc".into(),
            socket: "/run/chrony/chronyd.sock".into(),
            poll: Duration::from_secs(1),
            interval: Duration::from_secs(30),
            danger_unsynchronised: false,
        }
    }
}

/// What happens to the clock; shown as a line for `STATUS=` and the log.
#[derive(Debug, PartialEq)]
pub(crate) enum Event<'a> {
    /// It shows what cannot be; said at first and each minute while that is so.
    Implausible(Implausible),
    /// It shows what can be.
    Plausible,
    /// Whether it is synchronised: said when that changes, and each minute while it is waited for.
    State {
        /// What it is.
        state: State,
        /// By whom and how well, or why not.
        detail: &'a str,
    },
    /// Synchronisation is not waited for, as the configuration says.
    NotWaitedFor,
    /// chronyd has said how the clock does: offset, rate (drift) and bounds, for metrics.
    Measured(&'a Tracking),
    /// It was stepped.
    Stepped(Step),
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Implausible(reason) => write!(f, "clock: waiting for a plausible time: {reason}"),
            Self::Plausible => f.write_str("clock: plausible"),
            Self::State { state, detail } => write!(f, "clock: {state}: {detail}"),
            Self::NotWaitedFor => {
                f.write_str("clock: danger_unsynchronised is set: the host's time is believed")
            }
            Self::Measured(tracking) => write!(f, "clock: {tracking}"),
            Self::Stepped(step) => write!(f, "clock: {step}"),
        }
    }
}

/// The machine's clock.
pub(crate) struct Clock<R> {
    settings: Settings,
    built: SystemTime,
    read: R,
    steps: Steps,
    state: Option<State>,
    /// When the state was last said.
    said: Option<Instant>,
}

impl<R: FnMut() -> Reading> Clock<R> {
    /// Looks when the image was built. `read` is [`Reading::now`], but in tests.
    ///
    /// # Errors
    ///
    /// The image does not say; then no time is plausible.
    pub(crate) fn open(settings: Settings, mut read: R) -> Result<Self> {
        let built = image::built(&settings.root)?;
        let steps = Steps::since(read());
        Ok(Self {
            settings,
            built,
            read,
            steps,
            state: None,
            said: None,
        })
    }

    /// Waits as long as the clock shows a time that cannot be. Nothing that has to do with
    /// certificates may come before this.
    pub(crate) async fn wait_until_plausible(&mut self, mut on_event: impl FnMut(Event<'_>)) {
        let mut said: Option<Instant> = None;
        loop {
            let now = self.look(&mut on_event);
            let Err(reason) = plausible::check(now, self.built) else {
                return on_event(Event::Plausible);
            };
            if said.is_none_or(|said| said.elapsed() >= REMINDER) {
                said = Some(Instant::now());
                on_event(Event::Implausible(reason));
            }
            sleep(self.settings.poll).await;
        }
    }

    /// Waits as long as the clock is not synchronised, for ever if need be, unless the configuration
    /// says not to.
    pub(crate) async fn wait_until_synchronised(&mut self, mut on_event: impl FnMut(Event<'_>)) {
        if self.settings.danger_unsynchronised {
            return on_event(Event::NotWaitedFor);
        }
        while self.measure(true, &mut on_event).await != State::Synchronised {
            sleep(self.settings.poll).await;
        }
    }

    /// Looks at the clock from time to time, for ever, and says what becomes of it. Whether a state
    /// other than [`State::Synchronised`] makes the node less than ready is the caller's to judge.
    pub(crate) async fn watch(&mut self, mut on_event: impl FnMut(Event<'_>)) -> Infallible {
        loop {
            sleep(self.settings.interval).await;
            self.measure(false, &mut on_event).await;
        }
    }

    /// Asks chronyd, and says what is new.
    async fn measure(&mut self, is_waiting: bool, on_event: &mut impl FnMut(Event<'_>)) -> State {
        let answer = chronyc::tracking(&self.settings.chronyc, &self.settings.socket).await;
        let now = self.look(on_event);
        let (state, detail) = match &answer {
            Ok(tracking) => {
                on_event(Event::Measured(tracking));
                (tracking.state(now), tracking.to_string())
            }
            Err(error) => (State::Unknown, format!("{error:#}")),
        };
        let is_due = is_waiting && self.said.is_none_or(|said| said.elapsed() >= REMINDER);
        if self.state != Some(state) || is_due {
            self.state = Some(state);
            self.said = Some(Instant::now());
            let detail = &detail;
            on_event(Event::State { state, detail });
        }
        state
    }

    /// What time it is, and whether somebody has set the clock since the last time.
    fn look(&mut self, on_event: &mut impl FnMut(Event<'_>)) -> SystemTime {
        let reading = (self.read)();
        if let Some(step) = self.steps.observe(reading) {
            on_event(Event::Stepped(step));
        }
        reading.time
    }
}

#[cfg(test)]
mod tests;
