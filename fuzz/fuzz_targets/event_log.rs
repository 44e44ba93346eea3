//! A log parsed whole is the log parsed as a prefix.
#![no_main]

use measurements::event_log::EventLog;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(log) = EventLog::parse(bytes) {
        assert_eq!(EventLog::parse_prefix(bytes), Ok((log, bytes.len())));
    }
});
