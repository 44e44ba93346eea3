//! The two things that matter in a peer's certificate: its key, and the evidence in it.
//!
//! Not looked at: names, dates and signature. An aTLS certificate is signed by its own key, and
//! fresh because its evidence is; TLS itself proves that the peer has the key.
//!
//! I/O: none.

use x509_cert::der::asn1::AnyRef;
use x509_cert::der::{Decode, Reader, SliceReader, Tag, TagNumber, Tagged};

use crate::evidence::EvidenceKind;

/// What was found in a certificate, as its bytes are there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PeerCertificate<'a> {
    /// DER `SubjectPublicKeyInfo`.
    pub spki: &'a [u8],
    /// The extension that holds evidence, if there is one.
    pub evidence: Option<(EvidenceKind, &'a [u8])>,
}

/// Why a certificate cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CertificateError {
    /// No X.509 certificate.
    #[error("malformed certificate")]
    Malformed,
    /// Which one of several documents counts would be the peer's choice.
    #[error("certificate with more than one extension of evidence")]
    SeveralDocuments,
}

/// Reads a DER certificate (RFC 5280, section 4.1), of any size.
///
/// # Errors
///
/// [`CertificateError`] if it is none, or has more than one document.
pub fn parse(der: &[u8]) -> Result<PeerCertificate<'_>, CertificateError> {
    let (spki, extensions) = fields(der).ok_or(CertificateError::Malformed)?;
    let mut evidence = None;
    let Some(extensions) = extensions else {
        return Ok(PeerCertificate { spki, evidence });
    };
    let mut extensions = SliceReader::new(extensions).map_err(|_| CertificateError::Malformed)?;
    while !extensions.is_finished() {
        let (oid, value) = extension(&mut extensions).ok_or(CertificateError::Malformed)?;
        if let Some(kind) = EvidenceKind::from_oid_der(oid)
            && evidence.replace((kind, value)).is_some()
        {
            return Err(CertificateError::SeveralDocuments);
        }
    }
    Ok(PeerCertificate { spki, evidence })
}

/// The key and the content of the list of extensions.
fn fields(der: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let mut outer = SliceReader::new(der).ok()?;
    let certificate = content(&mut outer, Tag::Sequence)?;
    if !outer.is_finished() {
        return None;
    }
    let mut certificate = SliceReader::new(certificate).ok()?;
    let mut signed = SliceReader::new(content(&mut certificate, Tag::Sequence)?).ok()?;

    content(&mut signed, context(0))?; // version: only version 3 has extensions
    content(&mut signed, Tag::Integer)?; // serialNumber
    content(&mut signed, Tag::Sequence)?; // signature
    content(&mut signed, Tag::Sequence)?; // issuer
    content(&mut signed, Tag::Sequence)?; // validity
    content(&mut signed, Tag::Sequence)?; // subject
    if Tag::peek(&signed).ok()? != Tag::Sequence {
        return None;
    }
    let spki = signed.tlv_bytes().ok()?;
    while !signed.is_finished() {
        let field = AnyRef::decode(&mut signed).ok()?;
        if field.tag() == context(3) {
            let mut list = SliceReader::new(field.value()).ok()?;
            let extensions = content(&mut list, Tag::Sequence)?;
            let is_last = list.is_finished() && signed.is_finished();
            return is_last.then_some((spki, Some(extensions)));
        }
    }
    Some((spki, None))
}

/// One `Extension`: the identifier's content and the value.
fn extension<'a>(extensions: &mut SliceReader<'a>) -> Option<(&'a [u8], &'a [u8])> {
    let mut extension = SliceReader::new(content(extensions, Tag::Sequence)?).ok()?;
    let oid = content(&mut extension, Tag::ObjectIdentifier)?;
    if Tag::peek(&extension).ok()? == Tag::Boolean {
        content(&mut extension, Tag::Boolean)?; // critical: what we know is never too critical
    }
    let value = content(&mut extension, Tag::OctetString)?;
    extension.is_finished().then_some((oid, value))
}

fn content<'a>(reader: &mut SliceReader<'a>, tag: Tag) -> Option<&'a [u8]> {
    let value = AnyRef::decode(reader).ok()?;
    (value.tag() == tag).then(|| value.value())
}

fn context(number: u32) -> Tag {
    Tag::ContextSpecific {
        constructed: true,
        number: TagNumber(number),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, CustomExtension, KeyPair, PublicKeyData};

    use super::*;

    fn certificate(extensions: &[(EvidenceKind, Vec<u8>)]) -> (Vec<u8>, Vec<u8>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["node.example".to_owned()]).unwrap();
        params.custom_extensions = extensions
            .iter()
            .map(|(kind, document)| CustomExtension::from_oid_content(kind.oid(), document.clone()))
            .collect();
        let certificate = params.self_signed(&key).unwrap();
        (certificate.der().to_vec(), key.subject_public_key_info())
    }

    #[test]
    fn key_and_evidence_of_each_kind_and_size() {
        for kind in EvidenceKind::ALL {
            for size in [0, 20_000, 100_000] {
                let document = vec![b'{'; size];
                let (der, spki) = certificate(&[(kind, document.clone())]);
                let expected = PeerCertificate {
                    spki: &spki,
                    evidence: Some((kind, &document)),
                };
                assert_eq!(parse(&der), Ok(expected));
            }
        }
    }

    #[test]
    fn an_ordinary_certificate_has_no_evidence() {
        let (der, spki) = certificate(&[]);
        let found = parse(&der).unwrap();
        assert_eq!((found.spki, found.evidence), (&*spki, None));
    }

    #[test]
    fn two_documents_are_refused() {
        for second in EvidenceKind::ALL {
            let document = b"{}".to_vec();
            let (der, _) = certificate(&[
                (EvidenceKind::AzureTdx, document.clone()),
                (second, document),
            ]);
            assert_eq!(parse(&der), Err(CertificateError::SeveralDocuments));
        }
    }

    #[test]
    fn a_part_of_a_certificate_is_none() {
        let (der, _) = certificate(&[(EvidenceKind::DcapTdx, b"{}".to_vec())]);
        for end in 0..der.len() {
            assert_eq!(parse(&der[..end]), Err(CertificateError::Malformed));
        }
        let longer = [&*der, b"\0"].concat();
        assert_eq!(parse(&longer), Err(CertificateError::Malformed));
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes: Vec<u8>, at: usize, to: u8) {
            let _ = parse(&bytes);
            let (mut der, _) = certificate(&[(EvidenceKind::DcapTdx, b"{}".to_vec())]);
            let at = at % der.len();
            der[at] = to;
            let _ = parse(&der);
        }
    }
}
