//! A FAT file system, behind a partition table whose checksums are right.
#![no_main]

#[path = "../../measurements/tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|volume: &[u8]| {
    let disk = support::gpt(512, &[(support::ESP_TYPE, volume)]);
    let _ = measurements::image::read_uki(std::io::Cursor::new(disk));
});
