//! Client certificates at the main listener, by curl.

use std::time::Instant;

use rustix::process::Signal;

use crate::start::refused;
use crate::support::curl::{Curled, try_curl};
use crate::support::pki::{Authority, Use};
use crate::support::{Hub, Kind, LAX, Place, eventually, on_both, replace};

on_both!(only_who_has_a_certificate_of_the_authority_is_believed);

/// The hub's certificate and authorities, in the place's files.
fn options(place: &Place, servers: &Authority, clients: &Authority) -> Vec<String> {
    let [certificate, key, ca] = ["hub.pem", "hub.key", "clients.pem"].map(|name| place.path(name));
    servers.certify("localhost", Use::ServerAuth, &certificate, &key);
    std::fs::write(&ca, &clients.pem).unwrap();
    std::fs::write(place.path("servers.pem"), &servers.pem).unwrap();
    vec![
        format!("--listen-tls-certificate={}", certificate.display()),
        format!("--listen-tls-key={}", key.display()),
        format!("--listen-client-ca={}", ca.display()),
        // Which is refused without client certificates.
        "--listen-addr=0.0.0.0:0".to_owned(),
        // Only when they are told to, so that each time is counted.
        "--tls-reload-seconds=86400".to_owned(),
    ]
}

/// Makes a client's certificate in files of this name.
fn client(place: &Place, authority: &Authority, usage: impl Into<Option<Use>>, name: &str) {
    let [certificate, key] = ["pem", "key"].map(|kind| place.path(&format!("{name}.{kind}")));
    authority.certify(name, usage, &certificate, &key);
}

/// Asks with the certificate of this name, or without one.
fn ask(
    place: &Place,
    hub: &Hub,
    name: Option<&str>,
    path: &str,
    more: &[&str],
) -> Result<Curled, String> {
    let url = format!("https://localhost:{}{path}", hub.address("main").port());
    let path = |name: &str| place.path(name).display().to_string();
    let ca = path("servers.pem");
    let mut arguments = vec!["--ipv4", "--cacert", &ca, &url];
    let files = name.map(|name| [path(&format!("{name}.pem")), path(&format!("{name}.key"))]);
    if let Some([certificate, key]) = &files {
        arguments.extend(["--cert", certificate, "--key", key]);
    }
    for header in [
        "X-Flashbots-Attestation-Type: test",
        "X-Flashbots-Measurement: {\"4\":\"aa\"}",
        "X-Forwarded-For: 1.2.3.4",
    ] {
        arguments.extend(["-H", header]);
    }
    arguments.extend(more);
    try_curl(&arguments)
}

const CONFIGURATION: &str = "/api/l1-builder/v1/configuration";

fn only_who_has_a_certificate_of_the_authority_is_believed(kind: Kind) {
    let place = Place::new(kind);
    let [servers, clients, others] = ["servers", "clients", "clients"].map(Authority::new);
    let options = options(&place, &servers, &clients);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let hub = Hub::start_logging(&place, &[LAX, &options].concat());
    hub.whitelist("m1");
    hub.builder("b1", "1.2.3.4", "production");
    client(&place, &clients, Use::ClientAuth, "proxy");
    client(&place, &clients, Use::ServerAuth, "server");
    client(&place, &others, Use::ClientAuth, "other");
    client(&place, &clients, None, "any-use");
    let start = Instant::now();
    for (version, number) in [("--http1.1", "1.1"), ("--http2", "2")] {
        for name in ["proxy", "any-use"] {
            let answer = ask(&place, &hub, Some(name), CONFIGURATION, &[version]).unwrap();
            assert_eq!(
                (answer.status, answer.body.as_str(), answer.version.as_str()),
                (200, r#"{"instance_name":"b1"}"#, number)
            );
        }
        for version in ["--tlsv1.3", "--tls-max=1.2"] {
            for name in [None, Some("other"), Some("server")] {
                // Not even whether it lives.
                for path in [CONFIGURATION, "/livez", "/"] {
                    let answer = ask(&place, &hub, name, path, &[version]);
                    assert!(answer.is_err(), "{name:?} {answer:?}");
                }
            }
        }
    }
    let port = hub.address("main").port();
    let plain = try_curl(&[&format!("http://127.0.0.1:{port}/livez")]);
    assert!(plain.is_err(), "{plain:?}");
    let log = std::fs::read_to_string(place.path("log")).unwrap();
    let refusals = log.matches("a client's certificate was refused").count();
    // Ten at once, and another one each six seconds.
    let most = 11 + usize::try_from(start.elapsed().as_secs() / 6).unwrap();
    assert!((2..=most).contains(&refusals), "{refusals}: {log}");
    // The other listeners are as they were, and what a proxy's node isn't is as it was.
    hub.ask("internal", "GET", "/api/l1-builder/v1/measurements")
        .ok();
    let elsewhere = ["-H", "X-Forwarded-For: 9.9.9.9"];
    let answer = ask(&place, &hub, Some("proxy"), CONFIGURATION, &elsewhere).unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (403, ""));
    // None in place of the authority, or a broken one: the first still counts.
    let broken = "could not be read again: the former counts";
    for (round, content) in ["", "nonsense"].into_iter().enumerate() {
        replace(&place.path("clients.pem"), content);
        hub.signal(Signal::HUP);
        eventually("it says so", || {
            let log = std::fs::read_to_string(place.path("log")).unwrap();
            log.matches(broken).count() == round + 1
        });
        ask(&place, &hub, Some("proxy"), CONFIGURATION, &[]).unwrap();
        assert!(ask(&place, &hub, Some("other"), CONFIGURATION, &[]).is_err());
        assert!(ask(&place, &hub, None, CONFIGURATION, &[]).is_err());
    }
    // Another authority in place of the first.
    replace(&place.path("clients.pem"), &others.pem);
    hub.signal(Signal::HUP);
    eventually("the other authority counts", || {
        ask(&place, &hub, Some("other"), CONFIGURATION, &[]).is_ok()
    });
    assert!(ask(&place, &hub, Some("proxy"), CONFIGURATION, &[]).is_err());
    assert!(hub.stop());
}

#[test]
fn a_certificate_alone_makes_no_proxy() {
    let place = Place::new(Kind::Sqlite);
    let authority = Authority::new("all");
    let options = options(&place, &authority, &authority);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    client(&place, &authority, Use::ClientAuth, "proxy");
    let hub = Hub::start(&place, &[&options[..], &["--required-keys=none"]].concat());
    hub.whitelist("m1");
    hub.builder("b1", "1.2.3.4", "production");
    let answer = ask(&place, &hub, Some("proxy"), CONFIGURATION, &[]).unwrap();
    assert_eq!(answer.status, 403);
    let answer = ask(&place, &hub, Some("proxy"), "/livez", &[]).unwrap();
    assert_eq!(answer.status, 200);
}

#[test]
fn half_of_the_options_or_broken_files_are_refused() {
    let place = Place::new(Kind::Sqlite);
    let authority = Authority::new("all");
    let options = options(&place, &authority, &authority);
    for left_out in 0..3 {
        let mut some: Vec<&str> = options.iter().map(String::as_str).collect();
        some.remove(left_out);
        some.push("--trust-proxy-headers");
        let said = refused(&place, &some);
        assert!(
            said.contains("required arguments were not provided"),
            "{said}"
        );
    }
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    for (file, reason) in [
        ("clients.pem", "there is no usable certificate"),
        ("hub.pem", "the certificate's file has none"),
        ("hub.key", "read the certificate's key"),
    ] {
        let right = std::fs::read(place.path(file)).unwrap();
        std::fs::write(place.path(file), "").unwrap();
        let said = refused(&place, &options);
        assert!(
            said.contains(reason) && !said.contains("listening"),
            "{said}"
        );
        std::fs::write(place.path(file), right).unwrap();
    }
    let (other, key) = (place.path("other.pem"), place.path("hub.key"));
    authority.certify("localhost", Use::ServerAuth, &other, &key);
    let said = refused(&place, &options);
    assert!(said.contains("use certificate and key"), "{said}");
}
