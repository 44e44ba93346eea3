//! Digests as arrays.
//!
//! I/O: none.

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, digest};

/// SHA-1, for the banks that no verifier should take.
pub(super) fn sha1(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref().to_vec()
}

/// SHA-256.
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut array = [0; 32];
    array.copy_from_slice(digest(&SHA256, bytes).as_ref());
    array
}

/// SHA-384.
pub(super) fn sha384(bytes: &[u8]) -> [u8; 48] {
    let mut array = [0; 48];
    array.copy_from_slice(digest(&SHA384, bytes).as_ref());
    array
}
