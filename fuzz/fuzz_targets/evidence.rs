//! Evidence in the documents of both protocols.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::evidence(bytes));
