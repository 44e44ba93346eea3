//! The planted bug that every run of `make fuzz` has to find.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::canary(bytes));
