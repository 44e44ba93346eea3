//! A quote of a TPM.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::tpm_quote(bytes));
