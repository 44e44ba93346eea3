//! A TD quote.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::td_quote(bytes));
