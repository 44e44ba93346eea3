//! Boots an image the way a host would, and looks at it from where a host stands.
//!
//! [`machine`] describes and starts a virtual machine, [`tpm`] gives it a software TPM that can
//! be asked while the guest runs, [`memory`] takes the firmware's event log out of guest RAM,
//! [`ports`] tells which ports the guest answers on, and [`tamper`] makes the images and the
//! firmware variables that an attacking host would offer. Nothing here needs help from inside
//! the guest: a production image has no debug channel. [`make`] makes images of other boot chains.
//!
//! Development only: no shipped program depends on this crate.
//!
//! I/O: starts QEMU, swtpm, curl, mtools and the like; writes only below the directories given.

pub mod azure;
pub mod child;
pub mod console;
pub mod fetch;
pub mod machine;
pub mod make;
pub mod memory;
pub mod needed;
pub mod ports;
pub mod qmp;
pub mod tamper;
pub mod tee;
pub mod tpm;
