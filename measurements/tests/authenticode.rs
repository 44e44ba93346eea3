//! The Authenticode digest equals that of an independent implementation, the `authenticode` crate.

#![allow(clippy::unwrap_used, reason = "a panic in a test is a failing test")]

mod support;

use measurements::Sha256Digest;
use object::read::pe::PeFile64;
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use support::{Section, pe, section, uki_sections};

fn reference_digest(bytes: &[u8]) -> Sha256Digest {
    let parsed = PeFile64::parse(bytes).unwrap();
    let mut hash = Sha256::new();
    authenticode::authenticode_digest(&parsed, &mut hash).unwrap();
    measurements::Digest(hash.finalize().into())
}

fn our_digests(uki: Vec<u8>) -> [Sha256Digest; 2] {
    let prediction = support::predict(uki).unwrap();
    let events = &prediction.registers[&4].events;
    [events[2].digests.sha256, events[3].digests.sha256]
}

#[test]
fn uki_and_kernel() {
    let uki = support::uki();
    let expected = [reference_digest(&uki), reference_digest(&support::kernel())];
    assert_eq!(our_digests(uki), expected);
}

#[test]
fn signature_and_checksum_do_not_count() {
    let unsigned = pe(&uki_sections(), &[], &[]);
    let mut signed = pe(&uki_sections(), &[], &[7; 64]);
    signed[0x58 + 64] ^= 0xff;
    assert_eq!(our_digests(signed.clone()), our_digests(unsigned));
    assert_eq!(our_digests(signed.clone())[0], reference_digest(&signed));
}

fn any_sections() -> impl Strategy<Value = Vec<Section>> {
    let one = (0..40usize, prop::collection::vec(any::<u8>(), 0..1500));
    prop::collection::vec(one, 0..6).prop_map(|list| {
        let named = list.into_iter().enumerate();
        named
            .map(|(i, (size, data))| section(&format!(".s{i}{size}"), data))
            .collect()
    })
}

proptest! {
    #[test]
    fn any_sections_trailer_and_certificates(
        extra in any_sections(),
        trailer in prop::collection::vec(any::<u8>(), 0..40),
        certificates in prop_oneof![Just(vec![]), prop::collection::vec(any::<u8>(), 8..40)],
    ) {
        // Alignment before the certificate table is part of what is hashed: keep it whole.
        let trailer = &trailer[..trailer.len() / 8 * 8];
        let certificates = &certificates[..certificates.len() / 8 * 8];
        let uki = pe(&[uki_sections(), extra].concat(), trailer, certificates);
        let expected = reference_digest(&uki);
        prop_assert_eq!(our_digests(uki)[0], expected);
    }
}
