//! Reloads while requests come: a new certificate, other limits, and nothing lost.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustls::pki_types::CertificateDer;

use crate::client::Client;
use crate::limits::PLENTY;
use crate::proxy::{Proxy, limited, wait};

const PAUSE: Duration = Duration::from_millis(30);
const RELOADS: usize = 4;

#[test]
fn no_request_is_lost_over_reloads() {
    if !crate::is_there() {
        return;
    }
    // Long enough that some are always in the midst of it.
    let mut proxy = Proxy::start_before(&limited(&PLENTY, &[]), Some(PAUSE));
    let (address, certificate) = (proxy.user, proxy.certificate.clone());
    let (is_over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for number in 0..8u8 {
            let (is_over, served, certificate) = (&is_over, &served, &certificate);
            threads.push(scope.spawn(move || -> Result<(), String> {
                let from = Ipv4Addr::new(127, 1, 4, number);
                // Half keep their connections as long as they may.
                let is_kept = number % 2 == 0;
                let mut kept = None;
                while !is_over.load(Ordering::Relaxed) {
                    let said = |what| move |error| format!("{what}: {error}");
                    let mut client = match kept.take() {
                        Some(client) => client,
                        None => {
                            Client::connect(from, address, certificate).map_err(said("connect"))?
                        }
                    };
                    let answer = client.get().map_err(said("get"))?;
                    if answer.status != 200 {
                        return Err(format!("{answer:?}"));
                    }
                    served.fetch_add(1, Ordering::Relaxed);
                    if is_kept && answer.header("connection") != Some("close") {
                        // And are idle as often as not.
                        thread::sleep(PAUSE);
                        kept = Some(client);
                    }
                }
                Ok(())
            }));
        }
        for _ in 0..RELOADS {
            let before = served.load(Ordering::Relaxed);
            wait(|| {
                served.load(Ordering::Relaxed) >= before + 100
                    || threads.iter().any(|it| it.is_finished())
            });
            proxy.reload();
        }
        let before = served.load(Ordering::Relaxed);
        wait(|| {
            served.load(Ordering::Relaxed) >= before + 100
                || threads.iter().any(|it| it.is_finished())
        });
        is_over.store(true, Ordering::Relaxed);
        for thread in threads {
            let lost = thread.join().unwrap();
            assert_eq!(lost, Ok(()), "{}", proxy.log());
        }
    });
    assert!(served.load(Ordering::Relaxed) >= 500);
}

#[test]
fn a_reload_shows_the_new_certificate_and_has_the_new_limits() {
    if !crate::is_there() {
        return;
    }
    let mut proxy = Proxy::start(&limited(&PLENTY, &[]));
    let me = Ipv4Addr::new(127, 1, 2, 3);
    let old = proxy.certificate.clone();
    let user = proxy.user;
    let connect = |certificate: &CertificateDer<'static>| Client::connect(me, user, certificate);
    assert_eq!(connect(&old).unwrap().get().unwrap().status, 200);
    proxy.certify();
    let mut limits = PLENTY;
    limits[2].1 = 1;
    proxy.write(&limited(&limits, &[]));
    proxy.reload();
    assert!(connect(&old).is_err());
    let mut client = connect(&proxy.certificate).unwrap();
    assert_eq!(client.get().unwrap().status, 200);
    assert_eq!(client.get().unwrap().status, 429);
}

/// What the agent would have refused: the old one goes on.
#[test]
fn a_reload_of_what_is_wrong_changes_nothing() {
    if !crate::is_there() {
        return;
    }
    let proxy = Proxy::start(&limited(&PLENTY, &[]));
    std::fs::write(proxy.path("privileged.txt"), "nobody\n").unwrap();
    proxy.reload_in_vain();
    let me = Ipv4Addr::new(127, 1, 2, 3);
    let mut client = Client::connect(me, proxy.user, &proxy.certificate).unwrap();
    assert_eq!(client.get().unwrap().status, 200);
}
