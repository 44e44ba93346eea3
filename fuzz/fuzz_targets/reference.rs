//! Reference values that were accepted say the same after they were written and read again.
#![no_main]

use measurements::reference::ReferenceValues;

libfuzzer_sys::fuzz_target!(|text: &str| {
    for entry in ReferenceValues::parse(text).unwrap_or_default() {
        assert_eq!(ReferenceValues::parse(&entry.to_json()).unwrap(), [entry]);
    }
});
