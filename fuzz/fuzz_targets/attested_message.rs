//! The message that carries evidence after the handshake.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::attested_message(bytes));
