//! The options of `testbed azure-sim`, and the host that they describe.
//!
//! I/O: looks for free ports and for KVM.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use clap::Args;
use testkit::azure::disk::{Comes, LUN, Place};
use testkit::azure::host::{AzureHost, PORTS};
use testkit::machine::{Accelerator, Forward};
use testkit::tee::Tee;

use super::fault::Fault;
use crate::Common;

/// Which of all test machines this is: its roots are the same each time.
const SEED: u64 = 0xa2;

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(super) common: Common,
    /// Something that is wrong with the host: no-tpm, wrong-ak, imds:NAME, evidence:NAME,
    /// wireserver:ENDPOINT:REQUESTS=FAULT, disk:NAME; `help` lists them; may be repeated
    #[arg(long = "fault", value_name = "FAULT")]
    faults: Vec<Fault>,
    /// An address that the guest reaches, with a name if wanted, and where on loopback that leads;
    /// may be repeated
    #[arg(long = "reach", value_name = "[NAME=]IP:PORT=PORT")]
    reach: Vec<Reach>,
    /// Keep TPM, firmware variables and data disk in this directory, and use them again
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Seconds after which the data disk comes, counted from the kernel's first word
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    disk_after: u64,
    /// Size of the data disk in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    disk_size: u64,
    /// Have the data disk as an NVMe namespace, as on Azure's newer sizes
    #[arg(long)]
    pub(super) nvme: bool,
    /// Show the console
    #[arg(long)]
    console: bool,
    /// Print a JSON summary to standard output, and all else to standard error
    #[arg(long)]
    pub(super) json: bool,
    /// End when the node answers instead of staying
    #[arg(long)]
    pub(super) once: bool,
    /// Check the host and the image on it instead of staying
    #[arg(long)]
    pub(super) self_test: bool,
    /// With --self-test: also verify the node with this cvmctl
    #[arg(long, value_name = "PROGRAM", requires = "self_test")]
    pub(super) cvmctl: Option<PathBuf>,
    /// With --self-test: a hub of the real one's name, run with this builderhub, must be refused
    #[arg(long, value_name = "PROGRAM", requires = "self_test")]
    pub(super) builderhub: Option<PathBuf>,
    /// With --self-test: the registers must be as published in this file
    #[arg(long, value_name = "FILE", requires = "self_test")]
    pub(super) published: Option<PathBuf>,
    /// With --self-test: the node must report itself ready
    #[arg(long, requires = "self_test")]
    pub(super) expect_ready: bool,
    /// With --self-test: write results to this file, as JSON
    #[arg(long, value_name = "FILE", requires = "self_test")]
    pub(super) report: Option<PathBuf>,
    /// How long the boot may take, in seconds
    #[arg(long, default_value_t = 240, value_name = "SECONDS")]
    pub(super) timeout: u64,
}

/// `[NAME=]IP:PORT=PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reach {
    name: Option<String>,
    address: SocketAddrV4,
    target: u16,
}

impl FromStr for Reach {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (address, target) = text.rsplit_once('=').context("no = before the port")?;
        let (name, address) = match address.split_once('=') {
            Some((name, address)) => (Some(name.to_owned()), address),
            None => (None, address),
        };
        Ok(Self {
            name,
            address: address.parse().context("not IP:PORT")?,
            target: target.parse().context("not a port")?,
        })
    }
}

impl Options {
    /// Where what outlasts a boot is.
    pub(super) fn state(&self, run: &Path) -> PathBuf {
        match &self.state {
            Some(directory) => directory.clone(),
            None => run.join("state"),
        }
    }

    /// Whether all that is wanted is the list of faults.
    pub(super) fn is_help_wanted(&self) -> bool {
        self.faults.contains(&Fault::Help)
    }

    /// The image.
    pub(super) fn image(&self) -> &Path {
        &self.common.image
    }

    /// The host that is described.
    pub(super) fn host(&self) -> Result<AzureHost> {
        let evidence: Vec<_> = self.faults.iter().filter_map(Fault::of_evidence).collect();
        ensure!(
            evidence.len() <= 1,
            "evidence has one fault at most, so that its refusal has one reason"
        );
        let now = SystemTime::now();
        let tee = match evidence.first() {
            Some(fault) => Tee::with_fault(SEED, now, *fault),
            None => Tee::new(SEED, now),
        };
        let mut host = AzureHost::new(self.common.image.clone(), tee);
        host.memory = self.common.memory;
        host.cpus = self.common.cpus;
        host.accelerator = Accelerator::detect();
        let here = |guest| Forward::same_if_free(guest, Ipv4Addr::LOCALHOST);
        host.forwards = PORTS.map(here).to_vec();
        host.echo = self.console;
        host.disk.size = self.disk_size.saturating_mul(1 << 20);
        host.disk.place = match self.nvme {
            true => Place::Nvme { lun: LUN },
            false => Place::Scsi {
                lun: LUN,
                comes: Comes::AfterKernel(Duration::from_secs(self.disk_after)),
                vanishes_after: None,
            },
        };
        for reach in &self.reach {
            let target = SocketAddrV4::new(Ipv4Addr::LOCALHOST, reach.target);
            host.reach(reach.address, reach.name.as_deref(), target)?;
        }
        for fault in &self.faults {
            fault.apply(&mut host)?;
        }
        Ok(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reached_is_parsed() {
        let reach: Reach = "hub.test=168.1.2.3:443=8443".parse().unwrap();
        assert_eq!(reach.name.as_deref(), Some("hub.test"));
        assert_eq!(reach.address, "168.1.2.3:443".parse().unwrap());
        assert_eq!(reach.target, 8443);
        assert_eq!("168.1.2.3:443=8443".parse::<Reach>().unwrap().name, None);
        for text in [
            "",
            "168.1.2.3:443",
            "168.1.2.3=1",
            "x=168.1.2.3:443=x",
            "::1=1",
        ] {
            assert!(text.parse::<Reach>().is_err(), "{text}");
        }
    }
}
