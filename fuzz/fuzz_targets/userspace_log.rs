//! systemd's log.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::userspace_log(bytes));
