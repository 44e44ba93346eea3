//! The public part of an attestation key.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::ak_public(bytes));
