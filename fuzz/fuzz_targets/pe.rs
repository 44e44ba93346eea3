//! A PE as firmware and stub see it: headers, sections, Authenticode, all registers.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: Vec<u8>| {
    let _ = measurements::Uki::parse(bytes).map(|uki| measurements::predict(&uki));
});
