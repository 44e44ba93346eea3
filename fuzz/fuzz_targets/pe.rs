//! A PE as firmware and stub see it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::pe(bytes));
