//! The checks of one scenario, and its boots: each is printed when it is made, and kept for the report.
//!
//! I/O: prints.

mod boot;

use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;
use testkit::console::Console;
use testkit::console::phases::Phase;
use testkit::console::stages::Stage;

use crate::session::Session;
use boot::Boot;

/// How much of the console is shown after a failure.
const TAIL: usize = 25;

/// One check and how it ended.
#[derive(Debug, Serialize)]
pub(crate) struct Check {
    pub(crate) name: String,
    pub(crate) seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<String>,
}

/// All checks of a scenario so far.
#[derive(Debug, Serialize)]
pub(crate) struct Checks {
    scenario: String,
    boots: Vec<Boot>,
    checks: Vec<Check>,
    #[serde(skip)]
    since: Instant,
    #[serde(skip)]
    console: Option<Console>,
}

impl Checks {
    /// A scenario without checks.
    pub(crate) fn new(scenario: impl Into<String>) -> Self {
        Self {
            scenario: scenario.into(),
            boots: Vec::new(),
            checks: Vec::new(),
            since: Instant::now(),
            console: None,
        }
    }

    /// From now on, shows the end of this session's console after the next failure.
    pub(crate) fn watch(&mut self, session: &Session) {
        self.follow(session.machine.console());
    }

    /// The same for a machine without a session.
    pub(crate) fn follow(&mut self, console: &Console) {
        self.console = Some(console.clone());
    }

    /// Records a check. Its time is that since the one before, so the first has the boot's.
    pub(crate) fn check(&mut self, name: &str, result: Result<()>) {
        self.note(name, result.map(|()| None));
    }

    /// Records a check that, if it passed, has something to say.
    pub(crate) fn note(&mut self, name: &str, result: Result<Option<String>>) {
        let (note, failure) = match result {
            Ok(note) => (note, None),
            Err(error) => (None, Some(format!("{error:#}"))),
        };
        let seconds = self.since.elapsed().as_secs_f64();
        self.since = Instant::now();
        let check = Check {
            name: format!("{}/{name}", self.scenario),
            seconds,
            note,
            failure,
        };
        // One call, so that lines of scenarios that run at once do not mix.
        print!("{}", check.line(&mut self.console));
        self.checks.push(check);
    }

    /// Records how long a boot took.
    pub(crate) fn boot(&mut self, name: &str, session: &Session, certificate: Option<Duration>) {
        self.boots
            .push(Boot::new(name, &session.phases(), certificate));
    }

    /// The same of a machine without a session.
    pub(crate) fn boot_of(&mut self, name: &str, phases: &[(Phase, Duration)]) {
        self.boots.push(Boot::new(name, phases, None));
    }

    /// Records how long the stages of the boot took that was recorded last.
    pub(crate) fn stages(&mut self, stages: &[Stage]) {
        if let Some(boot) = self.boots.last_mut() {
            boot.set_stages(stages);
        }
    }

    /// How many checks passed and failed.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let failed = self.checks.iter().filter(|check| check.failure.is_some());
        let failed = failed.count();
        (self.checks.len() - failed, failed)
    }
}

impl Check {
    /// `ok NAME (1.2 s)`, or `FAILED NAME: why` and, once, the console's end.
    fn line(&self, console: &mut Option<Console>) -> String {
        let Self { name, seconds, .. } = self;
        match (&self.failure, &self.note) {
            (None, None) => format!("ok {name} ({seconds:.1} s)\n"),
            (None, Some(note)) => format!("ok {name} ({seconds:.1} s): {note}\n"),
            (Some(why), _) => {
                let tail = console.take().map(|console| console.tail(TAIL));
                format!("FAILED {name}: {why}\n{}", tail.unwrap_or_default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn failures_are_counted_with_their_causes() {
        let mut checks = Checks::new("clean");
        checks.check("boots", Ok(()));
        checks.note("ports", Ok(Some("60 closed".to_owned())));
        checks.check("registers", Err(anyhow!("differ").context("compare")));
        assert_eq!(checks.counts(), (2, 1));
        let failed = &checks.checks[2];
        assert_eq!(
            failed.line(&mut None),
            "FAILED clean/registers: compare: differ\n"
        );
        let noted = checks.checks[1].line(&mut None);
        assert!(noted.starts_with("ok clean/ports ("), "{noted}");
        assert!(noted.ends_with(" s): 60 closed\n"), "{noted}");
    }
}
