//! Predictions equal what independent programs compute of the same images, which are made by the
//! programs that people make images with.
//!
//! - [`registers`]: `systemd-measure` for PCR 11; `pesign`, `sbsign` and the `authenticode` crate
//!   for the digests in PCR 4, of UKIs that `ukify` builds of random recipes.
//! - [`disks`]: the UKI is found on disks of `sfdisk`, `sgdisk`, `mkfs.vfat`, mtools and `qemu-img`.
//!
//! Left out: PCR 9, which no program computes for a UKI; `tests/predictions.rs` writes the stub's
//! archives down byte by byte, and the boot test compares with a TPM.
//!
//! Without these programs the tests say that they were skipped; in CI they fail.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a panic in a test is a failing test, and these run programs on files"
)]

mod disks;
mod recipe;
mod registers;
mod tools;
mod uki;
