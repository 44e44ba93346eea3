//! Predicts what a disk image measures to when a machine boots it, and reads the two things that
//! a prediction is compared with: firmware event logs and published reference values.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use measurements::reference::{AttestationType, ReferenceValues};
//!
//! // A raw disk, a fixed VHD or a bare UKI; what it is, is told by its contents.
//! let mut image = measurements::Image::open(std::fs::File::open("node.vhd")?)?;
//! let prediction = measurements::predict(&mut image)?;
//! for (register, predicted) in &prediction.registers {
//!     println!("PCR {register}: {}", predicted.value.sha256);
//!     for event in &predicted.events {
//!         println!("  {} {event}", event.digests.sha256);
//!     }
//! }
//!
//! // Is it what was published?
//! let published = std::fs::read_to_string("published.json")?;
//! for entry in ReferenceValues::parse(&published)? {
//!     let matches = entry.compare(&prediction);
//!     println!("{}: {:?}", entry.measurement_id, matches);
//! }
//!
//! // The form in which values are published.
//! let kind = AttestationType::AzureTdx;
//! print!("{}", ReferenceValues::from_prediction("node.vhd", kind, &prediction).to_json());
//! # Ok(())
//! # }
//! ```
//!
//! The chain that is understood: firmware starts `EFI/BOOT/BOOTX64.EFI`, which is a unified kernel
//! image, or systemd-boot that starts one; its systemd-stub, of a version from 250 on, starts
//! Linux. No other boot loader, no shim, no add-ons. What an image does not say about the boot is
//! an argument: [`Assumptions`]. Registers of a bare TDX guest are in [`tdx`].
//!
//! Nothing here needs to be trusted and nothing is proven about a machine: a prediction says what
//! an image *would* measure to. That a machine did measure to it is for a verifier to find out.
//!
//! Left out: quotes and their signatures, and what userspace extends but for boot phases.
//!
//! I/O: none of its own; images come as `Read + Seek`, and are read as streams.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "a panic in a test is a failing test, which is what is wanted"
    )
)]

mod bytes;
mod digest;
pub mod event_log;
pub mod explain;
pub mod image;
pub mod initrd_files;
mod pe;
mod pe_file;
pub mod predict;
pub mod reference;
mod source;
mod stub_version;
pub mod tdx;
mod uki;

pub use digest::{Digest, DigestParseError, Digests, Sha256Digest, Sha384Digest};
pub use image::{Assumptions, Image};
pub use pe::PeError;
pub use pe_file::PeFileError;
pub use predict::{Event, PredictError, Prediction, Register, predict};
pub use source::ReadError;
pub use stub_version::{StubVersion, StubVersionError};
