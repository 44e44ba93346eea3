//! Certificates as PEM (RFC 7468).
//!
//! I/O: none.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Reads the certificates of a chain, at most `most`; what stands between them is passed over.
pub(crate) fn certificates(mut pem: &str, most: usize) -> Option<Vec<Vec<u8>>> {
    let mut certificates = Vec::new();
    while let Some((_, rest)) = pem.split_once(BEGIN) {
        let (body, after) = rest.split_once(END)?;
        certificates.push(decode(body)?);
        if certificates.len() > most {
            return None;
        }
        pem = after;
    }
    Some(certificates)
}

/// Reads a text of one certificate; what stands around it must be white space.
pub(crate) fn only_certificate(pem: &str) -> Option<Vec<u8>> {
    decode(pem.trim().strip_prefix(BEGIN)?.strip_suffix(END)?)
}

fn decode(body: &str) -> Option<Vec<u8>> {
    let body: String = body.split_ascii_whitespace().collect();
    STANDARD.decode(body).ok()
}

/// Writes a certificate, in lines of 64 characters.
pub(crate) fn write_certificate(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines = text.as_bytes().chunks(64);
    let mut pem = format!("{BEGIN}\n");
    for line in lines.filter_map(|line| std::str::from_utf8(line).ok()) {
        pem.push_str(line);
        pem.push('\n');
    }
    pem.push_str(END);
    pem.push('\n');
    pem
}
