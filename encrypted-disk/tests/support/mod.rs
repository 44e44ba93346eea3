//! A machine made of files: sysfs, `/dev`, `/proc`, and programs that do to it what the real ones do.

#![allow(dead_code, unused_imports, reason = "each test program uses a part")]

pub(crate) mod header;
pub(crate) mod machine;
pub(crate) mod programs;

pub(crate) use machine::Machine;
pub(crate) use programs::{Programs, Stop};

use encrypted_disk::Key;

pub(crate) fn key() -> Key {
    Key::parse("00112233445566778899aabbccddeeff").unwrap()
}

pub(crate) fn other_key() -> Key {
    Key::parse("ffeeddccbbaa99887766554433221100").unwrap()
}
