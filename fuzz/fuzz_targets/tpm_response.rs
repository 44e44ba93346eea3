//! What a TPM answers.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::tpm_response(bytes));
