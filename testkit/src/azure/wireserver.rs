//! Azure's wireserver (168.63.129.16): hands out the goal state, takes reports of health.
//!
//! A virtual machine that does not report itself ready is taken for one whose provisioning failed.
//! Two protocols: the goal state and a health report in XML, and a health report in JSON alone.
//! What comes in is checked strictly and written down for tests; what goes out can be made wrong
//! with [`Faults`]. Which status Azure answers to a report about an old goal state is not
//! documented; here it is 409 for the wrong incarnation and 410 for another container, after which
//! a client has to ask again.
//!
//! I/O: listens on 127.0.0.1.

pub mod fault;
mod goal_state;
pub mod health;
mod xml;

use std::io;
use std::net::SocketAddrV4;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use fault::{Endpoint, Fault, Faults};
pub use goal_state::GoalState;
pub use health::{Health, Protocol};

use super::http::{Answer, Manner, Request, Server};
use health::{Claim, Refusal};

/// The version of the XML protocol, of which there is one.
const VERSION: &str = "2012-11-30";
const XML: &str = "text/xml; charset=utf-8";

/// A wireserver that is running; it ends when dropped.
#[derive(Debug)]
pub struct Wireserver {
    server: Server,
    state: Arc<Mutex<State>>,
}

/// A report of health, accepted or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Since the wireserver was started.
    pub at: Duration,
    /// In which protocol it came.
    pub protocol: Protocol,
    /// What it calls itself.
    pub agent: Option<String>,
    /// What it says, if it could be read.
    pub health: Option<Health>,
    /// Why it was not accepted, `None` if it was.
    pub refused: Option<String>,
}

/// A request, answered or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Since the wireserver was started.
    pub at: Duration,
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// What was asked.
    pub endpoint: Endpoint,
    /// What was made wrong.
    pub fault: Option<Fault>,
    /// The status it was, or without the fault would have been, answered with.
    pub status: u16,
}

#[derive(Debug)]
struct State {
    started: Instant,
    goal_state: GoalState,
    faults: Faults,
    exchanges: Vec<Exchange>,
    reports: Vec<Report>,
}

impl Wireserver {
    /// Starts one that hands out `goal_state`, with these faults.
    ///
    /// # Errors
    ///
    /// An I/O error if there is no free port.
    pub fn start(goal_state: GoalState, faults: Faults) -> io::Result<Self> {
        let state = Arc::new(Mutex::new(State {
            started: Instant::now(),
            goal_state,
            faults,
            exchanges: Vec::new(),
            reports: Vec::new(),
        }));
        let of_server = Arc::clone(&state);
        let server = Server::start(move |request| lock(&of_server).serve(request))?;
        Ok(Self { server, state })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddrV4 {
        self.server.address()
    }

    /// What it hands out now.
    pub fn goal_state(&self) -> GoalState {
        lock(&self.state).goal_state.clone()
    }

    /// Makes a new goal state, as Azure does whenever something is to change: the incarnation goes
    /// up by one.
    pub fn renew_goal_state(&self) {
        let goal_state = &mut lock(&self.state).goal_state;
        goal_state.incarnation = goal_state.incarnation.saturating_add(1);
    }

    /// Moves the machine to another container, as Azure does when it heals a service.
    pub fn move_to_container(&self, container: &str) {
        let goal_state = &mut lock(&self.state).goal_state;
        goal_state.container = container.to_owned();
        goal_state.incarnation = 1;
    }

    /// Replaces the faults; requests are counted on.
    pub fn inject(&self, faults: Faults) {
        lock(&self.state).faults = faults;
    }

    /// All requests so far.
    pub fn exchanges(&self) -> Vec<Exchange> {
        lock(&self.state).exchanges.clone()
    }

    /// All reports of health so far.
    pub fn reports(&self) -> Vec<Report> {
        lock(&self.state).reports.clone()
    }

    /// What the machine last reported and Azure accepted.
    pub fn health(&self) -> Option<Health> {
        let reports = self.reports();
        let mut accepted = reports
            .into_iter()
            .filter(|report| report.refused.is_none());
        accepted.next_back()?.health
    }
}

impl State {
    /// Answers a request and writes it down.
    fn serve(&mut self, request: &Request) -> Answer {
        let endpoint = Endpoint::of(request);
        let fault = self.fault(endpoint);
        // A service that fails has not taken the report either.
        let is_taken = fault.is_none_or(Fault::is_after_the_fact);
        let answer = match endpoint {
            Endpoint::GoalState => self.hand_out(request),
            Endpoint::Health => self.take_xml(request, is_taken),
            Endpoint::ProvisioningHealth => self.take_json(request, is_taken),
            Endpoint::Other => Answer::new(404, "text/plain", "not found\n"),
        };
        self.exchanges.push(Exchange {
            at: self.started.elapsed(),
            method: request.method.clone(),
            target: request.target.clone(),
            endpoint,
            fault,
            status: answer.status,
        });
        match fault {
            Some(fault) => fault.spoil(answer),
            None => answer,
        }
    }

    fn fault(&self, endpoint: Endpoint) -> Option<Fault> {
        let same = self.exchanges.iter().filter(|one| one.endpoint == endpoint);
        let number = same.count().saturating_add(1);
        let total = self.exchanges.len().saturating_add(1);
        self.faults.of(endpoint, number, total)
    }

    fn hand_out(&self, request: &Request) -> Answer {
        if request.method != "GET" {
            return Answer::new(405, "text/plain", "GET\n");
        }
        match check_version(request) {
            Ok(()) => Answer::new(200, XML, self.goal_state.to_xml()),
            Err(refusal) => refusal.answer(),
        }
    }

    fn take_xml(&mut self, request: &Request, is_taken: bool) -> Answer {
        let claim = check_post(request)
            .and_then(|()| check_version(request))
            .and_then(|()| Claim::parse_xml(&request.body))
            .and_then(|claim| claim.check(&self.goal_state));
        let agent = request.header("x-ms-agent-name");
        self.take(
            Protocol::Xml,
            agent,
            claim,
            Answer::new(200, XML, ""),
            is_taken,
        )
    }

    fn take_json(&mut self, request: &Request, is_taken: bool) -> Answer {
        let agent = request.header("x-ms-guest-agent-name");
        let claim = check_post(request)
            .and_then(|()| match agent {
                Some(_) => Ok(()),
                None => Err(Refusal::malformed("no x-ms-guest-agent-name")),
            })
            .and_then(|()| health::parse_json(&request.body));
        let accepted = Answer::new(201, "application/json", "");
        self.take(Protocol::Json, agent, claim, accepted, is_taken)
    }

    fn take(
        &mut self,
        protocol: Protocol,
        agent: Option<&str>,
        claim: Result<Health, Refusal>,
        accepted: Answer,
        is_taken: bool,
    ) -> Answer {
        let (health, refused, answer) = match claim {
            Ok(health) if is_taken => (Some(health), None, accepted),
            Ok(health) => (
                Some(health),
                Some("the service failed".to_owned()),
                accepted,
            ),
            Err(refusal) => (None, Some(refusal.text.clone()), refusal.answer()),
        };
        self.reports.push(Report {
            at: self.started.elapsed(),
            protocol,
            agent: agent.map(str::to_owned),
            health,
            refused,
        });
        answer
    }
}

impl Refusal {
    fn answer(&self) -> Answer {
        Answer {
            manner: Manner::Whole,
            ..Answer::new(self.status, "text/plain", format!("{}\n", self.text))
        }
    }
}

fn check_post(request: &Request) -> Result<(), Refusal> {
    match request.method.as_str() {
        "POST" => Ok(()),
        method => Err(Refusal {
            status: 405,
            text: format!("POST, not {method}"),
        }),
    }
}

/// Every request of the XML protocol names its version and who asks.
fn check_version(request: &Request) -> Result<(), Refusal> {
    if request.header("x-ms-agent-name").is_none() {
        return Err(Refusal::malformed("no x-ms-agent-name"));
    }
    match request.header("x-ms-version") {
        Some(VERSION) => Ok(()),
        other => Err(Refusal {
            status: 400,
            text: format!("x-ms-version is {other:?}, not {VERSION}"),
        }),
    }
}

/// Locks without caring whether another thread panicked: what was written down stays true.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
