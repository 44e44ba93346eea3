//! A partition table as firmware measures it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::gpt_event(bytes));
