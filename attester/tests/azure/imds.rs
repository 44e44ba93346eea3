//! A metadata service that fails, lies or is slow.

use std::time::{Duration, SystemTime};

use attestation::td_quote::TdQuoteError;
use attester::azure::{AzureError, Imds, ImdsError};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use testkit::azure::imds::{Fault, Imds as Service};
use testkit::tee::Tee;

use crate::machine::{IMPATIENCE, Machine, PATIENCE, atls, chain};

fn service(faults: &[Fault]) -> (Tee, Service, Imds) {
    let tee = Tee::new(1, SystemTime::now());
    let service = Service::start(tee.clone(), "builder-0", faults.iter().copied()).unwrap();
    let client = Imds::new(&service.url()).unwrap().with_patience(PATIENCE);
    (tee, service, client)
}

#[tokio::test]
async fn the_request_is_as_azure_wants_it() {
    let (tee, service, client) = service(&[]);
    let report = tee.td_report([7; 64]);
    let quote = client.td_quote(report.as_bytes()).await.unwrap();
    assert_eq!(quote, tee.quote(&report));
    let requests = service.requests();
    let [request] = requests.as_slice() else {
        panic!("{requests:?}")
    };
    assert_eq!(request.method, "POST");
    assert_eq!(request.target, "/acc/tdquote");
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("metadata"), Some("true"));
    let body = format!(
        r#"{{"report":"{}"}}"#,
        URL_SAFE_NO_PAD.encode(report.as_bytes())
    );
    assert_eq!(String::from_utf8_lossy(&request.body), body);
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    let faults = [
        Fault::Status(410),
        Fault::Status(429),
        Fault::Status(500),
        Fault::Status(503),
        Fault::Close,
        Fault::CutOff,
    ];
    for fault in faults {
        let (tee, service, client) = service(&[fault]);
        let report = tee.td_report([7; 64]);
        assert!(
            client.td_quote(report.as_bytes()).await.is_ok(),
            "{fault:?}"
        );
        assert_eq!(service.quotes(), 2, "{fault:?}");
        service.fail_always(Some(fault));
        assert!(
            client.td_quote(report.as_bytes()).await.is_err(),
            "{fault:?}"
        );
        assert_eq!(service.quotes(), 2 + 4, "{fault:?}");
    }
}

#[tokio::test]
async fn what_stays_wrong_is_not_tried_again() {
    let faults = [
        Fault::Status(302),
        Fault::Status(400),
        Fault::Status(404),
        Fault::Status(415),
        Fault::Garbage,
        Fault::NotBase64,
        Fault::Oversized,
    ];
    for fault in faults {
        let (tee, service, client) = service(&[fault]);
        let report = tee.td_report([7; 64]);
        let error = client.td_quote(report.as_bytes()).await.unwrap_err();
        assert_eq!(service.quotes(), 1, "{fault:?}");
        let is_right = match fault {
            Fault::Status(_) => matches!(error, ImdsError::Status { .. }),
            Fault::Oversized => matches!(error, ImdsError::Body(_)),
            _ => matches!(error, ImdsError::Answer(_)),
        };
        assert!(is_right, "{fault:?}: {error:?}");
    }
}

#[tokio::test]
async fn a_slow_service_is_given_up() {
    for fault in [Fault::Hang, Fault::Drip(Duration::from_millis(50))] {
        let (tee, service, client) = service(&[]);
        service.fail_always(Some(fault));
        let client = client.with_patience(IMPATIENCE);
        let report = tee.td_report([7; 64]);
        let error = client.td_quote(report.as_bytes()).await.unwrap_err();
        assert!(matches!(error, ImdsError::Timeout { .. }), "{error:?}");
        assert_eq!(service.quotes(), 2);
    }
}

#[tokio::test]
async fn nobody_there_is_said() {
    let (tee, service, client) = service(&[]);
    let address = service.address().to_string();
    drop(service);
    let report = tee.td_report([7; 64]);
    let error = client.td_quote(report.as_bytes()).await.unwrap_err();
    assert!(chain(&error).starts_with(&format!("connect to {address}: ")));
}

#[tokio::test(flavor = "multi_thread")]
async fn quotes_that_are_not_of_this_report_stay_here() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let attester = machine.attester();
    for fault in [Fault::OtherReport, Fault::NoQuote] {
        machine.imds.fail_next([fault]);
        let error = attester.evidence(&atls(b"nonce")).await.unwrap_err();
        let AzureError::TdQuote(source) = &error else {
            panic!("{error:?}")
        };
        let is_right = match fault {
            Fault::OtherReport => matches!(**source, ImdsError::OtherReport),
            _ => matches!(**source, ImdsError::TdQuote(TdQuoteError::Version { .. })),
        };
        assert!(is_right, "{source:?}");
    }
    // Neither is kept.
    assert!(attester.evidence(&atls(b"nonce")).await.is_ok());
    assert_eq!(machine.imds.quotes(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_another_machine_refuses() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let other = Tee::new(2, SystemTime::now());
    let service = Service::start(other, "other", []).unwrap();
    let imds = Imds::new(&service.url()).unwrap();
    let tpm = attester::tpm::Tpm::new(machine.socket());
    let attester = attester::AzureAttester::new(tpm, imds);
    let error = attester.evidence(&atls(b"nonce")).await.unwrap_err();
    let text = chain(&error);
    let expected =
        "get a TD quote from Azure's metadata service: expected status 200, got 400 Bad Request: ";
    assert!(text.starts_with(expected), "{text}");
    assert!(text.contains("not of this machine"), "{text}");
}
