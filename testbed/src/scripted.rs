//! A node on a simulated host before a hub that does what a test says, for tests of what the node makes
//! of it.
//!
//! I/O: see the parts.

pub(crate) mod disk;
pub(crate) mod hub;
pub(crate) mod node;
pub(crate) mod sample;
pub(crate) mod world;
