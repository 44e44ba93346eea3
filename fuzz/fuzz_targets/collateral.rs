//! Intel's collateral as a file.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::collateral(bytes));
