//! A partition table with right checksums.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::gpt(bytes));
