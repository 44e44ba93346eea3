//! A peer's certificate with evidence in it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::peer_certificate(bytes));
