//! What Azure's paravisor reports.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::hcl_report(bytes));
