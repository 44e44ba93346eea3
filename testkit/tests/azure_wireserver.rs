//! The simulated wireserver, asked by curl as an agent would ask it.

#![allow(clippy::unwrap_used, reason = "a failed test is a panic")]

use std::fs;
use std::net::SocketAddrV4;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use testkit::azure::wireserver::health::Details;
use testkit::azure::wireserver::{
    Endpoint, Fault, Faults, GoalState, Health, Protocol, Wireserver,
};
use testkit::needed;

const GOAL_STATE: &str = "/machine/?comp=goalstate";
const HEALTH: &str = "/machine?comp=health";
const PROVISIONING: &str = "/provisioning/health";
const VERSION: &str = "x-ms-version: 2012-11-30";
const AGENT: &str = "x-ms-agent-name: test";

fn start(faults: Faults) -> Option<Wireserver> {
    let is_there = needed::programs(&["curl"]);
    is_there.then(|| Wireserver::start(GoalState::of_machine("node"), faults).unwrap())
}

fn curl(address: SocketAddrV4, path: &str, arguments: &[&str]) -> Output {
    Command::new("curl")
        .args(["--silent", "--show-error", "--noproxy", "*"])
        .args(["--max-time", "3", "--write-out", "\n%{http_code}"])
        .args(arguments)
        .arg(format!("http://{address}{path}"))
        .output()
        .unwrap()
}

/// Status and body.
fn ask(address: SocketAddrV4, path: &str, arguments: &[&str]) -> (u16, String) {
    let output = curl(address, path, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{path}: {stderr}");
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), body.to_owned())
}

fn goal_state(address: SocketAddrV4) -> (u16, String) {
    ask(address, GOAL_STATE, &["-H", VERSION, "-H", AGENT])
}

fn report(server: &Wireserver, incarnation: u32, state: &str) -> u16 {
    let about = GoalState {
        incarnation,
        ..server.goal_state()
    };
    report_about(server, &about, state)
}

fn report_about(server: &Wireserver, about: &GoalState, state: &str) -> u16 {
    let GoalState {
        container,
        instance,
        incarnation,
        ..
    } = about;
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
         <Health xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\
         <GoalStateIncarnation>{incarnation}</GoalStateIncarnation><Container>\
         <ContainerId>{container}</ContainerId><RoleInstanceList><Role>\
         <InstanceId>{instance}</InstanceId><Health>{state}</Health>\
         </Role></RoleInstanceList></Container></Health>"
    );
    let headers = ["-H", VERSION, "-H", AGENT, "-H", "Content-Type: text/xml"];
    let arguments = [&headers[..], &["--data-binary", &body]].concat();
    ask(server.address(), HEALTH, &arguments).0
}

fn report_json(address: SocketAddrV4, body: &str) -> u16 {
    let headers = [
        "-H",
        "x-ms-guest-agent-name: test",
        "-H",
        "Content-Type: application/json",
    ];
    let arguments = [&headers[..], &["--data-binary", body]].concat();
    ask(address, PROVISIONING, &arguments).0
}

const READY: &str = "<State>Ready</State>";

#[test]
fn node_asks_and_reports_itself_ready() {
    let Some(server) = start(Faults::none()) else {
        return;
    };
    let (status, body) = goal_state(server.address());
    assert_eq!(status, 200);
    assert!(body.contains("<Incarnation>1</Incarnation>"));
    assert!(body.contains("&amp;type=sharedConfig&amp;incarnation=1<"));
    assert_eq!(server.health(), None);
    assert_eq!(report(&server, 1, READY), 200);
    assert_eq!(server.health(), Some(Health::Ready));
    let reports = server.reports();
    assert_eq!(reports[0].protocol, Protocol::Xml);
    assert_eq!(reports[0].agent.as_deref(), Some("test"));
    let endpoints: Vec<_> = server.exchanges().iter().map(|one| one.endpoint).collect();
    assert_eq!(endpoints, [Endpoint::GoalState, Endpoint::Health]);
}

#[test]
fn both_protocols_carry_why_a_node_is_not_ready() {
    let Some(server) = start(Faults::none()) else {
        return;
    };
    let xml = "<State>NotReady</State><Details><SubStatus>ProvisioningFailed</SubStatus>\
               <Description>disk &lt;10&gt; never came</Description></Details>";
    assert_eq!(report(&server, 1, xml), 200);
    let details = |description: &str| {
        Health::NotReady(Details {
            sub_status: "ProvisioningFailed".to_owned(),
            description: description.to_owned(),
        })
    };
    assert_eq!(server.health(), Some(details("disk <10> never came")));
    let json = r#"{"state":"NotReady","details":{"subStatus":"ProvisioningFailed","description":"no \"key\""}}"#;
    assert_eq!(report_json(server.address(), json), 201);
    assert_eq!(server.health(), Some(details("no \"key\"")));
    assert_eq!(report_json(server.address(), r#"{"state":"Ready"}"#), 201);
    assert_eq!(server.health(), Some(Health::Ready));
}

#[test]
fn report_about_an_old_goal_state_is_refused() {
    let Some(server) = start(Faults::none()) else {
        return;
    };
    server.renew_goal_state();
    assert!(
        goal_state(server.address())
            .1
            .contains("<Incarnation>2</Incarnation>")
    );
    assert_eq!(report(&server, 1, READY), 409);
    assert_eq!(report(&server, 2, READY), 200);
    let old = server.goal_state();
    server.move_to_container("00000000-1111-2222-3333-444444444444");
    assert_eq!(server.goal_state().incarnation, 1);
    assert_ne!(server.goal_state().container, old.container);
    // What the node still holds is about the other container.
    assert_eq!(report_about(&server, &old, READY), 410);
    let refused: Vec<_> = server
        .reports()
        .iter()
        .map(|one| one.refused.is_some())
        .collect();
    assert_eq!(refused, [true, false, true]);
}

#[test]
fn requests_without_the_protocols_headers_are_refused() {
    let Some(server) = start(Faults::none()) else {
        return;
    };
    let address = server.address();
    let status = |path: &str, arguments: &[&str]| ask(address, path, arguments).0;
    assert_eq!(status(GOAL_STATE, &["-H", AGENT]), 400);
    assert_eq!(status(GOAL_STATE, &["-H", VERSION]), 400);
    assert_eq!(
        status(GOAL_STATE, &["-H", AGENT, "-H", "x-ms-version: 2011-01-01"]),
        400
    );
    assert_eq!(
        status(PROVISIONING, &["--data", r#"{"state":"Ready"}"#]),
        400
    );
    assert_eq!(status(HEALTH, &["-H", AGENT, "-H", VERSION]), 405);
    assert_eq!(status("/else", &[]), 404);
    assert_eq!(server.health(), None);
}

#[test]
fn byte_order_mark_is_before_the_document() {
    if !needed::programs(&["curl"]) {
        return;
    }
    let marked = GoalState {
        has_byte_order_mark: true,
        ..GoalState::of_machine("node")
    };
    let server = Wireserver::start(marked, Faults::none()).unwrap();
    assert!(goal_state(server.address()).1.starts_with("\u{feff}<?xml"));
}

#[test]
fn statuses_come_at_the_requests_they_are_scripted_for() {
    let codes = [410, 409, 429, 500, 503];
    let faults = (1..)
        .zip(codes)
        .fold(Faults::none(), |faults, (number, code)| {
            faults.at(Endpoint::GoalState, number..=number, Fault::Status(code))
        });
    let Some(server) = start(faults) else { return };
    for code in codes {
        assert_eq!(goal_state(server.address()).0, code);
        // Another endpoint is counted apart.
        assert_eq!(report_json(server.address(), r#"{"state":"Ready"}"#), 201);
    }
    assert_eq!(goal_state(server.address()).0, 200);
    let faults = server
        .exchanges()
        .into_iter()
        .filter(|one| one.fault.is_some());
    assert_eq!(faults.count(), codes.len());
}

#[test]
fn report_that_met_a_failing_service_is_not_accepted() {
    let faults = Faults::none().at(Endpoint::Health, 1..=1, Fault::Status(500));
    let Some(server) = start(faults) else { return };
    assert_eq!(report(&server, 1, READY), 500);
    assert_eq!(server.health(), None);
    assert_eq!(report(&server, 1, READY), 200);
    assert_eq!(server.health(), Some(Health::Ready));
}

/// curl's exit codes, curl(1).
const BAD_ANSWER: i32 = 1;
const PARTIAL: i32 = 18;
const TIMED_OUT: i32 = 28;
const EMPTY: i32 = 52;

fn exit_code(server: &Wireserver) -> i32 {
    let output = curl(server.address(), GOAL_STATE, &["-H", VERSION, "-H", AGENT]);
    output.status.code().unwrap()
}

#[test]
fn broken_connections_are_broken_as_scripted() {
    let faults = Faults::none()
        .anywhere(1..=1, Fault::Close)
        .anywhere(2..=2, Fault::Garbage)
        .anywhere(3..=3, Fault::CutOff)
        .anywhere(4..=4, Fault::Hang)
        .anywhere(5..=5, Fault::SlowDrip);
    let Some(server) = start(faults) else { return };
    assert_eq!(exit_code(&server), EMPTY);
    assert_eq!(exit_code(&server), BAD_ANSWER);
    assert_eq!(exit_code(&server), PARTIAL);
    assert_eq!(exit_code(&server), TIMED_OUT);
    assert_eq!(exit_code(&server), TIMED_OUT);
    assert_eq!(exit_code(&server), 0);
}

#[test]
fn answers_that_are_no_goal_state_are_as_scripted() {
    let faults = Faults::none()
        .anywhere(1..=1, Fault::WrongContentType)
        .anywhere(2..=2, Fault::Oversized);
    let Some(server) = start(faults) else { return };
    let headers = tempfile::NamedTempFile::new().unwrap();
    let dump = [
        "-H",
        VERSION,
        "-H",
        AGENT,
        "-D",
        headers.path().to_str().unwrap(),
    ];
    let (status, body) = ask(server.address(), GOAL_STATE, &dump);
    assert_eq!(status, 200);
    assert!(!body.contains("GoalState"));
    let headers = fs::read_to_string(headers.path()).unwrap();
    assert!(headers.contains("Content-Type: text/html"), "{headers}");
    let (status, body) = goal_state(server.address());
    assert_eq!(status, 200);
    assert!(body.len() > 32 << 20, "{}", body.len());
}

#[test]
fn dropped_server_lets_go_of_those_that_wait() {
    let Some(server) = start(Faults::none().anywhere(1..=1, Fault::Hang)) else {
        return;
    };
    let address = server.address();
    let client = std::thread::spawn(move || {
        curl(
            address,
            GOAL_STATE,
            &["--max-time", "60", "-H", VERSION, "-H", AGENT],
        )
    });
    let end = Instant::now() + Duration::from_secs(30);
    while server.exchanges().is_empty() {
        assert!(Instant::now() < end, "curl has not come");
        std::thread::sleep(Duration::from_millis(20));
    }
    let begin = Instant::now();
    drop(server);
    assert_eq!(client.join().unwrap().status.code(), Some(EMPTY));
    assert!(begin.elapsed() < Duration::from_secs(20));
}
