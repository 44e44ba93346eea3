//! An Azure host, as a guest meets it: the vTPM with what the paravisor leaves in it, and the
//! services that answer on link-local addresses.
//!
//! Facts: the project's `spec/azure-sim.md` and `spec/attestation.md` B. All servers take the
//! loopback address that they listen on, and none of them ever sends a packet elsewhere.
//!
//! I/O: listens on loopback addresses and Unix sockets that the caller names.

pub mod disk;
pub mod host;
pub mod http;
pub mod hub;
pub mod imds;
pub mod network;
pub mod vtpm;
pub mod way;
pub mod wireserver;
