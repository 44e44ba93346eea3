//! What the fuzz targets do with their input, one function each, so that the corpora can be
//! replayed without a fuzzer: `cargo test --lib` in this directory, with any compiler.
//!
//! I/O: none; the test reads `corpus/`.

#[path = "../../measurements/tests/support/mod.rs"]
mod support;

use std::io::Cursor;

use attestation::tpm_quote::{self, AkPublic};
use measurements::event_log::EventLog;
use measurements::reference::ReferenceValues;
use measurements::{Uki, image};

/// A PE as firmware and stub see it: headers, sections, Authenticode, all registers.
pub fn pe(bytes: &[u8]) {
    let _ = Uki::parse(bytes.to_vec()).map(|uki| measurements::predict(&uki));
}

/// Any file: is it a disk, a VHD or a PE, and where is its UKI?
pub fn image(bytes: &[u8]) {
    let _ = image::read_uki(Cursor::new(bytes));
}

/// A FAT file system, behind a partition table whose checksums are right.
pub fn file_system(volume: &[u8]) {
    let disk = support::gpt(512, &[(support::ESP_TYPE, volume)]);
    let _ = image::read_uki(Cursor::new(disk));
}

/// A log parsed whole is the log parsed as a prefix.
pub fn event_log(bytes: &[u8]) {
    if let Ok(log) = EventLog::parse(bytes) {
        assert_eq!(EventLog::parse_prefix(bytes), Ok((log, bytes.len())));
    }
}

/// Reference values that were accepted say the same after they were written and read again.
pub fn reference(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    for entry in ReferenceValues::parse(text).unwrap_or_default() {
        assert_eq!(ReferenceValues::parse(&entry.to_json()).unwrap(), [entry]);
    }
}

/// A TPM quote: nothing is left over, and what is cut off is missed.
pub fn tpm_quote(bytes: &[u8]) {
    if tpm_quote::parse(bytes).is_ok() {
        let (_, shorter) = bytes.split_last().unwrap();
        assert!(tpm_quote::parse(shorter).is_err());
    }
}

/// A TPM's public key: nothing is left over, and what is cut off is missed.
pub fn ak_public(bytes: &[u8]) {
    if AkPublic::parse(bytes).is_ok() {
        let (_, shorter) = bytes.split_last().unwrap();
        assert!(AkPublic::parse(shorter).is_err());
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn corpus(name: &str) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(name);
        let entries = fs::read_dir(folder).unwrap();
        entries
            .map(|entry| fs::read(entry.unwrap().path()).unwrap())
            .collect()
    }

    #[test]
    fn corpora_are_replayed() {
        let targets: [(&str, fn(&[u8])); 7] = [
            ("pe", pe),
            ("image", image),
            ("file_system", file_system),
            ("event_log", event_log),
            ("reference", reference),
            ("tpm_quote", tpm_quote),
            ("ak_public", ak_public),
        ];
        for (name, target) in targets {
            let inputs = corpus(name);
            assert!(!inputs.is_empty(), "{name}");
            inputs.iter().for_each(|input| target(input));
        }
    }

    #[test]
    fn each_corpus_has_an_input_that_is_accepted() {
        let any = |name, accepts: fn(&[u8]) -> bool| corpus(name).iter().any(|i| accepts(i));
        assert!(any("pe", |i| Uki::parse(i.to_vec())
            .is_ok_and(|uki| measurements::predict(&uki).is_ok())));
        assert!(any("image", |i| image::read_uki(Cursor::new(i)).is_ok()));
        assert!(any("file_system", |i| {
            let disk = support::gpt(512, &[(support::ESP_TYPE, i)]);
            image::read_uki(Cursor::new(disk)).is_ok()
        }));
        assert!(any("event_log", |i| EventLog::parse(i).is_ok()));
        assert!(any("reference", |i| ReferenceValues::parse(
            &String::from_utf8_lossy(i)
        )
        .is_ok()));
        assert!(any("tpm_quote", |i| tpm_quote::parse(i).is_ok()));
        assert!(any("ak_public", |i| AkPublic::parse(i).is_ok()));
    }
}
