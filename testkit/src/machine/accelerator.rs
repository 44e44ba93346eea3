//! Finds out whether KVM works, by using it.
//!
//! A `/dev/kvm` that can be opened is no proof: under nested virtualization the guest may never
//! execute anything.
//!
//! I/O: starts a QEMU without disks for a few seconds.

use std::io::Read;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::FIRMWARE;
use crate::child::{Child, dependent};

/// How long the firmware may take to say something under KVM, where it needs about a second.
const PROBE_TIMEOUT: Duration = Duration::from_secs(8);

/// What runs the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// The host's processor, through KVM.
    Kvm,
    /// QEMU's emulation (TCG), a thread for each processor.
    Emulation,
}

impl Accelerator {
    /// KVM if a guest says something under it, emulation otherwise.
    pub fn detect() -> Self {
        if kvm_works() {
            Self::Kvm
        } else {
            Self::Emulation
        }
    }

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "KVM",
            Self::Emulation => "emulation",
        }
    }

    /// The values of `-accel` and `-cpu`. Emulating few processor features is faster: measured
    /// 30 % against `max`.
    pub(super) fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Self::Emulation => ["-accel", "tcg,thread=multi", "-cpu", "qemu64"],
        }
    }
}

fn kvm_works() -> bool {
    if std::fs::File::open("/dev/kvm").is_err() {
        return false;
    }
    let mut command = dependent("qemu-system-x86_64");
    command
        .args(["-machine", "q35", "-m", "128", "-nodefaults"])
        .args(Accelerator::Kvm.arguments())
        .args(["-display", "none", "-serial", "stdio"])
        .arg("-drive")
        .arg(format!("if=pflash,format=raw,readonly=on,file={FIRMWARE}"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let Ok(mut child) = Child::spawn(&mut command) else {
        return false;
    };
    let Some(mut output) = child.take_stdout() else {
        return false;
    };
    let (said, says) = mpsc::channel();
    // Ends with the child, which is killed on return.
    thread::spawn(move || said.send(matches!(output.read(&mut [0; 1]), Ok(1))));
    says.recv_timeout(PROBE_TIMEOUT).unwrap_or(false)
}
