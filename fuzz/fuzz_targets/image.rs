//! Any file that might be an image.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::image(bytes));
