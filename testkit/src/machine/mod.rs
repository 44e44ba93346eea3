//! A virtual machine: described as a value, started, looked at from outside.
//!
//! The machine is a q35 with OVMF and a TPM, and a network that cannot leave it: QEMU's user
//! network with `restrict=on` drops everything that the guest sends except answers to connections
//! that come from 127.0.0.1.
//!
//! I/O: starts QEMU; the guest's disks are never written to (`snapshot=on`).

mod accelerator;
mod arguments;
mod running;

use std::path::PathBuf;

pub use accelerator::Accelerator;
pub use arguments::Sockets;
pub use running::{MachineError, POWER_BUTTON_GRACE, Running};

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
    /// TCP ports that are reachable from 127.0.0.1 from the start.
    pub forwards: Vec<Forward>,
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

/// A port of the guest that is reachable from 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The guest's TCP port.
    pub guest: u16,
    /// The port on 127.0.0.1; 0 lets the system choose.
    pub host: u16,
}

/// A device that a host can plug in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// A disk with this raw image, written to.
    Disk(PathBuf),
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
            smbios_strings: Vec::new(),
            fw_cfg: Vec::new(),
            devices: Vec::new(),
            direct_kernel: None,
            echo: false,
        }
    }
}
