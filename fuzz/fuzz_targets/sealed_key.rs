//! A key that the TPM sealed, as it is stored.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::sealed_key(bytes));
