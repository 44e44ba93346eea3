//! What a vTPM has as its AK's certificate.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::ak_certificate(bytes));
