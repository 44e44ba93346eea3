//! Whether services show the certificate that they were given, to whoever connects to them.
//!
//! A reload that systemd calls done may have failed in the service: HAProxy goes on with what it had. What shows
//! another certificate is said and reloaded again, once an hour; it is never restarted, which would end what its clients
//! have begun. What does not answer is only said: to start it again is systemd's.
//!
//! Only when the node is ready: services may be started by that, so that ready cannot wait for them.
//!
//! I/O: connects to addresses of this machine; reloads units; logs.

mod certificate;

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Machine;
use super::units::Units;
use crate::config::node::Recipient;
use crate::identity::Identity;

/// How often all of them are asked.
const LOOK: Duration = Duration::from_secs(60);

/// How often, while one is not as it has to be: as seldom as its own limits for clients want.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// A service may take this long to start, or to take up a certificate.
const GRACE: Duration = Duration::from_secs(60);

/// What stays wrong is said, and reloaded, again after this.
const AGAIN: Duration = Duration::from_secs(3600);

/// What a service shows.
#[derive(Debug)]
enum Seen {
    Given,
    Other(String),
    Nothing(String),
}

/// What is to be done about it.
#[derive(Debug, Eq, PartialEq)]
enum Act {
    Wait,
    Say,
    GoodAgain,
}

/// A service that is asked.
struct Service<'a> {
    copy: &'a Recipient,
    address: SocketAddr,
    /// Since when it is wrong.
    wrong: Option<Instant>,
    said: Option<Instant>,
}

/// Asks all that have an address, for ever.
pub(super) async fn watch(machine: &Machine, identity: &Identity) -> Infallible {
    let copies = machine.config.boot.identity.copies.iter();
    let mut services: Vec<_> = copies
        .filter_map(|copy| copy.address.map(|address| Service::new(copy, address)))
        .collect();
    if services.is_empty() {
        return pending().await;
    }
    loop {
        for service in &mut services {
            service.look(&machine.units, identity).await;
        }
        let is_wrong = services.iter().any(|service| service.wrong.is_some());
        sleep(if is_wrong { LOOK_AGAIN } else { LOOK }).await;
    }
}

impl<'a> Service<'a> {
    fn new(copy: &'a Recipient, address: SocketAddr) -> Self {
        Self {
            copy,
            address,
            wrong: None,
            said: None,
        }
    }

    async fn look(&mut self, units: &Units, identity: &Identity) {
        let seen = see(self.address, identity).await;
        let address = self.address;
        match (self.note(&seen, Instant::now()), seen) {
            (Act::GoodAgain, _) => tracing::info!("shown: {address} shows the certificate again"),
            (Act::Say, Seen::Nothing(why)) => {
                tracing::error!("shown: {address} shows no certificate: {why}");
            }
            (Act::Say, Seen::Other(other)) => {
                let given = identity.fingerprint();
                tracing::error!(
                    "shown: {address} shows the certificate {other}, and was given {given}"
                );
                if let Some(unit) = &self.copy.reload
                    && let Err(error) = units.reload(unit).await
                {
                    tracing::error!("shown: {error:#}");
                }
            }
            _ => {}
        }
    }

    fn note(&mut self, seen: &Seen, now: Instant) -> Act {
        if matches!(seen, Seen::Given) {
            self.wrong = None;
            return match self.said.take() {
                Some(_) => Act::GoodAgain,
                None => Act::Wait,
            };
        }
        let since = *self.wrong.get_or_insert(now);
        let is_known = self.said.is_some_and(|at| now.duration_since(at) < AGAIN);
        if now.duration_since(since) < GRACE || is_known {
            return Act::Wait;
        }
        self.said = Some(now);
        Act::Say
    }
}

async fn see(address: SocketAddr, identity: &Identity) -> Seen {
    match certificate::shown_at(address).await {
        Ok(shown) if shown == identity.fingerprint() => Seen::Given,
        Ok(shown) => Seen::Other(shown),
        Err(error) => Seen::Nothing(format!("{error:#}")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::certificate::tests::server;
    use super::*;

    #[tokio::test]
    async fn what_shows_another_certificate_is_reloaded_and_what_shows_none_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let told = || fs::read_to_string(path("told")).unwrap_or_default();
        let script = format!("#!/bin/sh\necho \"$*\" >> {}\n", path("told").display());
        fs::write(path("systemctl"), script).unwrap();
        fs::set_permissions(path("systemctl"), fs::Permissions::from_mode(0o755)).unwrap();
        let units = Units::new(path("systemctl"));
        let copy = Recipient {
            file: "/run/a".into(),
            owner: "a".to_owned(),
            reload: Some("a.service".to_owned()),
            address: None,
        };
        let [given, former] = [(); 2].map(|()| Identity::generate(&[], None).unwrap());
        let long_ago = Instant::now().checked_sub(GRACE);
        let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
        for (address, is_reloaded) in [
            (server(&given).await, false),
            (nobody, false),
            (server(&former).await, true),
        ] {
            let mut service = Service::new(&copy, address);
            service.wrong = long_ago;
            service.look(&units, &given).await;
            let is_right = service.wrong.is_none();
            assert_eq!(service.said.is_none(), is_right, "{address}");
            assert_eq!(!told().is_empty(), is_reloaded, "{address}");
        }
        assert_eq!(told(), "try-reload-or-restart -- a.service\n");
    }

    #[test]
    fn what_is_wrong_is_said_after_a_while_again_each_hour_and_when_it_is_over() {
        let copy = Recipient {
            file: "/run/a".into(),
            owner: "a".to_owned(),
            reload: None,
            address: None,
        };
        let mut service = Service::new(&copy, SocketAddr::from(([127, 0, 0, 1], 443)));
        let begin = Instant::now();
        let other = || Seen::Other("00".to_owned());
        for (seconds, seen, expected) in [
            (0, Seen::Given, Act::Wait),
            // A reload takes a moment.
            (60, other(), Act::Wait),
            (110, other(), Act::Wait),
            (119, Seen::Given, Act::Wait),
            (179, other(), Act::Wait),
            (239, Seen::Nothing("refused".to_owned()), Act::Say),
            (249, other(), Act::Wait),
            (3838, other(), Act::Wait),
            (3839, other(), Act::Say),
            (3900, Seen::Given, Act::GoodAgain),
            (3960, Seen::Given, Act::Wait),
        ] {
            let now = begin + Duration::from_secs(seconds);
            assert_eq!(service.note(&seen, now), expected, "{seconds}");
        }
    }
}
