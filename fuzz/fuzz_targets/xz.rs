//! An xz stream.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::xz(bytes));
