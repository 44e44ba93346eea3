//! Every fault that the simulated wireserver knows, at either step.

use testkit::azure::wireserver::Endpoint;

use super::*;

const STEPS: [Endpoint; 2] = [Endpoint::GoalState, Endpoint::Health];

fn faults_at(endpoint: Endpoint, fault: Fault) -> Faults {
    Faults::none().at(endpoint, 1..=1, fault)
}

/// One attempt meets the fault, the next does not.
async fn comes_to_nothing_once(fault: Fault, schedule: Schedule) {
    for endpoint in STEPS {
        let server = simulated(faults_at(endpoint, fault));
        let reported = ready(&server, schedule).await.unwrap();
        assert_eq!(reported.attempts, 2, "{endpoint:?} {fault}");
        assert_eq!(server.health(), Some(Health::Ready));
        let exchanges = server.exchanges();
        let met: Vec<_> = exchanges.iter().filter_map(|one| one.fault).collect();
        assert_eq!(met, [fault], "{endpoint:?}");
        let asked: Vec<_> = exchanges.iter().map(|one| one.endpoint).collect();
        let expected: &[Endpoint] = match endpoint {
            Endpoint::GoalState => &[Endpoint::GoalState, Endpoint::GoalState, Endpoint::Health],
            _ => &[
                Endpoint::GoalState,
                Endpoint::Health,
                Endpoint::GoalState,
                Endpoint::Health,
            ],
        };
        assert_eq!(asked, expected, "{fault}");
    }
}

#[tokio::test]
async fn statuses_that_pass_are_tried_again() {
    for status in [403, 408, 409, 410, 429, 500, 501, 502, 503, 504, 599] {
        comes_to_nothing_once(Fault::Status(status), QUICK).await;
    }
}

#[tokio::test]
async fn what_is_not_the_wireserver_is_tried_again() {
    for fault in [Fault::Close, Fault::Garbage, Fault::WrongContentType] {
        comes_to_nothing_once(fault, QUICK).await;
    }
}

#[tokio::test]
async fn silence_is_waited_for_only_so_long() {
    let exchange = Duration::from_secs(3);
    let schedule = Schedule { exchange, ..QUICK };
    tokio::join!(
        comes_to_nothing_once(Fault::Hang, schedule),
        comes_to_nothing_once(Fault::SlowDrip, schedule),
    );
}

#[tokio::test]
async fn goal_state_that_is_not_whole_is_read_again() {
    for fault in [Fault::CutOff, Fault::Oversized] {
        let server = simulated(faults_at(Endpoint::GoalState, fault));
        let mut failures = Vec::new();
        let reported = client(&server, QUICK)
            .report(&Report::Ready, |event| {
                if let Event::Failed { error, .. } = event {
                    failures.push(matches!(error, AttemptError::Body { .. }));
                }
            })
            .await
            .unwrap();
        assert_eq!((reported.attempts, failures), (2, vec![true]), "{fault}");
    }
}

/// The status says that it was taken.
#[tokio::test]
async fn report_that_was_taken_is_not_sent_again_for_the_rest_of_the_answer() {
    for fault in [Fault::CutOff, Fault::Oversized] {
        let server = simulated(faults_at(Endpoint::Health, fault));
        let reported = ready(&server, QUICK).await.unwrap();
        assert_eq!(reported.attempts, 1, "{fault}");
        assert_eq!(server.reports().len(), 1);
        assert_eq!(server.health(), Some(Health::Ready));
    }
}

#[tokio::test]
async fn refusals_end_it() {
    for endpoint in STEPS {
        for status in [400, 401, 404, 405, 415] {
            let server = simulated(faults_at(endpoint, Fault::Status(status)));
            let error = ready(&server, QUICK).await.unwrap_err();
            let ReportError::Refused {
                attempts: 1,
                source,
            } = error
            else {
                panic!("{endpoint:?} {status}: {error}");
            };
            let step = match endpoint {
                Endpoint::GoalState => "read the goal state",
                _ => "report health",
            };
            let text = source.to_string();
            let expected = format!("{step}: expected status 200, got {status} ");
            assert!(text.starts_with(&expected), "{text}");
            assert!(text.ends_with(": \"fault\""), "{text}");
            assert_eq!(
                server.exchanges().last().unwrap().fault,
                Some(Fault::Status(status))
            );
            assert_eq!(server.health(), None);
        }
    }
}

#[tokio::test]
async fn wireserver_that_never_works_is_given_up() {
    let schedule = Schedule {
        limit: Duration::from_secs(1),
        ..QUICK
    };
    let server = simulated(Faults::none().anywhere(1..=usize::MAX, Fault::Status(503)));
    let (mut pauses, mut lines) = (Vec::new(), Vec::new());
    let error = client(&server, schedule)
        .report(&Report::Ready, |event| {
            lines.push(event.to_string());
            if let Event::Failed { pause, .. } = event {
                pauses.push(pause);
            }
        })
        .await
        .unwrap_err();
    let ReportError::GaveUp {
        attempts, elapsed, ..
    } = error
    else {
        panic!("{error}");
    };
    assert!(elapsed >= schedule.limit, "{elapsed:?}");
    assert_eq!(attempts as usize, pauses.len() + 1);
    assert_eq!(attempts as usize, server.exchanges().len());
    assert!(attempts > 3, "{attempts}");
    assert!(pauses.iter().all(|pause| *pause <= schedule.longest_pause));
    assert!(server.reports().is_empty());
    let line = "attempt 1 failed, next in 0.0 s: read the goal state: \
                expected status 200, got 503 Service Unavailable: \"fault\"";
    assert_eq!(lines[0], line);
}
