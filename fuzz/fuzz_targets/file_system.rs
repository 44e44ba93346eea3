//! A FAT file system on a sound disk.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::file_system(bytes));
