//! LUKS2 headers made by hand, so that every field can be made wrong and the checksums still be right.

use ring::digest::{SHA256, digest};

/// Bytes of one copy of the metadata.
const COPY: usize = 16 << 10;

/// The metadata that cryptsetup 2.7.5 makes for us, its noise replaced.
pub(crate) const JSON: &str = r#"{"keyslots":{"0":{"type":"luks2","key_size":64,"af":{"type":"luks1","stripes":4000,"hash":"sha256"},"area":{"type":"raw","offset":"32768","size":"258048","encryption":"aes-xts-plain64","key_size":64},"kdf":{"type":"pbkdf2","hash":"sha256","iterations":1000,"salt":"W8ANQoIH6u7Gi6ne+o5hWwPmGjQVHA3erknMzojo/i0="}}},"tokens":{},"segments":{"0":{"type":"crypt","offset":"16777216","size":"dynamic","iv_tweak":"0","encryption":"aes-xts-plain64","sector_size":4096}},"digests":{"0":{"type":"pbkdf2","keyslots":["0"],"segments":["0"],"hash":"sha256","iterations":1000,"salt":"05gNL0/6wqw5bFkmG60QNIqmJY15SA/kN2uhPLzFbI0=","digest":"U0cslB7G9Iut8REIXpVcbNOO1oOJ/qfY5U1AP6vvnzk="}},"config":{"json_size":"12288","keyslots_size":"4161536"}}"#;

/// A header of 4 MiB with this JSON in both copies.
pub(crate) fn header(json: &[u8]) -> Vec<u8> {
    let mut binary = vec![0; 4096];
    binary[..8].copy_from_slice(b"LUKS\xba\xbe\0\x02");
    binary[8..16].copy_from_slice(&(COPY as u64).to_be_bytes());
    binary[23] = 3;
    binary[72..78].copy_from_slice(b"sha256");
    binary[104..168].fill(7);
    binary[168..204].copy_from_slice(b"0553794b-e313-4c49-a16c-19ea98a2c0d6");
    from_copy(&binary, json)
}

/// A header of 4 MiB with these binary fields and this JSON in both copies: what is different in the
/// second copy is, and the checksums are right.
pub(crate) fn from_copy(binary: &[u8], json: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 4 << 20];
    for copy in 0..2 {
        let at = &mut header[copy * COPY..][..COPY];
        let length = binary.len().min(4096);
        at[..length].copy_from_slice(&binary[..length]);
        let length = json.len().min(COPY - 4096);
        at[4096..][..length].copy_from_slice(&json[..length]);
        if copy == 1 {
            at[..6].copy_from_slice(b"SKUL\xba\xbe");
            at[256..264].copy_from_slice(&(COPY as u64).to_be_bytes());
        }
    }
    seal(&mut header);
    header
}

/// Makes the checksums right.
pub(crate) fn seal(header: &mut [u8]) {
    for copy in 0..2 {
        let at = &mut header[copy * COPY..][..COPY];
        at[448..512].fill(0);
        let checksum = digest(&SHA256, at);
        at[448..480].copy_from_slice(checksum.as_ref());
    }
}
