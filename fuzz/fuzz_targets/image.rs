//! Any file: is it a disk, a VHD or a PE, and where is its UKI?
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = measurements::image::read_uki(std::io::Cursor::new(bytes));
});
