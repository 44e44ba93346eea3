use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair, SigningKey};

use super::*;

const NOW: i64 = 1_800_000_000_000_000;

fn names() -> Names<'static> {
    let address = IpAddr::from([203, 0, 113, 10]);
    Names {
        name: "builder_01",
        dns_name: "b1.example.net",
        address,
    }
}

fn certificate(names: &[&str]) -> (Parsed, KeyPair) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2030, 1, 1);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    (Parsed::parse(&pem).unwrap(), key)
}

fn check(alternative_names: &[&str]) -> Result<(), CertificateError> {
    certificate(alternative_names).0.check(&names(), NOW)
}

#[test]
fn the_builders_names_are_accepted() {
    for name in [
        "builder_01",
        "builder-01",
        "b1.example.net",
        "B1.Example.Net",
        "203.0.113.10",
    ] {
        assert_eq!(check(&[name]), Ok(()), "{name}");
        assert_eq!(
            check(&["localhost", "127.0.0.1", "::1", name]),
            Ok(()),
            "{name}"
        );
    }
}

#[test]
fn anothers_name_is_refused_even_beside_its_own() {
    for name in [
        "b2.example.net",
        "203.0.113.11",
        "*.example.net",
        "b1.example.net.evil",
    ] {
        let error = CertificateError::ForeignName {
            builder: "builder_01".into(),
            name: name.into(),
        };
        assert_eq!(check(&["b1.example.net", name]), Err(error));
    }
}

#[test]
fn a_certificate_without_a_name_of_the_builder_is_refused() {
    let none = Err(CertificateError::NoName("builder_01".into()));
    assert_eq!(check(&[]), none);
    assert_eq!(check(&["localhost"]), none);
}

#[test]
fn times_outside_its_validity_are_refused() {
    let (parsed, _) = certificate(&["b1.example.net"]);
    for now in [0, 1_700_000_000_000_000, parsed.not_after() + 1] {
        let refused = parsed.check(&names(), now);
        assert!(
            matches!(refused, Err(CertificateError::NotValid { .. })),
            "{now}"
        );
    }
    assert_eq!(parsed.check(&names(), parsed.not_after()), Ok(()));
}

#[test]
fn only_the_key_itself_proves_and_only_this_registration() {
    let (parsed, key) = certificate(&["b1.example.net"]);
    let message = parsed.message("challenge", "rbuilder");
    let proof = key.sign(&message).unwrap();
    assert_eq!(parsed.prove(&message, &proof), Ok(()));
    for other in [
        parsed.message("challenge2", "rbuilder"),
        parsed.message("challenge", "instance"),
    ] {
        assert_eq!(
            parsed.prove(&other, &proof),
            Err(CertificateError::NotProven)
        );
    }
    let (_, other) = certificate(&["b1.example.net"]);
    let proof = other.sign(&message).unwrap();
    assert_eq!(
        parsed.prove(&message, &proof),
        Err(CertificateError::NotProven)
    );
}

#[test]
fn other_texts_are_not_certificates() {
    let key = KeyPair::generate().unwrap().serialize_pem();
    let long = "x".repeat(MAX_SIZE + 1);
    for text in [
        "",
        "abc",
        key.as_str(),
        long.as_str(),
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        assert_eq!(Parsed::parse(text).err(), Some(CertificateError::Malformed));
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "(-----BEGIN CERTIFICATE-----\n)?[A-Za-z0-9+/=\n]{0,300}(-----END CERTIFICATE-----)?") {
        let _ = Parsed::parse(&text);
    }
}
