//! Certificates are read again while the hub runs.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use testkit::tee::Tee;

use crate::support::pki::{Authority, Use};
use crate::support::{Hub, Kind, Place, eventually, replace};

/// Whether a listener shows a certificate of this authority.
fn shows(address: SocketAddr, authority: &Authority) -> bool {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap();
    roots.add(root).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut socket = TcpStream::connect(address).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    // The server asks for more than this client has; its own certificate came before that.
    while client.is_handshaking() {
        match client.complete_io(&mut socket) {
            Ok(_) => {}
            Err(error) => {
                let rustls = error.get_ref().and_then(|error| error.downcast_ref());
                let is_refused = matches!(rustls, Some(rustls::Error::InvalidCertificate(_)));
                assert!(is_refused, "{error}");
                return false;
            }
        }
    }
    let _ = socket.flush();
    true
}

/// Two listeners with a certificate each, which is read again once in so many seconds.
fn start(place: &Place, seconds: &str) -> Hub {
    let tee = Tee::new(1, SystemTime::now());
    let ak_root = tee.ak_certificates(&tee.ak()).root;
    let path = |name: &str| place.path(name).display().to_string();
    std::fs::write(place.path("root"), tee.root()).unwrap();
    std::fs::write(place.path("ak-root"), ak_root).unwrap();
    std::fs::write(place.path("collateral"), tee.collateral().to_json()).unwrap();
    std::fs::write(place.path("clients"), Authority::new("clients").pem).unwrap();
    let options = [
        format!("--tls-certificate={}", path("hub.pem")),
        format!("--tls-key={}", path("hub.key")),
        format!("--danger-trust-root={}", path("root")),
        format!("--danger-trust-ak-root={}", path("ak-root")),
        format!("--collateral={}", path("collateral")),
        "--atls-listen=127.0.0.1:0".to_owned(),
        format!("--listen-tls-certificate={}", path("hub.pem")),
        format!("--listen-tls-key={}", path("hub.key")),
        format!("--listen-client-ca={}", path("clients")),
        format!("--tls-reload-seconds={seconds}"),
    ];
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    Hub::start_logging(place, &options)
}

fn write(place: &Place, authority: &Authority) {
    let [certificate, key] = ["hub.pem", "hub.key"].map(|name| place.path(name));
    authority.certify("localhost", Use::ServerAuth, &certificate, &key);
}

/// How often the log says this of each listener.
fn said(place: &Place, what: &str) -> [usize; 2] {
    let log = std::fs::read_to_string(place.path("log")).unwrap();
    ["attested TLS", "TLS at the main listener"].map(|listener| {
        let lines = log.lines();
        lines
            .filter(|line| line.contains(what) && line.contains(&format!("{listener:?}")))
            .count()
    })
}

const BROKEN: &str = "could not be read again";

#[test]
fn at_sighup_a_new_pair_takes_the_former_ones_place_and_a_broken_one_does_not() {
    let place = Place::new(Kind::Sqlite);
    let [first, second, third] = ["first", "second", "third"].map(Authority::new);
    write(&place, &first);
    let hub = start(&place, "86400");
    let both = [hub.address("attested"), hub.address("main")];
    let all_show = |authority: &Authority| both.iter().all(|address| shows(*address, authority));
    assert!(all_show(&first));

    write(&place, &second);
    assert!(all_show(&first), "nobody has asked for it");
    hub.signal(Signal::HUP);
    eventually("the second pair", || all_show(&second));
    assert!(both.iter().all(|address| !shows(*address, &first)));

    // A certificate without its key, then none at all.
    let right = std::fs::read(place.path("hub.pem")).unwrap();
    third.certify(
        "localhost",
        Use::ServerAuth,
        &place.path("hub.pem"),
        &place.path("other"),
    );
    for (round, content) in [None, Some(&b"nonsense"[..]), Some(b"")]
        .into_iter()
        .enumerate()
    {
        if let Some(content) = content {
            std::fs::write(place.path("hub.pem"), content).unwrap();
        }
        hub.signal(Signal::HUP);
        eventually("it says so", || said(&place, BROKEN) == [round + 1; 2]);
        assert!(all_show(&second));
    }
    std::fs::remove_file(place.path("hub.key")).unwrap();
    hub.signal(Signal::HUP);
    eventually("it says so", || said(&place, BROKEN) == [4; 2]);
    assert!(all_show(&second));
    let log = std::fs::read_to_string(place.path("log")).unwrap();
    assert!(log.contains("hub.key: No such file"), "{log}");

    std::fs::write(place.path("hub.pem"), right).unwrap();
    write(&place, &third);
    hub.signal(Signal::HUP);
    eventually("the third pair", || all_show(&third));
    assert!(hub.stop());
}

#[test]
fn without_a_signal_changes_are_found_and_said_once() {
    let place = Place::new(Kind::Sqlite);
    let [first, second] = ["first", "second"].map(Authority::new);
    write(&place, &first);
    let hub = start(&place, "1");
    replace(&place.path("hub.key"), "nonsense");
    eventually("it says so", || said(&place, BROKEN) == [1; 2]);
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(said(&place, BROKEN), [1; 2]);
    assert!(shows(hub.address("attested"), &first));
    write(&place, &second);
    let both = ["attested", "main"].map(|listener| hub.address(listener));
    eventually("the second pair", || {
        both.iter().all(|address| shows(*address, &second))
    });
    assert!(hub.stop());
}
