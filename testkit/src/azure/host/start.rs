//! Starts a host: services first, then the network that leads to them, then the machine.
//!
//! I/O: starts QEMU and swtpm; files in the run and the state directory; listens on 127.0.0.1.

use std::fs;
use std::io;
use std::net::SocketAddrV4;
use std::path::Path;
use std::thread;

use super::{ASSET_TAG, AzureHost, Roots, RunningHost, VtpmFault};
use crate::azure::disk::DiskError;
use crate::azure::imds::Imds;
use crate::azure::network::{METADATA, OutOfReach, WIRESERVER};
use crate::azure::vtpm::{self, USER_DATA, Vtpm};
use crate::azure::wireserver::Wireserver;
use crate::machine::{self, Identity, MachineError, VARIABLES};
use crate::tpm::{Tpm, TpmError};

/// Where both of Azure's services answer.
const HTTP: u16 = 80;

/// Why a host could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// A file or a socket failed.
    #[error("prepare {what}")]
    Io {
        /// What was prepared.
        what: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },

    /// The data disk could not be made.
    #[error("make the data disk")]
    Disk(#[from] DiskError),

    /// The TPM could not be started or provisioned.
    #[error("prepare the vTPM")]
    Tpm(#[from] TpmError),

    /// The machine could not be started.
    #[error("start the machine")]
    Machine(#[from] MachineError),

    /// Azure's own addresses are always within reach; those of a test are checked when given.
    #[error(transparent)]
    OutOfReach(#[from] OutOfReach),
}

/// Names what failed.
fn preparing(what: &'static str) -> impl Fn(io::Error) -> HostError {
    move |source| HostError::Io { what, source }
}

impl AzureHost {
    /// Starts the host. `run` gets sockets, logs and [`Roots`]; `state` is used again if there is
    /// one, and begun otherwise. Both are made if they are missing.
    ///
    /// Call it in a thread that lives as long as the host: QEMU and swtpm end with it.
    ///
    /// # Errors
    ///
    /// [`HostError`]; what was started by then ends.
    pub fn start(&self, run: &Path, state: &Path) -> Result<RunningHost, HostError> {
        fs::create_dir_all(run).map_err(preparing("the run directory"))?;
        fs::create_dir_all(state).map_err(preparing("the state directory"))?;
        let run = &run.canonicalize().map_err(preparing("the run directory"))?;
        let variables = state.join("variables.fd");
        if !variables.exists() {
            fs::copy(VARIABLES, &variables).map_err(preparing("the firmware's variables"))?;
        }
        let image = state.join("data.raw");
        self.disk.make(&image)?;
        let roots = Roots::write(&self.tee, run).map_err(preparing("the roots"))?;

        let (tpm, vtpm) = self.provision(run, state)?;
        let wireserver = Wireserver::start(self.goal_state.clone(), self.wireserver.clone())
            .map_err(preparing("the wireserver"))?;
        let metadata = self.metadata()?;

        let mut network = self.network.clone();
        network.reach(SocketAddrV4::new(WIRESERVER, HTTP), wireserver.address())?;
        network.reach(SocketAddrV4::new(METADATA, HTTP), metadata.address())?;
        let (closed, wire) = network.lay(run).map_err(preparing("the network"))?;

        let machine = machine::Machine {
            memory: self.memory,
            cpus: self.cpus,
            accelerator: self.accelerator,
            forwards: self.forwards.clone(),
            network: Some(closed),
            identity: Some(self.identity()),
            has_tpm: self.vtpm != VtpmFault::Missing,
            clock: self.clock.clone(),
            devices: self.disk.devices(image.clone()),
            echo: self.echo,
            ..machine::Machine::new(self.image.clone(), variables)
        };
        let machine = machine.start(run, &tpm)?;
        Ok(RunningHost {
            disk: self.disk.attach(&machine, &image),
            machine,
            tpm,
            vtpm,
            wireserver,
            metadata,
            roots,
            network,
            wire,
        })
    }

    /// What Azure's machines of generation 2 say that they are.
    fn identity(&self) -> Identity {
        Identity {
            manufacturer: "Microsoft Corporation".to_owned(),
            product: "Virtual Machine".to_owned(),
            version: "Hyper-V UEFI Release v4.1".to_owned(),
            asset_tag: ASSET_TAG.to_owned(),
            uuid: self.tee.machine().vm_id.to_lowercase(),
        }
    }

    /// Starts the machine's TPM alone, with what the paravisor leaves in it at each power-on; its
    /// state is in `state`. The key is the same each time: it comes from the TPM's seed.
    ///
    /// A machine that is started with it resets it first.
    ///
    /// # Errors
    ///
    /// [`HostError::Tpm`] if there is no swtpm or it refuses.
    pub fn start_tpm(&self, run: &Path, state: &Path) -> Result<Tpm, HostError> {
        Ok(self.provision(run, state)?.0)
    }

    fn provision(&self, run: &Path, state: &Path) -> Result<(Tpm, Vtpm), HostError> {
        let tpm = Tpm::start(&state.join("tpm"), run)?;
        tpm.power_on()?;
        tpm.client().forget_ak()?;
        let vtpm = Vtpm::provision(&tpm, &self.tee)?;
        if self.vtpm == VtpmFault::WrongAk {
            vtpm.report_another_ak(true)?;
        }
        let paravisor = vtpm.clone();
        tpm.watch(move |command| {
            if is_user_data(command) {
                let paravisor = paravisor.clone();
                // Not in the guest's way; if it fails, the report stays as it was.
                thread::spawn(move || paravisor.take_up_user_data());
            }
        });
        tpm.client().shutdown()?;
        Ok((tpm, vtpm))
    }

    fn metadata(&self) -> Result<Imds, HostError> {
        let first = self.metadata.first.clone();
        let metadata = Imds::start(self.tee.clone(), &self.name, first)
            .map_err(preparing("the metadata service"))?;
        metadata.fail_always(self.metadata.always);
        Ok(metadata)
    }
}

/// Whether a command writes what the paravisor takes up into its report.
fn is_user_data(command: &[u8]) -> bool {
    vtpm::code_of(command) == vtpm::code::NV_WRITE
        && command.get(14..18) == Some(&USER_DATA.to_be_bytes()[..])
}
