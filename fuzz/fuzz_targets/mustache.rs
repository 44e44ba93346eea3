//! A template of an existing image, and a configuration.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::mustache(bytes));
