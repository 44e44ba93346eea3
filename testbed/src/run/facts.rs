//! What runs where, and what was found out: the JSON document, from which the page is made.
//!
//! I/O: none.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;
use testkit::azure::host::Roots;
use testkit::azure::hub::NAME;

use super::registration::Contact;
use crate::hub::{Hub, USER};
use crate::registers::Comparison;

/// What is known before the nodes are asked.
pub(super) struct Known<'a> {
    pub(super) image: &'a Path,
    pub(super) measurement_id: &'a str,
    pub(super) accelerator: &'static str,
    pub(super) hub: &'a Hub,
    pub(super) run: &'a Path,
    pub(super) state: &'a Path,
    pub(super) prefix: &'a str,
    pub(super) cvmctl: &'a Path,
    pub(super) builderhub: &'a Path,
}

/// The whole network.
#[derive(Debug, Serialize)]
pub(super) struct Facts {
    pub(super) image: PathBuf,
    /// What the hub calls what the image measures.
    pub(super) measurement_id: String,
    pub(super) accelerator: &'static str,
    /// Whether all nodes are as they should be.
    pub(super) well: bool,
    pub(super) hub: HubFacts,
    pub(super) nodes: Vec<NodeFacts>,
    /// What relying parties have to be told to trust.
    pub(super) roots: Roots,
    /// Commands to try.
    pub(super) commands: Vec<String>,
    pub(super) state: PathBuf,
    pub(super) logs: PathBuf,
}

/// The hub.
#[derive(Debug, Serialize)]
pub(super) struct HubFacts {
    /// As the nodes know it.
    pub(super) url: String,
    /// The page for admins; also where their API is.
    pub(super) page: String,
    pub(super) user: &'static str,
    pub(super) password: String,
    pub(super) main: String,
    pub(super) internal: String,
    pub(super) metrics: String,
    /// Attested TLS.
    pub(super) attested: SocketAddrV4,
    pub(super) log: PathBuf,
}

/// One node.
#[derive(Debug, Serialize)]
pub(super) struct NodeFacts {
    pub(super) name: String,
    pub(super) dns_name: String,
    pub(super) address: Ipv4Addr,
    /// The guest's ports, and where they are.
    pub(super) ports: BTreeMap<u16, SocketAddrV4>,
    /// Where its certificate is.
    pub(super) url: String,
    /// Seconds from power-on to the beginning of each phase.
    pub(super) phases: BTreeMap<&'static str, f64>,
    pub(super) registers: Comparison,
    /// Whether the registers are as predicted.
    pub(super) equal: bool,
    /// Whether cvmctl trusts the node.
    pub(super) verified: bool,
    /// Why it does not.
    pub(super) refusal: Option<String>,
    /// The certificate that was fetched over the attested connection.
    pub(super) certificate: PathBuf,
    /// The same, PEM.
    pub(super) served: String,
    /// Whether that is what the hub gives its peers.
    pub(super) served_is_registered: bool,
    /// With which status its public services answer, by that certificate; null where nobody does.
    pub(super) services: BTreeMap<u16, Option<u16>>,
    /// What the hub knows of it.
    pub(super) hub: Contact,
    pub(super) health: String,
    pub(super) disk: String,
    pub(super) wireserver: String,
    pub(super) metadata: String,
    pub(super) state: PathBuf,
    pub(super) logs: PathBuf,
    /// cvmctl's arguments.
    #[serde(skip)]
    pub(super) get: Vec<String>,
}

impl Facts {
    pub(super) fn new(known: &Known<'_>, roots: &Roots, nodes: Vec<NodeFacts>) -> Result<Self> {
        let hub = HubFacts::of(known.hub)?;
        Ok(Self {
            image: known.image.to_owned(),
            measurement_id: known.measurement_id.to_owned(),
            accelerator: known.accelerator,
            well: nodes.iter().all(|node| node.is_well(known.measurement_id)),
            commands: commands(known, &nodes),
            hub,
            nodes,
            roots: roots.clone(),
            state: known.state.to_owned(),
            logs: known.run.to_owned(),
        })
    }

    /// Whether all nodes are as they should be.
    pub(super) fn is_well(&self) -> bool {
        self.well
    }
}

impl HubFacts {
    fn of(hub: &Hub) -> Result<Self> {
        let http = |listener| Ok::<_, anyhow::Error>(format!("http://{}", hub.address(listener)?));
        Ok(Self {
            url: format!("https://{NAME}"),
            page: http("admin")? + "/",
            user: USER,
            password: hub.admin().password().to_owned(),
            main: http("main")?,
            internal: http("internal")?,
            metrics: http("metrics")? + "/metrics",
            attested: hub.address("attested")?,
            log: hub.log().to_owned(),
        })
    }
}

impl NodeFacts {
    /// It measures as predicted, proves it, has proven it to the hub, and has registered there what it
    /// serves, on all ports.
    fn is_well(&self, measurement_id: &str) -> bool {
        let of_hub = self.hub.measurement_id.as_deref();
        let is_registered = of_hub == Some(measurement_id) && self.served_is_registered;
        self.equal && self.verified && is_registered && self.services.values().all(Option::is_some)
    }
}

/// What a new user may want to type.
fn commands(known: &Known<'_>, nodes: &[NodeFacts]) -> Vec<String> {
    let enter = match known.prefix {
        "" => String::new(),
        prefix => format!("{prefix} "),
    };
    let mut commands = Vec::new();
    if let Some(node) = nodes.first() {
        commands.push(format!("curl --insecure {}", node.url));
        let cvmctl = known.cvmctl.display();
        commands.push(format!("{enter}{cvmctl} {}", node.get.join(" ")));
    }
    let options = known.hub.admin().options().join(" ");
    let builderhub = known.builderhub.display();
    for command in ["builder list", "measurement list", "events"] {
        commands.push(format!("{enter}{builderhub} {options} {command}"));
    }
    commands
}
