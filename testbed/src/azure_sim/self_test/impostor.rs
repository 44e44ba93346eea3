//! A hub that has the real one's name in the simulated DNS, a certificate for it from an authority
//! that the image does not trust, and everything that would let the node in: the node must refuse it.
//!
//! I/O: starts the hub; runs its commands.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use measurements::Prediction;
use measurements::reference::{AttestationType, ReferenceValues};
use serde_json::Value;
use testkit::azure::host::{AzureHost, Roots, RunningHost};
use testkit::azure::network::Destination;
use testkit::console::Line;
use testkit::fetch::fetch_plain;

use crate::hub::{Builder, Hub, Settings};

/// The real hub's name, which is in the image.
const NAME: &str = "hub.buildernet.org";
/// Where the name leads here.
const ADDRESS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(168, 20, 30, 50), 443);
/// What the console says of a hub that has proven nothing, in one line.
const REFUSAL: [&str; 2] = [NAME, "certificate"];

/// The hub, and its way to the node.
pub(super) struct Impostor {
    hub: Hub,
}

impl Impostor {
    /// Starts the hub, lets the node in, and leads the node there.
    pub(super) fn start(
        program: &Path,
        host: &mut AzureHost,
        prediction: &Prediction,
        run: &Path,
    ) -> Result<Self> {
        let directory = crate::work::fresh_directory(run, "impostor")?;
        let roots = Roots::write(&host.tee, &directory).context("write the roots")?;
        let hub = Hub::start(&Settings {
            program,
            state: &directory,
            run: &directory,
            name: NAME,
            roots: &roots,
            // They are the node's, at this address.
            has_usual_ports: false,
        })?;
        // All that is missing is that the node believes it.
        let measurement = directory.join("measurement.json");
        let values =
            ReferenceValues::from_prediction("the-image", AttestationType::AzureTdx, prediction);
        std::fs::write(&measurement, values.to_json()).context("write the measurement")?;
        let measurement = measurement.display().to_string();
        let admin = hub.admin();
        admin.run(&["measurement", "add", &measurement, "--activate"])?;
        let builder = Builder {
            name: "would-be".to_owned(),
            address: Ipv4Addr::LOCALHOST,
            dns_name: "would-be.sim.test".to_owned(),
        };
        builder.register(admin, &directory)?;
        host.reach(ADDRESS, Some(NAME), hub.address("attested")?)?;
        Ok(Self { hub })
    }

    /// How often the node has tried to connect; `None` if never.
    pub(super) fn attempts(host: &RunningHost) -> Option<u64> {
        let traffic = host.traffic();
        traffic.get(&Destination::Tcp(ADDRESS)).copied()
    }

    /// The line in which the console says that it is refused.
    pub(super) fn refusal(lines: &[Line]) -> Option<String> {
        let says_so = |line: &&Line| REFUSAL.iter().all(|word| line.text.contains(word));
        lines.iter().find(says_so).map(|line| line.text.clone())
    }

    /// Fails if the hub has been asked anything by a node.
    pub(super) fn ensure_unasked(&self) -> Result<()> {
        let admin = self.hub.admin();
        let builders = admin.list(&["builder", "list"])?;
        let builder = builders.first().context("the hub has lost the builder")?;
        let contact = builder.get("last_contact");
        ensure!(
            contact.is_some_and(Value::is_null),
            "the hub has heard of the node: {builder}"
        );
        for event in admin.list(&["events"])? {
            let is_admins = event.get("actor_kind").and_then(Value::as_str) == Some("admin");
            ensure!(
                is_admins,
                "the hub has an event that no admin caused: {event}"
            );
        }
        let metrics = self.hub.address("metrics")?;
        let metrics = fetch_plain(metrics, "/metrics", Duration::from_secs(5));
        let metrics = metrics.context("fetch the hub's metrics")?;
        let metrics = String::from_utf8_lossy(&metrics);
        let counted = requests(&metrics);
        ensure!(
            counted.iter().any(|line| line.contains("/api/admin/")),
            "the hub does not count its admin's requests, so nothing is proved"
        );
        let of_nodes = counted.iter().find(|line| !line.contains("/api/admin/"));
        ensure!(of_nodes.is_none(), "the hub was asked: {of_nodes:?}");
        Ok(())
    }
}

/// The lines that count requests.
fn requests(metrics: &str) -> Vec<&str> {
    let lines = metrics.lines();
    lines
        .filter(|line| line.starts_with("builderhub_requests_total{"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        Line {
            at: Duration::ZERO,
            text: text.to_owned(),
        }
    }

    #[test]
    fn refusal_names_the_hub_and_its_certificate() {
        let told = "cvm-agent[1]: hub.buildernet.org: invalid peer certificate: UnknownIssuer";
        let lines = [line("hub.buildernet.org: no such name"), line(told)];
        assert_eq!(Impostor::refusal(&lines).as_deref(), Some(told));
        assert_eq!(Impostor::refusal(&lines[..1]), None);
    }

    #[test]
    fn counts_of_requests_are_found() {
        let metrics = "# TYPE builderhub_requests_total counter\n\
                       builderhub_requests_total{method=\"GET\",route=\"/livez\"} 1\n\
                       builderhub_ready 1\n";
        assert_eq!(requests(metrics).len(), 1);
    }
}
