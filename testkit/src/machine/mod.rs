//! A virtual machine: described as a value, started, looked at from outside.
//!
//! The machine is a q35 with OVMF and a TPM, and a network that cannot leave it: QEMU's user
//! network with `restrict=on` drops everything that the guest sends except answers to connections
//! that come from 127.0.0.1, and what a [`ClosedNetwork`] has an answer for.
//!
//! I/O: starts QEMU; the guest's disks are never written to (`snapshot=on`).

mod accelerator;
mod arguments;
mod running;

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::PathBuf;

pub use accelerator::Accelerator;
pub use arguments::Sockets;
pub use running::{MachineError, Monitor, POWER_BUTTON_GRACE, Running};

/// Where Debian's `ovmf` has the firmware without Secure Boot.
pub const FIRMWARE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
/// Where Debian's `ovmf` has the template of the firmware's variables.
pub const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/// What is to be started.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The disk image that is booted: fixed VHD if its name ends in `.vhd`, else raw.
    pub image: PathBuf,
    /// The firmware's variables; written to.
    pub variables: PathBuf,
    /// Memory in MiB.
    pub memory: u32,
    /// Processors.
    pub cpus: u32,
    /// What runs the guest's instructions.
    pub accelerator: Accelerator,
    /// TCP ports that are reachable from this machine from the start.
    pub forwards: Vec<Forward>,
    /// What the guest reaches; nothing if there is none.
    pub network: Option<ClosedNetwork>,
    /// What the machine says that it is, instead of QEMU's own words.
    pub identity: Option<Identity>,
    /// Whether there is a TPM for the guest.
    pub has_tpm: bool,
    /// What the clock shows at power-on, as `2026-11-22T12:00:00`, UTC; `None` for this machine's time.
    pub clock: Option<String>,
    /// Strings in the SMBIOS table of type 11, which systemd and its stub read.
    pub smbios_strings: Vec<String>,
    /// Items of QEMU's firmware configuration device: name and value.
    pub fw_cfg: Vec<(String, String)>,
    /// Further devices that a host can plug in.
    pub devices: Vec<Device>,
    /// Has QEMU hand the firmware a kernel, instead of a boot from the disk.
    pub direct_kernel: Option<DirectKernel>,
    /// Also print the console as it comes.
    pub echo: bool,
}

/// A port of the guest that is reachable from this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The guest's TCP port.
    pub guest: u16,
    /// Where on loopback: any address of 127.0.0.0/8.
    pub address: Ipv4Addr,
    /// The port there; 0 lets the system choose.
    pub host: u16,
}

impl Forward {
    /// The same port at `address` if it is free, and permitted to us; else any.
    pub fn same_if_free(guest: u16, address: Ipv4Addr) -> Self {
        let is_free = TcpListener::bind((address, guest)).is_ok();
        let host = if is_free { guest } else { 0 };
        Self {
            guest,
            address,
            host,
        }
    }
}

/// A network whose addresses lead to programs on the host, and nowhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedNetwork {
    /// The guest's network and the length of its prefix.
    pub network: (Ipv4Addr, u8),
    /// QEMU's own address in it, which is the guest's gateway.
    pub gateway: Ipv4Addr,
    /// The resolver's address in it.
    pub resolver: Ipv4Addr,
    /// The guest's address.
    pub guest: Ipv4Addr,
    /// What is reachable.
    pub reachable: Vec<Reachable>,
    /// The Unix socket, already listening, of a wire between the guest and QEMU's user network: the
    /// guest's end.
    pub guest_end: PathBuf,
    /// The other end.
    pub network_end: PathBuf,
}

/// An address inside of a guest's network that somebody answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reachable {
    /// As the guest sees it.
    pub address: SocketAddrV4,
    /// QEMU starts this command for each connection, with the connection as its standard input and
    /// output. It is taken apart as a shell would, and no shell is started.
    pub command: String,
}

/// What a machine says that it is (SMBIOS tables of types 0 to 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Of system, board, chassis and firmware.
    pub manufacturer: String,
    /// The system's product name.
    pub product: String,
    /// The firmware's version, and so the system's.
    pub version: String,
    /// The chassis' asset tag.
    pub asset_tag: String,
    /// The system's UUID.
    pub uuid: String,
}

/// A device that a host can plug in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// A disk with this raw image, written to.
    Disk(PathBuf),
    /// A SCSI controller of this name without disks, to plug them in later.
    ScsiController(String),
    /// An NVMe controller with this raw image as its only namespace.
    Nvme {
        /// The image.
        image: PathBuf,
        /// The namespace's number.
        namespace: u32,
        /// Whether the guest cannot write to it.
        is_read_only: bool,
    },
    /// A virtio console (hvc0), as a listening Unix socket.
    VirtioConsole(PathBuf),
    /// A virtio serial port of this name, as a listening Unix socket.
    VirtioPort(String, PathBuf),
    /// One more serial port, as a listening Unix socket.
    Serial(PathBuf),
}

/// A kernel that the host hands to the firmware beside the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectKernel {
    /// An EFI executable.
    pub kernel: PathBuf,
    /// An initrd that the firmware offers to it.
    pub initrd: PathBuf,
    /// Its command line.
    pub command_line: String,
}

impl Machine {
    /// A machine that boots `image`, with 2 GiB and two processors under emulation.
    pub fn new(image: PathBuf, variables: PathBuf) -> Self {
        Self {
            image,
            variables,
            memory: 2048,
            cpus: 2,
            accelerator: Accelerator::Emulation,
            forwards: Vec::new(),
            network: None,
            identity: None,
            has_tpm: true,
            clock: None,
            smbios_strings: Vec::new(),
            fw_cfg: Vec::new(),
            devices: Vec::new(),
            direct_kernel: None,
            echo: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_port_is_not_wished_for() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let guest = taken.local_addr().unwrap().port();
        let forward = |address| Forward::same_if_free(guest, address).host;
        assert_eq!(forward(Ipv4Addr::LOCALHOST), 0);
        assert_eq!(forward(Ipv4Addr::new(127, 0, 0, 2)), guest);
    }
}
