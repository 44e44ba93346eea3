//! The client and the simulated wireserver, which says what it was told, with everything that can go
//! wrong between the two.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic in a test is a failing test, which is what is wanted"
)]

#[path = "wireserver/faults.rs"]
mod faults;
#[path = "wireserver/other_servers.rs"]
mod other_servers;

use std::time::Duration;

use testkit::azure::wireserver::health::Details;
use testkit::azure::wireserver::{
    Fault, Faults, GoalState, Health, Protocol, Wireserver as Simulated,
};
use wireserver::{
    AddressError, AttemptError, Description, Event, Report, ReportError, Reported, Schedule,
    Wireserver,
};

/// As for Azure, but without long pauses.
const QUICK: Schedule = Schedule {
    connect: Duration::from_secs(10),
    exchange: Duration::from_secs(60),
    pause: Duration::from_millis(20),
    longest_pause: Duration::from_millis(50),
    longest_retry_after: Duration::from_secs(2),
    limit: Duration::from_secs(120),
};

fn simulated(faults: Faults) -> Simulated {
    Simulated::start(GoalState::of_machine("node"), faults).unwrap()
}

fn client(server: &Simulated, schedule: Schedule) -> Wireserver {
    Wireserver::new(&format!("http://{}", server.address()), schedule).unwrap()
}

async fn ready(server: &Simulated, schedule: Schedule) -> Result<Reported, ReportError> {
    client(server, schedule)
        .report(&Report::Ready, |_| ())
        .await
}

#[tokio::test]
async fn ready_is_reported() {
    let server = simulated(Faults::none());
    let reported = ready(&server, QUICK).await.unwrap();
    assert_eq!(reported.attempts, 1);
    let goal_state = server.goal_state();
    assert_eq!(reported.goal_state.incarnation, "1");
    assert_eq!(reported.goal_state.container, goal_state.container);
    assert_eq!(reported.goal_state.instance, goal_state.instance);

    let exchanges = server.exchanges();
    let exchanges: Vec<_> = exchanges
        .iter()
        .map(|one| (one.method.as_str(), one.target.as_str(), one.status))
        .collect();
    let expected = [
        ("GET", "/machine/?comp=goalstate", 200),
        ("POST", "/machine?comp=health", 200),
    ];
    assert_eq!(exchanges, expected);
    let reports = server.reports();
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].protocol, Protocol::Xml);
    assert_eq!(reports[0].agent.as_deref(), Some("cvm-agent"));
    assert_eq!(reports[0].health, Some(Health::Ready));
    assert_eq!(reports[0].refused, None);
}

#[tokio::test]
async fn not_ready_is_reported_with_its_reason() {
    let server = simulated(Faults::none());
    for (text, expected) in [
        (
            "disk: <foreign> & \"data\"\n]]>",
            "disk: <foreign> & \"data\" ]]>".to_owned(),
        ),
        (&*"ä".repeat(600), "ä".repeat(256)),
        ("\0\x1b[2J", "[2J".to_owned()),
    ] {
        let report = Report::NotReady(Description::new(text));
        client(&server, QUICK)
            .report(&report, |_| ())
            .await
            .unwrap();
        let details = Details {
            sub_status: "ProvisioningFailed".to_owned(),
            description: expected,
        };
        assert_eq!(server.health(), Some(Health::NotReady(details)));
    }
}

#[tokio::test]
async fn names_and_numbers_go_back_as_they_came() {
    let goal_state = GoalState {
        incarnation: u32::MAX,
        has_byte_order_mark: true,
        ..GoalState::of_machine("a<b>&'c'\"ü")
    };
    let server = Simulated::start(goal_state.clone(), Faults::none()).unwrap();
    let reported = ready(&server, QUICK).await.unwrap();
    assert_eq!(reported.goal_state.instance, goal_state.instance);
    assert_eq!(reported.goal_state.incarnation, "4294967295");
    assert_eq!(server.health(), Some(Health::Ready));
}

/// As a boot does it, which waits for nothing here.
#[tokio::test]
async fn report_runs_in_the_background_until_it_is_cancelled() {
    let server = simulated(Faults::none().anywhere(1..=usize::MAX, Fault::Hang));
    let wireserver = client(&server, QUICK);
    let task = tokio::spawn(async move { wireserver.report(&Report::Ready, |_| ()).await });
    while server.exchanges().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert_eq!(server.health(), None);
}

/// What changes between reading the goal state and reporting about it, once.
async fn changed_meanwhile(change: impl Fn(&Simulated)) -> (Simulated, Reported) {
    let server = simulated(Faults::none());
    let mut read = 0;
    let reported = client(&server, QUICK)
        .report(&Report::Ready, |event| {
            if let Event::GoalState(_) = event {
                read += 1;
                if read == 1 {
                    change(&server);
                }
            }
        })
        .await
        .unwrap();
    assert_eq!((read, reported.attempts), (2, 2));
    (server, reported)
}

fn statuses(server: &Simulated) -> Vec<u16> {
    let exchanges = server.exchanges();
    exchanges.iter().map(|one| one.status).collect()
}

#[tokio::test]
async fn new_goal_state_is_read_again() {
    let (server, reported) = changed_meanwhile(Simulated::renew_goal_state).await;
    assert_eq!(statuses(&server), [200, 409, 200, 200]);
    assert_eq!(reported.goal_state.incarnation, "2");
    assert_eq!(server.health(), Some(Health::Ready));
}

#[tokio::test]
async fn machine_that_was_moved_reports_about_its_new_container() {
    let other = "0f0e0d0c-0b0a-4908-8706-050403020100";
    let (server, reported) = changed_meanwhile(|server| server.move_to_container(other)).await;
    assert_eq!(statuses(&server), [200, 410, 200, 200]);
    assert_eq!(reported.goal_state.container, other);
    assert_eq!(server.health(), Some(Health::Ready));
}

#[test]
fn only_plain_servers_are_wireservers() {
    for good in [
        "http://168.63.129.16",
        "http://127.0.0.1:80/",
        "http://[::1]:8080",
    ] {
        assert!(Wireserver::new(good, QUICK).is_ok(), "{good}");
    }
    for bad in ["https://a", "http://a/b", "http://a/?b"] {
        let error = Wireserver::new(bad, QUICK).err().unwrap();
        assert!(matches!(error, AddressError::Kind { .. }), "{bad}: {error}");
    }
    for bad in ["", "168.63.129.16", "ftp://a", "http://u@a"] {
        let error = Wireserver::new(bad, QUICK).err().unwrap();
        assert!(matches!(error, AddressError::Target(_)), "{bad}: {error}");
    }
}

/// Runs the first test in an environment that names a proxy, which nobody is.
#[test]
fn proxies_of_the_environment_are_not_used() {
    let mut test = std::process::Command::new(std::env::current_exe().unwrap());
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        test.env(name, "http://127.0.0.1:1");
    }
    let output = test
        .args(["--exact", "ready_is_reported"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}
