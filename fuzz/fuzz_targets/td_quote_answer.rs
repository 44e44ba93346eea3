//! What Azure's metadata service answers.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::td_quote_answer(bytes));
