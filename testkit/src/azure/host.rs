//! A whole simulated Azure TDX host around an image: machine, vTPM, services, network, disk.
//!
//! What the guest's evidence is made of comes from a [`Tee`], whose roots nobody trusts who was not
//! told to. The image is booted as it is and never written to; what outlasts a boot (TPM, firmware
//! variables, data disk) is in the state directory.
//!
//! I/O: starts QEMU and swtpm; files in the run and the state directory; listens on 127.0.0.1.

mod roots;
mod start;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

pub use roots::Roots;
pub use start::HostError;

use super::disk::{Attached, DataDisk};
use super::imds;
use super::network::{Network, OutOfReach, Traffic, Wire};
use super::vtpm::Vtpm;
use super::wireserver::{Faults, GoalState, Wireserver};
use crate::machine::{Accelerator, Forward, Running};
use crate::tee::Tee;
use crate::tpm::Tpm;

/// The asset tag by which guests know Azure.
pub const ASSET_TAG: &str = "7783-7084-3265-9085-8269-3286-77";

/// The ports of a node: attestation, its own API, order flow over TLS, proxy, SSH.
pub const PORTS: [u16; 5] = [7936, 3535, 443, 5544, 40192];

/// A host, described: change what is to be different, then [`start`](Self::start) it.
#[derive(Clone)]
pub struct AzureHost {
    /// The disk image that is booted, unmodified.
    pub image: PathBuf,
    /// The processor and those who vouch for it and for the vTPM; may have a fault.
    pub tee: Tee,
    /// The machine's name.
    pub name: String,
    /// Memory in MiB.
    pub memory: u32,
    /// Processors.
    pub cpus: u32,
    /// What runs the guest's instructions.
    pub accelerator: Accelerator,
    /// Ports of the guest that are reachable from this machine from the start; more can be had
    /// from the running machine.
    pub forwards: Vec<Forward>,
    /// What the guest reaches besides Azure's two services.
    pub network: Network,
    /// The data disk.
    pub disk: DataDisk,
    /// What the clock shows at power-on, as `2026-11-22T12:00:00`, UTC; `None` for this machine's time.
    pub clock: Option<String>,
    /// What is wrong with the vTPM.
    pub vtpm: VtpmFault,
    /// What is wrong with the metadata service.
    pub metadata: MetadataFaults,
    /// The first goal state.
    pub goal_state: GoalState,
    /// What is wrong with the wireserver.
    pub wireserver: Faults,
    /// Also print the console as it comes.
    pub echo: bool,
}

/// What is wrong with the vTPM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VtpmFault {
    /// Nothing.
    #[default]
    None,
    /// The machine has no TPM.
    Missing,
    /// The HCL report and the certificate are about another key than the one at the AK's handle.
    WrongAk,
}

/// What is wrong with the metadata service's quotes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataFaults {
    /// With the first of them, one each.
    pub first: Vec<imds::Fault>,
    /// With all that follow.
    pub always: Option<imds::Fault>,
}

impl AzureHost {
    /// A host with nothing wrong.
    pub fn new(image: PathBuf, tee: Tee) -> Self {
        Self {
            image,
            tee,
            name: "node-0".to_owned(),
            memory: 2048,
            cpus: 2,
            accelerator: Accelerator::Emulation,
            forwards: PORTS
                .map(|guest| Forward {
                    guest,
                    address: Ipv4Addr::LOCALHOST,
                    host: 0,
                })
                .to_vec(),
            network: Network::new(),
            disk: DataDisk::default(),
            clock: None,
            vtpm: VtpmFault::None,
            metadata: MetadataFaults::default(),
            goal_state: GoalState::of_machine("node-0"),
            wireserver: Faults::none(),
            echo: false,
        }
    }

    /// Lets the guest reach `target`, on loopback, as `address` and, if there is one, by name.
    ///
    /// # Errors
    ///
    /// [`OutOfReach`] for an address that QEMU does not forward.
    pub fn reach(
        &mut self,
        address: SocketAddrV4,
        name: Option<&str>,
        target: SocketAddrV4,
    ) -> Result<(), OutOfReach> {
        self.network.reach(address, target)?;
        if let Some(name) = name {
            self.network.name(name, *address.ip());
        }
        Ok(())
    }
}

/// A host that is running: everything of it ends when it is dropped, the machine first.
#[derive(Debug)]
pub struct RunningHost {
    disk: Attached,
    /// The machine.
    pub machine: Running,
    /// Its vTPM, also if the guest cannot use it.
    pub tpm: Tpm,
    /// What the paravisor has left in it.
    pub vtpm: Vtpm,
    /// The wireserver.
    pub wireserver: Wireserver,
    /// The metadata service.
    pub metadata: imds::Imds,
    /// What a relying party has to be told to trust.
    pub roots: Roots,
    network: Network,
    wire: Wire,
}

impl RunningHost {
    /// The data disk.
    pub fn disk(&self) -> &Attached {
        &self.disk
    }

    /// The wire between the guest and QEMU's network.
    pub fn wire(&self) -> &Wire {
        &self.wire
    }

    /// Whom the guest wanted to talk to.
    pub fn traffic(&self) -> Traffic {
        self.wire.traffic()
    }

    /// The part of [`traffic`](Self::traffic) that ended in QEMU: nobody there.
    pub fn unanswered(&self) -> Traffic {
        let mut traffic = self.traffic();
        traffic.retain(|destination, _| !self.network.is_inside(*destination));
        traffic
    }
}
