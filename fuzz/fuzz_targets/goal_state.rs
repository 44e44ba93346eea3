//! What Azure's wireserver wants of a machine.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::goal_state(bytes));
