//! Plugs a disk into a running machine, and pulls it out again.
//!
//! I/O: QMP, in a thread that ends with [`Attached`] at the latest.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{CONTROLLER, Comes, DataDisk, Place};
use crate::console::Console;
use crate::console::phases::{Phase, phases};
use crate::machine::{MachineError, Monitor, Running};

/// The disk's name in QEMU, as device and as block node.
const DEVICE: &str = "datadisk";
const NODE: &str = "datanode";
/// What names of devices that are NVMe namespaces begin with; there is no other.
const NAMESPACE: &str = "namespace";

/// How often the console is looked at.
const POLL: Duration = Duration::from_millis(100);

/// Where a disk is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskState {
    /// Not there yet, or never.
    Away,
    /// There, since so long after power-on.
    There(Duration),
    /// Was there, until so long after power-on.
    Gone(Duration),
    /// QEMU refused.
    Failed(String),
}

/// A disk that comes and goes as its [`Place`] says; dropped, it stays where it is.
#[derive(Debug)]
pub struct Attached {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<(DiskState, bool)>,
    stop: Condvar,
}

/// What the thread needs.
struct Plugger {
    shared: Arc<Shared>,
    monitor: Monitor,
    console: Console,
    started: Instant,
    image: PathBuf,
    is_read_only: bool,
}

impl DataDisk {
    /// Lets the disk, whose image is at `image`, appear in `machine` as planned.
    pub(in crate::azure) fn attach(&self, machine: &Running, image: &Path) -> Attached {
        let state = match self.place {
            Place::Nvme { .. } => DiskState::There(Duration::ZERO),
            Place::Scsi { .. } | Place::Nowhere => DiskState::Away,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new((state, false)),
            stop: Condvar::new(),
        });
        let plugger = Plugger {
            shared: Arc::clone(&shared),
            monitor: machine.monitor(),
            console: machine.console().clone(),
            started: machine.started(),
            image: image.to_owned(),
            is_read_only: self.is_read_only,
        };
        let thread = match self.place {
            Place::Scsi {
                lun,
                comes,
                vanishes_after,
            } => Some(thread::spawn(move || {
                plugger.run(lun, comes, vanishes_after);
            })),
            Place::Nvme { .. } | Place::Nowhere => None,
        };
        Attached { shared, thread }
    }
}

impl Attached {
    /// Where the disk is now.
    pub fn state(&self) -> DiskState {
        self.shared.lock().0.clone()
    }

    /// The LUN at which QEMU has the disk; `None` if it is not plugged in as a SCSI disk.
    ///
    /// # Errors
    ///
    /// [`MachineError`] if QEMU has gone.
    pub fn lun(&self, machine: &Running) -> Result<Option<u64>, MachineError> {
        match self.state() {
            DiskState::There(_) => {}
            _ => return Ok(None),
        }
        let path = format!("/machine/peripheral/{DEVICE}");
        let devices = machine.execute("qom-list", json!({"path": "/machine/peripheral"}))?;
        if !names(&devices).any(|name| name == DEVICE) {
            return Ok(None);
        }
        let lun = machine.execute("qom-get", json!({"path": path, "property": "lun"}))?;
        Ok(lun.as_u64())
    }

    /// How often the guest has read from the disk: it reads the partition table of one that it
    /// sees.
    ///
    /// # Errors
    ///
    /// [`MachineError`] if QEMU has gone.
    pub fn reads(&self, machine: &Running) -> Result<u64, MachineError> {
        let all = machine.execute("query-blockstats", json!({}))?;
        let of_disk = all.as_array().into_iter().flatten().filter(|one| {
            let of = one.get("qdev").and_then(Value::as_str).unwrap_or_default();
            of.contains(DEVICE) || of.contains(NAMESPACE)
        });
        let reads = of_disk.filter_map(|one| one.pointer("/stats/rd_operations")?.as_u64());
        Ok(reads.sum())
    }
}

fn names(devices: &Value) -> impl Iterator<Item = &str> {
    let devices = devices.as_array().into_iter().flatten();
    devices.filter_map(|device| device.get("name").and_then(Value::as_str))
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.shared.lock().1 = true;
        self.shared.stop.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Plugger {
    fn run(&self, lun: u16, comes: Comes, vanishes_after: Option<Duration>) {
        let is_time = match comes {
            Comes::AtStart => true,
            Comes::AfterKernel(delay) => self.wait_for_kernel() && self.sleep(delay),
        };
        if !is_time {
            return;
        }
        match self.plug(lun) {
            Ok(()) => self.set(DiskState::There(self.started.elapsed())),
            Err(error) => return self.set(DiskState::Failed(describe(&error))),
        }
        let Some(delay) = vanishes_after else { return };
        if !self.sleep(delay) {
            return;
        }
        match self.monitor.execute("device_del", json!({"id": DEVICE})) {
            Ok(_) => self.set(DiskState::Gone(self.started.elapsed())),
            Err(error) => self.set(DiskState::Failed(describe(&error))),
        }
    }

    fn plug(&self, lun: u16) -> Result<(), MachineError> {
        let file =
            json!({"driver": "file", "filename": self.image, "read-only": self.is_read_only});
        let node = json!({
            "driver": "raw", "node-name": NODE, "read-only": self.is_read_only, "file": file,
        });
        self.monitor.execute("blockdev-add", node)?;
        let device = json!({
            "driver": "scsi-hd", "id": DEVICE, "drive": NODE, "bus": format!("{CONTROLLER}.0"),
            "channel": 0, "scsi-id": 0, "lun": lun, "vendor": "Msft", "product": "Virtual Disk",
        });
        self.monitor.execute("device_add", device)?;
        Ok(())
    }

    /// Waits until the firmware has handed over; false if the machine has ended before.
    fn wait_for_kernel(&self) -> bool {
        loop {
            let begun = phases(&self.console.lines());
            if begun.iter().any(|(phase, _)| *phase >= Phase::Kernel) {
                return true;
            }
            if self.console.is_closed() || !self.sleep(POLL) {
                return false;
            }
        }
    }

    /// Sleeps; false if it was woken because it is over.
    fn sleep(&self, delay: Duration) -> bool {
        let end = Instant::now() + delay;
        let mut state = self.shared.lock();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if state.1 || left.is_zero() {
                return !state.1;
            }
            let waited = self.shared.stop.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn set(&self, state: DiskState) {
        self.shared.lock().0 = state;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, (DiskState, bool)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An error with its causes.
fn describe(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", describe(source)),
        None => error.to_string(),
    }
}
