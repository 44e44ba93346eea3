//! LZ4's legacy frame.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::lz4(bytes));
