//! Predicts what a disk image measures to when a machine boots it, and reads the two things that
//! a prediction is compared with: firmware event logs and published reference values.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let disk = std::io::Cursor::new(Vec::new());
//! let mut image = measurements::Image::open(disk)?;
//! let prediction = measurements::predict(&mut image)?;
//! for (register, predicted) in &prediction.registers {
//!     println!("PCR {register}: {}", predicted.value);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The chain that is understood: firmware starts the unified kernel image at
//! `EFI/BOOT/BOOTX64.EFI`, whose systemd-stub starts Linux. No boot loader, no shim, no add-ons.
//! Nothing here needs to be trusted and nothing is proven about a machine: a prediction says what
//! an image *would* measure to. That a machine did measure to it is for a verifier to find out.
//!
//! Left out: quotes and their signatures (crate `attestation`), and what userspace extends.
//!
//! I/O: none of its own; images come as `Read + Seek`.

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
mod pe;
mod pe_file;
pub mod predict;
pub mod reference;
mod source;
mod stub_version;
mod uki;

pub use digest::{Digest, DigestParseError, Digests, Sha256Digest, Sha384Digest};
pub use image::{Assumptions, Image};
pub use pe::PeError;
pub use pe_file::PeFileError;
pub use predict::{Event, PredictError, Prediction, Register, predict};
pub use source::ReadError;
pub use stub_version::{StubVersion, StubVersionError};
